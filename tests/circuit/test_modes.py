import numpy as np
import pytest

from profiler.circuit.modes import small_signal_modes, time_constants
from profiler.circuit.netlist import (
    Capacitor,
    IdealTransformer,
    Inductor,
    Input,
    Netlist,
    OpAmp,
    Resistor,
)
from profiler.circuit.preamp import two_stages


def _modes(*components, output="a"):
    return small_signal_modes(Netlist((Input("in", "0"), *components), (output, "0")))


def test_a_low_pass_has_its_product():
    modes = _modes(Resistor("in", "a", 4.7e3), Capacitor("a", "0", 10e-9))
    np.testing.assert_allclose(modes, [-1.0 / 47e-6], rtol=1e-12)


def test_a_resonance_is_a_pair_of_conjugates():
    modes = _modes(Resistor("in", "b", 1e3), Inductor("b", "a", 2.0), Capacitor("a", "0", 500e-12))
    truth = np.roots([2.0 * 500e-12, 1e3 * 500e-12, 1.0])
    np.testing.assert_allclose(sorted(modes, key=np.imag), sorted(truth, key=np.imag), rtol=1e-10)


def test_two_coupled_low_passes_are_the_roots_of_their_polynomial():
    r, c = 10e3, 10e-9
    modes = _modes(
        Resistor("in", "b", r),
        Capacitor("b", "0", c),
        Resistor("b", "a", r),
        Capacitor("a", "0", c),
    )
    np.testing.assert_allclose(np.sort(modes.real), np.sort(np.roots([(r * c) ** 2, 3 * r * c, 1])))


def test_capacitors_in_a_loop_have_a_mode_less():
    across_the_source = Capacitor("in", "0", 1e-9)
    loop = Capacitor("in", "a", 3e-9), Capacitor("a", "0", 1e-9)
    modes = _modes(across_the_source, *loop, Resistor("a", "0", 1e6))
    np.testing.assert_allclose(modes, [-1.0 / 4e-3], rtol=1e-10)


def test_a_transformer_turns_a_capacitor():
    core = IdealTransformer((("p", "0", 5.0), ("a", "0", 1.0)))
    modes = _modes(Resistor("in", "p", 1e3), core, Capacitor("a", "0", 1e-6))
    np.testing.assert_allclose(modes, [-1.0 / (1e3 * 1e-6 / 25.0)], rtol=1e-10)


def test_an_op_amp_that_feeds_back_positively_does_not_decay():
    # its gain of 3 leads back through an RC: s = (3 - 1) / RC
    net = Netlist(
        (
            Input("in", "0"),
            Resistor("in", "+", 20e3),
            Resistor("out", "+", 20e3),
            Capacitor("+", "0", 1e-9),
            OpAmp("+", "-", "out"),
            Resistor("out", "-", 20e3),
            Resistor("-", "0", 10e3),
        ),
        ("out", "0"),
    )
    np.testing.assert_allclose(small_signal_modes(net), [1.0 / 20e-6], rtol=1e-9)
    assert time_constants(net) == [np.inf]


def test_the_preamp_has_the_modes_that_ngspice_finds():
    # 25.66 and 17.24 ms by ngspice; 23.47 and 0.753 ms for 22 nF and 1 uF in the same circuit
    slow = time_constants(two_stages())[:4] * 1e3
    np.testing.assert_allclose(slow, [25.65, 23.47, 17.22, 0.753], rtol=0.01)


def test_a_charge_that_only_capacitors_hold_is_no_mode():
    modes = _modes(
        Capacitor("in", "a", 1e-9),
        Capacitor("a", "0", 1e-9),
        Resistor("in", "b", 1e3),
        Capacitor("b", "0", 1e-9),
    )
    np.testing.assert_allclose(modes, [-1e6], rtol=1e-10)
    assert time_constants(Netlist((Input("a", "0"), Resistor("a", "0", 1.0)), ("a", "0"))).size == 0


@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_modes_scale_with_the_capacitances(factor):
    def modes(scale):
        net = two_stages()
        scaled = [
            c._replace(farads=c.farads * scale) if isinstance(c, Capacitor) else c
            for c in net.components
        ]
        return small_signal_modes(Netlist(tuple(scaled), net.output))

    np.testing.assert_allclose(modes(factor) * factor, modes(1.0), rtol=1e-6)
