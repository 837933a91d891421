import os
from pathlib import Path

from runtime import trees


def test_a_deep_folder_goes(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    before = Path.cwd()
    os.chdir(root)
    try:
        for _ in range(3000):
            Path("d").mkdir()
            os.chdir("d")
        Path("file").touch()
    finally:
        os.chdir(before)
    trees.remove(root)
    assert not root.exists()


def test_what_is_not_there_is_no_error(tmp_path):
    trees.remove(tmp_path / "nothing")
