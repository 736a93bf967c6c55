import numpy as np
import pytest

from profiler.analysis.error import esr_words
from profiler.analysis.forecast import forecast
from profiler.capture.alignment import AlignedCapture, Alignment
from profiler.stimulus.plan import File, SignalDefinition, load_signal
from profiler.stimulus.synthesis import render

RATE = 48_000
PLAN = load_signal("check").plan(RATE)
STIMULUS = render(PLAN).astype(np.float64)
PROGRAMME = list(PLAN.used_for("train", "validate", "test"))


def captured(response, plan=PLAN, stimulus=STIMULUS):
    alignment = Alignment(
        delay_samples=0.0,
        sigma_samples=0.0,
        polarity=1,
        reference="given",
        drift_ppm=None,
        markers=(),
    )
    return AlignedCapture(plan, alignment, stimulus.astype(np.float32), response.astype(np.float32))


def with_noise(floor_esr, seed=0):
    """A saturating device whose noise has this power re its programme's."""
    clean = 0.3 * np.tanh(4 * STIMULUS)
    power = np.mean(np.concatenate([clean[p.slice] for p in PROGRAMME]) ** 2)
    noise = np.random.default_rng(seed).standard_normal(len(clean))
    return clean + np.sqrt(floor_esr * power) * noise


@pytest.mark.parametrize("truth", [1e-5, 0.005, 0.02, 0.3])
def test_the_floor_is_the_power_of_the_noise_re_the_programme_s(truth):
    found = forecast(captured(with_noise(truth)))
    # the programme's own power holds the noise, too; 0.8 s of silence tell it to 1 %
    expected = truth / (1 + truth)
    assert found.noise_esr == pytest.approx(expected, rel=0.03)
    assert found.replicate_esr == pytest.approx(2 * expected, rel=0.03)
    assert found.floor_esr == pytest.approx(expected, rel=0.03)


def test_a_device_that_drifts_has_a_higher_floor_than_its_noise():
    response = with_noise(1e-6)
    again = PROGRAMME[-1]
    response[again.slice] *= 10 ** (1.0 / 20)  # 1 dB between the passes
    found = forecast(captured(response))
    assert found.replicate_esr == pytest.approx(0.0132, rel=0.02)  # (1 - g)^2 / mean power
    assert found.floor_esr == pytest.approx(found.replicate_esr / 2)
    assert found.noise_esr < 1e-5
    assert "does not repeat itself" in found.sentence


@pytest.mark.parametrize(
    ("esr", "word"),
    [(0.001, "great"), (0.0099, "great"), (0.02, "not bad"), (0.05, "might be ok"), (0.2, "poor")],
)
def test_the_words_are_those_that_players_use(esr, word):
    assert esr_words(esr) == word
    sentence = forecast(captured(with_noise(esr))).sentence
    assert f", {word}: noise is what limits it" in sentence


def test_a_take_without_limits_says_so():
    assert "sets no limit" in forecast(captured(with_noise(1e-8))).sentence


def test_what_was_neither_repeated_nor_silent_has_no_forecast():
    plan = SignalDefinition(
        name="own",
        segments=(File(name="train", kind="file", use="train", path="x.wav", seconds=2.0),),
    ).plan(RATE)
    played = np.random.default_rng(1).standard_normal(plan.frames)
    found = forecast(captured(np.tanh(played), plan, played))
    assert (found.replicate_esr, found.noise_esr, found.floor_esr) == (None, None, None)
    assert "not known" in found.sentence


def test_probes_are_no_programme():
    response = with_noise(1e-4)
    for placed in PLAN.of_kind("probe"):
        response[placed.slice] = np.random.default_rng(placed.start).standard_normal(
            placed.stop - placed.start
        )
    assert forecast(captured(response)).floor_esr == pytest.approx(1e-4, rel=0.05)
