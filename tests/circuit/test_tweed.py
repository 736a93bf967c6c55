import numpy as np
import pytest

from profiler.circuit import stages, tweed
from profiler.circuit.device import create
from profiler.circuit.filters import audio_taper
from profiler.circuit.tube import MILLER_FARADS, PENTODE_6L6GC, TRIODE_12AX7, triode_current

SHIPPED = {"gain": 5.0, "tone": 6.0, "master": 8.0}
RATE = 384_000.0


def _stage_gain(s):
    """A common-cathode 12AX7, 100 kohm, 1.5 kohm and 25 uF, from the textbook."""
    stage = tweed.FIRST_STAGE
    cathode = stage.cathode_volts()
    plate = stage.supply - stage.plate_ohms / stage.cathode_ohms * cathode
    step = 1e-3
    transconductance = (
        triode_current(TRIODE_12AX7, step - cathode, plate)
        - triode_current(TRIODE_12AX7, -step - cathode, plate)
    ) / (2 * step)
    conductance = (
        triode_current(TRIODE_12AX7, -cathode, plate + step)
        - triode_current(TRIODE_12AX7, -cathode, plate - step)
    ) / (2 * step)
    mu = transconductance / conductance
    cathode_z = 1.0 / (1.0 / stage.cathode_ohms + s * stage.cathode_farads)
    total = 1.0 / conductance + stage.plate_ohms + (mu + 1.0) * cathode_z
    output_ohms = 1.0 / (conductance + 1.0 / stage.plate_ohms)
    return -mu * stage.plate_ohms / total, output_ohms


def _small_signal(frequency):
    """The amp's transfer function, node by node, full scale out per volt in."""
    s = 2j * np.pi * frequency
    stage, output_ohms = _stage_gain(s)
    gain, tone, master = (audio_taper(SHIPPED[name]) for name in ("gain", "tone", "master"))

    lower, upper = gain * 1e6, (1.0 - gain) * 1e6 + output_ohms
    couple = lower / (lower + upper + 1.0 / (s * 22e-9))
    miller = 1.0 / (1.0 + s * MILLER_FARADS * lower * upper / (lower + upper))
    shunt = tone * 1e6 + 1.0 / (s * 1e-9)
    treble = shunt / (shunt + output_ohms + 100e3)
    split = 220e3 / (220e3 + 20e3 + 1.0 / (s * 100e-9))

    tube, screen, knee = PENTODE_6L6GC, tweed.rest_screen_volts(), 360.0 / PENTODE_6L6GC.kvb

    def strength(grid):
        bend = np.log1p(np.exp(tube.kp * (1.0 / tube.mu + grid / screen)))
        return 2.0 / tube.kg1 * (screen / tube.kp * bend) ** tube.ex

    transconductance = (strength(-31.99) - strength(-32.01)) / 0.02 * np.arctan(knee)
    plate_conductance = strength(-32.0) / tube.kvb / (1.0 + knee**2)
    half_load = 6.6e3 / 4.0
    power = 2.0 * transconductance * half_load / (1.0 + 2.0 * plate_conductance * half_load)

    bass = s / (s + 6.6e3 / 22.0)
    leakage = 1.0 / (1.0 + s * 0.2 / 6.6e3 + s**2 * 0.2 * 2e-9)
    chain = couple * miller * treble * master * split * power * bass * leakage
    return stage**2 * chain * tweed.OUTPUT_PER_VOLT


def test_a_quiet_signal_sees_the_textbook_amp():
    sample_rate, frames, level = 48_000, 96_000, 1e-5
    impulse = np.zeros(frames)
    impulse[100] = level  # what rings before it in the linear-phase filters is kept
    device = create("tweed", SHIPPED, sample_rate)
    response = np.roll(device.process(impulse), -100 - device.latency_samples)
    found = np.fft.rfft(response)[60:30_001] / level
    truth = _small_signal(np.arange(60, 30_001) / 2.0)  # 30 Hz to 15 kHz
    # magnitude and phase at once, so no delay is hidden either; what is left is the bilinear
    # warping, a hundredth at 15 kHz
    assert np.max(np.abs(found / truth - 1.0)) < 0.015


def test_the_screen_rests_where_ohm_puts_it():
    screen = tweed.rest_screen_volts()
    tube = PENTODE_6L6GC
    bend = np.log1p(np.exp(tube.kp * (1.0 / tube.mu - 32.0 / screen)))
    drawn = 2.0 * (screen / tube.kp * bend) ** tube.ex / tube.kg2
    assert (360.0 - screen) / 4.7e3 == pytest.approx(drawn, rel=1e-9)


def _sine(level, frequency, seconds, rate):
    return level * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)


def _screen_current(upper, lower, screen):
    tube = PENTODE_6L6GC
    bend = [np.log1p(np.exp(tube.kp * (1.0 / tube.mu + g / screen))) for g in (upper, lower)]
    return sum((screen / tube.kp * b) ** tube.ex for b in bend) / tube.kg2


def test_under_a_steady_tone_the_supply_sags_by_what_the_tubes_draw_through_its_resistor():
    amp = tweed.Tweed(SHIPPED, RATE)
    amp.run(_sine(0.5, 500.0, 1.5, RATE))
    seen = []
    for sample in _sine(0.5, 500.0, 1 / 500, RATE):
        amp.run(np.array([sample]))
        seen.append(amp.voltages())
    screen = np.array([v["screen"] for v in seen])
    drawn = _screen_current(
        np.array([v["upper grid"] for v in seen]), np.array([v["lower grid"] for v in seen]), screen
    )
    depth = 360.0 - np.mean(screen)
    assert depth == pytest.approx(4.7e3 * np.mean(drawn), rel=1e-3)
    assert depth > 60.0  # from 34 V at rest


