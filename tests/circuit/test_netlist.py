import pytest

from profiler.circuit.netlist import (
    Capacitor,
    IdealTransformer,
    Input,
    Netlist,
    OpAmp,
    Resistor,
    SaturatingInductor,
    Supply,
    Triode,
    capacitances,
    describe,
    pot,
)
from profiler.circuit.tube import TRIODE_12AX7

SOURCE = Input("in", "0")
LOWPASS = (SOURCE, Resistor("in", "out", 1e3), Capacitor("out", "0", 1e-6))


def test_nodes_come_in_the_order_in_which_they_are_named():
    assert Netlist(LOWPASS, ("out", "0")).nodes == ("in", "out")


def test_the_components_of_a_kind_are_found():
    assert [*Netlist(LOWPASS, ("out", "0")).of(Resistor)] == [LOWPASS[1]]


def test_a_pot_keeps_its_track_and_a_little_at_either_end():
    for share in (0.0, 0.3, 1.0):
        upper, lower = pot("top", "wiper", "0", 1e6, share)
        assert upper.ohms + lower.ohms == pytest.approx(1e6)
        assert lower.ohms == pytest.approx(1e6 * share, abs=501.0)
        assert min(upper.ohms, lower.ohms) > 499.0


def test_a_tube_has_a_capacitor_between_each_pair_of_electrodes():
    follower = Triode("B+", "grid", "out", TRIODE_12AX7)
    between = {frozenset(c[:2]): c.farads for c in capacitances(follower)}
    assert between == {
        frozenset(("grid", "out")): TRIODE_12AX7.grid_cathode_farads,
        frozenset(("grid", "B+")): TRIODE_12AX7.grid_plate_farads,
        frozenset(("B+", "out")): TRIODE_12AX7.plate_cathode_farads,
    }
    diode = Triode("grid", "grid", "out", TRIODE_12AX7)
    assert len(capacitances(diode)) == 2  # nothing between an electrode and itself


def test_an_error_names_the_component():
    assert describe(LOWPASS[1]) == "Resistor(in, out)"
    core = IdealTransformer((("a", "0", 10.0), ("b", "0", 1.0)))
    assert describe(core) == "IdealTransformer(a, 0, b, 0)"


@pytest.mark.parametrize(
    ("components", "message"),
    [
        (LOWPASS[1:], "one Input: found none"),
        ((*LOWPASS, Input("out", "0")), r"found Input\(in, 0\), Input\(out, 0\)"),
        ((*LOWPASS, Resistor("out", "0", 0.0)), r"Resistor\(out, 0\) has ohms=0.0"),
        ((*LOWPASS, Resistor("out", "0", float("nan"))), "ohms=nan"),
        ((*LOWPASS, Capacitor("out", "0", -1e-9)), "farads=-1e-09"),
        ((*LOWPASS, SaturatingInductor("out", "0", 1.0, 0.0)), "saturation_webers=0.0"),
        ((*LOWPASS, SaturatingInductor("out", "0", 1.0, 1.0, 3)), "exponent=3"),
        ((*LOWPASS, Supply("out", "0", float("inf"))), "volts=inf"),
        ((*LOWPASS, Resistor("out", "out", 1.0)), "is shorted"),
        ((*LOWPASS, Resistor("out", "", 1.0)), "without a name"),
        ((*LOWPASS, Resistor("out", "ouT", 1.0)), "stands on node 'ouT': is its name misspelt"),
        ((*LOWPASS, OpAmp("in", "out", "out", high_volts=9.0)), "has one rail"),
        ((*LOWPASS, OpAmp("in", "out", "out", 9.0, 0.0)), "rails from 9.0 to 0.0"),
        ((*LOWPASS, IdealTransformer((("out", "0", 1.0),))), "fewer than two windings"),
        ((*LOWPASS, IdealTransformer((("out", "0", 1.0), ("in", "0", -1.0)))), "turns=-1.0"),
        ((*LOWPASS, IdealTransformer((("out", "out", 1.0), ("in", "0", 1.0)))), "shorted at 'out'"),
        ((*LOWPASS, "R1"), "got 'R1' among the components"),
        (
            (
                *LOWPASS,
                IdealTransformer((("out", "0", 1.0), ("a", "b", 1.0))),
                Resistor("a", "b", 8.0),
            ),
            "node 'a' floats, with 1 more",
        ),
        ((Input("in", "e"), Resistor("in", "out", 1e3), Resistor("out", "e", 1e3)), "on ground"),
    ],
)
def test_refuses_what_makes_no_circuit(components, message):
    with pytest.raises(ValueError, match=message):
        Netlist(components, ("out", "0") if "e" not in components[0] else ("out", "e"))


def test_refuses_an_output_or_a_probe_that_is_not_there():
    with pytest.raises(ValueError, match="output names a node 'plate' that there is not: found in"):
        Netlist(LOWPASS, ("plate", "0"))
    with pytest.raises(ValueError, match="probe 'screen' names a node 'g2'"):
        Netlist(LOWPASS, ("out", "0"), {"screen": "g2"})
    with pytest.raises(ValueError, match="expected a pair"):
        Netlist(LOWPASS, ("out",))


def test_refuses_a_wiper_beyond_its_track():
    with pytest.raises(ValueError, match="got share=10"):
        pot("a", "b", "0", 1e6, 10.0)
