import numpy as np
import pytest

from profiler.stimulus.plan import (
    SAMPLE_RATES,
    Burst,
    LevelStep,
    Probe,
    Pump,
    Sine,
    Staircase,
    TwinTone,
)
from profiler.stimulus.tones import (
    burst,
    burst_edges,
    level_step,
    level_step_edges,
    probe,
    pump,
    pump_amplitude,
    sine,
    staircase,
    tone_steps,
    twin_tone,
)


def a_burst(**changes):
    return Burst(kind="burst", name="b", use="analyse", level_dbfs=-6.0, **changes)


@pytest.mark.parametrize("sample_rate", SAMPLE_RATES)
def test_a_sine_has_its_frequency_and_its_peak(sample_rate):
    segment = Sine(kind="sine", name="s", use="analyse", level_dbfs=-20.0, seconds=1.0)
    tone = sine(segment, sample_rate)
    assert len(tone) == sample_rate
    middle = slice(sample_rate // 4, 3 * sample_rate // 4)
    expected = 0.1 * np.sin(2 * np.pi * 440.0 * np.arange(sample_rate) / sample_rate)
    # 1e-12: the phase of the last sample is 2800 rad, known to 2800 * 2e-16
    np.testing.assert_allclose(tone[middle], expected[middle], atol=1e-12)
    assert tone[0] == 0.0
    assert abs(tone[-1]) < 1e-4


@pytest.mark.parametrize("sample_rate", SAMPLE_RATES)
def test_a_probe_is_a_tone_of_its_level_between_two_silences(sample_rate):
    segment = Probe(kind="probe", name="p", use="analyse", level_dbfs=-20.0)
    signal = probe(segment, sample_rate)
    gap = sample_rate // 10
    assert len(signal) == 5 * gap
    assert not signal[:gap].any()
    assert not signal[-gap:].any()
    # 1 kHz: whole periods in the middle, so the power is exact
    middle = signal[gap * 3 // 2 : gap * 7 // 2]
    assert np.sqrt(2 * np.mean(middle**2)) == pytest.approx(0.1, rel=1e-9)


@pytest.mark.parametrize("sample_rate", SAMPLE_RATES)
def test_the_a440_burst_is_silence_440_whole_periods_and_silence(sample_rate):
    signal = burst(a_burst(), sample_rate)
    assert len(signal) == 3 * sample_rate
    time = np.arange(sample_rate) / sample_rate
    expected = 10 ** (-6 / 20) * np.sin(2 * np.pi * 440.0 * time)
    assert not signal[: sample_rate + 1].any()  # and the tone's first sample is zero
    np.testing.assert_allclose(signal[sample_rate : 2 * sample_rate], expected, atol=1e-12)
    assert not signal[2 * sample_rate :].any()


def test_a_burst_of_a_frequency_that_does_not_fit_ends_with_its_last_whole_period():
    signal = burst(a_burst(frequency=3.3, tone_seconds=1.0), 48_000)
    sounding = np.flatnonzero(signal)
    last = 48_000 + 3 / 3.3 * 48_000
    assert sounding[-1] == pytest.approx(last, abs=1.0)
    # a zero at the end but for the part of a sample: one sample's slope
    assert abs(signal[sounding[-1]]) <= 2 * np.pi * 3.3 / 48_000


def a_pump(**changes):
    return Pump(kind="pump", name="p", use="analyse", level_dbfs=-6.0, **changes)


@pytest.mark.parametrize("sample_rate", SAMPLE_RATES)
def test_a_pump_is_a_burst_over_a_probe_that_sounds_throughout(sample_rate):
    segment = a_pump()
    signal = pump(segment, sample_rate)
    first, last = burst_edges(segment, sample_rate)
    time = np.arange(len(signal)) / sample_rate
    the_probe = 10 ** (-45 / 20) * np.sin(2 * np.pi * 3300.0 * time)
    fade = round(0.005 * sample_rate)
    np.testing.assert_allclose(signal[fade:first], the_probe[fade:first], atol=1e-12)
    np.testing.assert_allclose(signal[last:-fade], the_probe[last:-fade], atol=1e-12)
    alone = (signal - the_probe)[first:last]
    expected = pump_amplitude(segment) * np.sin(2 * np.pi * 440.0 * time[: last - first])
    np.testing.assert_allclose(alone, expected, atol=1e-12)
    assert len(alone) == sample_rate
    # both together never pass the level of the segment
    assert np.max(np.abs(signal)) <= 10 ** (-6 / 20)
    assert np.max(np.abs(signal)) > 0.98 * 10 ** (-6 / 20)


def test_over_50_ms_probe_and_burst_are_orthogonal():
    segment = a_pump()
    n = 2400  # 22 periods of the burst, 165 of the probe
    first, _ = burst_edges(segment, 48_000)
    middle = pump(segment, 48_000)[first + 4800 : first + 4800 + n]
    lines = 2 * np.abs(np.fft.rfft(middle)) / n
    assert lines[22] == pytest.approx(pump_amplitude(segment), rel=1e-9)
    assert lines[165] == pytest.approx(10 ** (-45 / 20), rel=1e-9)
    assert np.sum(lines > 1e-9) == 2


def a_staircase(**changes):
    values = {"seconds": 2.6, "level_dbfs": -1.0, "lowest_dbfs": -61.0, "steps": 13}
    return Staircase(kind="staircase", name="s", use="analyse", **(values | changes))


@pytest.mark.parametrize("sample_rate", [44_100, 48_000, 192_000])
def test_a_staircase_climbs_in_equal_steps_that_last_equally_long(sample_rate):
    signal = staircase(a_staircase(), sample_rate)
    step = round(0.2 * sample_rate)
    assert len(signal) == 13 * step
    middle = signal.reshape(13, step)[:, step // 4 : 3 * step // 4]  # 44 whole periods
    levels = 20 * np.log10(np.sqrt(2 * np.mean(middle**2, axis=1)))
    np.testing.assert_allclose(levels, np.arange(-61.0, 0.0, 5.0), atol=1e-9)


def test_a_staircase_changes_its_level_only_at_zero_crossings():
    signal = staircase(a_staircase(seconds=1.0, frequency=437.0), 48_000)
    slope = 2 * np.pi * 437.0 / 48_000 * 10 ** (-1 / 20)  # the steepest of the loudest tone
    assert np.max(np.abs(np.diff(signal))) <= slope
    periods = np.arange(48_000) * 437.0 / 48_000
    bare = np.sin(2 * np.pi * periods)
    audible = np.abs(bare) > 1e-6
    gain = signal[audible] / bare[audible]
    whole = np.floor(periods[audible])
    for period in range(437):
        assert np.ptp(gain[whole == period]) < 1e-9


def a_level_step(**changes):
    values = {"level_dbfs": -6.0, "soft_dbfs": -26.0, "before_seconds": 0.1}
    values |= {"loud_seconds": 0.2, "after_seconds": 0.15}
    return LevelStep(kind="level-step", name="s", use="analyse", **(values | changes))


@pytest.mark.parametrize("sample_rate", [44_100, 48_000, 96_000])
@pytest.mark.parametrize("frequency", [110.0, 440.0, 437.3])
def test_a_level_step_is_one_tone_that_is_louder_between_its_edges(sample_rate, frequency):
    segment = a_level_step(frequency=frequency)
    signal = level_step(segment, sample_rate)
    assert len(signal) == round(0.45 * sample_rate)
    up, down, end = level_step_edges(segment, sample_rate)
    assert up / sample_rate == pytest.approx(0.1, abs=1.001 / frequency)
    assert down / sample_rate == pytest.approx(0.3, abs=1.001 / frequency)
    level_dbfs = np.full(len(signal), -26.0)
    level_dbfs[up:down] = -6.0
    tone = 10 ** (level_dbfs / 20) * np.sin(
        2 * np.pi * frequency * np.arange(len(signal)) / sample_rate
    )
    np.testing.assert_allclose(signal[:end], tone[:end], atol=1e-9)
    assert not signal[end:].any()
    # no step in the waveform: nowhere steeper than the loud tone
    steepest = 2 * np.pi * frequency / sample_rate * 10 ** (-6 / 20)
    assert np.max(np.abs(np.diff(signal))) <= steepest * (1 + 1e-9)


def test_a_level_step_in_pieces_is_the_same_samples():
    segment = a_level_step()
    pieces = [level_step(segment, 48_000, a, a + 1200) for a in range(0, 21_600, 1200)]
    assert np.array_equal(np.concatenate(pieces), level_step(segment, 48_000))


def a_twin_tone(**changes):
    values = {"seconds": 2.8, "level_dbfs": 0.0, "lowest_dbfs": -36.0, "steps": 7}
    return TwinTone(kind="twin-tone", name="t", use="analyse", **(values | changes))


@pytest.mark.parametrize("sample_rate", SAMPLE_RATES)
@pytest.mark.parametrize("pair", [(60.0, 7000.0, 4.0), (19_000.0, 20_000.0, 1.0)])
def test_a_twin_tone_is_two_lines_of_its_ratio_at_every_level(pair, sample_rate):
    first, second, ratio = pair
    segment = a_twin_tone(first_hz=first, second_hz=second, ratio=ratio)
    signal = twin_tone(segment, sample_rate)
    for step in tone_steps(segment, sample_rate):
        part = signal[step.stop - sample_rate // 10 : step.stop]
        lines = np.abs(np.fft.rfft(part)) * 2 / len(part)
        assert lines[round(first / 10)] == pytest.approx(ratio * lines[round(second / 10)])
        both = lines[round(first / 10)] + lines[round(second / 10)]
        assert 20 * np.log10(both) == pytest.approx(step.level_dbfs, abs=1e-9)
        assert np.sum(lines) == pytest.approx(both)  # and nothing else sounds
    assert [s.level_dbfs for s in tone_steps(segment, 48_000)] == [-36, -30, -24, -18, -12, -6, 0]


def test_a_twin_tone_is_silent_in_what_is_left_of_a_tenth_of_a_second():
    segment = a_twin_tone(seconds=2.85)
    signal = twin_tone(segment, 48_000)
    assert len(signal) == round(2.85 * 48_000)
    assert not signal[round(2.8 * 48_000) :].any()
    assert signal[: round(2.8 * 48_000)].any()


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"first_hz": 65.0}, "multiples of 10, got 65"),
        ({"first_hz": 7000.0}, "second_hz must lie above first_hz 7000"),
        ({"lowest_dbfs": 0.0}, "lowest_dbfs must lie below level_dbfs 0"),
    ],
)
def test_a_twin_tone_that_does_not_fit_is_refused(changes, complaint):
    with pytest.raises(ValueError, match=complaint):
        a_twin_tone(**changes)
