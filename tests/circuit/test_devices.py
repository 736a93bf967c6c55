import numpy as np
import pytest

from profiler.circuit.devices import (
    CONTROLS,
    CURRENTS,
    MOST_CONTROLS,
    evaluate,
    limit,
    row_of,
    table,
)
from profiler.circuit.diode import DIODE_1N914, RECTIFIER_GZ34
from profiler.circuit.netlist import Bjt, Diode, Pentode, Resistor, SaturatingInductor, Triode
from profiler.circuit.transistor import BJT_AC128
from profiler.circuit.tube import (
    PENTODE_6L6GC,
    TRIODE_12AX7,
    grid_current,
    pentode_drive,
    triode_current,
)

# A device, and a voltage of each of its controls where it does something.
WORKING = [
    (Triode("p", "g", "k", TRIODE_12AX7), (-1.3, 170.0)),
    (Triode("p", "g", "k", TRIODE_12AX7), (0.3, 4.0)),
    (Triode("p", "g", "k", TRIODE_12AX7), (-4.0, 250.0)),
    (Pentode("p", "s", "g", "k", PENTODE_6L6GC), (-30.0, 390.0, 350.0)),
    (Pentode("p", "s", "g", "k", PENTODE_6L6GC), (0.2, 250.0, 9.0)),
    (Diode("a", "k", DIODE_1N914), (0.62,)),
    (Diode("a", "k", DIODE_1N914), (-3.0,)),
    (Diode("a", "k", RECTIFIER_GZ34), (12.0,)),
    (Bjt("c", "b", "e", BJT_AC128), (-0.2, 0.5)),
    (Bjt("c", "b", "e", BJT_AC128), (-0.25, -0.22)),
    (SaturatingInductor("a", "b", 10.0, 0.5), (-0.6,)),
]


def laws(component, volts):
    kind, _ = row = row_of(component)
    devices = table([row])
    currents = np.zeros(CURRENTS[kind])
    slopes = np.zeros((CURRENTS[kind], MOST_CONTROLS))
    evaluate(*devices[:4], np.array(volts, dtype=np.float64), currents, slopes)
    return currents, slopes[:, : CONTROLS[kind]]


@pytest.mark.parametrize(("component", "volts"), WORKING)
def test_slopes_are_those_of_the_currents(component, volts):
    _, slopes = laws(component, volts)
    for c, v in enumerate(volts):
        step = 1e-4 * max(abs(v), 0.1)
        apart = [np.array(volts) for _ in range(2)]
        apart[0][c] -= step
        apart[1][c] += step
        numeric = (laws(component, apart[1])[0] - laws(component, apart[0])[0]) / (2.0 * step)
        np.testing.assert_allclose(slopes[:, c], numeric, rtol=1e-5, atol=1e-13)


@pytest.mark.parametrize("grid", [-60.0, -2.0, -0.1, 3.0])
def test_tubes_draw_what_tube_py_says(grid):
    (plate, through_grid), _ = laws(Triode("p", "g", "k", TRIODE_12AX7), (grid, 180.0))
    assert plate == pytest.approx(triode_current(TRIODE_12AX7, grid, 180.0), rel=1e-12, abs=1e-60)
    assert through_grid == grid_current(grid)[0]
    component = Pentode("p", "s", "g", "k", PENTODE_6L6GC)
    (plate, screen, through_grid), _ = laws(component, (grid, 300.0, 90.0))
    drive = pentode_drive(PENTODE_6L6GC, grid, 300.0)
    truth = 2.0 / PENTODE_6L6GC.kg1 * drive * np.arctan(90.0 / PENTODE_6L6GC.kvb)
    assert plate == pytest.approx(truth, rel=1e-12)
    assert screen == pytest.approx(drive / PENTODE_6L6GC.kg2, rel=1e-12)
    assert through_grid == grid_current(grid)[0]


def test_a_grid_that_does_not_conduct_draws_nothing():
    for component, volts in (
        (Triode("p", "g", "k", TRIODE_12AX7, grid_conducts=False), (2.0, 100.0)),
        (Pentode("p", "s", "g", "k", PENTODE_6L6GC, grid_conducts=False), (2.0, 300.0, 100.0)),
    ):
        currents, slopes = laws(component, volts)
        assert currents[-1] == 0.0
        assert not np.any(slopes[-1])
        assert currents[0] > 0.0


def test_a_plate_below_its_cathode_draws_nothing():
    for component, volts in (
        (Triode("p", "g", "k", TRIODE_12AX7), (0.0, -5.0)),
        (Pentode("p", "s", "g", "k", PENTODE_6L6GC), (0.0, 300.0, -5.0)),
    ):
        currents, slopes = laws(component, volts)
        assert currents[0] == 0.0
        assert not np.any(slopes[0])


def test_a_pnp_is_an_npn_turned_round():
    npn = BJT_AC128._replace(pnp=False)
    currents, slopes = laws(Bjt("c", "b", "e", BJT_AC128), (-0.2, 0.5))
    turned, same = laws(Bjt("c", "b", "e", npn), (0.2, -0.5))
    np.testing.assert_array_equal(currents, -turned)
    np.testing.assert_array_equal(slopes, same)


@pytest.mark.parametrize("component", {type(c): c for c, _ in WORKING}.values())
@pytest.mark.parametrize("volts", [-1e7, -1e3, 0.0, 1e3, 1e7])
def test_no_voltage_makes_a_current_that_is_no_number(component, volts):
    kind, _ = row_of(component)
    currents, slopes = laws(component, [volts] * CONTROLS[kind])
    if not isinstance(component, SaturatingInductor):  # 1e7 Wb: its limit keeps it from there
        assert np.all(np.isfinite(currents))
        assert np.all(np.isfinite(slopes))


def test_a_newton_step_into_a_junction_is_cut_to_its_logarithm():
    devices = table([row_of(Diode("a", "k", DIODE_1N914))])
    emission = DIODE_1N914.emission_volts
    volts = np.array([50.0])
    limit(devices.kind, devices.control, devices.parameters, np.array([0.6]), volts)
    assert volts[0] == pytest.approx(0.6 + emission * (1.0 + np.log(49.4 / emission)))
    volts = np.array([-50.0])
    limit(devices.kind, devices.control, devices.parameters, np.array([0.6]), volts)
    assert volts[0] == -50.0


def test_refuses_what_is_linear():
    with pytest.raises(ValueError, match="it is linear"):
        row_of(Resistor("a", "b", 1.0))
