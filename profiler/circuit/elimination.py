"""A circuit in steps of time: everything linear is solved beforehand, once for a rate.

What is left to a step is

    v = v0 + D w + E u - K (i(v) - i0)        the devices' controls, implicit
    w <- A w + B u + C (i(v) - i0)            what the reactances remember
    y = y0 + F w + g u + H (i(v) - i0)        output and probes

(Yeh, Abel and Smith, "Automated physical modeling of nonlinear audio circuits", IEEE Trans.
Audio, Speech and Language Processing 18(4), 2010; Holters and Zoelzer, "A generalized method for
the derivation of non-linear state-space models from circuit schematics", EUSIPCO 2015). All of
it is counted from the operating point, so a circuit at rest stays there to the last bit.

Rules of integration
--------------------
The trapezoidal rule, because it neither damps nor delays. A capacitor that conducting junctions
short (`Nodal.stiff`) is a hundred times faster than a step then, and the trapezoidal rule would
ring on it: it gets the second backward difference formula, which is of second order, too.

w are the remembered terms of these rules, turned into the eigenvectors of A: A is diagonal then,
but for a 2 x 2 block a pair of conjugates. What is forgotten within steps has no eigenvectors
that could be told apart (a shorted capacitor's memory is nilpotent): it stays a block.
"""

from typing import NamedTuple

import numpy as np
from scipy import linalg

from profiler.circuit.nodal import Nodal
from profiler.circuit.operating_point import OperatingPoint
from profiler.errors import ProfilerError

WORST_CONDITION = 1e6  # of the eigenvectors: turning into them and back keeps ten digits
FORGOTTEN = 0.2  # an eigenvalue below it is gone within steps

LANES = 4  # rows and states are padded to a multiple of what a processor does at once


class Steps(NamedTuple):
    """The matrices above, transposed where that lets them be read in order.

    Rows are the controls, then what is looked at; rows and states are padded with zeros.
    """

    sizes: np.ndarray  # (3,) int: controls, rows without padding, currents
    rest: np.ndarray  # (rows,) v0 and y0
    rest_currents: np.ndarray  # (currents,) i0
    rows_of_state: np.ndarray  # (states, rows) D and F, transposed
    rows_of_input: np.ndarray  # (rows,) E and g
    rows_of_currents: np.ndarray  # (currents, rows) -K and H, transposed
    block: np.ndarray  # (k, k) of A for the first k states, transposed
    decay: np.ndarray  # (2, states) diagonal of the rest of A, and what is beside it
    states_of_input: np.ndarray  # (states,) B
    states_of_currents: np.ndarray  # (currents, states) C transposed


def eliminate(nodal: Nodal, rest: OperatingPoint, rate: float) -> Steps:
    """The circuit in steps of 1 / rate seconds, the output, probes and nodes looked at.

    Raises
    ------
    ProfilerError
        The linear part has no solution: two ideal sources in parallel, say.
    """
    root = np.sqrt(np.abs(nodal.sizes))
    reactance = nodal.reactance * root
    slope = np.where(nodal.stiff, 1.5, 2.0) * rate * np.sign(nodal.sizes)
    matrix = nodal.conductance + (reactance * slope) @ reactance.T
    right = np.column_stack((reactance, nodal.signal, -nodal.injection))
    solved = _solve(matrix, right)  # (unknowns, reactances + 1 + currents)

    nodes = np.eye(len(nodal.nodes), len(nodal.source))
    looked_at = np.vstack((nodal.control, nodal.output, nodal.probes, nodes))
    rows = looked_at @ solved
    states, rows_of_state, transition = _states(nodal, rate, rows, reactance.T @ solved)

    reactances = len(nodal.sizes)
    vectors, block, decay = _turned(transition[:, :states])
    driven = np.linalg.solve(vectors, transition[:, states:])
    known = looked_at @ rest.unknowns
    known[: len(nodal.control)] = rest.controls
    wide, long = _padded(len(known)), _padded(states + 1)  # a pair may reach one beyond
    return Steps(
        sizes=np.array([len(nodal.control), len(known), len(rest.currents)], dtype=np.int64),
        rest=_pad(known, wide),
        rest_currents=rest.currents,
        rows_of_state=_pad((rows_of_state @ vectors).T, long, wide),
        rows_of_input=_pad(rows[:, reactances], wide),
        rows_of_currents=_pad(rows[:, reactances + 1 :].T, len(rest.currents), wide),
        block=np.ascontiguousarray(block.T),
        decay=_pad(decay, 2, long),
        states_of_input=_pad(driven[:, 0], long),
        states_of_currents=_pad(driven[:, 1:].T, len(rest.currents), long),
    )


def looking_at(steps: Steps, begin: int, end: int) -> Steps:
    """The same steps, of all that is looked at only a part."""
    controls, _, currents = steps.sizes
    rows = np.r_[:controls, controls + begin : controls + end]
    wide = _padded(len(rows))
    return steps._replace(
        sizes=np.array([controls, len(rows), currents], dtype=np.int64),
        rest=_pad(steps.rest[rows], wide),
        rows_of_state=_pad(steps.rows_of_state[:, rows], len(steps.rows_of_state), wide),
        rows_of_input=_pad(steps.rows_of_input[rows], wide),
        rows_of_currents=_pad(steps.rows_of_currents[:, rows], currents, wide),
    )


