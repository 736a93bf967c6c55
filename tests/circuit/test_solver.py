"""The solver against closed forms, against ngspice, and against itself."""

import numpy as np
import pytest
from scipy import optimize, signal

from profiler.analysis.error import esr
from profiler.circuit.diode import DIODE_1N914, LED_RED, RECTIFIER_GZ34
from profiler.circuit.netlist import (
    Bjt,
    Capacitor,
    Diode,
    IdealTransformer,
    Inductor,
    Input,
    Netlist,
    OpAmp,
    Pentode,
    Resistor,
    SaturatingInductor,
    Supply,
    capacitances,
)
from profiler.circuit.preamp import two_stages
from profiler.circuit.solver import Solver
from profiler.circuit.spice import run_spice
from profiler.circuit.stepper import advance, room
from profiler.circuit.transistor import BJT_AC128
from profiler.circuit.tube import PENTODE_6L6GC
from profiler.errors import ProfilerError

RATE = 192_000
SEED = 4


def _netlist(*components, output="out", **probes):
    return Netlist((Input("in", "0"), *components), (output, "0"), probes)


def _clipper(*more):
    return _netlist(
        Resistor("in", "out", 2.2e3),
        Capacitor("out", "0", 10e-9),
        Diode("out", "0", DIODE_1N914),
        Diode("0", "out", DIODE_1N914),
        *more,
    )


def _overdrive():
    """Op-amp, non-inverting, with diodes in its feedback, between rails."""
    return _netlist(
        OpAmp("in", "minus", "out", -4.5, 4.5),
        Resistor("minus", "leg", 4.7e3),
        Capacitor("leg", "0", 47e-9),
        Resistor("out", "minus", 500e3),
        Capacitor("out", "minus", 51e-12),
        Diode("out", "minus", LED_RED),
        Diode("minus", "out", LED_RED),
    )


def _fuzz():
    """Two germanium transistors, PNP, with feedback around both."""
    return _netlist(
        Supply("0", "V", 9.0),
        Resistor("in", "source", 10e3),
        Capacitor("source", "b1", 2.2e-6),
        Bjt("c1", "b1", "0", BJT_AC128),
        Resistor("V", "c1", 33e3),
        Bjt("c2", "c1", "e2", BJT_AC128),
        Resistor("e2", "0", 1e3),
        Capacitor("e2", "0", 20e-6),
        Resistor("e2", "b1", 100e3),
        Resistor("V", "half", 8.2e3),
        Resistor("half", "c2", 470.0),
        Capacitor("half", "out", 10e-9),
        Resistor("out", "0", 500e3),
    )


def _push_pull():
    """Two 6L6GC, a transformer with iron, leakage and winding resistance, a sagging supply."""
    tubes = [Pentode(f"p{k}", f"s{k}", f"g{k}", "0", PENTODE_6L6GC) for k in "ab"]
    return _netlist(
        Supply("mains", "0", 420.0),
        Diode("mains", "B+", RECTIFIER_GZ34),
        Capacitor("B+", "0", 40e-6),
        Resistor("B+", "screens", 470.0),
        Capacitor("screens", "0", 20e-6),
        Supply("bias", "0", -37.0),
        IdealTransformer((("in", "0", 1.0), ("drive a", "0", 1.0), ("0", "drive b", 1.0))),
        *(
            part
            for k, tube in zip("ab", tubes, strict=True)
            for part in (
                Resistor(f"drive {k}", f"far {k}", 20e3),
                Capacitor(f"far {k}", f"leak {k}", 100e-9),
                Resistor(f"leak {k}", "bias", 220e3),
                Resistor(f"leak {k}", f"g{k}", 1.5e3),
                Resistor("screens", f"s{k}", 470.0),
                Capacitor(f"s{k}", "0", 47e-12),
                Resistor("B+", f"half {k}", 60.0),
                tube,
                *capacitances(tube),
            )
        ),
        Inductor("winding a", "pa", 5e-3),
        Inductor("winding b", "pb", 5e-3),
        Capacitor("pa", "pb", 500e-12),
        SaturatingInductor("winding a", "winding b", 40.0, 0.8),
        IdealTransformer(
            (("winding a", "half a", 1.0), ("half b", "winding b", 1.0), ("out", "0", 0.06))
        ),
        Resistor("out", "0", 8.0),
        output="out",
        screens="screens",
        supply="B+",
    )


