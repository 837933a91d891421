"""Code that a request names by bucket and key: from a folder, from an endpoint that speaks S3, from both."""

import json

import botocore.exceptions
import moto_server
import pytest
from conftest import ROLE, RUNTIME, Server, zipped


def package(text):
    return zipped({"handler.py": f"def handler(event, context):\n    return {text!r}\n"})


@pytest.fixture(scope="module")
def moto():
    with moto_server.running() as url:
        yield url


@pytest.fixture(scope="module")
def s3(moto):
    client = moto_server.client(moto, "s3")
    client.create_bucket(Bucket="remote")
    client.put_bucket_versioning(Bucket="remote", VersioningConfiguration={"Status": "Enabled"})
    return client


@pytest.fixture(scope="module")
def client(moto, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources")
    (folder / "buckets/local/deep").mkdir(parents=True)
    (folder / "buckets/local/deep/app.zip").write_bytes(package("local"))
    config = folder / "hotfork.toml"
    config.write_text(f'[code]\nbuckets = "{folder}/buckets"\n[aws.endpoints]\ns3 = "{moto}"\n')
    server = Server(folder / "state", "--config", str(config)).start()
    yield server.client()
    assert server.stop() == 0


def create(client, name, **code):
    client.create_function(
        FunctionName=name, Runtime=RUNTIME, Handler="handler.handler", Role=ROLE, Code=code, Timeout=10
    )
    client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 0.05})


def answer(client, name):
    return json.load(client.invoke(FunctionName=name)["Payload"])


def test_code_of_a_folder(client):
    create(client, "of-folder", S3Bucket="local", S3Key="deep/app.zip")
    assert answer(client, "of-folder") == "local"


def test_code_of_an_endpoint(client, s3):
    first = s3.put_object(Bucket="remote", Key="app.zip", Body=package("first"))["VersionId"]
    s3.put_object(Bucket="remote", Key="app.zip", Body=package("second"))
    create(client, "of-endpoint", S3Bucket="remote", S3Key="app.zip")
    assert answer(client, "of-endpoint") == "second"
    client.update_function_code(FunctionName="of-endpoint", S3Bucket="remote", S3Key="app.zip", S3ObjectVersion=first)
    client.get_waiter("function_updated_v2").wait(FunctionName="of-endpoint", WaiterConfig={"Delay": 0.05})
    assert answer(client, "of-endpoint") == "first"


def test_a_layer_of_an_endpoint(client, s3):
    s3.put_object(Bucket="remote", Key="layer.zip", Body=zipped({"python/shared.py": "VALUE = 'layered'\n"}))
    arn = client.publish_layer_version(LayerName="shared", Content={"S3Bucket": "remote", "S3Key": "layer.zip"})[
        "LayerVersionArn"
    ]
    source = "import shared\ndef handler(event, context):\n    return shared.VALUE\n"
    client.create_function(
        FunctionName="layered",
        Runtime=RUNTIME,
        Handler="handler.handler",
        Role=ROLE,
        Code={"ZipFile": zipped({"handler.py": source})},
        Layers=[arn],
    )
    assert answer(client, "layered") == "layered"


@pytest.mark.parametrize(
    ("bucket", "key", "code", "message"),
    [
        ("local", "none", "NoSuchKey", "The specified key does not exist."),
        ("remote", "none", "NoSuchKey", "The specified key does not exist."),
        ("nowhere", "none", "NoSuchBucket", "The specified bucket does not exist"),
    ],
)
def test_what_is_not_there(client, s3, bucket, key, code, message):
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        create(client, "missing", S3Bucket=bucket, S3Key=key)
    error = caught.value.response["Error"]
    assert error["Code"] == "InvalidParameterValueException"
    assert error["Message"] == f"Error occurred while GetObject. S3 Error Code: {code}. S3 Error Message: {message}"


def test_a_folder_of_buckets_that_is_none_is_said_at_the_start(tmp_path):
    server = Server(tmp_path / "state", env={"HOTFORK_CODE_BUCKETS": str(tmp_path / "none")})
    with pytest.raises(AssertionError, match=r"code\.buckets: .*none is not a folder"):
        server.start()
