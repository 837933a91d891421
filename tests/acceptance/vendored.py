"""Packages of the test's own environment, vendored into a function's zip as a user would with `pip install -t`."""

import importlib.metadata

NEVER = ("/tests/", "/__pycache__/", ".pyi", "/bin/")


def distribution(*names):
    """Return {path: bytes} of installed distributions, without their tests."""
    files = {}
    for name in names:
        for path in importlib.metadata.files(name):
            text = str(path)
            if text.startswith("..") or any(part in f"/{text}" for part in NEVER):
                continue
            files[text] = path.locate().read_bytes()
    return files
