"""The parts of amps against closed forms, and whole amps against ngspice."""

import numpy as np
import pytest

from profiler.circuit import clean, device, fuzz, hi_gain, plexi, stages
from profiler.circuit.filters import audio_taper
from profiler.circuit.modes import small_signal_modes
from profiler.circuit.netlist import GROUND, Input, Netlist, Resistor
from profiler.circuit.nodal import assemble
from profiler.circuit.operating_point import grounded, operating_point, rest_voltages
from profiler.circuit.solver import Solver
from profiler.circuit.spice import run_spice

RATE = 192_000
AMPS = {"clean": clean, "plexi": plexi, "hi-gain": hi_gain}
CIRCUITS = AMPS | {"fuzz": fuzz}


def _transfer(netlist, frequency):
    """Output for 1 V of input, the circuit linearised where it rests."""
    nodal = assemble(netlist)
    slopes = operating_point(nodal).slopes
    still = grounded(nodal) + nodal.injection @ slopes @ nodal.control
    moving = (nodal.reactance * nodal.sizes) @ nodal.reactance.T
    return np.array(
        [
            nodal.output @ np.linalg.solve(still + 2j * np.pi * f * moving, nodal.signal)
            for f in frequency
        ]
    )


FREQUENCY = np.geomspace(20.0, 20_000.0, 40)


@pytest.mark.parametrize("knobs", [(5.0, 5.0, 5.0), (0.0, 3.0, 10.0), (9.0, 10.0, 0.0)])
def test_a_tone_stack_on_the_wiper_is_yehs_and_smiths(knobs):
    """Their transfer function of the same stack, DAFx-06, equation 1; loaded by nothing."""
    stack = plexi.STACK
    netlist = Netlist(
        (Input("in", GROUND), *stack.components("in", *knobs), Resistor("stack_out", GROUND, 1e12)),
        output=("stack_out", GROUND),
    )
    treble, middle, bass = knobs
    t, m = (np.clip(knob / 10.0, 5e-4, 1 - 5e-4) for knob in (treble, middle))
    l = np.clip(audio_taper(bass), 5e-4, 1 - 5e-4)  # noqa: E741, the paper's letter
    c1, c2, c3 = stack.treble_farads, stack.bass_farads, stack.middle_farads
    r1, r2, r3, r4 = stack.treble_ohms, stack.bass_ohms, stack.middle_ohms, stack.slope_ohms
    b1 = t * c1 * r1 + m * c3 * r3 + l * (c1 * r2 + c2 * r2) + (c1 * r3 + c2 * r3)
    b2 = (
        t * (c1 * c2 * r1 * r4 + c1 * c3 * r1 * r4)
        - m * m * (c1 * c3 * r3 * r3 + c2 * c3 * r3 * r3)
        + m * (c1 * c3 * r1 * r3 + c1 * c3 * r3 * r3 + c2 * c3 * r3 * r3)
        + l * (c1 * c2 * r1 * r2 + c1 * c2 * r2 * r4 + c1 * c3 * r2 * r4)
        + l * m * (c1 * c3 * r2 * r3 + c2 * c3 * r2 * r3)
        + (c1 * c2 * r1 * r3 + c1 * c2 * r3 * r4 + c1 * c3 * r3 * r4)
    )
    c = c1 * c2 * c3
    b3 = (
        l * m * c * (r1 * r2 * r3 + r2 * r3 * r4)
        - m * m * c * (r1 * r3 * r3 + r3 * r3 * r4)
        + m * c * (r1 * r3 * r3 + r3 * r3 * r4)
        + (t - t * m) * c * r1 * r3 * r4
        + t * l * c * r1 * r2 * r4
    )
    a1 = (c1 * r1 + c1 * r3 + c2 * r3 + c2 * r4 + c3 * r4) + m * c3 * r3 + l * (c1 + c2) * r2
    a2 = (
        m * (c1 * c3 * r1 * r3 - c2 * c3 * r3 * r4 + c1 * c3 * r3 * r3 + c2 * c3 * r3 * r3)
        + l * m * (c1 * c3 * r2 * r3 + c2 * c3 * r2 * r3)
        - m * m * (c1 * c3 * r3 * r3 + c2 * c3 * r3 * r3)
        + l * (c1 * c2 * r2 * r4 + c1 * c2 * r1 * r2 + c1 * c3 * r2 * r4 + c2 * c3 * r2 * r4)
        + (c1 * c2 * r1 * r4 + c1 * c3 * r1 * r4 + c1 * c2 * r3 * r4)
        + (c1 * c2 * r1 * r3 + c1 * c3 * r3 * r4 + c2 * c3 * r3 * r4)
    )
    a3 = (
        l * m * c * (r1 * r2 * r3 + r2 * r3 * r4)
        - m * m * c * (r1 * r3 * r3 + r3 * r3 * r4)
        + m * c * (r3 * r3 * r4 + r1 * r3 * r3 - r1 * r3 * r4)
        + l * c * r1 * r2 * r4
        + c * r1 * r3 * r4
    )
    s = 2j * np.pi * FREQUENCY
    truth = np.polyval([b3, b2, b1, 0.0], s) / np.polyval([a3, a2, a1, 1.0], s)
    np.testing.assert_allclose(_transfer(netlist, FREQUENCY), truth, rtol=1e-5, atol=1e-9)


