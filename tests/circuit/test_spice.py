"""ngspice as the reference: that a deck says what the netlist says, against closed forms."""

import numpy as np
import pytest

from profiler.circuit.diode import DIODE_1N914, RECTIFIER_GZ34
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
    Triode,
)
from profiler.circuit.spice import run_spice, to_spice
from profiler.circuit.transistor import BJT_2N3904, BJT_AC128
from profiler.circuit.tube import (
    PENTODE_6L6GC,
    TRIODE_12AX7,
    grid_current,
    pentode_drive,
    triode_current,
)
from profiler.errors import ProfilerError

RATE = 192_000
SINE = np.sin(2 * np.pi * 1_000.0 * np.arange(960) / RATE)
REST = np.zeros(16)


def _netlist(*components, output="out", **probes):
    return Netlist((Input("in", "0"), *components), (output, "0"), probes)


def _at_rest(*components, volts=0.0, **probes):
    """What the probes see once the circuit has followed its input."""
    _, seen = run_spice(_netlist(*components, output="in", **probes), np.full(16, volts), RATE)
    return {name: values[-1] for name, values in seen.items()}


def test_a_low_pass_is_the_closed_form():
    output, _ = run_spice(
        _netlist(Resistor("in", "out", 1e3), Capacitor("out", "0", 1e-7)), SINE, RATE
    )
    w, tau = 2 * np.pi * 1_000.0, 1e-4
    t = np.arange(len(SINE)) / RATE
    steady = (np.sin(w * t) - w * tau * np.cos(w * t)) / (1 + (w * tau) ** 2)
    truth = steady + w * tau / (1 + (w * tau) ** 2) * np.exp(-t / tau)
    # the input is a polygon: its sine is smaller by (w / rate) ** 2 / 12
    assert np.max(np.abs(output - truth)) < (w / RATE) ** 2 / 8


def test_a_transformer_turns_ohms_by_the_square_of_its_turns():
    core = IdealTransformer((("p", "0", 10.0), ("0", "out", 1.0)))
    output, _ = run_spice(
        _netlist(Resistor("in", "p", 100.0), core, Resistor("out", "0", 8.0)), SINE, RATE
    )
    # but for the spline at the corner where the sine begins
    assert np.max(np.abs(output + 0.08 / 0.9 * SINE)[8:]) < 1e-4


def test_an_inductor_and_iron_are_shorts_at_rest():
    for part in (Inductor("a", "0", 1.0), SaturatingInductor("a", "0", 1.0, 1.0)):
        seen = _at_rest(Supply("V", "0", 2.0), Resistor("V", "a", 1e3), part, a="a")
        assert abs(seen["a"]) < 1e-9


def test_iron_takes_twice_the_current_at_its_saturation():
    core = SaturatingInductor("a", "0", henries=5.0, saturation_webers=0.2, exponent=8)
    # at rest all of the 80 mA, 0.2 Wb / 5 H twice, flow through it
    supply = Supply("V", "in", 8.0), Resistor("V", "a", 100.0), core, Resistor("in", "0", 1e5)
    # then 1 V more leads to 10 mA more, of which the slope i' = (1 + 9) / 5 H is the speed
    output, _ = run_spice(_netlist(*supply, output="a"), np.ones(200), RATE)
    tau = 0.5 / 100.0
    assert output[150] / output[50] == pytest.approx(np.exp(-100 / RATE / tau), rel=2e-2)


def test_an_op_amp_amplifies_and_stays_between_its_rails():
    components = (
        OpAmp("in", "f", "out", -4.5, 4.5),
        Resistor("f", "0", 1e3),
        Resistor("out", "f", 9e3),
    )
    output, seen = run_spice(_netlist(*components, input="in"), SINE, RATE)
    small = np.abs(seen["input"]) < 0.3  # beyond, the spline sees the corners
    assert np.max(np.abs(output - 10.0 * seen["input"])[small]) < 1e-7
    assert 4.5 < np.max(output) < 4.7
    assert -4.7 < np.min(output) < -4.5


