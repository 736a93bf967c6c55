import numpy as np
import pytest
from scipy import optimize

from profiler.circuit.tube import (
    GRID_OHMS,
    PENTODE_6L6GC,
    TRIODE_12AX7,
    Coupling,
    TriodeStage,
    drive_grid,
    grid_current,
    look_up,
    pentode_curve,
    pentode_drive,
    triode_current,
)

STAGE = TriodeStage(TRIODE_12AX7, 250.0, 100e3, 1.5e3, 25e-6)
POWER_GRID = Coupling(20e3, 100e-9, 220e3, -32.0, 0.5 / 384_000)


def test_a_12ax7_draws_what_its_data_sheet_says():
    # 250 V, -2 V: 1.2 mA, 1.6 mA/V; Koren's fit lies a fifth below the current
    assert triode_current(TRIODE_12AX7, -2.0, 250.0) == pytest.approx(1.2e-3, rel=0.25)
    slope = triode_current(TRIODE_12AX7, -1.99, 250.0) - triode_current(TRIODE_12AX7, -2.01, 250.0)
    assert slope / 0.02 == pytest.approx(1.6e-3, rel=0.2)


@pytest.mark.parametrize("grid", [-7.3, -2.0, -1.21, 0.05, 2.9])
def test_the_curve_of_a_stage_lies_on_its_load_line(grid):
    def excess(plate):
        mu, ex, kg1, kp, kvb = 100.0, 1.4, 1060.0, 600.0, 300.0
        e1 = plate / kp * np.log1p(np.exp(kp * (1 / mu + grid / np.sqrt(kvb + plate**2))))
        return 250.0 - 100e3 * 2.0 * e1**ex / kg1 - plate

    truth = optimize.brentq(excess, 1e-6, 250.0, xtol=1e-12)
    assert look_up(STAGE.curve(), grid) == pytest.approx(truth, abs=1e-5)


def test_a_stage_rests_where_its_cathode_current_puts_it():
    cathode = STAGE.cathode_volts()
    plate = STAGE.plate(np.array([-cathode]))[0]
    assert triode_current(TRIODE_12AX7, -cathode, plate) * 1.5e3 == pytest.approx(cathode, rel=1e-9)


def test_the_curve_of_a_pentode_holds_at_every_screen_voltage():
    curve, exponent = pentode_curve(PENTODE_6L6GC), PENTODE_6L6GC.ex
    for screen in (150.0, 280.0, 355.0):
        for grid in (-90.0, -32.0, -7.7, 4.0):
            scaled = screen**exponent * look_up(curve, grid / screen)
            assert scaled == pytest.approx(pentode_drive(PENTODE_6L6GC, grid, screen), abs=1e-5)


def test_grid_current_is_smooth_and_ends_in_two_kilohm():
    assert grid_current(-0.4) == (0.0, 0.0)
    assert grid_current(10.0) == (10.0 / GRID_OHMS, 1.0 / GRID_OHMS)
    volts = np.linspace(-0.5, 0.5, 10_001)
    current, slope = np.array([grid_current(v) for v in volts]).T
    assert np.max(np.abs(np.gradient(current, volts) - slope)) < 1e-7
    assert np.max(np.abs(np.diff(slope))) < 1e-3 * slope[-1]  # no step in the slope


def _run(coupling, source, start):
    charge, current, grid = start
    grids = []
    for volts in source:
        charge, current, grid = drive_grid(coupling, volts, charge, current, grid)
        grids.append(grid)
    return np.array(grids), (charge, current, grid)


AT_REST = (32.0, 0.0, -32.0)


def test_a_blocked_grid_recovers_with_the_leak_and_the_coupling_capacitor():
    _, blocked = _run(POWER_GRID, np.full(19_200, 60.0), AT_REST)
    grids, _ = _run(POWER_GRID, np.zeros(38_400), blocked)
    offset = -32.0 - grids[1:]
    assert offset[0] > 15.0  # colder by this many volts: it does block
    seconds = np.arange(len(offset)) / 384_000
    tau = -1.0 / np.polyfit(seconds, np.log(offset), 1)[0]
    assert tau == pytest.approx((220e3 + 20e3) * 100e-9, rel=1e-4)  # 24 ms


def test_a_conducting_grid_charges_the_capacitor_through_source_and_grid():
    grids, _ = _run(POWER_GRID, np.full(600, 60.0), AT_REST)  # 1.6 ms, all of it conducting
    parallel = 1.0 / (1.0 / GRID_OHMS + 1.0 / 220e3)
    tau = (20e3 + parallel) * 100e-9
    # towards what grid and leak divide, in the straight part of the diode
    steady = -32.0 * parallel / 220e3
    course = np.log(grids - steady)
    assert grids[-1] > 0.4
    slope = np.polyfit(np.arange(600) / 384_000, course, 1)[0]
    assert -1.0 / slope == pytest.approx(tau, rel=1e-3)


def test_a_grid_that_does_not_conduct_is_a_high_pass():
    n = np.arange(384_000)
    source = np.sin(2 * np.pi * 10.0 * n / 384_000)
    grids, _ = _run(POWER_GRID, source, AT_REST)
    s = 2j * np.pi * 10.0
    truth = 220e3 / (220e3 + 20e3 + 1.0 / (s * 100e-9))
    tail = slice(-115_200, None)  # three whole periods
    found = 2.0 * np.mean((grids[tail] + 32.0) * np.exp(-s * n[tail] / 384_000)) * 1j
    assert abs(found - truth) < 1e-4
