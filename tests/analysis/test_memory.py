"""Truths are those of Gaussian signals, of which a multisine of thousands of lines is one.

With a curve written in Hermite polynomials, g(s z) = sum c_n He_n(z)/sqrt(n!), two Gaussian
signals of correlation r make outputs of covariance sum c_n^2 r^n (Mehler). So for a filter, a
curve, and both in either order, both shares follow from c_n and correlations.
"""

import functools

import numpy as np
import pytest
from scipy import signal

from profiler.analysis.memory import (
    best_linear_approximation,
    linear_prediction_r2,
    memory,
    scatter,
    static_function,
    word_for,
)
from profiler.capture.alignment import AlignedCapture, Alignment
from profiler.circuit.preamp import two_stages
from profiler.circuit.solver import Solver
from profiler.errors import CaptureError
from profiler.stimulus.multisine import multisine
from profiler.stimulus.plan import Guitar, Multisine, SignalDefinition, load_signal
from profiler.stimulus.synthesis import render

ORDERS = 60
GAIN = 10.0
Z = np.linspace(-9.0, 9.0, 20_001)
GAUSSIAN = np.exp(-(Z**2) / 2)
GAUSSIAN /= GAUSSIAN.sum()


@functools.cache
def realisations(rate=48_000, count=6):
    """One period of each, `(M, n)`."""
    segment = Multisine(
        kind="multisine",
        name="m",
        use="analyse",
        odd_only=True,
        realisations=count,
        seconds=float(count),
    )
    played = multisine(segment, rate, np.random.default_rng(1))
    return played.reshape(count, 2, -1)[:, 0]


def filters(rate):
    return np.concatenate(
        [
            signal.butter(1, 100, "high", fs=rate, output="sos"),
            signal.butter(2, 4000, fs=rate, output="sos"),
        ]
    )


def curve(x):
    return np.tanh(GAIN * x + 0.3)


def filtered(x, rate):
    return signal.sosfilt(filters(rate), x)


DEVICES = {
    "wire": lambda x, rate: 0.3 * x,
    "curve": lambda x, rate: curve(x),
    "filter": filtered,
    "wiener": lambda x, rate: curve(filtered(x, rate)),
    "hammerstein": lambda x, rate: filtered(curve(x), rate),
}


def steady(device, x, rate):
    """The response to a period, when it has become periodic."""
    return np.array([device(np.tile(r, 3), rate)[-x.shape[1] :] for r in x])


def hermite(g, sigma):
    """c_n of g(sigma z), n from 0 on."""
    polynomials = [np.ones_like(Z), Z]
    for n in range(1, ORDERS):
        polynomials.append((Z * polynomials[n] - np.sqrt(n) * polynomials[n - 1]) / np.sqrt(n + 1))
    return np.array([np.sum(GAUSSIAN * g(sigma * Z) * p) for p in polynomials[:ORDERS]])


def variance(g, sigma):
    values = g(sigma * Z)
    return np.sum(GAUSSIAN * values**2) - np.sum(GAUSSIAN * values) ** 2


def covariance(spectrum, fine=8):
    """From a two-sided power spectrum's lines, `fine` times as close as its samples."""
    padded = np.zeros((len(spectrum) - 1) * fine + 1, complex)
    padded[: len(spectrum)] = spectrum
    return np.fft.irfft(padded) * fine