def test_a_triode_and_its_grid_draw_what_tube_py_says():
    seen = _at_rest(
        Supply("B+", "0", 250.0),
        Resistor("B+", "p", 100e3),
        Resistor("in", "g", 1e4),
        Triode("p", "g", "k", TRIODE_12AX7),
        Resistor("k", "0", 1.5e3),
        volts=3.0,
        p="p",
        g="g",
        k="k",
    )
    grid, plate = seen["g"] - seen["k"], seen["p"] - seen["k"]
    drawn = (250.0 - seen["p"]) / 100e3
    assert drawn == pytest.approx(triode_current(TRIODE_12AX7, grid, plate), rel=1e-6)
    from_grid = (3.0 - seen["g"]) / 1e4
    assert from_grid > 1e-5
    assert from_grid == pytest.approx(grid_current(grid)[0], rel=1e-6)
    assert seen["k"] / 1.5e3 == pytest.approx(drawn + from_grid, rel=1e-6)


def test_a_pentode_and_its_screen_draw_what_tube_py_says():
    seen = _at_rest(
        Supply("B+", "0", 400.0),
        Resistor("B+", "p", 3e3),
        Resistor("B+", "s", 1e3),
        Resistor("in", "g", 1e4),
        Pentode("p", "s", "g", "0", PENTODE_6L6GC),
        volts=-20.0,
        p="p",
        g="g",
        s="s",
    )
    drive = pentode_drive(PENTODE_6L6GC, seen["g"], seen["s"])
    plate = 2.0 / PENTODE_6L6GC.kg1 * drive * np.arctan(seen["p"] / PENTODE_6L6GC.kvb)
    assert (400.0 - seen["p"]) / 3e3 == pytest.approx(plate, rel=1e-6)
    assert (400.0 - seen["s"]) / 1e3 == pytest.approx(drive / PENTODE_6L6GC.kg2, rel=1e-6)


def test_a_diode_draws_what_shockley_says():
    seen = _at_rest(Resistor("in", "a", 1e3), Diode("a", "0", DIODE_1N914), volts=5.0, a="a")
    truth = DIODE_1N914.saturation_amperes * np.expm1(seen["a"] / DIODE_1N914.emission_volts)
    assert (5.0 - seen["a"]) / 1e3 == pytest.approx(truth, rel=1e-5)


def test_a_rectifier_tube_drops_what_its_data_sheet_says():
    seen = _at_rest(
        Diode("in", "a", RECTIFIER_GZ34), Resistor("a", "0", 283.0 / 0.225), volts=300.0, a="a"
    )
    assert seen["a"] == pytest.approx(283.0, rel=1e-6)


@pytest.mark.parametrize(("model", "sign"), [(BJT_2N3904, 1.0), (BJT_AC128, -1.0)])
def test_a_transistor_draws_what_ebers_and_moll_say(model, sign):
    seen = _at_rest(
        Supply("V", "0", 9.0 * sign),
        Resistor("V", "c", 4.7e3),
        Resistor("in", "b", 470e3),
        Bjt("c", "b", "0", model),
        volts=5.0 * sign,
        c="c",
        b="b",
    )
    base, collector = seen["b"] * sign, seen["c"] * sign
    scale, volt = model.saturation_amperes, model.emission_volts
    forward = scale * np.expm1(base / volt)
    backward = scale * np.expm1((base - collector) / volt)
    drawn = forward - backward - backward / model.reverse_beta
    assert (9.0 - collector) / 4.7e3 == pytest.approx(drawn, rel=1e-4)
    from_base = forward / model.forward_beta + backward / model.reverse_beta
    assert (5.0 - base) / 470e3 == pytest.approx(from_base, rel=1e-4)


def test_a_deck_says_which_node_is_which():
    deck = to_spice(
        _netlist(Resistor("in", "out of B+", 1.0), output="out of B+"),
        "i",
        "o",
        sample_rate=RATE,
        frames=3,
    )
    assert "* n2 is out of B+" in deck
    assert "R1 n1 n2 1" in deck


def test_says_what_ngspice_said_when_it_finds_nothing():
    two = _netlist(Supply("in", "0", 1.0), Resistor("in", "0", 1.0), output="in")
    with pytest.raises(ProfilerError, match=r"ngspice came to 0 s of .* it said: .*singular"):
        run_spice(two, REST, RATE)


def test_says_what_to_install(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ProfilerError, match="ngspice is not installed: install it"):
        run_spice(_netlist(Resistor("in", "0", 1.0), output="in"), REST, RATE)