def _sine(frequency, volts, frames, rate=RATE):
    """A tone that is faded in over a millisecond."""
    t = np.arange(frames) / rate
    return volts * np.sin(2 * np.pi * frequency * t) * np.minimum(1.0, t / 1e-3)


# ---- closed forms


def test_a_low_pass_is_the_bilinear_transform_of_itself():
    solver = Solver(_netlist(Resistor("in", "out", 4.7e3), Capacitor("out", "0", 10e-9)), RATE)
    volts = np.random.default_rng(SEED).normal(size=2_000)
    truth = signal.lfilter(*signal.bilinear([1.0], [47e-6, 1.0], fs=RATE), volts)
    # the filter's state begins with a zero before the first sample, as the circuit's does
    np.testing.assert_allclose(solver.run(volts), truth, atol=1e-12)


def test_a_resonance_is_the_bilinear_transform_of_itself():
    components = Resistor("in", "a", 300.0), Inductor("a", "out", 0.1), Capacitor("out", "0", 22e-9)
    volts = np.random.default_rng(SEED).normal(size=2_000)
    b, a = signal.bilinear([1.0], [0.1 * 22e-9, 300.0 * 22e-9, 1.0], fs=RATE)
    np.testing.assert_allclose(
        Solver(_netlist(*components), RATE).run(volts), signal.lfilter(b, a, volts), atol=1e-11
    )


def test_a_transformer_turns_a_load():
    core = IdealTransformer((("p", "0", 10.0), ("0", "out", 1.0)))
    net = _netlist(Resistor("in", "p", 100.0), core, Resistor("out", "0", 8.0))
    np.testing.assert_allclose(Solver(net, RATE).run(np.ones(3)), -0.08 / 0.9, rtol=1e-12)


def test_a_diode_without_a_capacitor_is_shockleys_curve_at_every_sample():
    net = _netlist(Resistor("in", "out", 1e3), Diode("out", "0", DIODE_1N914))
    volts = np.linspace(-5.0, 5.0, 41)
    found = Solver(net, RATE).run(volts)

    def excess(v, source):
        law = DIODE_1N914.saturation_amperes * np.expm1(v / DIODE_1N914.emission_volts)
        return law + (v - source) / 1e3

    truth = [optimize.brentq(excess, -6.0, 1.0, args=(source,), xtol=1e-14) for source in volts]
    # Newton's last step is a fiftieth of the emission voltage at most, and converges by squares
    np.testing.assert_allclose(found, truth, atol=0.02**2 * DIODE_1N914.emission_volts)


def test_a_resistor_divides_a_supply_at_rest():
    net = _netlist(
        Supply("B+", "0", 300.0),
        Resistor("B+", "a", 1e3),
        Resistor("a", "0", 2e3),
        Capacitor("a", "0", 1e-6),
        Resistor("in", "0", 1.0),
        output="a",
    )
    solver = Solver(net, RATE)
    assert solver.voltages() == pytest.approx({"in": 0.0, "B+": 300.0, "a": 200.0}, rel=1e-12)
    np.testing.assert_allclose(solver.run(np.zeros(5)), 200.0, rtol=1e-12)


def test_iron_that_does_not_saturate_is_an_inductor():
    volts = np.random.default_rng(SEED).normal(size=1_000)
    rest = Resistor("in", "out", 1e3), Resistor("out", "0", 1e5)
    straight = Solver(_netlist(*rest, Inductor("out", "0", 0.5)), RATE).run(volts)
    iron = Solver(_netlist(*rest, SaturatingInductor("out", "0", 0.5, 1e3)), RATE).run(volts)
    np.testing.assert_allclose(iron, straight, atol=1e-9)