@functools.cache
def truth(device, rate=48_000):
    """(static, linear) R2."""
    x = realisations(rate)
    power = np.mean(np.abs(np.fft.rfft(x, axis=1)) ** 2, axis=0)
    H = signal.sosfreqz(filters(rate), np.arange(len(power)) * 2.0, fs=rate)[1]
    sigma = np.std(x)
    inside = np.fft.irfft(power)[0]
    behind = np.fft.irfft(power * np.abs(H) ** 2)[0]
    across = np.max(np.abs(covariance(power * H))) / np.sqrt(inside * behind)
    if device == "wire":
        return 1.0, 1.0
    if device == "curve":
        return 1.0, hermite(curve, sigma)[1] ** 2 / variance(curve, sigma)
    if device == "filter":
        return across**2, 1.0
    if device == "wiener":
        within = sigma * np.sqrt(behind / inside)
        c, whole = hermite(curve, within), variance(curve, within)
        orders = np.arange(1, ORDERS)
        return np.sum(c[1:] ** 2 * across ** (2 * orders)) / whole, c[1] ** 2 / whole
    c = hermite(curve, sigma)
    correlation = np.fft.irfft(power) / inside
    through = sum(c[n] ** 2 * correlation**n for n in range(1, ORDERS))
    # what of the highest orders is missing is white
    through[0] += variance(curve, sigma) - np.sum(c[1:] ** 2)
    whole = np.fft.irfft(np.fft.rfft(through).real * np.abs(H) ** 2)[0]
    linear = np.fft.irfft(np.fft.rfft(c[1] ** 2 * correlation).real * np.abs(H) ** 2)[0]
    explained = sum(
        c[n] ** 2 * covariance(np.fft.rfft(correlation**n) * H) ** 2 for n in range(1, ORDERS)
    )
    return np.max(explained) / whole, linear / whole


def both(x, y, rate):
    """Measured (static, linear) R2 of periods without noise."""
    linear = best_linear_approximation(x, y[:, None], rate)
    return static_function(list(zip(x, y, strict=True)), rate), linear


# 0.01 was asked for; six realisations of a spectrum whose power is in its lowest lines are within
# 0.005 of the Gaussian
@pytest.mark.parametrize("device", DEVICES)
def test_both_shares_are_the_closed_form_s(device):
    x = realisations()
    static, linear = both(x, steady(DEVICES[device], x, 48_000), 48_000)
    expected = truth(device)
    assert static.r2 == pytest.approx(expected[0], abs=0.005)
    assert linear.r2 == pytest.approx(expected[1], abs=0.005)


@pytest.mark.parametrize("rate", [44_100, 96_000, 192_000])
def test_both_shares_are_the_same_at_every_sample_rate(rate):
    x = realisations(rate, 3)
    static, linear = both(x, steady(DEVICES["wiener"], x, rate), rate)
    # three realisations: less certain
    assert static.r2 == pytest.approx(truth("wiener")[0], abs=0.015)
    assert linear.r2 == pytest.approx(truth("wiener")[1], abs=0.015)
    assert static.delay_samples / rate == pytest.approx(2.4 / 48_000, abs=0.2 / 48_000)


@pytest.mark.parametrize("gain", [1e-3, -1.0])
def test_neither_gain_nor_polarity_nor_delay_matters(gain):
    x = realisations()
    y = steady(DEVICES["wiener"], x, 48_000)
    before, linear_before = both(x, y, 48_000)
    shifted = gain * np.roll(y, 100, axis=1)
    after, linear_after = both(x, shifted, 48_000)
    assert after.r2 == pytest.approx(before.r2, abs=1e-4)
    assert linear_after.r2 == pytest.approx(linear_before.r2, abs=1e-9)
    assert after.delay_samples - before.delay_samples == pytest.approx(100.0, abs=0.05)
    assert after.hysteresis == pytest.approx(before.hysteresis, abs=1e-3)
    np.testing.assert_allclose(linear_after.even_db, linear_before.even_db, atol=1e-6)


def test_the_best_curve_is_the_device_s():
    x = realisations()
    static, _ = both(x, steady(DEVICES["curve"], x, 48_000), 48_000)
    np.testing.assert_allclose(static.outputs, curve(static.inputs), atol=0.003)
    assert static.hysteresis < 0.003
    assert static.inputs[-1] > 0.6 * np.max(x)  # the mean of the loudest two per mille


