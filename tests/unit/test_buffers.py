"""Memory of large payloads: handed out again only when nobody looks at it."""

import gc

import pytest

from runtime import buffers

MB = 1024 * 1024


@pytest.fixture(autouse=True)
def none_kept():
    gc.collect()
    buffers._kept.clear()
    yield
    buffers._kept.clear()


def test_what_nobody_refers_to_is_used_again():
    first = buffers.take(6 * MB)
    first[:] = b"x" * len(first)
    mapped = id(first.obj)
    del first
    second = buffers.take(5 * MB)
    assert id(second.obj) == mapped
    assert len(second) == 5 * MB


@pytest.mark.parametrize(
    "hold",
    [
        lambda view: view,
        lambda view: view[100:200],
        lambda view: view.toreadonly(),
        memoryview,
        lambda view: view.cast("H")[:1],
        lambda view: iter([view]),
    ],
)
def test_what_somebody_holds_a_part_of_is_not(hold):
    view = buffers.take(6 * MB)
    mapped = id(view.obj)
    held = hold(view)
    del view
    others = [buffers.take(6 * MB) for _ in range(buffers.KEPT + 2)]
    assert all(id(each.obj) != mapped for each in others)
    assert len({id(each.obj) for each in others}) == len(others)
    del held
    assert id(buffers.take(6 * MB).obj) == mapped


def test_no_more_is_kept_than_allowed():
    views = [buffers.take(6 * MB) for _ in range(20)]
    assert len(buffers._kept) == buffers.KEPT
    del views
    views = [buffers.take(60 * MB) for _ in range(3)]
    assert [len(each) for each in views] == [60 * MB] * 3
    assert len(buffers._kept) == buffers.KEPT
    assert all(len(each) == buffers.KEPT_SIZE for each in buffers._kept)


def test_any_size():
    for size in (1, 4096, 2 * MB, 2 * MB + 1, buffers.KEPT_SIZE, buffers.KEPT_SIZE + 1):
        view = buffers.take(size)
        view[-1] = 7
        assert len(view) == size
