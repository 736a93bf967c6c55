"""Tubes after Koren ("Improved vacuum tube models for SPICE simulations", Glass Audio, 1996).

A triode stage is solved once, along its load line, into a curve of plate against grid
voltage; while it plays the curve is only looked up. Voltages are against the cathode
unless the name says otherwise, currents are in ampere.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from scipy import optimize

GRID_OHMS = 2_000.0  # of a conducting grid
GRID_KNEE_VOLTS = 0.4  # on either side of zero, where it begins to conduct
SCREEN_LEAST_VOLTS = 1.0  # below it a screen counts as having it


class Triode(NamedTuple):
    """Koren's parameters of a triode, and what lies between its electrodes."""

    mu: float
    ex: float
    kg1: float
    kp: float
    kvb: float
    grid_cathode_farads: float
    grid_plate_farads: float
    plate_cathode_farads: float


class Pentode(NamedTuple):
    """Koren's parameters of a pentode or beam tetrode, and what lies between its electrodes."""

    mu: float
    ex: float
    kg1: float
    kg2: float
    kp: float
    kvb: float
    grid_cathode_farads: float
    grid_plate_farads: float
    plate_cathode_farads: float


# Koren's table (Glass Audio, 1996, with its errata): the curves and the capacitances, in the
# order mu, EX, KG1, KP, KVB; grid to cathode, grid to plate, plate to cathode.
TRIODE_12AX7 = Triode(100.0, 1.4, 1060.0, 600.0, 300.0, 2.3e-12, 2.4e-12, 0.9e-12)
TRIODE_12AT7 = Triode(60.0, 1.35, 460.0, 300.0, 300.0, 2.7e-12, 2.2e-12, 1.0e-12)
TRIODE_12AU7 = Triode(21.5, 1.3, 1180.0, 84.0, 300.0, 2.5e-12, 2.0e-12, 1.0e-12)
# The same with KG2 after KG1.
PENTODE_6L6GC = Pentode(8.7, 1.35, 1460.0, 4500.0, 48.0, 12.0, 11e-12, 0.85e-12, 8e-12)
PENTODE_EL34 = Pentode(11.0, 1.35, 650.0, 4200.0, 60.0, 24.0, 15e-12, 1.0e-12, 8e-12)
PENTODE_KT88 = Pentode(8.8, 1.35, 730.0, 4200.0, 32.0, 16.0, 14e-12, 0.85e-12, 12e-12)
# Not among Koren's own: a fit that is handed round with his equations. At the data sheet's 250 V,
# 250 V, -12.5 V it draws 46 mA (the sheet: 45) with 4.1 mA/V (4.1); capacitances from the sheet.
PENTODE_6V6GT = Pentode(10.7, 1.31, 1672.0, 4500.0, 41.16, 12.7, 9.0e-12, 0.7e-12, 7.5e-12)

MILLER_FARADS = 2.3e-12 + 61 * 2.4e-12  # grid of a 12AX7 with a gain of 60: Cgk + (1 + A) Cgp


def triode_current(tube: Triode, grid, plate):
    """Plate current at grid and plate voltages (scalars or arrays)."""
    exponent = tube.kp * (1.0 / tube.mu + grid / np.sqrt(tube.kvb + np.square(plate)))
    e1 = plate / tube.kp * np.logaddexp(0.0, exponent)
    return 2.0 * np.maximum(e1, 0.0) ** tube.ex / tube.kg1


def pentode_drive(tube: Pentode, grid, screen):
    """E1 ** EX of Koren: what grid and screen (scalars or arrays) make of the current.

    The plate draws 2 / KG1 atan(plate / KVB) of it (nothing backwards), the screen 1 / KG2.
    """
    screen = np.maximum(screen, SCREEN_LEAST_VOLTS)
    e1 = screen / tube.kp * np.logaddexp(0.0, tube.kp * (1.0 / tube.mu + grid / screen))
    return e1**tube.ex


def pentode_curve(tube: Pentode) -> "Curve":
    """`pentode_drive` of a screen at 1 V; at V volts it is V ** EX times that at grid / V."""
    ratio = np.linspace(-0.5, 0.25, 6001)
    return Curve(ratio[0], ratio[1] - ratio[0], pentode_drive(tube, ratio, 1.0))


