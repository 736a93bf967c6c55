import numpy as np
import pytest

from profiler.model import ramp
from profiler.model.ramp import is_over, peak_from, rate_at


def losses(turn):
    """They fall with the rate until it is `turn`, and stay."""
    rates = np.array([rate_at(step) for step in range(ramp.STEPS)])
    return np.maximum(1.0, turn / rates)


def test_the_rate_rises_geometrically_from_the_first_to_the_last():
    rates = [rate_at(step) for step in range(ramp.STEPS)]
    assert (rates[0], rates[-1]) == pytest.approx((ramp.FIRST_RATE, ramp.LAST_RATE))
    assert np.diff(np.log(rates)) == pytest.approx(np.log(100) / (ramp.STEPS - 1))


def test_a_device_that_takes_larger_steps_gets_a_higher_peak():
    lower, higher = peak_from(losses(0.02)), peak_from(losses(0.03))
    assert ramp.LEAST < lower < higher < ramp.MOST
    # a step of the test is 7.5 %
    assert higher == pytest.approx(1.5 * lower, rel=0.15)


def test_the_gain_of_the_loss_does_not_matter():
    assert peak_from(losses(0.04)) == peak_from(100 * losses(0.04))


def test_what_lies_beyond_a_divergence_is_not_looked_at():
    course = losses(0.03)
    course[60:] = np.nan
    assert peak_from(course) == peak_from(course[:60])


def test_the_peak_stays_within_what_is_known_to_serve():
    assert peak_from(losses(1e-3)) == ramp.LEAST
    assert peak_from(losses(10.0)) == ramp.MOST
    assert peak_from([np.nan]) == ramp.LEAST


def test_it_is_over_when_the_loss_has_risen_and_not_before_the_peak_could_be_told():
    falling = losses(10.0)
    assert not is_over([])
    assert not is_over(falling[:-1])
    assert is_over(falling)
    assert is_over([1.0, np.nan])
    risen = np.concatenate([losses(0.03)[:50], np.full(15, 8.0)])
    ends = next(count for count in range(ramp.STEPS) if is_over(risen[:count]))
    assert 50 < ends < 60
    assert peak_from(risen[:ends]) == peak_from(risen)
    early = np.concatenate([losses(1e-3)[:10], np.full(55, 8.0)])
    ends = next(count for count in range(ramp.STEPS) if is_over(early[:count]))
    assert rate_at(ends - 1) > ramp.LEAST * ramp.BELOW  # what may be noise until then
