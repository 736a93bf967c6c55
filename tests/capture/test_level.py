import numpy as np
import pytest

from profiler.capture.level import Meter, is_cut_off, judge, level_plan
from profiler.rig.connect import connect
from profiler.rig.rig import load_rig
from profiler.stimulus.plan import load_signal
from profiler.stimulus.synthesis import render

RATE = 48_000


@pytest.mark.parametrize("peak_dbfs", [-12.0, -7.5, -3.0])
def test_a_peak_within_the_target_is_right(peak_dbfs):
    advice = judge(peak_dbfs, -90.0)
    assert (advice.change_db, advice.advice) == (0.0, "the level is right")
    assert advice.headroom_db == -peak_dbfs
    assert advice.range_db == peak_dbfs + 90.0


@pytest.mark.parametrize(
    ("peak_dbfs", "said"),
    [
        (-16.5, "raise the input gain by 9 dB"),
        (-47.5, "raise the input gain by 40 dB"),
        (-2.5, "lower the input gain by 5 dB"),
        (-0.5, "lower the input gain by 7 dB"),
    ],
)
def test_says_what_to_turn_and_by_how_many_decibels(peak_dbfs, said):
    advice = judge(peak_dbfs, -90.0)
    assert advice.advice == said
    assert judge(peak_dbfs + advice.change_db, -90.0).advice == "the level is right"


def test_a_return_that_clips_is_told_first_and_has_no_headroom():
    for peak_dbfs in (0.0, -7.0, -30.0):
        advice = judge(peak_dbfs, -90.0, clipped=True)
        assert "lower the input gain by 10 dB" in advice.advice
        assert advice.headroom_db == 0.0


@pytest.mark.parametrize(("peak_dbfs", "noise"), [(-np.inf, -np.inf), (-75.0, -95.0), (-50, -45)])
def test_nothing_that_comes_back_is_not_a_matter_of_gain(peak_dbfs, noise):
    advice = judge(peak_dbfs, noise)
    assert "nothing comes back" in advice.advice
    assert advice.change_db == 0.0


def test_noise_that_is_near_asks_for_more_from_the_device():
    assert "8 dB more from the device" in judge(-8.0, -40.0).advice


@pytest.mark.parametrize("gain_db", [0.0, -9.0])
def test_what_is_played_rises_to_the_peak_of_the_take(gain_db):
    plan = load_signal("quick").plan(RATE, gain_db=gain_db)
    rising = level_plan(plan, 20.0)
    assert rising.peak_dbfs == pytest.approx(plan.peak_dbfs)
    assert 20.0 <= rising.seconds <= 24.0
    stimulus = render(rising)
    assert not stimulus[:RATE].any()
    peaks = [np.max(np.abs(stimulus[p.slice])) for p in rising.of_kind("guitar")]
    expected = plan.peak_dbfs + np.array([-24.0, -12.0] + [0.0] * (len(peaks) - 2))
    np.testing.assert_allclose(20 * np.log10(peaks), expected, atol=0.01)


def test_even_the_shortest_reaches_the_peak_of_the_take():
    plan = load_signal("quick").plan(RATE)
    assert level_plan(plan, 1.0).peak_dbfs == pytest.approx(plan.peak_dbfs)


def metered(samples, size=300):
    meter = Meter(RATE)
    for start in range(0, len(samples), size):
        meter.add(samples[start : start + size])
    return meter


@pytest.mark.parametrize("size", [64, 333, 48_000, 500_000])
def test_noise_is_that_of_the_silence_whatever_the_blocks(size):
    random = np.random.default_rng(0)
    samples = 1e-4 * random.standard_normal(4 * RATE)
    samples[: RATE // 5] += 0.5  # a driver's click
    samples[RATE:] += 0.3 * np.sin(np.arange(3 * RATE) / 20)
    assert metered(samples, size).noise_rms_dbfs == pytest.approx(-80.0, abs=0.1)


def test_shows_the_peak_of_the_last_passage_and_that_of_the_last_moment():
    loud = 0.5 * np.sin(np.arange(RATE) / 20)
    meter = metered(np.concatenate([np.zeros(RATE), loud, 0.1 * np.tile(loud, 2)]))
    assert meter.highest_dbfs == pytest.approx(-6.02, abs=0.01)
    assert meter.peak_dbfs == pytest.approx(-26.02, abs=0.01)


def test_forgets_after_a_passage_what_was_before_the_knob_was_turned():
    loud = np.clip(2.0 * np.sin(np.arange(RATE) / 20), -1, 1)
    clipped = np.concatenate([np.zeros(RATE), np.tile(loud, 16)])
    assert metered(clipped).advice().clipped
    meter = metered(np.concatenate([clipped, 0.2 * np.sin(np.arange(5 * RATE) / 20)]))
    assert not meter.advice().clipped
    assert meter.advice().peak_dbfs == pytest.approx(-13.98, abs=0.01)


def test_gives_no_advice_from_the_quiet_passages_but_that_of_clipping():
    quiet = 0.01 * np.sin(np.arange(12 * RATE) / 20)
    assert metered(quiet).advice() is None
    assert metered(np.concatenate([quiet, np.ones(10)])).advice().clipped


@pytest.mark.parametrize("gain_db", [-25.0, 20.0])
def test_following_the_advice_makes_the_level_right(gain_db):
    rig = load_rig("wire")
    loop = level_plan(load_signal("quick").plan(RATE, gain_db=-6.0), 1.0)
    stimulus = render(loop)

    def advice(gain_db):
        """Of the wire's return into a converter that ends at full scale."""
        interface = rig.interface.model_copy(update={"gain_db": gain_db})
        meter = Meter(RATE)
        connect(rig.model_copy(update={"interface": interface})).play_record(
            [stimulus], len(stimulus), lambda block: meter.add(np.clip(block.samples[:, 0], -1, 1))
        )
        return meter.advice()

    first = advice(gain_db)
    assert first.clipped == (gain_db >= 8.0)
    turned = gain_db
    for _ in range(3):  # a clipped return is turned down step by step
        turned += advice(turned).change_db
    assert advice(turned).advice == "the level is right"


@pytest.mark.parametrize("rail", [0.99, 0.5, 0.05])
@pytest.mark.parametrize("bits", [16, 24])
def test_music_that_is_cut_off_is_told_from_music_that_is_not(rail, bits):
    plan = level_plan(load_signal("quick").plan(RATE), 1.0)
    loudest = render(plan)[list(plan.of_kind("guitar"))[-1].slice].astype(np.float64)
    step = 2.0 ** (1 - bits)

    def converted(signal):
        return np.round(signal / step) * step

    blocks = np.split(converted(0.94 * rail * loudest), 250)
    assert not any(is_cut_off(block) for block in blocks)
    cut = converted(np.clip(1.5 * rail * loudest, -rail, rail))
    assert any(is_cut_off(block) for block in np.split(cut, 250))