@njit(cache=True, nogil=True, error_model="numpy")
def grid_current(grid):
    """A diode in series with 2 kohm: current and its slope.

    A ramp smoothed by a triangle of +-GRID_KNEE_VOLTS: twice differentiable, and exactly
    zero below, so that a tube at rest stays at rest.
    """
    if grid <= -GRID_KNEE_VOLTS:
        return 0.0, 0.0
    if grid >= GRID_KNEE_VOLTS:
        return grid / GRID_OHMS, 1.0 / GRID_OHMS
    reach = (GRID_KNEE_VOLTS - abs(grid)) / GRID_KNEE_VOLTS
    current = max(grid, 0.0) + GRID_KNEE_VOLTS * reach**3 / 6.0
    slope = 1.0 - reach * reach / 2.0 if grid > 0.0 else reach * reach / 2.0
    return current / GRID_OHMS, slope / GRID_OHMS


class Curve(NamedTuple):
    """A function of one variable on an even grid."""

    start: float
    step: float
    values: np.ndarray


@njit(cache=True, nogil=True, error_model="numpy")
def look_up(curve, x):
    """Cubic (Catmull-Rom) interpolation; beyond the ends the end value holds."""
    position = (x - curve.start) / curve.step
    position = min(max(position, 1.0), len(curve.values) - 2.001)
    index = int(position)
    t = position - index
    before = curve.values[index - 1]
    left = curve.values[index]
    right = curve.values[index + 1]
    after = curve.values[index + 2]
    slope_left = 0.5 * (right - before)
    slope_right = 0.5 * (after - left)
    bend = slope_left + slope_right - 2.0 * (right - left)
    return left + t * (slope_left + t * (right - left - slope_left - bend + t * bend))


class TriodeStage(NamedTuple):
    """A common-cathode stage."""

    tube: Triode
    supply: float  # V
    plate_ohms: float
    cathode_ohms: float
    cathode_farads: float

    def plate(self, grid: np.ndarray) -> np.ndarray:
        """Plate voltage that a grid voltage leads to, by bisection along the load line."""
        low, high = np.zeros_like(grid), np.full_like(grid, self.supply)
        for _ in range(60):
            middle = 0.5 * (low + high)
            too_low = self.supply - self.plate_ohms * triode_current(self.tube, grid, middle)
            above = too_low < middle
            low, high = np.where(above, low, middle), np.where(above, middle, high)
        return 0.5 * (low + high)

    def curve(self) -> Curve:
        """`plate` from deep cut-off to a conducting grid."""
        grid = np.linspace(-8.0, 4.0, 4801)
        return Curve(grid[0], grid[1] - grid[0], self.plate(grid))

    def cathode_volts(self) -> float:
        """Where the cathode rests: its current through its resistor."""

        def excess(cathode):
            plate = self.plate(np.array([-cathode]))[0]
            return (self.supply - plate) / self.plate_ohms * self.cathode_ohms - cathode

        return float(optimize.brentq(excess, 0.0, 20.0, xtol=1e-13))

    def output_ohms(self) -> float:
        """Plate resistor and tube in parallel, at rest."""
        grid = -self.cathode_volts()
        plate = self.plate(np.array([grid]))[0]
        steps = plate + np.array([-0.5, 0.5])
        slope = float(np.diff(triode_current(self.tube, grid, steps))[0])
        return 1.0 / (1.0 / self.plate_ohms + slope)


class Coupling(NamedTuple):
    """A coupling capacitor into a grid: the source's resistance, the leak, the rest voltage."""

    source_ohms: float
    farads: float
    leak_ohms: float
    rest_volts: float  # that the leak leads to, against the cathode
    half_step: float  # s: half the time step
    conducts: float = 1.0  # 0 for a grid that draws no current


@njit(cache=True, nogil=True, error_model="numpy")
def drive_grid(coupling, source, charge_volts, current, grid):
    """One trapezoidal step of a coupling capacitor into a grid that may conduct.

    A grid that conducts charges the capacitor through the source; afterwards only the
    leak discharges it, and until then the tube is biased colder: it blocks.

    Parameters
    ----------
    source : float
        Open voltage of the stage before.
    charge_volts, current, grid : float
        Voltage over the capacitor, current into it and grid voltage, a step ago.

    Returns
    -------
    charge_volts, current, grid : float
    """
    trapezoid = coupling.half_step / coupling.farads
    series = coupling.source_ohms + trapezoid
    open_volts = source - charge_volts - trapezoid * current
    leak = 1.0 / coupling.leak_ohms
    for _ in range(50):
        drawn, slope = grid_current(grid)
        drawn = coupling.conducts * drawn + (grid - coupling.rest_volts) * leak
        slope = coupling.conducts * slope + leak
        change = (open_volts - series * drawn - grid) / (1.0 + series * slope)
        grid += change
        if abs(change) < 1e-6:
            break
    drawn = (open_volts - grid) / series
    return charge_volts + trapezoid * (current + drawn), drawn, grid
