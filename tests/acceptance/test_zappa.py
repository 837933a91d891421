"""Zappa: the calls that it makes, in their order, by boto3; and Zappa itself, where it is installed.

S3 and IAM are moto. Zappa is not among the development dependencies, because it packs the virtual environment that it
runs in: make one with zappa and flask in it, and name its program in ZAPPA or have it on PATH.
"""

import json
import os
import shutil
import subprocess
import urllib.request
from pathlib import Path

import moto_server
import pytest
from conftest import RUNTIME, Server, zipped

ZAPPA = os.environ.get("ZAPPA") or shutil.which("zappa")
MOTO_ACCOUNT = "123456789012"
ROLE = f"arn:aws:iam::{MOTO_ACCOUNT}:role/demo-dev-ZappaLambdaExecutionRole"


@pytest.fixture(scope="module")
def moto():
    with moto_server.running() as url:
        moto_server.client(url, "s3").create_bucket(Bucket="zappa-demo")
        yield url


@pytest.fixture(scope="module")
def server(moto, tmp_path_factory):
    environ = {"HOTFORK_ACCOUNT_ID": MOTO_ACCOUNT, "HOTFORK_AWS_ENDPOINTS": f"s3={moto}"}
    one = Server(tmp_path_factory.mktemp("zappa") / "state", env=environ).start()
    yield one
    assert one.stop() == 0


def upload(moto, text):
    source = f"def lambda_handler(event, context):\n    return {text!r}\n"
    moto_server.client(moto, "s3").put_object(Bucket="zappa-demo", Key="demo.zip", Body=zipped({"handler.py": source}))


def wait(client, waiter):
    client.get_waiter(waiter).wait(FunctionName="demo-dev", WaiterConfig={"Delay": 0.05})


def answer(client, **options):
    response = client.invoke(FunctionName="demo-dev", InvocationType="RequestResponse", LogType="Tail", **options)
    assert response["LogResult"]
    return json.load(response["Payload"])


