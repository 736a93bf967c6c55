"""Where a circuit rests: capacitors open, inductors shorted, the input at zero.

Newton's method on the whole circuit, its supplies raised from nothing step by step when it does
not converge at once, as they are when an amp is switched on.
"""

from typing import NamedTuple

import numpy as np
from scipy import linalg

from profiler.circuit.devices import CONTROLS, CURRENTS, MOST_CONTROLS, Devices, evaluate, limit
from profiler.circuit.nodal import Nodal
from profiler.errors import ProfilerError

ITERATIONS = 200
LEAST_RAISE = 1e-4  # of the supplies
FINAL_CHANGE = 1e-11  # of the unknowns, relative to the largest: rounding is all that is left

# A pattern of conductances that no real circuit has: what is singular with it always is.
_SEED = 1996


class OperatingPoint(NamedTuple):
    """A circuit at rest."""

    unknowns: np.ndarray  # x
    controls: np.ndarray  # v
    currents: np.ndarray  # i
    slopes: np.ndarray  # di/dv (currents, controls)


def operating_point(nodal: Nodal) -> OperatingPoint:
    """The circuit at rest.

    Where only capacitors lead to a part of the circuit, its charge is zero; where ideal inductors
    make a loop, its flux is.

    Raises
    ------
    ProfilerError
        Newton's method found no point of rest.
    """
    G = grounded(nodal)
    x = np.zeros(len(nodal.source))
    reached, raise_by = 0.0, 1.0
    while reached < 1.0:
        share = min(reached + raise_by, 1.0)
        found = _newton(nodal, G, share, x)
        if found is None:
            raise_by *= 0.25
            if raise_by < LEAST_RAISE:
                raise ProfilerError(
                    f"the circuit finds no point of rest: with its supplies at {reached:.3g} of "
                    "their voltage Newton's method stops; look for a loop of gain in the netlist"
                )
        else:
            x, reached, raise_by = found, share, 2.0 * raise_by
    controls = nodal.control @ x + nodal.control_offset
    currents, slopes = _laws(nodal.devices, controls)
    return OperatingPoint(x, controls, currents, slopes)


def islands(nodal: Nodal) -> np.ndarray:
    """Parts that only capacitors lead to: vectors w, (unknowns, parts), with w^T G = w^T N = 0.

    The circuit says w^T Q S Q^T dx/dt = 0 of them: the sum of an island's charges stays what it
    was. A loop of inductors is one, too, with its flux.
    """
    random = np.random.default_rng(_SEED)
    pattern = slopes_matrix(
        nodal.devices, np.ones((nodal.injection.shape[1], MOST_CONTROLS))
    ) * random.uniform(0.5e-4, 1.5e-4, (nodal.injection.shape[1], len(nodal.control)))
    decided = nodal.conductance + nodal.injection @ pattern @ nodal.control
    rows = 1.0 / np.maximum(np.max(np.abs(decided), axis=1), 1e-12)
    w = rows[:, None] * linalg.null_space((decided * rows[:, None]).T, rcond=1e-13)
    return w / np.max(np.abs(w), axis=0) if w.shape[1] else w


def grounded(nodal: Nodal) -> np.ndarray:
    """G, with an equation for whatever neither it nor a device decides: its charge is nothing."""
    w = islands(nodal)
    if not w.shape[1]:
        return nodal.conductance
    charges = (w.T @ nodal.reactance * nodal.sizes) @ nodal.reactance.T
    largest = np.max(np.abs(charges), axis=1, keepdims=True)
    return nodal.conductance + w @ (charges / np.maximum(largest, 1e-300))


def slopes_matrix(devices: Devices, slopes: np.ndarray) -> np.ndarray:
    """Slopes as `evaluate` writes them, (currents, MOST_CONTROLS), as (currents, controls)."""
    matrix = np.zeros((len(slopes), len(devices.scale)))
    for kind, control, current in zip(*devices[:3], strict=True):
        rows = slice(current, current + CURRENTS[kind])
        count = CONTROLS[kind]
        matrix[rows, control : control + count] = slopes[rows, :count]
    return matrix


def _laws(devices, controls):
    currents = np.zeros(sum(CURRENTS[kind] for kind in devices.kind))
    slopes = np.zeros((len(currents), MOST_CONTROLS))
    evaluate(*devices[:4], controls, currents, slopes)
    return currents, slopes_matrix(devices, slopes)


def _newton(nodal, G, share, x):
    """x with the supplies at a share of their voltage, or None where Newton's method fails."""
    devices = nodal.devices
    source = share * nodal.source
    controls = nodal.control @ x + nodal.control_offset
    for _ in range(ITERATIONS):
        currents, slopes = _laws(devices, controls)
        jacobian = G + nodal.injection @ slopes @ nodal.control
        # linear in x at these controls, which need not be those of x
        known = nodal.control_offset - controls
        right = source - nodal.injection @ (currents + slopes @ known)
        try:
            following = np.linalg.solve(jacobian, right)
        except np.linalg.LinAlgError:
            return None
        if not np.all(np.isfinite(following)):
            return None
        change = np.max(np.abs(following - x))
        x = following
        solved = nodal.control @ x + nodal.control_offset
        held = solved.copy()
        limit(devices.kind, devices.control, devices.parameters, controls, held)
        settled = np.array_equal(held, solved)
        controls = held
        if settled and change <= FINAL_CHANGE * max(1.0, np.max(np.abs(x))):
            return x
    return None