# ---- another program

MATERIAL = {
    "clipper": (_clipper, 1_000.0, 3.0, 1e-6),
    "overdrive": (_overdrive, 440.0, 0.5, 1e-6),
    "fuzz": (_fuzz, 440.0, 0.02, 1e-6),
    "push-pull": (_push_pull, 110.0, 60.0, 1e-6),
    "preamp": (two_stages, 440.0, 0.05, 1e-6),
}


@pytest.mark.parametrize("name", MATERIAL)
def test_a_circuit_sounds_as_in_ngspice(name):
    make, frequency, volts, tolerance = MATERIAL[name]
    rate = 4 * RATE
    driven = _sine(frequency, volts, rate // 50, rate)
    net = make()
    amperes = 1e-9 if name == "push-pull" else 1e-12
    truth, probes = run_spice(net, driven, rate, tolerance_amperes=amperes)
    solver = Solver(net, rate)
    found = solver.run_probes(driven)
    steady = truth[0]
    assert np.std(truth) > 0.05
    assert esr(truth - steady, found["output"] - steady) < tolerance
    for probe, values in probes.items():
        assert esr(values, found[probe]) < tolerance
    assert solver.effort()["given_up"] == 0


# ---- itself


def test_the_error_falls_with_the_square_of_the_step():
    net = two_stages()

    def output(times):
        driven = _sine(300.0, 0.02, RATE // 40 * times, RATE * times)
        return Solver(net, RATE * times).run(driven)[::times]

    truth = output(16)
    errors = [np.sqrt(esr(truth, output(times))) for times in (1, 2, 4)]
    assert errors[0] / errors[1] == pytest.approx(4.0, rel=0.3)
    assert errors[1] / errors[2] == pytest.approx(4.0, rel=0.3)


@pytest.mark.parametrize("make", [_clipper, _overdrive, _fuzz, _push_pull, two_stages])
def test_a_circuit_at_rest_stays_there_to_the_last_bit(make):
    solver = Solver(make(), RATE)
    at_rest = solver.voltages()
    assert np.ptp(solver.run(np.zeros(1_000))) == 0.0
    assert solver.voltages() == at_rest


@pytest.mark.parametrize("make", [_overdrive, _push_pull])
def test_how_a_stream_is_cut_changes_no_bit(make):
    driven = _sine(220.0, 20.0, 3_000)
    whole = Solver(make(), RATE).run(driven)
    cut = Solver(make(), RATE)
    pieces = [cut.run(piece) for piece in np.split(driven, [1, 2, 500, 501, 1_777])]
    np.testing.assert_array_equal(np.concatenate(pieces), whole)


def test_probes_and_meter_see_what_the_output_sees():
    driven = _sine(440.0, 0.1, 500)
    solver = Solver(two_stages(), RATE)
    seen = solver.run_probes(driven)
    assert seen.keys() == {"output", "grid", "cathode", "plate"}
    np.testing.assert_allclose(Solver(two_stages(), RATE).run(driven), seen["output"], atol=1e-9)
    meter = solver.voltages()
    for node, name in (("out", "output"), ("grid2", "grid"), ("plate2", "plate")):
        assert meter[node] == pytest.approx(seen[name][-1], abs=1e-9)
    # a meter reads the same between samples that do not come
    solver.run(np.zeros(0))
    assert solver.voltages() == meter


def test_a_symmetric_circuit_does_not_know_its_polarity():
    driven = _sine(440.0, 3.0, 2_000)
    up, down = (Solver(_clipper(), RATE).run(sign * driven) for sign in (1.0, -1.0))
    np.testing.assert_allclose(down, -up, atol=1e-6)


def test_a_linear_circuit_does_not_know_its_gain():
    net = _netlist(Resistor("in", "out", 4.7e3), Capacitor("out", "0", 10e-9))
    driven = np.random.default_rng(SEED).normal(size=500)
    outputs = [Solver(net, RATE).run(gain * driven) / gain for gain in (1e-6, 1.0, 1e3)]
    np.testing.assert_allclose(outputs[0], outputs[1], atol=1e-12)
    np.testing.assert_allclose(outputs[2], outputs[1], atol=1e-12)


def test_the_ringing_of_a_conducting_diode_is_damped():
    # a step into a capacitor that a diode shorts: by the trapezoidal rule it would alternate
    net = _netlist(
        Resistor("in", "out", 100.0), Capacitor("out", "0", 100e-12), Diode("out", "0", DIODE_1N914)
    )
    output = Solver(net, RATE).run(np.full(40, 10.0))
    assert np.all(np.abs(np.diff(output[10:])) < 1e-9)


HOSTILE = {
    "silence": np.zeros(2_000),
    "100 V square": 100.0 * signal.square(2 * np.pi * 997.0 * np.arange(4_000) / RATE),
    "100 V for good": np.full(2_000, 100.0),
    "-100 V for good": np.full(2_000, -100.0),
    "100 V of Nyquist": 100.0 * (-1.0) ** np.arange(2_000),
    "100 V of noise": 100.0 * np.random.default_rng(SEED).uniform(-1, 1, 4_000),
    "one click": np.where(np.arange(2_000) == 77, 1e3, 0.0),
    "denormal": np.full(500, 5e-324),
}


@pytest.mark.parametrize("make", [_clipper, _overdrive, _fuzz, _push_pull, two_stages])
@pytest.mark.parametrize("name", HOSTILE)
def test_no_input_is_too_much(make, name):
    solver = Solver(make(), RATE)
    output = solver.run(HOSTILE[name])
    assert np.all(np.isfinite(output))
    assert solver.effort()["given_up"] == 0
    # and it finds back to where it was
    solver.run(np.zeros(2_000))
    assert solver.effort()["given_up"] == 0


def test_a_step_gone_in_parts_leads_to_the_same_place():
    driven = _sine(440.0, 4.0, 1_500)
    whole = Solver(two_stages(), RATE)
    parts = Solver(two_stages(), RATE)
    found = np.empty((1, len(driven)))
    few = room(parts._played, parts._devices, iterations=2)
    advance(parts._played, parts._devices, parts._state, few, driven, found)
    expected = whole.run(driven)
    assert parts.effort()["in_parts"] > 20
    assert parts.effort()["given_up"] == 0
    np.testing.assert_allclose(found[0], expected, atol=2e-3)


def test_a_step_that_nothing_solves_keeps_the_last_solution_and_is_counted():
    solver = Solver(_clipper(), RATE)
    nothing = room(solver._played, solver._devices, iterations=0)
    out = np.empty((1, 5))
    advance(solver._played, solver._devices, solver._state, nothing, np.full(5, 100.0), out)
    assert solver.effort()["given_up"] == 5
    assert np.all(np.isfinite(out))


# ---- refusals


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, 1e300])
def test_refuses_a_sample_that_is_no_voltage_and_stays_as_it_was(wrong):
    solver = Solver(_clipper(), RATE)
    with pytest.raises(ValueError, match=r"got .* V at sample 3: expected finite volts, 1e\+06 V"):
        solver.run(np.array([0.0, 1.0, 2.0, wrong, 0.0]))
    np.testing.assert_array_equal(solver.run(np.zeros(3)), np.zeros(3))


def test_refuses_what_is_no_stream():
    with pytest.raises(ValueError, match="one dimension"):
        Solver(_clipper(), RATE).run(np.zeros((2, 2)))
    with pytest.raises(ValueError, match="rate=0"):
        Solver(_clipper(), 0)


def test_says_that_two_sources_fight():
    fighting = _netlist(Supply("in", "0", 1.0), Resistor("in", "0", 1.0), output="in")
    with pytest.raises(ProfilerError, match=r"no (solution|point of rest).*look"):
        Solver(fighting, RATE)