def test_the_calls_of_deploy_update_rollback_and_undeploy(moto, server):
    client = server.client()
    # zappa deploy
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.list_versions_by_function(FunctionName="demo-dev")
    upload(moto, "first")
    made = client.create_function(
        FunctionName="demo-dev",
        Runtime=RUNTIME,
        Role=ROLE,
        Handler="handler.lambda_handler",
        Code={"S3Bucket": "zappa-demo", "S3Key": "demo.zip"},
        Description="Zappa Deployment",
        Timeout=30,
        MemorySize=512,
        Publish=True,
        VpcConfig={},
        DeadLetterConfig={},
        Environment={"Variables": {"FRAMEWORK": "flask"}},
        KMSKeyArn="",
        TracingConfig={"Mode": "PassThrough"},
        Layers=[],
        SnapStart={"ApplyOn": "None"},
        EphemeralStorage={"Size": 512},
        Architectures=["x86_64"],
    )
    assert made["Version"] == "1"
    wait(client, "function_active")
    client.create_alias(FunctionName=made["FunctionArn"], FunctionVersion="1", Name="current-alias-version")
    client.put_function_concurrency(FunctionName="demo-dev", ReservedConcurrentExecutions=5)
    client.tag_resource(Resource=made["FunctionArn"], Tags={"Stage": "dev"})
    assert answer(client) == "first"
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_policy(FunctionName="demo-dev")
    client.add_permission(
        FunctionName="demo-dev",
        StatementId="a1",
        Action="lambda:InvokeFunction",
        Principal="events.amazonaws.com",
        SourceArn=f"arn:aws:events:us-east-1:{MOTO_ACCOUNT}:rule/keep-warm",
    )

    # zappa update
    assert client.get_function(FunctionName="demo-dev")["Configuration"]["State"] == "Active"
    upload(moto, "second")
    updated = client.update_function_code(
        FunctionName="demo-dev", Publish=True, S3Bucket="zappa-demo", S3Key="demo.zip", Architectures=["x86_64"]
    )
    assert updated["Version"] == "2"
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_alias(FunctionName="demo-dev", Name="no-such-alias")
    client.get_alias(FunctionName="demo-dev", Name="current-alias-version")
    client.update_alias(FunctionName="demo-dev", FunctionVersion="2", Name="current-alias-version")
    client.delete_function_concurrency(FunctionName="demo-dev")
    wait(client, "function_updated")
    present = client.get_function_configuration(FunctionName="demo-dev")["Environment"]["Variables"]
    client.update_function_configuration(
        FunctionName="demo-dev",
        Runtime=RUNTIME,
        Role=ROLE,
        Handler="handler.lambda_handler",
        Description="Zappa Deployment",
        Timeout=60,
        MemorySize=512,
        VpcConfig={},
        Environment={"Variables": {**present, "MORE": "x"}},
        KMSKeyArn="",
        TracingConfig={"Mode": "PassThrough"},
        Layers=[],
    )
    wait(client, "function_updated")
    assert answer(client) == "second"
    assert answer(client, Qualifier="current-alias-version") == "second"

    # zappa rollback 1
    versions = client.list_versions_by_function(FunctionName="demo-dev")["Versions"]
    assert [version["Version"] for version in versions] == ["$LATEST", "1", "2"]
    previous = client.get_function(FunctionName="demo-dev", Qualifier=versions[-2]["Version"])
    with urllib.request.urlopen(previous["Code"]["Location"]) as response:
        assert response.status == 200
        package = response.read()
    client.update_function_code(FunctionName="demo-dev", ZipFile=package, Publish=False)
    wait(client, "function_updated")
    assert answer(client) == "first"

    # zappa undeploy
    policy = json.loads(client.get_policy(FunctionName="demo-dev")["Policy"])
    for statement in policy["Statement"]:
        client.remove_permission(FunctionName="demo-dev", StatementId=statement["Sid"])
    assert client.list_function_url_configs(FunctionName="demo-dev", MaxItems=50)["FunctionUrlConfigs"] == []
    client.delete_function(FunctionName="demo-dev")
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_function(FunctionName="demo-dev")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(ZAPPA is None, reason="zappa is not installed: see the top of this file")
def test_zappa_itself(moto, server, tmp_path):
    project = tmp_path / "site"
    project.mkdir()
    (project / "app.py").write_text(
        'from flask import Flask\napp = Flask(__name__)\n@app.route("/")\ndef index(): return "hello"\n'
    )
    settings = {
        "app_function": "app.app",
        "project_name": "site",
        "runtime": RUNTIME,
        "s3_bucket": "zappa-demo",
        "aws_region": "us-east-1",
        "apigateway_enabled": False,
        "keep_warm": False,
        "num_retained_versions": 3,
        "exclude": ["pip*", "setuptools*"],
    }
    (project / "zappa_settings.json").write_text(json.dumps({"dev": settings}))
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "HOTFORK_"))}
    environ |= {
        "AWS_ENDPOINT_URL": moto,
        "AWS_ENDPOINT_URL_LAMBDA": server.url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "HOME": str(tmp_path),
        "VIRTUAL_ENV": str(Path(ZAPPA).absolute().parent.parent),
    }

    def zappa(*arguments):
        done = subprocess.run(
            [ZAPPA, *arguments], cwd=project, env=environ, capture_output=True, text=True, check=False, timeout=110
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    zappa("deploy", "dev")
    client = server.client()
    assert client.get_function(FunctionName="site-dev")["Configuration"]["State"] == "Active"
    event = {
        "httpMethod": "GET",
        "path": "/",
        "headers": {"Host": "localhost"},
        "queryStringParameters": {},
        "requestContext": {"stage": "dev"},
        "body": None,
    }
    response = json.load(client.invoke(FunctionName="site-dev", Payload=json.dumps(event))["Payload"])
    assert (response["statusCode"], response["body"]) == (200, "hello")
    (project / "app.py").write_text((project / "app.py").read_text().replace("hello", "again"))
    zappa("update", "dev")
    response = json.load(client.invoke(FunctionName="site-dev", Payload=json.dumps(event))["Payload"])
    assert response["body"] == "again"
    zappa("rollback", "dev", "-n", "1")
    response = json.load(client.invoke(FunctionName="site-dev", Payload=json.dumps(event))["Payload"])
    assert response["body"] == "hello"
    zappa("undeploy", "dev", "-y")
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_function(FunctionName="site-dev")