def test_play_is_a_hysteresis_and_a_delay_is_none():
    # of what is slow: a rise that lasts is a rise
    lines = np.fft.rfft(realisations(), axis=1)
    lines[:, 50:] = 0.0
    x = np.fft.irfft(lines, axis=1)
    x *= 0.2 / np.std(x)
    plain, _ = both(x, np.roll(0.3 * x, 7, axis=1), 48_000)
    assert plain.hysteresis < 0.001
    # the output follows when the input has moved by so much
    play = np.array([backlash(np.tile(r, 2), 0.02)[-24_000:] for r in x])
    behind, _ = both(x, play, 48_000)
    near = np.abs(behind.inputs) < 0.1
    # and the best delay takes some of it away
    assert -0.04 < np.median((behind.rising - behind.falling)[near]) < -0.005
    assert 0.01 < behind.hysteresis < 0.1


def backlash(x, half):
    out, at = np.empty_like(x), 0.0
    for n, value in enumerate(x):
        at = min(max(at, value - half), value + half)
        out[n] = at
    return out


def test_noise_is_no_memory_and_its_level_is_told():
    x = realisations()
    rng = np.random.default_rng(3)
    y = steady(DEVICES["curve"], x, 48_000)
    noise = 0.2 * np.std(y)
    periods = y[:, None] + noise * rng.standard_normal((6, 2, 24_000))
    linear = best_linear_approximation(x, periods, 48_000)
    assert linear.r2 == pytest.approx(truth("curve")[1], abs=0.005)
    mean = np.mean(periods, axis=1)
    power = np.mean(np.var(periods, axis=1, ddof=1)) / 2
    static = static_function(list(zip(x, mean, strict=True)), 48_000, noise_power=power)
    assert static.r2 == pytest.approx(1.0, abs=0.002)
    # without that knowledge noise of -14 dB, of which the mean of two periods has half, counts
    ignorant = static_function(list(zip(x, mean, strict=True)), 48_000)
    assert ignorant.r2 == pytest.approx(1 - 0.02 / 1.02, abs=0.002)


def test_noise_is_no_hysteresis():
    # what 200 bins of each branch make of noise as strong as the response is 3 %
    x = realisations()
    found = []
    for seed in range(4):
        y = curve(x)
        y = y + np.std(y) * np.random.default_rng(seed).standard_normal(x.shape)
        found.append(static_function(list(zip(x, y, strict=True)), 48_000).hysteresis)
    assert np.max(found) < 0.02


def test_the_levels_of_distortion_are_without_the_noise():
    x = realisations()
    rng = np.random.default_rng(9)
    y = x + 0.02 * x**2
    clean = best_linear_approximation(x, y[:, None], 48_000).even_db
    # on the even lines, as much noise as distortion
    lines = np.fft.rfft(0.02 * x**2, axis=1)[:, 2:8000:2]
    noise = np.sqrt(2 * np.mean(np.abs(lines) ** 2) / 24_000)
    noisy = y[:, None] + noise * rng.standard_normal((6, 2, 24_000))
    even = best_linear_approximation(x, noisy, 48_000).even_db
    power = np.sum(10 ** (even / 10)) / np.sum(10 ** (clean / 10))
    assert power == pytest.approx(1.0, abs=0.15)


def test_what_200_bins_explain_by_chance_is_not_explained():
    # of a second of noise it is 0.4 %; the delay is chosen by chance as well
    x = realisations()[:2]
    noise = np.random.default_rng(8).standard_normal(x.shape)
    assert static_function(list(zip(x, noise, strict=True)), 48_000).r2 < 0.0025


def test_even_and_odd_curvature_come_back_on_their_own_lines():
    x = realisations()
    even = best_linear_approximation(x, (x + 0.1 * x**2)[:, None], 48_000)
    odd = best_linear_approximation(x, (x + 0.1 * x**3)[:, None], 48_000)
    assert np.max(even.odd_db) < -250.0
    assert np.max(odd.even_db) < -250.0
    # twice the coefficient, 6 dB more
    twice = best_linear_approximation(x, (x + 0.2 * x**2)[:, None], 48_000)
    np.testing.assert_allclose(twice.even_db - even.even_db, 6.02, atol=0.01)
    # the power of what x^2 makes, 2 sigma^4 of a Gaussian, is on the even lines
    lines = np.fft.rfft(0.1 * x**2, axis=1)[:, 2::2]
    assert np.sum(np.abs(lines) ** 2) > 0.0
    total = 2 * np.mean(np.sum(np.abs(lines / 24_000) ** 2, axis=1))
    assert total == pytest.approx(0.01 * 2 * np.std(x) ** 4, rel=0.15)
    assert 1 - even.r2 == pytest.approx(total / (np.std(x) ** 2 + total), rel=1e-4)


