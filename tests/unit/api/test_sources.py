"""Packages named by bucket and key."""

import io

import botocore.exceptions
import pytest

from runtime import errors
from runtime.api import sources

ERROR = "Error occurred while GetObject. S3 Error Code: {}. S3 Error Message: {}"
NO_BUCKET = ERROR.format("NoSuchBucket", "The specified bucket does not exist")
NO_KEY = ERROR.format("NoSuchKey", "The specified key does not exist.")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "buckets/bucket/code").mkdir(parents=True)
    (tmp_path / "buckets/bucket/code/app.zip").write_bytes(b"PK")
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "buckets/bucket/out").symlink_to(tmp_path / "secret")
    (tmp_path / "buckets/elsewhere").symlink_to(tmp_path)
    return sources.Folder(tmp_path / "buckets")


@pytest.mark.parametrize("key", ["code/app.zip", "/code/app.zip", "code/../code/app.zip"])
async def test_a_folder_of_buckets(folder, key):
    assert await sources.fetch(folder, "bucket", key, None, 10) == b"PK"


@pytest.mark.parametrize(
    ("bucket", "key", "message"),
    [
        ("none", "x", NO_BUCKET),
        ("..", "secret", NO_BUCKET),
        (".", "bucket/code/app.zip", NO_BUCKET),
        ("elsewhere", "secret", NO_BUCKET),
        ("bucket", "none", NO_KEY),
        ("bucket", "code", NO_KEY),
        ("bucket", "../../secret", NO_KEY),
        ("bucket", "out", NO_KEY),
        ("bucket", "", NO_KEY),
    ],
)
async def test_what_a_folder_does_not_have(folder, bucket, key, message):
    with pytest.raises(errors.InvalidParameterValue) as caught:
        await sources.fetch(folder, bucket, key, None, 10)
    assert caught.value.message == message


async def test_an_object_that_is_too_large(folder):
    with pytest.raises(errors.InvalidParameterValue, match="Unzipped size must be smaller than 1 bytes"):
        await sources.fetch(folder, "bucket", "code/app.zip", None, 1)


async def test_no_source():
    with pytest.raises(errors.InvalidParameterValue, match="no S3 endpoint"):
        await sources.fetch(None, "bucket", "key", None, 10)


class Client:
    """Answers as a botocore client of S3 does."""

    made = 0

    def __init__(self):
        type(self).made += 1

    def get_object(self, Bucket, Key, VersionId="newest"):  # noqa: N803 - botocore's names
        if Key == "down":
            raise botocore.exceptions.EndpointConnectionError(endpoint_url="http://nowhere")
        if Key == "none":
            error = {"Code": "NoSuchKey", "Message": "The specified key does not exist."}
            raise botocore.exceptions.ClientError({"Error": error}, "GetObject")
        return {"Body": io.BytesIO(f"{Bucket}/{Key}@{VersionId}".encode())}


async def test_an_endpoint():
    source = sources.S3(Client)
    assert await sources.fetch(source, "bucket", "key", None, 100) == b"bucket/key@newest"
    assert await sources.fetch(source, "bucket", "key", "v1", 100) == b"bucket/key@v1"
    with pytest.raises(errors.InvalidParameterValue, match=NO_KEY):
        await sources.fetch(source, "bucket", "none", None, 100)
    with pytest.raises(errors.InvalidParameterValue, match="Could not connect"):
        await sources.fetch(source, "bucket", "down", None, 100)
    assert Client.made == 1
