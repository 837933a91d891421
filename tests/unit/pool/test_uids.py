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


def test_blanks_have_uids_of_their_own_and_leave_functions_half_of_the_range():
    pool = uids.Uids(1000, 4)
    blanks = [pool.take_ahead(name) for name in ("blank 1", "blank 2")]
    with pytest.raises(errors.WorkerLost, match="not for blanks"):
        pool.take_ahead("blank 3")
    assert len({*blanks, pool.take("a"), pool.take("b")}) == 4
    for name in ("blank 1", "blank 2", "a"):
        pool.give_back(name)
    assert pool.take_ahead("blank 3") in range(1000, 1004)
