import itertools

import pytest

from runtime import errors
from runtime.pool import slot


def test_every_state_has_a_way_to_death():
    for state in slot.ALIVE:
        assert slot.TRANSITIONS[state, slot.Event.EXIT] is slot.State.DEAD


def test_nothing_leads_out_of_death():
    assert not [pair for pair in slot.TRANSITIONS if pair[0] is slot.State.DEAD]


def test_only_an_idle_worker_is_given_a_call():
    assert [pair[0] for pair in slot.TRANSITIONS if pair[1] is slot.Event.ASSIGN] == [slot.State.IDLE]


def test_a_stopping_worker_never_comes_back():
    targets = {target for (state, _), target in slot.TRANSITIONS.items() if state is slot.State.STOPPING}
    assert targets == {slot.State.STOPPING, slot.State.DEAD}


@pytest.mark.parametrize(("state", "event"), list(itertools.product(slot.State, slot.Event)))
def test_apply_follows_the_table_and_nothing_else(state, event):
    one = slot.Slot(7)
    one.state = state
    if (state, event) in slot.TRANSITIONS:
        assert one.apply(event) is slot.TRANSITIONS[state, event]
    else:
        with pytest.raises(errors.InvalidTransition, match=f"worker 7 is {state.value}: no {event.value}"):
            one.apply(event)
        assert one.state is state
