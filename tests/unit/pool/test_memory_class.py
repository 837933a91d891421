import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime import errors
from runtime.config import values
from runtime.pool import memory_class

CLASSES = memory_class.make((128, 256, 1769, 10240))


@pytest.mark.parametrize(
    ("memory_mb", "expected"), [(128, 128), (129, 256), (256, 256), (1000, 1769), (1770, 10240), (10240, 10240)]
)
def test_the_smallest_class_that_holds_it(memory_mb, expected):
    assert memory_class.of(CLASSES, memory_mb).memory_mb == expected


def test_more_than_the_largest_class_has_none():
    with pytest.raises(errors.ConfigError, match="10241"):
        memory_class.of(CLASSES, 10241)


def test_the_share_is_that_of_lambda():
    assert memory_class.cpu_share(1769) == 1.0
    assert [round(one.cpu_share, 3) for one in CLASSES] == [0.072, 0.145, 1.0, 5.789]


def test_small_classes_keep_more_blanks():
    assert [one.blanks for one in CLASSES] == [2, 2, 1, 0]


@given(st.integers(128, 10240))
def test_the_default_classes_hold_every_function(memory_mb):
    classes = memory_class.make(values.MEMORY_CLASSES_MB)
    held = memory_class.of(classes, memory_mb)
    assert held.memory_mb >= memory_mb
    assert not any(memory_mb <= one.memory_mb < held.memory_mb for one in classes)