def test_after_a_loud_tone_the_supply_recovers_with_the_time_constant_of_its_node():
    amp = tweed.Tweed(SHIPPED, RATE)
    amp.run(_sine(0.5, 500.0, 1.0, RATE))
    amp.run(np.zeros(round(0.25 * RATE)))  # ten times the blocking: the grids are at rest
    rest, course = tweed.rest_screen_volts(), []
    for _ in range(20):
        course.append(rest - amp.voltages()["screen"])
        amp.run(np.zeros(round(0.01 * RATE)))
    tau = -1.0 / np.polyfit(np.arange(20) * 0.01, np.log(course), 1)[0]
    # The tubes draw more at a higher voltage, which is a resistor in parallel.
    slope = _screen_current(-32.0, -32.0, rest + 0.5) - _screen_current(-32.0, -32.0, rest - 0.5)
    truth = 22e-6 / (1.0 / 4.7e3 + slope)
    assert tau == pytest.approx(truth, rel=0.02)
    assert 0.05 < tau < 0.103


def test_sag_takes_a_decibel_off_a_tone_within_tenths_of_a_second():
    device = create("tweed", SHIPPED, 48_000)
    response = device.process(_sine(0.5, 440.0, 1.0, 48_000))
    levels = 10.0 * np.log10(np.mean(np.square(response.reshape(-1, 1200)), axis=1))  # 25 ms
    assert 0.7 < levels[1] - levels[-1] < 2.0
    assert abs(levels[20] - levels[-1]) < 0.05  # over after 0.5 s


def test_an_overdriven_amp_blocks_and_recovers_with_its_coupling_capacitor():
    amp = tweed.Tweed(SHIPPED | {"gain": 10.0, "master": 10.0}, RATE)
    amp.run(_sine(0.5, 500.0, 0.5, RATE))
    amp.run(np.zeros(round(0.06 * RATE)))
    course = []
    for _ in range(12):
        course.append(sum(-32.0 - amp.voltages()[grid] for grid in ("upper grid", "lower grid")))
        amp.run(np.zeros(round(0.005 * RATE)))
    assert course[0] > 1.0
    tau = -1.0 / np.polyfit(np.arange(12) * 0.005, np.log(course), 1)[0]
    assert tau == pytest.approx(240e3 * 100e-9, rel=0.02)


def test_full_scale_stays_below_full_scale():
    device = create("tweed", SHIPPED, 48_000)
    rng = np.random.default_rng(0)
    loudest = max(
        np.max(np.abs(device.process(x)))
        for x in (_sine(1.0, 110.0, 0.2, 48_000), np.clip(rng.standard_normal(9600), -1, 1))
    )
    assert 0.4 < loudest < 0.9


def test_without_sag_the_screens_stay_where_they_rest():
    amp = tweed.Tweed(SHIPPED, RATE, [stages.SAG])
    amp.run(_sine(0.5, 500.0, 0.3, RATE))
    assert amp.voltages()["screen"] == tweed.rest_screen_volts()
    response = create("tweed", SHIPPED, 48_000, [stages.SAG]).process(_sine(0.5, 440, 0.5, 48_000))
    levels = 10.0 * np.log10(np.mean(np.square(response.reshape(-1, 1200)), axis=1))
    assert abs(levels[8] - levels[-1]) < 0.02  # 0.2 s on, when sag would be under way


def test_without_grid_conduction_no_power_grid_is_charged():
    hard = SHIPPED | {"gain": 10.0, "master": 10.0}
    shift = {}
    for left_out in ((), (stages.GRID_CONDUCTION,)):
        amp = tweed.Tweed(hard, RATE, left_out)
        amp.run(_sine(0.5, 500.0, 0.5, RATE))
        grid = []  # over a period: no capacitor passes a steady current, what a grid draws shows
        for sample in _sine(0.5, 500.0, 1 / 500, RATE):
            amp.run(np.array([sample]))
            grid.append(amp.voltages()["upper grid"])
        shift[left_out] = np.mean(grid) + 32.0
    assert shift[()] < -3.0
    assert abs(shift[stages.GRID_CONDUCTION,]) < 0.1 * abs(shift[()])


def test_without_its_transformer_the_bass_and_the_treble_are_not_cut_by_it():
    quiet = np.zeros(48_000)
    quiet[100] = 1e-5
    whole = np.fft.rfft(create("tweed", SHIPPED, 48_000).process(quiet))
    left_out = [stages.TRANSFORMER]
    without = np.fft.rfft(create("tweed", SHIPPED, 48_000, left_out).process(quiet))
    frequency = np.array([20, 48, 200, 8_000, 12_000])
    s = 2j * np.pi * frequency
    truth = s / (s + 6.6e3 / 22.0) / (1.0 + s * 0.2 / 6.6e3 + s**2 * 0.2 * 2e-9)
    np.testing.assert_allclose(whole[frequency] / without[frequency], truth, rtol=0.015)


@pytest.mark.parametrize("left_out", tweed.LEAVE_OUTS)
def test_what_is_left_out_leaves_silence_alone(left_out):
    assert np.all(create("tweed", SHIPPED, 48_000, [left_out]).process(np.zeros(4_800)) == 0.0)
