from pathlib import Path

import pytest

from runtime.telemetry import folders

ROOT = Path("/state/logs")

HOSTILE = [
    "..",
    "../..",
    "/../../etc/passwd",
    "/aws/lambda/..",
    "/aws/lambda/.",
    "/aws/lambda/hello/../../x",
    "//",
    "/",
    "",
    "a//b",
    "/a/b/",
    "x\x00y",
    "/aws/lambda/\n",
    "/aws/lambda/current.log",
    "/aws/lambda/hello/0001795374000.log",
    "%",
    "%2F",
    "/%",
    "%/x",
    "/%/x",
    "x",
    "/x",
    "//x",
    "~root",
    "é",
    "\udce9",
    "x" * 512,
    "/" + "x" * 511,
    "/" + "." * 511,
    "/" + "." * 510 + "-",
    "/%x",
    "/%0",
]


def test_a_functions_group_has_a_readable_folder():
    assert folders.of_group(ROOT, "/aws/lambda/hello-World_1") == ROOT / "aws/lambda/hello-World_1"


@pytest.mark.parametrize("group", HOSTILE)
def test_no_group_leaves_the_root_or_is_taken_for_a_file(group):
    relative = folders.of_group(ROOT, group).relative_to(ROOT)
    assert relative.parts
    for part in relative.parts:
        assert set(part) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-%")
        assert 0 < len(part) < 256


def test_no_two_groups_share_a_folder():
    assert len({folders.of_group(ROOT, group) for group in HOSTILE}) == len(HOSTILE)


def test_files_are_listed_in_the_order_in_which_they_were_begun(tmp_path):
    for name in ("0000000000200.log", "0000000000100.log", "current.log", "x.log", "1.log", "10000000000000.log"):
        (tmp_path / name).touch()
    assert folders.files(tmp_path) == [100, 200, 10_000_000_000_000]
    assert folders.files(tmp_path / "absent") == []
