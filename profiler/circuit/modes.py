"""How fast a circuit moves when it is left alone a little off its rest: its modes.

Each is exp(lambda t) of the circuit linearised at its operating point. The slow ones are the
time constants that a guitarist hears; what is nanoseconds is a grid's capacitance.
"""

import numpy as np
from scipy import linalg

from profiler.circuit.netlist import Netlist
from profiler.circuit.nodal import assemble
from profiler.circuit.operating_point import grounded, islands, operating_point

# Below it, relative to the slowest, a time constant is rounding: capacitors in a loop, or
# across a source, have a mode less than there are capacitors.
LEAST_RATIO = 1e-14


def small_signal_modes(netlist: Netlist) -> np.ndarray:
    """Eigenvalues of the circuit linearised where it rests, the slowest first.

    Parameters
    ----------
    netlist : Netlist

    Returns
    -------
    (k,) complex array
        In 1/s. A negative real part decays; a positive one is an oscillator. A part that only
        capacitors lead to keeps its charge: it has no mode.

    Notes
    -----
    With J = G + N di/dv P the circuit is Q S d/dt Q^T x = -J x. Its states z = Q^T x obey
    z = -(Q^T J^-1 Q S) dz/dt, so each eigenvalue of the matrix in brackets is -1 / lambda.
    """
    nodal = assemble(netlist)
    slopes = operating_point(nodal).slopes
    jacobian = grounded(nodal) + nodal.injection @ slopes @ nodal.control
    root = np.sqrt(np.abs(nodal.sizes))
    scaled = nodal.reactance * root  # so that the matrix is symmetric where there are only R and C
    signed = scaled * np.sign(nodal.sizes)
    matrix = scaled.T @ np.linalg.solve(jacobian, signed)
    kept = linalg.null_space(islands(nodal).T @ signed)  # states that leave islands uncharged
    times = linalg.eigvals(kept.T @ matrix @ kept) if kept.size else np.zeros(0)
    times = times[np.abs(times) > LEAST_RATIO * np.max(np.abs(times), initial=0.0)]
    order = np.lexsort((times.imag, -np.abs(times)))
    return -1.0 / times[order].astype(np.complex128)


def time_constants(netlist: Netlist) -> np.ndarray:
    """After what time each mode has fallen to 1/e, the slowest first; see `small_signal_modes`.

    Returns
    -------
    (k,) float array
        In s, of a pair of conjugate modes both. A mode that does not decay is infinite.
    """
    falling = -small_signal_modes(netlist).real
    with np.errstate(divide="ignore"):
        times = np.where(falling > 0.0, 1.0 / falling, np.inf)
    return np.sort(times)[::-1]
