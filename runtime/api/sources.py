"""Where code packages come from that a request names by S3 bucket and key.

A source is asked for the object and returns its bytes, or raises ``Missing`` with S3's error code and message. Folder
serves a local folder whose folders are the buckets; S3 speaks to any endpoint that speaks S3; Either asks both.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import botocore.exceptions

from runtime import errors

NO_BUCKET = "NoSuchBucket"


class Missing(Exception):
    """There is no such object: S3's error code, and its message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Source(Protocol):
    """Fetches objects."""

    async def fetch(self, bucket: str, key: str, version: str | None, limit: int) -> bytes:
        """Return an object, at most ``limit`` bytes of it and one more; raise Missing."""


class Folder:
    """A local folder: buckets are the folders in it, keys are paths below them. It knows no object versions."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()

    async def fetch(self, bucket: str, key: str, version: str | None, limit: int) -> bytes:
        """Return a file's bytes."""
        return await asyncio.to_thread(self._read, bucket, key, version, limit)

    def _read(self, bucket: str, key: str, version: str | None, limit: int) -> bytes:
        folder = (self._root / bucket).resolve()
        if folder.parent != self._root or not folder.is_dir():
            raise Missing(NO_BUCKET, "The specified bucket does not exist")
        # S3 has no folders: a key with ".." in it is only a name, and here the name of nothing.
        path = (folder / key.lstrip("/")).resolve()
        if version is not None or folder not in path.parents or not path.is_file():
            raise Missing("NoSuchKey", "The specified key does not exist.")
        with path.open("rb") as file:
            return file.read(limit + 1)


class S3:
    """An endpoint that speaks S3. ``make_client`` returns a botocore client; it is called once, when first needed."""

    def __init__(self, make_client: Callable[[], Any]) -> None:
        self._make_client = make_client
        self._client: Any = None

    async def fetch(self, bucket: str, key: str, version: str | None, limit: int) -> bytes:
        """Return an object's bytes."""
        return await asyncio.to_thread(self._get, bucket, key, version, limit)

    def _get(self, bucket: str, key: str, version: str | None, limit: int) -> bytes:
        if self._client is None:
            self._client = self._make_client()
        more = {} if version is None else {"VersionId": version}
        try:
            answer = self._client.get_object(Bucket=bucket, Key=key, **more)
            body: bytes = answer["Body"].read(limit + 1)
        except botocore.exceptions.ClientError as error:
            raise Missing(error.response["Error"]["Code"], error.response["Error"]["Message"]) from error
        except botocore.exceptions.BotoCoreError as error:
            raise Missing("ServiceUnavailable", str(error)) from error
        return body


class Either:
    """Two sources: a bucket that the first does not have is the second's."""

    def __init__(self, first: Source, second: Source) -> None:
        self._first = first
        self._second = second

    async def fetch(self, bucket: str, key: str, version: str | None, limit: int) -> bytes:
        """Return an object's bytes."""
        try:
            return await self._first.fetch(bucket, key, version, limit)
        except Missing as missing:
            if missing.code != NO_BUCKET:
                raise
        return await self._second.fetch(bucket, key, version, limit)


def chosen(buckets: Path | None, make_client: Callable[[], Any] | None) -> Source | None:
    """Return the source that a folder of buckets and an endpoint make, either of them None where there is none.

    Raises ConfigError where the folder is none.
    """
    endpoint = None if make_client is None else S3(make_client)
    if buckets is None:
        return endpoint
    if not buckets.is_dir():
        raise errors.ConfigError(f"code.buckets: {buckets} is not a folder")
    folder = Folder(buckets)
    return folder if endpoint is None else Either(folder, endpoint)


async def fetch(source: Source | None, bucket: str, key: str, version: str | None, limit: int) -> bytes:
    """Return a package; raise InvalidParameterValue, with AWS's words."""
    if source is None:
        raise errors.InvalidParameterValue(
            "hotfork has no S3 endpoint to fetch code from: name one in its configuration (s3 in [aws.endpoints]), or "
            "a folder of buckets (buckets in [code]), or bring the zip in the request (ZipFile)"
        )
    try:
        data = await source.fetch(bucket, key, version, limit)
    except Missing as missing:
        raise errors.InvalidParameterValue(
            f"Error occurred while GetObject. S3 Error Code: {missing.code}. S3 Error Message: {missing.message}"
        ) from None
    if len(data) > limit:
        raise errors.InvalidParameterValue(f"Unzipped size must be smaller than {limit} bytes")
    return data