def test_the_best_filter_is_the_device_s_and_its_sigma_is_honest():
    x = realisations()
    y = steady(DEVICES["filter"], x, 48_000)
    rng = np.random.default_rng(4)
    noisy = y[:, None] + 1e-3 * rng.standard_normal((6, 2, 24_000))
    linear = best_linear_approximation(x, noisy, 48_000)
    H = signal.sosfreqz(filters(48_000), linear.frequencies, fs=48_000)[1]
    apart = np.abs(linear.response - H)
    assert np.sqrt(np.mean((apart / linear.sigma) ** 2)) == pytest.approx(1.0, abs=0.3)
    clean = best_linear_approximation(x, y[:, None], 48_000)
    np.testing.assert_allclose(clean.response, H, atol=1e-9)


@pytest.mark.parametrize(
    ("static", "linear", "word"),
    [
        (1.0, 1.0, "both"),
        (0.995, 0.9, "memoryless"),
        (0.9, 0.995, "linear"),
        (0.98, 0.98, "neither"),
    ],
)
def test_one_word_says_it(static, linear, word):
    assert word_for(static, linear) == word


def test_what_does_not_belong_together_is_refused():
    x = realisations()
    with pytest.raises(ValueError, match=r"got stimuli \(1, 24000\) and responses \(1, 1, 24000\)"):
        best_linear_approximation(x[:1], x[:1, None], 48_000)
    with pytest.raises(ValueError, match=r"got 0.5 s, expected at least 0.75 s"):
        static_function([(x[0], x[0])], 48_000)
    with pytest.raises(ValueError, match="is silent"):
        static_function([(x[0], 0 * x[0])] * 4, 48_000)
    with pytest.raises(ValueError, match="got 1 passages, expected at least 2: half"):
        linear_prediction_r2([(x[0], x[0])], 48_000)


# -- a circuit --------------------------------------------------------------------------


def preamp(x, volts):
    """Two 12AX7 stages on a signal at 48 kHz, at twice that rate inside."""
    inner = signal.resample_poly(x, 2, 1, window=("kaiser", 12.0))
    return signal.resample_poly(
        Solver(two_stages(), 96_000).run(volts * inner), 1, 2, window=("kaiser", 12.0)
    )


def preamp_shares(volts):
    x = realisations(count=6)
    # a period from the middle of three, away from the ends of the resampling
    y = np.array([preamp(np.tile(r, 3), volts)[36_000:60_000] for r in x])
    static, linear = both(x, np.roll(y, 12_000, axis=1), 48_000)
    return static.r2, linear.r2


def test_a_soft_preamp_is_the_filter_that_its_impulse_response_says():
    click = np.zeros(48_000)
    click[1000] = 1.0
    H = np.fft.rfft(np.roll(preamp(click, 1e-6), -1000))[::2] / 1e-6
    power = np.mean(np.abs(np.fft.rfft(realisations(), axis=1)) ** 2, axis=0)
    across = np.max(np.abs(covariance(power * H))) ** 2
    filtering = across / (np.fft.irfft(power)[0] * np.fft.irfft(power * np.abs(H) ** 2)[0])
    static, linear = preamp_shares(1e-3)
    assert static == pytest.approx(filtering, abs=0.005)
    assert linear == pytest.approx(1.0, abs=0.001)


