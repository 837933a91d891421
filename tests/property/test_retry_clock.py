"""The life of an event under any sequence of failures, against rules written down a second time."""

import hypothesis
from hypothesis import strategies as st

from runtime.invoke import retry

CONFIGS = st.fixed_dictionaries(
    {}, optional={"MaximumRetryAttempts": st.integers(0, 2), "MaximumEventAgeInSeconds": st.integers(60, 21_600)}
)
STEPS = st.lists(
    st.tuples(st.sampled_from(["error", "refusal", "success"]), st.floats(0, 900)), min_size=1, max_size=400
)


class Life:
    """An event as the documentation tells it."""

    def __init__(self, config, base):
        self.retries = config.get("MaximumRetryAttempts", 2)
        self.age = config.get("MaximumEventAgeInSeconds", 21_600)
        self.base = base
        self.errors = 0
        self.refusals = 0

    def wait(self, kind):
        """Return the seconds to the next try, or the condition in which the event ends."""
        if kind == "refusal":
            self.refusals += 1
            seconds = 1.0
            for _ in range(min(self.refusals - 1, 20)):
                seconds *= 2
            return max(0.01, min(seconds, 300.0) * self.base / 60)
        self.errors += 1
        self.refusals = 0
        if self.errors > self.retries:
            return "RetriesExhausted"
        return (1, 2)[self.errors - 1] * self.base


@hypothesis.given(CONFIGS, STEPS, st.sampled_from([60.0, 1.0, 0.05]), st.floats(0, 2e9))
def test_every_life_is_as_documented(config, steps, base, accepted):
    rules = retry.rules(config, base_delay_s=base)
    life, now, tries, refusals = Life(config, base), accepted, 0, 0
    for kind, duration in steps:
        now += duration
        if kind == "success":
            return
        if kind == "error":
            tries, refusals = tries + 1, 0
            decision = retry.after_error(tries, accepted, now, rules)
        else:
            refusals += 1
            decision = retry.after_refusal(refusals, accepted, now, rules)
        expected = life.wait(kind)
        if expected == "RetriesExhausted":
            assert decision is retry.Condition.RETRIES_EXHAUSTED
            assert tries == rules.max_retries + 1
            return
        hypothesis.assume(abs(now + expected - accepted - life.age) > 1e-3)
        if now + expected > accepted + life.age:
            assert decision is retry.Condition.EVENT_AGE_EXCEEDED
            return
        assert isinstance(decision, float)
        assert abs(decision - (now + expected)) < 1e-3
        assert not retry.too_old(accepted, decision, rules)
        now = decision


@hypothesis.given(CONFIGS, st.floats(0.001, 60), st.floats(0, 1e9))
def test_no_event_is_refused_for_ever(config, base, accepted):
    rules = retry.rules(config, base_delay_s=base)
    now, refusals = accepted, 0
    while True:
        refusals += 1
        decision = retry.after_refusal(refusals, accepted, now, rules)
        if isinstance(decision, retry.Condition):
            assert decision is retry.Condition.EVENT_AGE_EXCEEDED
            return
        assert decision > now
        # Unless it can be seen that the end is near, far steps spare the test a million small ones.
        now = max(decision, now + rules.max_age_s / 100)
