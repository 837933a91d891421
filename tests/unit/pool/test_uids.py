import pytest

from runtime import errors
from runtime.pool import uids


def test_a_function_keeps_its_uid_while_it_has_workers():
    pool = uids.Uids(1000, 2)
    first = pool.take("a")
    assert pool.take("a") == first
    assert pool.take("b") != first
    pool.give_back("a")
    assert pool.take("a") == first


def test_a_uid_goes_to_another_function_only_after_the_last_worker():
    pool = uids.Uids(1000, 1)
    pool.take("a")
    with pytest.raises(errors.WorkerLost, match="uid_count"):
        pool.take("b")
    pool.give_back("a")
    assert pool.take("b") == 1000
