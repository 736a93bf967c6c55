import numpy as np
import pytest

from profiler.analysis.intermodulation import intermodulation, measure_twin_tone, method_of
from profiler.capture.alignment import AlignedCapture, Alignment
from profiler.errors import CaptureError
from profiler.stimulus.plan import SAMPLE_RATES, SignalDefinition, TwinTone, load_signal
from profiler.stimulus.synthesis import render
from profiler.stimulus.tones import twin_tone

SMPTE = {"first_hz": 60.0, "second_hz": 7000.0, "ratio": 4.0}
CCIF = {"first_hz": 19_000.0, "second_hz": 20_000.0, "ratio": 1.0}


def cubic(x):
    return x + 0.2 * x**2 + 0.1 * x**3


def closed_form(first, second):
    """Tones and products of two sines through `cubic`, from the products of sines."""
    return {
        "first": first + 0.1 * (0.75 * first**3 + 1.5 * first * second**2),
        "second": second + 0.1 * (0.75 * second**3 + 1.5 * second * first**2),
        "f2 - f1": 0.2 * first * second,
        "f2 - 2 f1": 0.075 * first**2 * second,
        "2 f1 - f2": 0.075 * first**2 * second,
        "2 f2 - f1": 0.075 * second**2 * first,
    }


def a_twin_tone(**changes):
    values = {"seconds": 1.2, "level_dbfs": 0.0, "lowest_dbfs": -12.0, "steps": 3, "name": "t"}
    return TwinTone(kind="twin-tone", use="analyse", **(values | changes))


def tones(pair, rate, seconds=0.2, peak=1.0):
    segment = a_twin_tone(**pair)
    whole = twin_tone(segment, rate)
    return peak * whole[len(whole) - round(seconds * rate) :]


@pytest.mark.parametrize("rate", SAMPLE_RATES)
def test_sidebands_of_a_modulated_tone_are_the_closed_form_s(rate):
    measured = measure_twin_tone(cubic(tones(SMPTE, rate)), 60.0, 7000.0, rate)
    truth = closed_form(0.8, 0.2)
    assert measured.method == "modulation"
    assert measured.first == pytest.approx(truth["first"], rel=1e-6)
    assert measured.second == pytest.approx(truth["second"], rel=1e-6)
    second, third = truth["f2 - f1"], truth["f2 - 2 f1"]
    assert measured.order(2) == pytest.approx(2 * second / truth["second"], rel=1e-6)
    assert measured.order(3) == pytest.approx(2 * third / truth["second"], rel=1e-6)
    assert measured.order(4) is None
    both = np.sqrt(2 * second**2 + 2 * third**2)
    assert measured.imd == pytest.approx(both / truth["second"], rel=1e-6)


@pytest.mark.parametrize("rate", SAMPLE_RATES)
def test_differences_of_two_high_tones_are_the_closed_form_s(rate):
    # at four times the rate nothing folds back; then what the rate allows is kept
    fine = cubic(tones(CCIF, 4 * rate if rate < 100_000 else rate))
    lines = np.fft.rfft(fine)[: round(0.2 * rate) // 2 + 1]
    heard = np.fft.irfft(lines) * rate / (4 * rate if rate < 100_000 else rate)
    measured = measure_twin_tone(heard, 19_000.0, 20_000.0, rate)
    truth = closed_form(0.5, 0.5)
    assert measured.method == "difference"
    played = truth["first"] + truth["second"]
    assert measured.order(2) == pytest.approx(truth["f2 - f1"] / played, rel=1e-5)
    third = truth["2 f1 - f2"] + truth["2 f2 - f1"]
    assert measured.order(3) == pytest.approx(third / played, rel=1e-5)


@pytest.mark.parametrize("gain", [1e-3, -1.0, 5.0])
def test_neither_gain_nor_polarity_nor_delay_matters(gain):
    whole = cubic(tones(SMPTE, 48_000, seconds=0.3))
    expected = measure_twin_tone(whole[:9600], 60.0, 7000.0, 48_000)
    again = measure_twin_tone(gain * whole[77 : 77 + 9600], 60.0, 7000.0, 48_000)
    assert again.imd == pytest.approx(expected.imd, rel=1e-6)
    assert again.order(3) == pytest.approx(expected.order(3), rel=1e-6)


def test_a_product_below_the_noise_is_not_told_and_the_floor_is_what_noise_makes():
    rng = np.random.default_rng(0)
    clean = tones(SMPTE, 48_000)
    measured = [
        measure_twin_tone(clean + 1e-3 * rng.standard_normal(9600), 60.0, 7000.0, 48_000)
        for _ in range(20)
    ]
    # a Hann window's noise bandwidth is 1.5: 4 * 1.5 * sigma^2 / n in each of 8 lines
    expected = np.sqrt(8 * 6 / 9600) * 1e-3 / 0.2
    assert np.mean([m.floor for m in measured]) == pytest.approx(expected, rel=0.1)
    assert sum(m.imd is not None for m in measured) <= 1
    bent = [
        measure_twin_tone(cubic(clean) + 1e-3 * rng.standard_normal(9600), 60.0, 7000.0, 48_000)
        for _ in range(20)
    ]
    truth = measure_twin_tone(cubic(clean), 60.0, 7000.0, 48_000).imd
    assert np.mean([m.imd for m in bent]) == pytest.approx(truth, rel=0.01)


def test_imd_near_the_noise_is_not_the_larger_for_it():
    # a sideband 14 dB above the noise in its line, whose power is 4 % of its own
    rng = np.random.default_rng(1)
    line = np.sqrt(6 / 9600) * 1e-3
    side = 5 * line * np.sin(2 * np.pi * 7060.0 * np.arange(9600) / 48_000)
    clean = tones(SMPTE, 48_000) + side
    readings = [
        measure_twin_tone(clean + 1e-3 * rng.standard_normal(9600), 60.0, 7000.0, 48_000).imd
        for _ in range(600)
    ]
    power = np.mean([imd**2 for imd in readings if imd is not None])
    assert power == pytest.approx((5 * line / 0.2) ** 2, rel=0.025)


def test_hum_beside_the_tones_is_no_product():
    t = np.arange(9600) / 48_000
    hum = sum(0.01 / k * np.sin(2 * np.pi * 50 * k * t + k) for k in range(1, 12))
    assert measure_twin_tone(tones(SMPTE, 48_000) + hum, 60.0, 7000.0, 48_000).imd is None


def test_tones_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="60 and 7000 Hz are not whole"):
        measure_twin_tone(np.ones(4801), 60.0, 7000.0, 48_000)
    with pytest.raises(ValueError, match=r"got 0.1 s, expected at least 0.2 s"):
        measure_twin_tone(np.ones(4800), 60.0, 7000.0, 48_000)


