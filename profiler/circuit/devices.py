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
def evaluate(devices, volts, currents, slopes):
    """Every device's currents and their slopes at its controls.

    Parameters
    ----------
    volts : (controls,) float array
    currents : (currents,) float array
        Written to, A.
    slopes : (currents, MOST_CONTROLS) float array
        Written to: by how much a current grows with each control of its device, A/V.
    """
    for d in range(len(devices.kind)):
        kind = devices.kind[d]
        v = volts[devices.control[d] :]
        p = devices.parameters[d]
        i = currents[devices.current[d] :]
        g = slopes[devices.current[d] :]
        if kind == TRIODE:
            _triode(p, v, i, g)
        elif kind == PENTODE:
            _pentode(p, v, i, g)
        elif kind == JUNCTION:
            i[0], g[0, 0] = _junction(p[0], p[1], v[0])
        elif kind == VACUUM:
            root = np.sqrt(max(v[0], 0.0))
            i[0] = p[0] * root * max(v[0], 0.0)
            g[0, 0] = 1.5 * p[0] * root
        elif kind == TRANSISTOR:
            _transistor(p, v, i, g)
        else:
            ratio = v[0] / p[1]
            power = 1.0
            for _ in range(int(p[2])):
                power *= ratio
            i[0] = v[0] / p[0] * (1.0 + power)
            g[0, 0] = (1.0 + (p[2] + 1.0) * power) / p[0]


@njit(cache=True, nogil=True, error_model="numpy")
def limit(devices, earlier, volts):
    """Hold back a Newton step, in place, where an exponential or a power would overshoot.

    Into the conducting part of a junction a step is cut to its logarithm (as SPICE does: Nagel,
    "SPICE2", Berkeley, 1975). A plate falls to a quarter at most, because below its cathode it
    says nothing about the way back; iron's flux moves by a fifth of its saturation.
    """
    for d in range(len(devices.kind)):
        kind = devices.kind[d]
        c = devices.control[d]
        if kind == JUNCTION:
            p = devices.parameters[d]
            volts[c] = _limited(p[0], p[1], earlier[c], volts[c])
        elif kind == TRANSISTOR:
            p = devices.parameters[d]
            for k in range(c, c + 2):
                volts[k] = p[4] * _limited(p[0], p[3], p[4] * earlier[k], p[4] * volts[k])
        elif kind in (TRIODE, PENTODE):
            k = c + CONTROLS[kind] - 1
            if earlier[k] > NEAR_CATHODE_VOLTS:
                volts[k] = max(volts[k], 0.25 * earlier[k])
        elif kind == IRON:
            most = 0.2 * devices.parameters[d, 1]
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
def _transistor(p, v, i, g):
    sign = p[4]
    forward, forward_slope = _junction(p[0], p[3], sign * v[0])
    backward, backward_slope = _junction(p[0], p[3], sign * v[1])
    i[0] = sign * (forward - backward * (1.0 + 1.0 / p[2]))
    g[0, 0] = forward_slope
    g[0, 1] = -backward_slope * (1.0 + 1.0 / p[2])
    i[1] = sign * (forward / p[1] + backward / p[2])
    g[1, 0] = forward_slope / p[1]
    g[1, 1] = backward_slope / p[2]


@njit(cache=True, nogil=True, error_model="numpy")
def _soft_plus(x):
    """ln(1 + exp(x)) and its slope."""
    if x > 0.0:
        small = np.exp(-x)
        return x + np.log1p(small), 1.0 / (1.0 + small)
    small = np.exp(x)
    return np.log1p(small), small / (1.0 + small)


@njit(cache=True, nogil=True, error_model="numpy")
def _triode(p, v, i, g):
    mu, ex, kg1, kp, kvb = p[0], p[1], p[2], p[3], p[4]
    grid, plate = v[0], v[1]
    i[1], g[1, 0] = grid_current(grid) if p[5] > 0.0 else (0.0, 0.0)
    g[1, 1] = 0.0
    i[0] = 0.0
    g[0, 0] = 0.0
    g[0, 1] = 0.0
    if plate <= 0.0:
        return
    root = 1.0 / np.sqrt(kvb + plate * plate)
    x = kp * (1.0 / mu + grid * root)
    if x < CUT_OFF:
        return
    soft, slope = _soft_plus(x)
    e1 = plate / kp * soft
    i[0] = 2.0 / kg1 * e1**ex
    by_e1 = ex * i[0] / e1
    lean = plate * root * slope
    g[0, 0] = by_e1 * lean
    g[0, 1] = by_e1 * (soft / kp - lean * grid * plate * root * root)


@njit(cache=True, nogil=True, error_model="numpy")
def _pentode(p, v, i, g):
    mu, ex, kg1, kg2, kp, kvb = p[0], p[1], p[2], p[3], p[4], p[5]
    grid, plate = v[0], v[2]
    screen = max(v[1], SCREEN_LEAST_VOLTS)
    i[2], g[2, 0] = grid_current(grid) if p[6] > 0.0 else (0.0, 0.0)
    g[2, 1] = 0.0
    g[2, 2] = 0.0
    for k in range(2):
        i[k] = 0.0
        for c in range(3):
            g[k, c] = 0.0
    x = kp * (1.0 / mu + grid / screen)
    if x < CUT_OFF:
        return
    soft, slope = _soft_plus(x)
    e1 = screen / kp * soft
    drive = e1**ex
    by_e1 = ex * drive / e1
    by_grid = by_e1 * slope
    by_screen = by_e1 * (soft / kp - slope * grid / screen) if v[1] > SCREEN_LEAST_VOLTS else 0.0
    i[1] = drive / kg2
    g[1, 0] = by_grid / kg2
    g[1, 1] = by_screen / kg2
    if plate <= 0.0:
        return
    bend = 2.0 / kg1 * np.arctan(plate / kvb)
    i[0] = bend * drive
    g[0, 0] = bend * by_grid
    g[0, 1] = bend * by_screen
    g[0, 2] = 2.0 / kg1 * drive * kvb / (kvb * kvb + plate * plate)
