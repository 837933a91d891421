"""When an event is tried again, in numbers as AWS documents them."""

import pytest

from runtime.invoke import retry

HOUR = 3600.0


def test_function_errors_are_retried_after_one_minute_and_after_two():
    rules = retry.rules(None, base_delay_s=60)
    assert retry.after_error(1, 0, 10, rules) == 70
    assert retry.after_error(2, 0, 100, rules) == 220
    assert retry.after_error(3, 0, 300, rules) is retry.Condition.RETRIES_EXHAUSTED


@pytest.mark.parametrize("retries", [0, 1, 2])
def test_as_many_retries_as_are_configured(retries):
    rules = retry.rules({"MaximumRetryAttempts": retries}, base_delay_s=60)
    for tries in range(1, retries + 1):
        assert retry.after_error(tries, 0, 0, rules) > 0
    assert retry.after_error(retries + 1, 0, 0, rules) is retry.Condition.RETRIES_EXHAUSTED


def test_refusals_wait_from_a_second_to_five_minutes():
    rules = retry.rules(None, base_delay_s=60)
    waits = [retry.after_refusal(count, 0, 0, rules) for count in range(1, 12)]
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
    assert retry.after_refusal(10**9, 0, 0, rules) == 300


def test_an_event_ends_at_once_if_its_next_try_would_come_too_late():
    rules = retry.rules({"MaximumEventAgeInSeconds": 60}, base_delay_s=60)
    # As recorded from AWS: the first retry comes a minute after the first try, which is later than the event.
    assert retry.after_error(1, 0.0, 0.1, rules) is retry.Condition.EVENT_AGE_EXCEEDED
    assert retry.after_refusal(1, 0, 58.9, rules) == pytest.approx(59.9)
    assert retry.after_refusal(1, 0, 59.1, rules) is retry.Condition.EVENT_AGE_EXCEEDED


def test_events_live_six_hours_unless_told_otherwise():
    rules = retry.rules({}, base_delay_s=60)
    assert not retry.too_old(0, 6 * HOUR, rules)
    assert retry.too_old(0, 6 * HOUR + 1, rules)


def test_everything_is_in_proportion_to_the_base_delay():
    slow, fast = retry.rules(None, base_delay_s=60), retry.rules(None, base_delay_s=0.6)
    for count in range(1, 12):
        assert retry.after_refusal(count, 0, 0, fast) == pytest.approx(retry.after_refusal(count, 0, 0, slow) / 100)
    for tries in (1, 2):
        assert retry.after_error(tries, 0, 0, fast) == pytest.approx(retry.after_error(tries, 0, 0, slow) / 100)


def test_even_without_a_delay_refusals_do_not_keep_the_processor_busy():
    assert retry.pause(1, 0) > 0
