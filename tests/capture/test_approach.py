"""The quiet ramp: it is heard through anything that answers, and stops where nothing does."""

import numpy as np
import pytest

from profiler.capture.approach import (
    ANSWER_DB,
    ANSWERED_BY_DBFS,
    Ramp,
    _answer,
    approach,
    first_level_dbfs,
)
from profiler.errors import SafetyStop
from profiler.rig.faults import Fault
from profiler.rig.rig import load_rig
from profiler.rig.simulated import Simulated
from profiler.stimulus.plan import load_signal
from profiler.units import amplitude_to_db, db_to_amplitude

RATE = 48_000
PLAN = load_signal("check").plan(RATE)


def rig_with(name="wire", faults=None, rate=RATE, **interface):
    rig = load_rig(name)
    update = {
        "loopback_channel": None,
        "sample_rate": rate,
        "faults": {key: Fault(**fault) for key, fault in (faults or {}).items()},
    } | interface
    return rig.model_copy(update={"interface": rig.interface.model_copy(update=update)})


def answer_of(rig, plan=PLAN):
    return approach(rig, plan, Simulated(rig))


# -- the ramp ---------------------------------------------------------------------------


def test_begins_after_silence_at_60_below_and_climbs_by_6_db_a_second():
    ramp = Ramp(-12.0, RATE)
    played = ramp.samples()
    assert len(played) == ramp.frames == 8.5 * RATE
    assert not played[: RATE // 2].any()
    for seconds in range(8):
        start = round((0.5 + seconds) * RATE)
        peak_dbfs = amplitude_to_db(np.max(np.abs(played[start : start + RATE // 20])))
        assert peak_dbfs == pytest.approx(-60.0 + 6.0 * seconds + 0.3, abs=0.4)


@pytest.mark.parametrize("level_dbfs", [-12.0, -37.3, -55.0, -70.0])
def test_is_never_above_the_level_it_leads_to(level_dbfs):
    played = Ramp(level_dbfs, RATE).samples()
    assert np.max(np.abs(played)) <= np.float32(db_to_amplitude(level_dbfs))


def test_leads_to_the_first_marker_and_never_above_the_ceiling():
    rig = load_rig("wire")
    assert first_level_dbfs(rig, PLAN) == -12.0
    assert first_level_dbfs(rig, PLAN.model_copy(update={"gain_db": -9.0})) == -21.0
    assert first_level_dbfs(rig.model_copy(update={"maximum_send_dbfs": -30.0}), PLAN) == -30.0


def test_ends_without_a_click():
    played = Ramp(-12.0, RATE).samples()
    assert np.max(np.abs(played[-5:])) < 1e-3 * np.max(np.abs(played))


# -- the judgement ----------------------------------------------------------------------


@pytest.mark.parametrize("polarity", [1, -1])
@pytest.mark.parametrize(("gain_db", "noise_dbfs"), [(0.0, -100.0), (-25.0, -60.0)])
@pytest.mark.parametrize("name", ["wire", "drive", "tweed"])
def test_every_rig_answers(name, gain_db, noise_dbfs, polarity):
    rig = rig_with(name, gain_db=gain_db, noise_rms_dbfs=noise_dbfs, polarity=polarity)
    answer = answer_of(rig, PLAN.model_copy(update={"gain_db": -26.0}))  # to -38 dBFS
    assert answer.plausible
    assert answer.noise_dbfs == pytest.approx(noise_dbfs, abs=0.3)
    assert answer.level_dbfs == pytest.approx(-38.0)


@pytest.mark.parametrize(("rate", "latency"), [(44_100, 10_000), (192_000, 32), (96_000, 10_000)])
def test_answers_at_any_rate_and_latency(rate, latency):
    rig = rig_with(rate=rate, round_trip_samples=latency, noise_rms_dbfs=-60.0, gain_db=-20.0)
    plan = load_signal("check").plan(rate, gain_db=-26.0)
    assert answer_of(rig, plan).plausible


def test_says_how_loud_the_return_is():
    answer = answer_of(rig_with(gain_db=-10.0))
    # a sine of 3 dB peak factor, which climbed by 1.5 dB meanwhile, and the latency
    assert answer.returned_dbfs == pytest.approx(-12.0 - 10.0 - 3.0 - 0.9, abs=0.3)
    assert f"{answer.returned_dbfs:.1f} dBFS RMS at a peak of -12.0 dBFS" in answer.sentence()


def played_until(rig):
    """The error of an approach that stops, and the highest level that was recorded to be sent."""
    interface = Simulated(rig)
    play_record, frames = interface.play_record, []

    def counted(stimulus, count, on_block, watch):
        def also(block):
            frames.append(len(block.samples))
            on_block(block)

        return play_record(stimulus, count, also, watch)

    interface.play_record = counted
    with pytest.raises(SafetyStop) as stop:
        approach(rig, PLAN, interface)
    return str(stop.value), -60.0 + 6.0 * (sum(frames) / RATE - 0.5)


@pytest.mark.parametrize("noise_dbfs", [-100.0, -60.0, -30.0])
@pytest.mark.parametrize("seed", range(3))
def test_stops_at_40_below_when_only_noise_comes_back(noise_dbfs, seed):
    said, level = played_until(
        rig_with(noise_rms_dbfs=noise_dbfs, seed=seed, faults={"no-signal": {"strength": -120.0}})
    )
    assert level == pytest.approx(ANSWERED_BY_DBFS, abs=0.1)
    assert "nothing but crosstalk came back up to a peak of -40 dBFS" in said
    assert "cables, the standby switch" in said


def test_a_dead_return_is_no_answer():
    answer = _answer(Ramp(-38.0, RATE), Ramp(-38.0, RATE).samples(), np.zeros(RATE * 4))
    assert not answer.plausible


@pytest.mark.parametrize("crosstalk_db", [-65.0, -90.0])
def test_crosstalk_is_no_answer_however_clearly_it_is_heard(crosstalk_db):
    rig = rig_with(noise_rms_dbfs=-140.0, faults={"no-signal": {"strength": crosstalk_db}})
    assert "channel 1: -" in played_until(rig)[0]


def test_hum_is_no_answer():
    faults = {"no-signal": {"strength": -120.0}, "hum": {"strength": -30.0}}
    assert "nothing but crosstalk" in played_until(rig_with(faults=faults))[0]


def test_feedback_ends_the_ramp():
    said, level = played_until(rig_with(faults={"feedback": {"strength": 6.0}}))
    assert "squeals" in said or "feedback" in said
    assert level < -40.0


def test_the_confidence_in_noise_stays_below_what_is_an_answer():
    ramp = Ramp(-38.0, RATE)
    stimulus = ramp.samples()
    confidences = [
        _answer(ramp, stimulus, np.random.default_rng(seed).standard_normal(ramp.frames))
        for seed in range(40)
    ]
    assert max(answer.confidence_db for answer in confidences) < ANSWER_DB - 3.0
