import numpy as np
import pytest

from profiler.model import guard
from profiler.model.guard import KEEP_STEPS, MOST, RATE_FACTOR, RECENT, Guard


class Run:
    """Weights that count the steps."""

    def __init__(self):
        self.weights = np.zeros(2)
        self.guard = Guard(lambda: {"weights": self.weights.copy()})
        self.guard.begin()

    def go(self, steps):
        for _ in range(steps):
            self.weights = self.weights + 1.0
            self.guard.went_well()


def test_goes_back_to_a_state_that_is_at_least_some_steps_old():
    run = Run()
    run.go(3 * KEEP_STEPS + 5)
    assert run.guard.take_back()["weights"][0] == 2 * KEEP_STEPS
    # and no state from after that one is trusted
    assert run.guard.take_back()["weights"][0] == 2 * KEEP_STEPS


def test_a_run_that_has_just_begun_goes_back_to_its_beginning():
    run = Run()
    run.go(5)
    assert run.guard.take_back()["weights"][0] == 0.0


def test_the_rate_is_halved_every_time_until_it_is_enough():
    run = Run()
    for number in range(1, MOST + 1):
        assert run.guard.take_back() is not None
        assert run.guard.rate == RATE_FACTOR**number
    assert run.guard.take_back() is None


def test_a_loss_is_objected_to_when_it_is_no_number_or_far_above_what_was_reached():
    judge = Guard(dict)
    assert all(judge.objection(0.01) is None for _ in range(RECENT))
    assert judge.objection(1.0) is None  # one loud batch
    assert "not a number" in judge.objection(np.nan)
    assert [judge.objection(2.0) for _ in range(RECENT)][-1] is not None


def test_a_good_model_may_have_a_bad_moment():
    judge = Guard(dict)
    for _ in range(RECENT):
        judge.objection(1e-4)
    assert all(judge.objection(0.9 * guard.LARGE) is None for _ in range(RECENT))


def test_loud_windows_after_quiet_ones_are_no_divergence():
    judge = Guard(dict)
    assert all(judge.objection(0.03, power=0.03) is None for _ in range(RECENT))
    assert all(judge.objection(3.0, power=3.0) is None for _ in range(RECENT))
    assert all(judge.objection(0.0, power=0.0) is None for _ in range(RECENT))
    assert [judge.objection(70.0, power=3.0) for _ in range(RECENT)][-1] is not None


def test_a_restored_guard_judges_as_the_one_before():
    run, again = Run(), Run()
    run.go(KEEP_STEPS + 7)
    for loss in (0.1, 0.2, 0.3):
        run.guard.objection(loss)
    run.guard.take_back()
    run.go(KEEP_STEPS - 3)
    again.weights = run.weights
    again.guard.restore(run.guard.arrays(), run.guard.facts())
    assert again.guard.facts() == run.guard.facts()
    for each in (run, again):
        each.go(10)
    first, second = run.guard.take_back(), again.guard.take_back()
    assert np.array_equal(first["weights"], second["weights"])
    assert again.guard.rate == pytest.approx(run.guard.rate)
