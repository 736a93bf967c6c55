"""Where a delay changes, by spectra that are made for it."""

import numpy as np
import pytest

from profiler.capture import tracking
from tests.capture.checks.faulty import LATENCY, RATE, rendered


def guitar(rig_name):
    """Stimulus and response of a take, and the stretch from one marker to the next."""
    plan, stimulus, response = rendered(rig_name)
    *_, before, after, _ = plan.of_kind("marker")
    rng = np.random.default_rng(1)
    noisy = response + 1e-4 * rng.standard_normal(len(response))
    return stimulus, noisy, before.start, after.stop


def others(stimulus, response, rate=RATE):
    """What the rest of the take tells of the device."""
    span = tracking.span_of(stimulus, response, rate // 2, 14 * rate, (LATENCY,), rate)
    return tracking.filters_of(span)


@pytest.mark.parametrize("rig_name", ["wire", "drive", "tweed"])
@pytest.mark.parametrize("lost", [1, 3, 500])
def test_a_change_is_placed_through_any_distortion(rig_name, lost):
    stimulus, response, start, stop = guitar(rig_name)
    filters = others(stimulus, response)
    for at in (15.7, 16.4, 17.2):
        first = round(at * RATE) + LATENCY
        broken = np.concatenate([response[:first], response[first + lost :]])
        span = tracking.span_of(stimulus, broken, start, stop, (LATENCY, LATENCY - lost), RATE)
        place, evidence = tracking.change(span, filters)
        assert place / RATE == pytest.approx(at, abs=0.2)
        assert evidence > 100.0


@pytest.mark.parametrize("rig_name", ["wire", "drive", "tweed"])
def test_a_whole_take_wants_no_other_delay(rig_name):
    stimulus, response, start, stop = guitar(rig_name)
    span = tracking.span_of(stimulus, response, start, stop, (LATENCY,), RATE)
    _, gains_db = tracking.wanted_delays(span, others(stimulus, response))
    heard = (span.centres > 15.5 * RATE) & (span.centres < 17.7 * RATE)
    assert np.max(gains_db[heard]) < 0.4


def test_the_delay_that_a_block_wants_is_told_with_its_gain():
    stimulus, response, start, stop = guitar("drive")
    span = tracking.span_of(stimulus, response, start, stop, (LATENCY + 20,), RATE)
    changes, gains_db = tracking.wanted_delays(span, others(stimulus, response))
    heard = (span.centres > 15.5 * RATE) & (span.centres < 17.7 * RATE)
    assert np.all(np.abs(changes[heard] - 20) <= 1)
    assert np.min(gains_db[heard]) > 3.0


def test_silence_between_two_sounds_gives_the_middle():
    rng = np.random.default_rng(2)
    stimulus = rng.standard_normal(2 * RATE)
    stimulus[round(0.8 * RATE) : round(1.4 * RATE)] = 0.0
    broken = np.concatenate([stimulus[:RATE], stimulus[RATE + 5 :], np.zeros(5)])
    span = tracking.span_of(stimulus, broken, 0, len(stimulus), (0, -5), RATE, linear=True)
    place, _ = tracking.change(span, tracking.filters_of(span))
    assert place / RATE == pytest.approx(1.1, abs=0.05)