def test_a_loudspeaker_rises_at_its_resonance_and_to_the_treble():
    speaker = stages.TWELVE_INCHES
    source = 1e6  # so that the voltage is the impedance
    netlist = Netlist(
        (Input("in", GROUND), Resistor("in", "speaker", source), *speaker.components()),
        output=("speaker", GROUND),
    )
    found = np.abs(_transfer(netlist, [1.0, speaker.resonance_hz, 400.0, 5_000.0])) * source
    assert found[0] == pytest.approx(speaker.coil_ohms, rel=0.01)
    assert found[1] == pytest.approx(speaker.coil_ohms + speaker.resonance_ohms, rel=0.02)
    assert 7.0 < found[2] < 9.0  # the 8 ohms of its name
    assert 20.0 < found[3] < 30.0


@pytest.mark.parametrize("circuit", CIRCUITS)
def test_a_circuit_rests_where_ngspice_puts_it(circuit):
    netlist = CIRCUITS[circuit].netlist({})
    watched = Netlist(netlist.components, netlist.output, {node: node for node in netlist.nodes})
    _, seen = run_spice(watched, np.zeros(8), RATE)
    for node, volts in rest_voltages(netlist).items():
        assert seen[node][-1] == pytest.approx(volts, abs=2e-5 * max(1.0, abs(volts))), node


# What a technician would look for, V: from the schematics of their kind.
SENSIBLE = {
    "clean": {"reservoir": (420, 445), "V1_plate": (200, 260), "V2_cathode": (1.4, 2.2)},
    "plexi": {"reservoir": (440, 475), "V1_plate": (220, 280), "follower": (160, 230)},
    "hi-gain": {"reservoir": (440, 475), "V3_cathode": (3.5, 5.5), "V1_plate": (150, 230)},
    "fuzz": {"Q2_collector": (-5.0, -4.0), "Q1_collector": (-1.3, -0.5)},
}


@pytest.mark.parametrize("circuit", CIRCUITS)
def test_a_circuit_rests_where_a_technician_expects_it(circuit):
    volts = rest_voltages(CIRCUITS[circuit].netlist({}))
    for node, (low, high) in SENSIBLE[circuit].items():
        assert low < volts[node] < high, node
    if circuit in AMPS:
        transformer = CIRCUITS[circuit].TRANSFORMER
        idle = (volts["reservoir"] - volts["upper_plate"]) / (transformer.copper_ohms / 2.0)
        limit = {"plexi": 25.0}.get(circuit, 30.0)  # W, of an EL34 and a 6L6GC
        assert 0.4 * limit < idle * volts["upper_plate"] < 0.8 * limit


