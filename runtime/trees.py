"""Removing folders that strangers filled: however deep they are, and whatever is in them."""

import contextlib
import shutil
import subprocess
from pathlib import Path


def remove(folder: Path) -> None:
    """Remove a folder and all in it; what cannot be removed stays. Blocks.

    shutil.rmtree recurses before Python 3.13, so a thousand folders in one another would end it with RecursionError;
    rm does not.
    """
    try:
        shutil.rmtree(folder, ignore_errors=True)
    except RecursionError:
        with contextlib.suppress(OSError):
            subprocess.run(["rm", "-rf", "--", str(folder)], check=False, stderr=subprocess.DEVNULL)  # noqa: S603, S607
