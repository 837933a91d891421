"""The packages that Lambda's Python runtimes offer to every function, as one folder: what is /var/runtime there.

boto3 and what it needs, simplejson, and the hooks of SnapStart
(docs.aws.amazon.com/lambda/latest/dg/lambda-python.html, "Runtime-included SDK versions"). They are copied out of our
own installation once a version, so that an upgrade under a running server changes nothing for its functions, and so
that functions see them and none of ours.
"""

import hashlib
import importlib.metadata
import importlib.util
import os
import shutil
import tempfile
from pathlib import Path

PACKAGES = {
    "boto3": "boto3",
    "botocore": "botocore",
    "dateutil": "python-dateutil",
    "jmespath": "jmespath",
    "s3transfer": "s3transfer",
    "simplejson": "simplejson",
    "six": "six",
    "snapshot_restore_py": "snapshot-restore-py",
    "urllib3": "urllib3",
}
"""By import name, the distribution."""

PRELOADED = ("six", "dateutil", "jmespath", "urllib3", "botocore.session", "boto3")
"""What a zygote imports of them, each after those that it needs."""


def folder(parent: Path) -> Path:
    """Return the folder below ``parent``, made if it is not there yet; takes a second or two then."""
    versions = [f"{name}={importlib.metadata.version(distribution)}" for name, distribution in PACKAGES.items()]
    made = parent / hashlib.sha256(" ".join(versions).encode()).hexdigest()[:16]
    if made.is_dir():
        return made
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent, prefix=".making-") as making:
        content = Path(making) / "content"
        content.mkdir()
        for name in PACKAGES:
            _copy(name, content)
        _open_to_all(content)
        try:
            content.rename(made)
        except OSError:
            if not made.is_dir():  # else another process was faster
                raise
    return made


def _copy(name: str, content: Path) -> None:
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    source = Path(spec.origin)
    if source.name == "__init__.py":
        # Times are kept: the byte code beside the sources stays valid.
        shutil.copytree(source.parent, content / name)
    else:
        shutil.copy2(source, content / source.name)


def _open_to_all(content: Path) -> None:
    """Make it readable whatever the umask: functions run under other uids."""
    content.chmod(0o755)
    for base, folders, files in os.walk(content):
        for name in folders:
            (Path(base) / name).chmod(0o755)
        for name in files:
            (Path(base) / name).chmod(0o644)