def test_a_driven_preamp_s_shares_are_those_of_long_noise_by_other_means():
    # Gaussian noise of the multisine's spectrum and power: coherence for the filter, and for the
    # curve a polynomial at the best whole delay. Six seconds of it are certain to 0.015
    rng = np.random.default_rng(0)
    f = np.fft.rfftfreq(6 * 48_000, 1 / 48_000)
    pink = np.where((f >= 20) & (f <= 20_000), np.maximum(f, 1.0) ** -0.5, 0.0)
    noise = np.fft.irfft(pink * (rng.standard_normal(len(f)) + 1j * rng.standard_normal(len(f))))
    noise *= np.std(realisations()) / np.std(noise)
    x, y = noise[12_000:], preamp(noise, 0.2)[12_000:]
    _, power = signal.welch(y, 48_000, nperseg=16_384)
    _, coherence = signal.coherence(x, y, 48_000, nperseg=16_384)
    filtering = np.sum((coherence * power)[1:]) / np.sum(power[1:])
    bending = 0.0
    for lag in range(-2, 3):
        later = y[20 + lag : len(y) - 20 + lag]
        fitted = np.polynomial.Polynomial.fit(x[20:-20], later, 13)(x[20:-20])
        bending = max(bending, 1 - np.var(later - fitted) / np.var(y))
    static, linear = preamp_shares(0.2)
    assert static == pytest.approx(bending, abs=0.015)
    assert linear == pytest.approx(filtering, abs=0.015)
    assert word_for(static, linear) == "neither"


# -- guitar -----------------------------------------------------------------------------


def white(device, passages=4, seconds=2.0, rate=48_000):
    rng = np.random.default_rng(5)
    pairs = []
    for _ in range(passages):
        x = np.zeros(round((seconds + 0.2) * rate))
        x[: round(seconds * rate)] = 0.2 * rng.standard_normal(round(seconds * rate))
        pairs.append((x, device(x, rate)))
    return pairs


def through_4_khz(x, rate):
    return signal.sosfilt(signal.butter(2, 4000, fs=rate, output="sos"), x)


def test_the_best_fir_filter_explains_of_white_noise_what_bussgang_says():
    share = hermite(lambda x: np.tanh(GAIN * x), 0.2)[1] ** 2 / variance(
        lambda x: np.tanh(GAIN * x), 0.2
    )
    for device, expected in (
        (lambda x, rate: through_4_khz(x, rate), 1.0),
        (lambda x, rate: np.tanh(GAIN * x), share),
        (lambda x, rate: through_4_khz(np.tanh(GAIN * x), rate), share),
    ):
        assert linear_prediction_r2(white(device), 48_000) == pytest.approx(expected, abs=0.003)


def test_what_noise_adds_is_not_explained_by_many_taps():
    rng = np.random.default_rng(6)
    pairs = [
        (x, y + 0.1 * rng.standard_normal(len(y))) for x, y in white(through_4_khz, seconds=0.5)
    ]
    power = np.mean([np.var(y) for _, y in pairs])
    assert linear_prediction_r2(pairs, 48_000) == pytest.approx(1 - 0.01 / power, abs=0.01)


# -- captures ---------------------------------------------------------------------------


@functools.cache
def stimulus_of(plan):
    return render(plan).astype(np.float64)


def aligned(plan, device):
    stimulus = stimulus_of(plan)
    alignment = Alignment(
        delay_samples=0.0,
        sigma_samples=0.0,
        polarity=1,
        reference="given",
        drift_ppm=None,
        markers=(),
    )
    response = device(stimulus, plan.sample_rate).astype(np.float32)
    return AlignedCapture(plan, alignment, stimulus.astype(np.float32), response)


def a_multisine(level_dbfs, seed=0, realisations=6, seconds=9.0):
    return Multisine(
        kind="multisine",
        name=f"multisine {level_dbfs} {seed}",
        use="analyse",
        odd_only=True,
        realisations=realisations,
        seconds=seconds,
        level_dbfs=level_dbfs,
        seed=seed,
    )


