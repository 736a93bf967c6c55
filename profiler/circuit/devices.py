"""The laws of the devices that are not linear, with their slopes, compiled.

Each device is a row of a table: what it is, where its controls (voltages) and its currents begin
in the circuit's lists of them, and its parameters. One compiled function evaluates any table, so
a new circuit compiles nothing.

    kind        controls                              currents
    TRIODE      grid, plate (against the cathode)     plate, grid (to the cathode)
    PENTODE     grid, screen, plate                   plate, screen, grid
    JUNCTION    anode to cathode                      the same way
    VACUUM      anode to cathode                      the same way
    TRANSISTOR  base to emitter, base to collector    collector, base (to the emitter)
    IRON        flux                                  through the winding
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from profiler.circuit import netlist
from profiler.circuit.diode import Junction, VacuumDiode
from profiler.circuit.tube import SCREEN_LEAST_VOLTS, grid_current

TRIODE, PENTODE, JUNCTION, VACUUM, TRANSISTOR, IRON = range(6)

CONTROLS = (2, 3, 1, 1, 2, 1)  # how many a kind has
CURRENTS = (2, 3, 1, 1, 2, 1)
MOST_CONTROLS = 3
PARAMETERS = 7

# A junction's exponential goes on as a straight line from here, in emission volts: no input,
# however wrong, may overflow it. At 1e-14 A of saturation this is 1e21 A.
EXPONENT_LIMIT = 80.0

# A tube is cut off, to the last bit, where what its grid leaves is this many e-folds down.
CUT_OFF = -80.0

NEAR_CATHODE_VOLTS = 1.0  # of a plate: from here on a Newton step may cross the cathode


class Devices(NamedTuple):
    """A table of devices."""

    kind: np.ndarray  # (devices,) int
    control: np.ndarray  # (devices,) int, its first control
    current: np.ndarray  # (devices,) int, its first current
    parameters: np.ndarray  # (devices, PARAMETERS)
    scale: np.ndarray  # (controls,): over how much of each control a device bends, V (Wb)


def table(rows: list[tuple[int, tuple[float, ...]]]) -> Devices:
    """The table of devices given as a kind and its parameters each."""
    kinds = [kind for kind, _ in rows]
    parameters = np.zeros((len(rows), PARAMETERS))
    for row, (_, values) in zip(parameters, rows, strict=True):
        row[: len(values)] = values
    scales = [scale for kind, values in rows for scale in _scales(kind, values)]
    return Devices(
        np.array(kinds, dtype=np.int64),
        np.cumsum([0, *(CONTROLS[kind] for kind in kinds)], dtype=np.int64)[:-1],
        np.cumsum([0, *(CURRENTS[kind] for kind in kinds)], dtype=np.int64)[:-1],
        parameters,
        np.array(scales, dtype=np.float64),
    )


def row_of(component) -> tuple[int, tuple[float, ...]]:
    """A component of a netlist as a row of the table."""
    match component:
        case netlist.Triode(model=tube, grid_conducts=conducts):
            return TRIODE, (tube.mu, tube.ex, tube.kg1, tube.kp, tube.kvb, float(conducts))
        case netlist.Pentode(model=tube, grid_conducts=conducts):
            koren = tube.mu, tube.ex, tube.kg1, tube.kg2, tube.kp, tube.kvb
            return PENTODE, (*koren, float(conducts))
        case netlist.Diode(model=Junction(saturation, emission)):
            return JUNCTION, (saturation, emission)
        case netlist.Diode(model=VacuumDiode(perveance)):
            return VACUUM, (perveance,)
        case netlist.Bjt(model=model):
            sign = -1.0 if model.pnp else 1.0
            return TRANSISTOR, (
                model.saturation_amperes,
                model.forward_beta,
                model.reverse_beta,
                model.emission_volts,
                sign,
            )
        case netlist.SaturatingInductor(_, _, henries, webers, exponent):
            return IRON, (henries, webers, float(exponent))
    raise ValueError(f"got {component!r}: it is linear, or unknown")


def _scales(kind, values):
    match kind:
        case 0:  # TRIODE: the grid's base of a cut-off, and a share of the plate's
            return 0.1, 5.0
        case 1:  # PENTODE
            return 0.5, 5.0, 5.0
        case 2:  # JUNCTION
            return (values[1],)
        case 3:  # VACUUM
            return (1.0,)
        case 4:  # TRANSISTOR
            return values[3], values[3]
        case _:  # IRON
            return (0.1 * values[1],)


@njit(cache=True, nogil=True, error_model="numpy")
def evaluate(kinds, control, current, parameters, volts, currents, slopes):
    """Every device's currents and their slopes at its controls.

    Parameters
    ----------
    kinds, control, current, parameters
        The first four arrays of `Devices`: handed over one by one, because a compiled function
        pays for every tuple that it opens.
    volts : (controls,) float array
    currents : (currents,) float array
        Written to, A.
    slopes : (currents, MOST_CONTROLS) float array
        Written to: by how much a current grows with each control of its device, A/V.
    """
    p = parameters
    for d in range(len(kinds)):
        kind, c, a = kinds[d], control[d], current[d]
        if kind == TRIODE:
            drawn, by_grid, by_plate = _triode(p, d, volts[c], volts[c + 1])
            currents[a], slopes[a, 0], slopes[a, 1] = drawn, by_grid, by_plate
            drawn, by_grid = _grid(p[d, 5], volts[c])
            currents[a + 1], slopes[a + 1, 0], slopes[a + 1, 1] = drawn, by_grid, 0.0
        elif kind == PENTODE:
            drive, by_grid, by_screen = _pentode(p, d, volts[c], volts[c + 1])
            kg1, kg2, kvb, plate = p[d, 2], p[d, 3], p[d, 5], max(volts[c + 2], 0.0)
            bend = 2.0 / kg1 * np.arctan(plate / kvb)
            straight = 2.0 / kg1 * kvb / (kvb * kvb + plate * plate) if plate > 0.0 else 0.0
            currents[a], slopes[a, 0] = bend * drive, bend * by_grid
            slopes[a, 1], slopes[a, 2] = bend * by_screen, straight * drive
            currents[a + 1], slopes[a + 1, 0] = drive / kg2, by_grid / kg2
            slopes[a + 1, 1], slopes[a + 1, 2] = by_screen / kg2, 0.0
            drawn, by_grid = _grid(p[d, 6], volts[c])
            currents[a + 2], slopes[a + 2, 0] = drawn, by_grid
            slopes[a + 2, 1], slopes[a + 2, 2] = 0.0, 0.0
        elif kind == JUNCTION:
            currents[a], slopes[a, 0] = _junction(p[d, 0], p[d, 1], volts[c])
        elif kind == VACUUM:
            root = np.sqrt(max(volts[c], 0.0))
            currents[a] = p[d, 0] * root * root * root
            slopes[a, 0] = 1.5 * p[d, 0] * root
        elif kind == TRANSISTOR:
            sign, forward_beta, reverse_beta = p[d, 4], p[d, 1], p[d, 2]
            forward, up = _junction(p[d, 0], p[d, 3], sign * volts[c])
            backward, down = _junction(p[d, 0], p[d, 3], sign * volts[c + 1])
            whole = 1.0 + 1.0 / reverse_beta
            currents[a] = sign * (forward - backward * whole)
            slopes[a, 0], slopes[a, 1] = up, -down * whole
            currents[a + 1] = sign * (forward / forward_beta + backward / reverse_beta)
            slopes[a + 1, 0], slopes[a + 1, 1] = up / forward_beta, down / reverse_beta
        else:  # IRON
            ratio, henries = volts[c] / p[d, 1], p[d, 0]
            power = 1.0
            for _ in range(int(p[d, 2])):
                power *= ratio
            currents[a] = volts[c] / henries * (1.0 + power)
            slopes[a, 0] = (1.0 + (p[d, 2] + 1.0) * power) / henries


@njit(cache=True, nogil=True, error_model="numpy")
def limit(kinds, control, parameters, earlier, volts):
    """Hold back a Newton step, in place, where an exponential or a power would overshoot.

    Into the conducting part of a junction a step is cut to its logarithm (as SPICE does: Nagel,
    "SPICE2", Berkeley, 1975). A plate falls to a quarter at most, because below its cathode it
    says nothing about the way back; iron's flux moves by a fifth of its saturation.
    """
    for d in range(len(kinds)):
        kind, c = kinds[d], control[d]
        if kind == JUNCTION:
            saturation, emission = parameters[d, 0], parameters[d, 1]
            volts[c] = _limited(saturation, emission, earlier[c], volts[c])
        elif kind == TRANSISTOR:
            saturation, emission, sign = parameters[d, 0], parameters[d, 3], parameters[d, 4]
            for k in range(c, c + 2):
                held = _limited(saturation, emission, sign * earlier[k], sign * volts[k])
                volts[k] = sign * held
        elif kind in (TRIODE, PENTODE):
            k = c + 1 if kind == TRIODE else c + 2
            if earlier[k] > NEAR_CATHODE_VOLTS:
                volts[k] = max(volts[k], 0.25 * earlier[k])
        elif kind == IRON:
            most = 0.2 * parameters[d, 1]
            volts[c] = earlier[c] + min(max(volts[c] - earlier[c], -most), most)


@njit(cache=True, nogil=True, error_model="numpy")
def _limited(saturation, emission, earlier, volts):
    critical = emission * np.log(emission / (saturation * np.sqrt(2.0)))
    if volts > critical and volts - earlier > 2.0 * emission:
        if earlier > 0.0:
            return earlier + emission * (1.0 + np.log((volts - earlier) / emission))
        return critical
    return volts


@njit(cache=True, nogil=True, error_model="numpy")
def _junction(saturation, emission, volts):
    x = volts / emission
    if x > EXPONENT_LIMIT:
        edge = saturation * np.exp(EXPONENT_LIMIT)
        return edge * (1.0 + x - EXPONENT_LIMIT), edge / emission
    power = saturation * np.exp(x)
    return power - saturation, power / emission


@njit(cache=True, nogil=True, error_model="numpy")
def _soft_plus(x):
    """ln(1 + exp(x)) and its slope."""
    if x > 0.0:
        small = np.exp(-x)
        return x + np.log1p(small), 1.0 / (1.0 + small)
    small = np.exp(x)
    return np.log1p(small), small / (1.0 + small)


@njit(cache=True, nogil=True, error_model="numpy")
def _grid(conducts, volts):
    return grid_current(volts) if conducts > 0.0 else (0.0, 0.0)


@njit(cache=True, nogil=True, error_model="numpy")
def _triode(p, d, grid, plate):
    """Plate current, and its slopes at the grid and the plate."""
    mu, ex, kg1, kp, kvb = p[d, 0], p[d, 1], p[d, 2], p[d, 3], p[d, 4]
    if plate <= 0.0:
        return 0.0, 0.0, 0.0
    root = 1.0 / np.sqrt(kvb + plate * plate)
    x = kp * (1.0 / mu + grid * root)
    if x < CUT_OFF:
        return 0.0, 0.0, 0.0
    soft, slope = _soft_plus(x)
    e1 = plate / kp * soft
    current = 2.0 / kg1 * np.exp(ex * np.log(e1))
    by_e1 = ex * current / e1
    lean = plate * root * slope
    return current, by_e1 * lean, by_e1 * (soft / kp - lean * grid * plate * root * root)


@njit(cache=True, nogil=True, error_model="numpy")
def _pentode(p, d, grid, screen):
    """E1 ** EX, and its slopes at the grid and the screen."""
    mu, ex, kp = p[d, 0], p[d, 1], p[d, 4]
    held = max(screen, SCREEN_LEAST_VOLTS)
    x = kp * (1.0 / mu + grid / held)
    if x < CUT_OFF:
        return 0.0, 0.0, 0.0
    soft, slope = _soft_plus(x)
    e1 = held / kp * soft
    drive = np.exp(ex * np.log(e1))
    by_e1 = ex * drive / e1
    by_screen = by_e1 * (soft / kp - slope * grid / held) if screen >= held else 0.0
    return drive, by_e1 * slope, by_screen