def _solve(matrix, right):
    """matrix^-1 right, rows and columns first brought to one size."""
    left = np.ones(len(matrix))
    across = np.ones(len(matrix))
    for _ in range(8):
        scaled = np.abs(matrix) * left[:, None] * across
        largest = np.max(scaled, axis=1), np.max(scaled, axis=0)
        if min(map(np.min, largest)) == 0.0:
            break
        left /= np.sqrt(largest[0])
        across /= np.sqrt(largest[1])
    try:
        factors = linalg.lu_factor(matrix * left[:, None] * across)
        solved = across[:, None] * linalg.lu_solve(factors, left[:, None] * right)
    except (np.linalg.LinAlgError, linalg.LinAlgWarning):
        solved = np.full_like(right, np.nan)
    if not np.all(np.isfinite(solved)) or np.min(np.abs(np.diag(factors[0]))) < 1e-13:
        raise ProfilerError(
            "the circuit has no solution: look in the netlist for ideal sources in parallel, an "
            "op-amp without feedback, or a node that only currents are driven into"
        )
    return solved


def _states(nodal, rate, rows, across):
    """What is remembered: its number, the rows and its own next value for each of it.

    A reactance of value S remembers s, so that the flow into it now is slope z - s, z being the
    voltage over it (the current through it). By the trapezoidal rule the next s is
    2 slope z - s; by the second backward difference it is 2 S / h z - r, r being S / 2h times
    the z before, a memory of its own.
    """
    reactances = len(nodal.sizes)
    second = np.flatnonzero(nodal.stiff)
    states = reactances + len(second)
    sign = np.sign(nodal.sizes)
    following = np.where(nodal.stiff, 2.0, 4.0) * rate * sign
    transition = np.zeros((states, states + across.shape[1] - reactances))
    where = np.r_[:reactances, states : transition.shape[1]]  # no row reads r
    transition[:reactances, where] = following[:, None] * across
    transition[:reactances, :reactances] -= np.diag(np.where(nodal.stiff, 0.0, 1.0))
    transition[second, reactances + np.arange(len(second))] = -1.0
    transition[reactances:states, where] = 0.5 * rate * sign[second, None] * across[second]
    rows_of_state = np.hstack((rows[:, :reactances], np.zeros((len(rows), len(second)))))
    return states, rows_of_state, transition


def _turned(matrix):
    """A matrix as a small block and eigenvalues, and the vectors between which it is so.

    Returns
    -------
    vectors : (n, n) float array
        matrix = vectors (block and eigenvalues) vectors^-1.
    block : (k, k) float array
        What stays as it is, between the first k vectors; k is 0 where it can be.
    decay : (2, n) float array
        A pair of conjugate eigenvalues a +- ib stands in columns k + 2m, k + 2m + 1 as the
        block (a b; -b a): the first row holds the diagonal, the second what is beside it. Zero
        in the first k columns.
    """
    size = len(matrix)
    for radius in (0.0, FORGOTTEN) if size else ():
        triangular, basis, k = linalg.schur(
            matrix, sort=lambda re, im, radius=radius: np.hypot(re, im) < radius
        )
        first, rest = triangular[:k, :k], triangular[k:, k:]
        apart = np.eye(size)
        if 0 < k < size:
            apart[:k, k:] = linalg.solve_sylvester(first, -rest, -triangular[:k, k:])
        vectors, decay = _eigen(rest)
        vectors = basis @ np.hstack((apart[:, :k], apart[:, k:] @ vectors))
        if vectors.shape == matrix.shape and np.linalg.cond(vectors) < WORST_CONDITION:
            return vectors, first, np.hstack((np.zeros((2, k)), decay))
    return np.eye(size), matrix, np.zeros((2, size))


def _eigen(matrix):
    """Eigenvectors as the columns of a real matrix, and the eigenvalues as in `_turned`."""
    values, complex_vectors = linalg.eig(matrix)
    columns, diagonal, beside = [], [], []
    for k in np.flatnonzero(values.imag > 0.0):
        columns += [complex_vectors[:, k].real, complex_vectors[:, k].imag]
        diagonal += [values[k].real] * 2
        beside += [values[k].imag, -values[k].imag]
    for k in np.flatnonzero(values.imag == 0.0):
        columns.append(complex_vectors[:, k].real)
        diagonal.append(values[k].real)
        beside.append(0.0)
    vectors = np.array(columns).reshape(-1, len(matrix)).T
    return vectors, np.array([diagonal, beside]).reshape(2, -1)


def _padded(length):
    return -(-length // LANES) * LANES


def _pad(array, *shape):
    padded = np.zeros(shape)
    padded[tuple(slice(n) for n in array.shape)] = array
    return padded