def test_a_curve_bends_with_the_level_and_stays_a_curve():
    segments = (a_multisine(0.0), a_multisine(-40.0))
    plan = SignalDefinition(name="levels", segments=segments).plan(48_000, gain_db=-0.1)
    record = memory(aligned(plan, DEVICES["curve"]))
    soft, loud = record.levels
    assert (soft.level_dbfs, loud.level_dbfs) == (-40.1, -0.1)
    assert (soft.word, loud.word, record.word) == ("both", "memoryless", "memoryless")
    assert soft.linear_r2 > loud.linear_r2
    assert loud.linear_r2 == pytest.approx(truth("curve")[1], abs=0.01)
    assert record.warnings == ()
    assert max(d for d in loud.lines.odd_db if d is not None) > -20.0
    record.model_dump_json()


def test_several_segments_of_one_level_are_its_realisations():
    one = [a_multisine(-6.0, seed, realisations=1, seconds=1.5) for seed in range(3)]
    plan = SignalDefinition(name="seeds", segments=tuple(one)).plan(48_000)
    record = memory(aligned(plan, DEVICES["filter"]))
    assert [level.word for level in record.levels] == ["linear"]
    assert "have 3 realisations" in record.warnings[0]


@pytest.mark.parametrize("rate", [44_100, 192_000])
def test_guitar_alone_answers(rate):
    segments = tuple(
        Guitar(kind="guitar", name=f"g{seed}", use="train", seconds=2.0, seed=seed, level_dbfs=-0.1)
        for seed in range(2)
    )
    plan = SignalDefinition(name="guitar", segments=segments).plan(rate)
    words = {"wire": "both", "curve": "memoryless", "filter": "linear", "wiener": "neither"}
    for device, word in words.items():
        record = memory(aligned(plan, DEVICES[device]))
        assert (record.word, [level.material for level in record.levels]) == (word, ["guitar"])


def test_one_passage_of_guitar_is_halved():
    segment = load_signal("quick").segments
    (only,) = [s for s in segment if s.kind == "guitar" and s.use == "test"]
    plan = SignalDefinition(name="one", segments=(only,)).plan(48_000)
    record = memory(aligned(plan, DEVICES["filter"]))
    assert record.word == "linear"


def test_the_scatter_lies_on_the_curve_of_what_is_one():
    plan = SignalDefinition(name="m", segments=(a_multisine(0.0), a_multisine(-20.0))).plan(48_000)
    capture = aligned(plan, lambda x, rate: np.roll(curve(x), 9))
    drawn = scatter(capture, points=1000)
    assert (drawn.material, drawn.level_dbfs) == ("multisine", 0.0)
    assert 1000 <= len(drawn.inputs) == len(drawn.outputs) < 1100
    np.testing.assert_allclose(drawn.outputs, curve(drawn.inputs), atol=0.01)
    assert drawn.function.delay_samples == pytest.approx(9.0, abs=0.05)


def test_what_did_not_come_back_is_a_warning_and_nothing_at_all_is_refused():
    segments = (a_multisine(0.0), a_multisine(-40.0))
    plan = SignalDefinition(name="gated", segments=segments).plan(48_000)
    record = memory(aligned(plan, lambda x, rate: np.where(np.abs(x) > 0.02, x, 0.0)))
    assert [level.level_dbfs for level in record.levels] == [0.0]
    assert record.warnings == ("multisine at -40 dBFS: nothing came back",)
    with pytest.raises(CaptureError, match="nothing came back of what memory is told by"):
        memory(aligned(plan, lambda x, rate: 0 * x))


def test_a_plan_with_neither_is_refused():
    with pytest.raises(CaptureError, match="neither 2 s of guitar nor two realisations"):
        memory(aligned(load_signal("a440").plan(48_000), DEVICES["wire"]))


def test_a_realisation_of_one_period_is_refused():
    one = [a_multisine(-6.0, seed, realisations=1, seconds=0.5) for seed in range(3)]
    plan = SignalDefinition(name="short", segments=tuple(one)).plan(48_000)
    with pytest.raises(CaptureError, match="lasts one period, expected two or more"):
        memory(aligned(plan, DEVICES["wire"]))
