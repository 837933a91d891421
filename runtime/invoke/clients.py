"""Clients of other AWS services, or of whatever the settings name in their place; made when first needed.

botocore's clients may be shared by threads (docs.aws.amazon.com/boto3/latest/guide/clients.html, "Multithreading").
"""

import threading
from collections.abc import Callable
from typing import Any

import botocore.config
import botocore.exceptions
import botocore.session

_CONFIG = botocore.config.Config(
    connect_timeout=5,
    read_timeout=15,
    # Retries are the callers': one that waits in a thread would keep the others from theirs.
    retries={"total_max_attempts": 1},
    max_pool_connections=32,
    s3={"addressing_style": "path"},
)


class Clients:
    """One client per service and region; use from any thread."""

    def __init__(self, region: str, endpoint_of: Callable[[str], str | None]) -> None:
        """``endpoint_of`` gives a service's endpoint, None for AWS's own."""
        self._region = region
        self._endpoint_of = endpoint_of
        self._lock = threading.Lock()
        self._session: botocore.session.Session | None = None
        self._clients: dict[tuple[str, str], Any] = {}

    def get(self, service: str, region: str = "") -> Any:
        """Return the client of a service, in a region or else in ours."""
        key = service, region or self._region
        with self._lock:
            client = self._clients.get(key)
            if client is None:
                client = self._clients[key] = self._make(*key)
            return client

    def _make(self, service: str, region: str) -> Any:
        if self._session is None:
            self._session = botocore.session.Session()
        endpoint = self._endpoint_of(service)
        options: dict[str, Any] = {"region_name": region, "config": _CONFIG}
        if endpoint is not None:
            options["endpoint_url"] = endpoint
            # A stand-in for AWS takes any credentials; without ours, botocore would look for a machine's role.
            if not _has_credentials(self._session):
                options |= {"aws_access_key_id": "hotfork", "aws_secret_access_key": "hotfork"}
        return self._session.create_client(service, **options)


def _has_credentials(session: botocore.session.Session) -> bool:
    """Return whether the environment or a file holds credentials; asks nobody over the network."""
    resolver = session.get_component("credential_provider")
    for method in ("env", "assume-role", "shared-credentials-file", "config-file"):
        try:
            if resolver.get_provider(method).load() is not None:
                return True
        except botocore.exceptions.BotoCoreError:
            continue
    return False