LOUD = {
    "clean": {"gain": 7.0, "master": 8.0},
    "plexi": {"gain": 8.0, "tone": 6.0, "master": 8.0},
    "hi-gain": {"gain": 6.0, "master": 5.0},
    "fuzz": {"fuzz": 8.0, "level": 9.0},
}


def _playing(seconds, rate=RATE, seed=0):
    """A chord that is struck twice."""
    at = np.arange(round(seconds * rate)) / rate
    rng = np.random.default_rng(seed)
    struck = np.zeros_like(at)
    for begin in (0.002, 0.6 * seconds):
        since = np.clip(at - begin, 0.0, None)
        for frequency in (82.4, 123.5, 164.8, 207.7):
            for harmonic in (1, 2, 3, 5):
                phase = rng.uniform(0, 2 * np.pi)
                wave = np.sin(2 * np.pi * harmonic * frequency * since + phase) - np.sin(phase)
                struck += np.exp(-since * (8.0 + 4.0 * harmonic)) * wave / harmonic
    return 0.8 * struck / np.max(np.abs(struck))


@pytest.mark.parametrize("circuit", CIRCUITS)
def test_loud_playing_is_what_ngspice_finds(circuit):
    netlist = CIRCUITS[circuit].netlist(LOUD[circuit])
    volts = _playing(0.04)
    truth, _ = run_spice(netlist, volts, RATE)
    found = Solver(netlist, RATE).run(volts)
    error = np.sum(np.square(found - truth)) / np.sum(np.square(truth))
    assert error < 1e-4
    assert np.max(np.abs(truth)) > 20.0 or circuit == "fuzz"  # it is loud


@pytest.mark.parametrize("circuit", CIRCUITS)
@pytest.mark.parametrize("position", [0.0, 5.0, 10.0])
def test_a_circuit_is_no_oscillator(circuit, position):
    controls = dict.fromkeys(CIRCUITS[circuit].CONTROLS, position)
    assert np.all(small_signal_modes(CIRCUITS[circuit].netlist(controls)).real < 0.0)