@pytest.mark.parametrize(("pair", "method"), [((60, 7000), "modulation"), ((19, 20), "difference")])
def test_tones_far_apart_modulate_and_others_differ(pair, method):
    assert method_of(*pair) == method


# -- of captures ------------------------------------------------------------------------


def aligned(plan, device):
    stimulus = render(plan).astype(np.float64)
    alignment = Alignment(
        delay_samples=0.0,
        sigma_samples=0.0,
        polarity=1,
        reference="given",
        drift_ppm=None,
        markers=(),
    )
    response = device(stimulus).astype(np.float32)
    return AlignedCapture(plan, alignment, stimulus.astype(np.float32), response)


@pytest.mark.parametrize("rate", [44_100, 96_000])
@pytest.mark.parametrize("seconds", [1.2, 1.3])  # whole tenths of a second a step, and not
def test_imd_against_level_is_the_closed_form_s(rate, seconds):
    segments = (a_twin_tone(**SMPTE, seconds=seconds), a_twin_tone(**CCIF, name="high"))
    plan = SignalDefinition(name="twins", segments=segments).plan(rate, gain_db=-3.0)
    record = intermodulation(aligned(plan, cubic))
    low, high = record.twin_tones
    assert (low.method, high.method) == ("modulation", "difference")
    assert [step.level_dbfs for step in low.steps] == pytest.approx([-15.0, -9.0, -3.0])
    for step in low.steps:
        peak = 10 ** (step.level_dbfs / 20)
        truth = closed_form(0.8 * peak, 0.2 * peak)
        second = 200 * truth["f2 - f1"] / truth["second"]
        assert step.second_order_percent == pytest.approx(second, rel=1e-3)
        third = 200 * truth["f2 - 2 f1"] / truth["second"]
        assert step.third_order_percent == pytest.approx(third, rel=1e-3)
        assert step.first_dbfs == pytest.approx(20 * np.log10(truth["first"]), abs=0.001)
    for step in high.steps:
        peak = 10 ** (step.level_dbfs / 20)
        truth = closed_form(0.5 * peak, 0.5 * peak)
        second = 100 * truth["f2 - f1"] / (truth["first"] + truth["second"])
        assert step.second_order_percent == pytest.approx(second, rel=1e-3)
    record.model_dump_json()


def test_silence_has_no_products_and_is_no_error():
    plan = SignalDefinition(name="dead", segments=(a_twin_tone(**SMPTE),)).plan(48_000)
    (twin,) = intermodulation(aligned(plan, lambda x: 0 * x)).twin_tones
    assert {step.imd_percent for step in twin.steps} == {None}


def test_a_plan_without_twin_tones_is_refused():
    with pytest.raises(CaptureError, match="holds no twin tone"):
        intermodulation(aligned(load_signal("a440").plan(48_000), cubic))


def test_steps_that_are_too_short_are_refused():
    plan = SignalDefinition(name="short", segments=(a_twin_tone(**SMPTE, seconds=0.6),)).plan(
        48_000
    )
    with pytest.raises(CaptureError, match=r"steps last 0.20 s, expected at least 0.4 s"):
        intermodulation(aligned(plan, cubic))
