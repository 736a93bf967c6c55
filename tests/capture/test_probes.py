import numpy as np
import pytest

from profiler.capture.probes import harmonic_lines, measure_probe, read_probes
from profiler.stimulus.plan import Probe, SignalDefinition, Silence
from profiler.stimulus.synthesis import render

RATE = 48_000
FREQUENCY = 1000.0
SECONDS = 0.3


def tone(*harmonics, rate=RATE, frequency=FREQUENCY, phase=0.3):
    """Harmonics of these amplitudes, the first the fundamental."""
    t = np.arange(round(SECONDS * rate)) / rate
    return sum(
        amplitude * np.sin(2 * np.pi * frequency * order * t + order * phase)
        for order, amplitude in enumerate(harmonics, start=1)
    )


@pytest.mark.parametrize("rate", [44_100, 48_000, 96_000, 192_000])
def test_level_and_thd_are_those_of_the_tone(rate):
    reading = measure_probe(tone(0.1, 0.003, 0.004, rate=rate), FREQUENCY, rate)
    assert reading.level_dbfs == pytest.approx(-20.0, abs=1e-6)
    assert reading.thd == pytest.approx(0.05, rel=1e-6)


def test_thd_does_not_depend_on_the_gain():
    loud, soft = (measure_probe(g * tone(0.5, 0.01), FREQUENCY, RATE) for g in (1.0, 1e-3))
    assert loud.thd == pytest.approx(soft.thd, rel=1e-9)
    assert loud.level_dbfs - soft.level_dbfs == pytest.approx(60.0, abs=1e-9)


def test_only_the_end_of_the_tone_counts():
    disturbed = tone(0.1, 0.001)
    disturbed[: round(0.09 * RATE)] += 0.5
    reading = measure_probe(disturbed, FREQUENCY, RATE)
    assert reading == measure_probe(tone(0.1, 0.001), FREQUENCY, RATE)


@pytest.mark.parametrize("hum", [50.0, 60.0, 120.0])
def test_hum_and_an_offset_are_neither_level_nor_harmonics(hum):
    t = np.arange(round(SECONDS * RATE)) / RATE
    disturbed = tone(0.1, 0.001) + 0.05 + 0.01 * np.sin(2 * np.pi * hum * t)
    reading = measure_probe(disturbed, FREQUENCY, RATE)
    assert reading.level_dbfs == pytest.approx(-20.0, abs=1e-3)
    assert reading.thd == pytest.approx(0.01, rel=1e-3)
    assert reading.residual_rms_dbfs == pytest.approx(-43.0, abs=0.2)  # 0.01/sqrt(2)


def test_the_stated_sigmas_are_the_scatter_that_noise_makes():
    rng = np.random.default_rng(0)
    clean = tone(0.1, 0.004, 0.003)
    readings = [
        measure_probe(clean + 3e-3 * rng.standard_normal(len(clean)), FREQUENCY, RATE)
        for _ in range(200)
    ]
    levels = np.array([reading.level_dbfs for reading in readings])
    thds = np.array([reading.thd for reading in readings])
    # 200 draws tell a spread to 5 %, a mean to 7 % of it: three times that
    assert np.std(levels) == pytest.approx(readings[0].level_sigma_db, rel=0.15)
    assert np.std(thds) == pytest.approx(readings[0].thd_sigma, rel=0.15)
    assert np.mean(levels) == pytest.approx(-20.0, abs=0.21 * np.std(levels))
    assert np.mean(thds) == pytest.approx(0.05, abs=0.21 * np.std(thds))
    # a sixteenth of the band, about the harmonics, is left out: -0.27 dB
    assert readings[0].residual_rms_dbfs == pytest.approx(-50.73, abs=0.2)


def test_noise_alone_makes_no_thd_that_would_be_believed():
    rng = np.random.default_rng(1)
    for _ in range(50):
        noisy = tone(0.01) + 1e-3 * rng.standard_normal(round(SECONDS * RATE))
        reading = measure_probe(noisy, FREQUENCY, RATE)
        assert reading.thd < 4 * reading.thd_sigma


def test_silence_has_no_level():
    reading = measure_probe(np.zeros(round(SECONDS * RATE)), FREQUENCY, RATE)
    assert reading.level_dbfs == -np.inf
    assert reading.level_sigma_db == np.inf


def test_a_tone_too_short_is_a_wrong_call():
    with pytest.raises(ValueError, match=r"got 0\.200 s of tone"):
        measure_probe(np.zeros(round(0.2 * RATE)), FREQUENCY, RATE)


def test_every_probe_of_a_plan_is_read_where_it_stands():
    plan = SignalDefinition(
        name="two",
        segments=(
            Silence(name="pre", kind="silence", use="align", seconds=0.25),
            Probe(name="first", kind="probe", use="analyse", level_dbfs=-20.0),
            Probe(
                name="second", kind="probe", use="analyse", level_dbfs=-20.0, replicate_of="first"
            ),
        ),
    ).plan(RATE)
    response = render(plan).astype(np.float64)
    response[round(0.8 * RATE) :] *= 0.5
    first, second = read_probes(plan, response)
    assert (first.name, first.at_seconds) == ("first", pytest.approx(0.35))
    assert (second.name, second.at_seconds) == ("second", pytest.approx(0.85))
    assert first.reading.level_dbfs == pytest.approx(-20.0, abs=1e-4)
    assert second.reading.level_dbfs == pytest.approx(-26.02, abs=1e-2)


def test_no_harmonic_however_high_is_taken_for_noise():
    saturated = np.tanh(8 * tone(0.5)) + 1e-4 * np.random.default_rng(2).standard_normal(14_400)
    assert measure_probe(saturated, FREQUENCY, RATE).residual_rms_dbfs == pytest.approx(-80, abs=1)


def test_harmonic_lines_are_told_in_a_tone_of_a_tenth_of_a_second():
    t = np.arange(4800) / 48_000
    tone = 0.5 * np.sin(2 * np.pi * 440 * t + 0.3) + 0.01 * np.sin(2 * np.pi * 1320 * t)
    noise = 1e-4 * np.random.default_rng(0).standard_normal(len(t))
    lines = harmonic_lines(tone + noise, 440.0, 48_000, 9)
    assert np.abs(lines.amplitudes[[0, 2]]) == pytest.approx([0.5, 0.01], abs=1e-5)
    # a Hann window's noise bandwidth is 1.5: a half of 4 * 1.5 * sigma^2 / n in each part
    assert lines.variance == pytest.approx(3e-8 / 4800, rel=0.3)
    assert len(lines.amplitudes) == 9
    assert lines.residual_power == pytest.approx(1e-8, rel=0.15)