@pytest.mark.parametrize("circuit", CIRCUITS)
def test_no_input_drives_a_circuit_beyond_its_supply_and_it_comes_to_rest_again(circuit):
    rng = np.random.default_rng(0)
    hostile = np.concatenate(
        (
            rng.uniform(-30.0, 30.0, 3000),
            np.repeat([100.0, -100.0], 1000),
            50.0 * np.sign(np.sin(2 * np.pi * 83.0 * np.arange(4000) / RATE)),
        )
    )
    solver = Solver(CIRCUITS[circuit].netlist(LOUD[circuit]), RATE)
    out = solver.run(hostile)
    assert np.all(np.isfinite(out))
    assert np.max(np.abs(out)) < (9.0 if circuit == "fuzz" else 250.0)  # coils kick back
    quiet = solver.run(np.zeros(3 * RATE // 4))
    assert np.max(np.abs(quiet[-2000:])) < 0.02 * np.max(np.abs(out))


def _level(circuit, controls, frequency=440.0, volts=0.01):
    """dB at a frequency for a small signal, the circuit linearised."""
    gain = np.abs(_transfer(CIRCUITS[circuit].netlist(controls), [frequency]))[0]
    return 20.0 * np.log10(gain)


@pytest.mark.parametrize("circuit", AMPS)
def test_gain_and_master_make_an_amp_louder_all_the_way(circuit):
    for knob in ("gain", "master"):
        levels = [_level(circuit, {knob: float(position)}) for position in range(11)]
        assert np.all(np.diff(levels) > 0.5), knob
        assert levels[-1] - levels[0] > 40.0


@pytest.mark.parametrize("circuit", AMPS)
@pytest.mark.parametrize(
    ("knob", "frequency"), [("bass", 60.0), ("middle", 500.0), ("treble", 5_000.0)]
)
def test_a_knob_of_the_tone_stack_raises_its_part_of_the_spectrum(circuit, knob, frequency):
    levels = [_level(circuit, {knob: float(position)}, frequency) for position in range(11)]
    assert np.all(np.diff(levels) > 0.0)
    assert levels[-1] - levels[0] > 3.0


@pytest.mark.parametrize("circuit", AMPS)
def test_tone_tilts_the_whole_stack(circuit):
    def tilt(controls):
        return _level(circuit, controls, 4_000.0) - _level(circuit, controls, 100.0)

    tilts = [tilt({"tone": float(position)}) for position in range(11)]
    assert np.all(np.diff(tilts) > 0.0)
    assert tilts[-1] - tilts[0] > 15.0
    assert tilt({"tone": 8.0}) == tilt({"treble": 8.0, "bass": 2.0, "middle": 5.0})
    assert tilt({"tone": 8.0, "bass": 5.0}) < tilt({"tone": 8.0})  # what is named stays


def test_the_knobs_of_the_fuzz_turn_up_its_gain_and_its_level():
    for knob in ("fuzz", "level"):
        levels = [_level("fuzz", {knob: float(position)}) for position in range(11)]
        assert np.all(np.diff(levels) > 0.0), knob
        assert levels[-1] - levels[0] > 20.0


@pytest.mark.parametrize("circuit", AMPS)
@pytest.mark.parametrize("left_out", stages.AMP_LEAVE_OUTS)
def test_without_a_mechanism_an_amp_rests_as_before(circuit, left_out):
    whole = rest_voltages(device.netlist(circuit, {}))
    without = rest_voltages(device.netlist(circuit, {}, [left_out]))
    # an ideal secondary does not short what the splitter's foot sends into the loudspeaker
    for node, volts in without.items():
        assert volts == pytest.approx(whole[node], abs=0.05), node


def _modes(circuit, *left_out):
    return small_signal_modes(device.netlist(circuit, {}, left_out))


@pytest.mark.parametrize("circuit", AMPS)
def test_without_sag_the_supply_has_no_time_constants_and_does_not_move(circuit):
    supply = CIRCUITS[circuit].SUPPLY
    assert len(_modes(circuit)) - len(_modes(circuit, "sag")) == len(supply)
    loud = _playing(0.05)
    moved = {}
    for left_out in ((), ("sag",)):
        solver = Solver(device.netlist(circuit, LOUD[circuit], left_out), RATE)
        seen = solver.run_probes(loud)
        moved[left_out] = {name: np.ptp(seen[name]) for name in ("reservoir", "screens")}
    assert all(volts > 5.0 for volts in moved[()].values())
    assert all(volts < 1e-9 for volts in moved["sag",].values())


@pytest.mark.parametrize("circuit", AMPS)
def test_without_its_transformer_an_amp_has_no_corner_in_the_bass(circuit):
    # the primary and the leakage remember no more; the winding adds to the tubes' capacitances
    assert len(_modes(circuit)) - len(_modes(circuit, "transformer")) == 2
    kept = {}
    for left_out in ((), ("transformer",)):
        bass, middle = np.abs(_transfer(device.netlist(circuit, {}, left_out), [10.0, 400.0]))
        kept[left_out] = bass / middle
    assert kept["transformer",] > 1.5 * kept[()]


@pytest.mark.parametrize("circuit", AMPS)
def test_without_grid_conduction_no_coupling_capacitor_is_charged(circuit):
    """No capacitor passes a steady current: what a grid draws on average, its leak brings."""
    controls = {"gain": 10.0, "master": 10.0}
    period = RATE // 500
    tone = 0.9 * np.sin(2 * np.pi * np.arange(150 * period) / period)  # ten times the blocking
    bias = CIRCUITS[circuit].POWER.bias_volts
    shift = {}
    for left_out in ((), ("grid-conduction",)):
        solver = Solver(device.netlist(circuit, controls, left_out), RATE)
        solver.run(tone)
        grid = solver.run_probes(tone[:period])["upper grid"]
        shift[left_out] = np.mean(grid) - bias
    assert shift[()] < -3.0
    assert abs(shift["grid-conduction",]) < 0.2 * abs(shift[()])
