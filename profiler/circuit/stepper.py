"""The one compiled loop that steps every circuit through time.

Newton's method on the devices' controls v, warm-started by extrapolation. With f and f' of the
devices at a guess v^, the currents j = i - i0 that solve the linear equations are those of

    (1 + f' K) j = f(v^) - i0 + f' (v0 + D w + E u - v^)

one unknown a current, and only for those currents that flow: a grid that does not conduct
costs nothing. v follows from j; the step ends where it is v^ within the tolerance, and j
satisfies the circuit exactly, whatever is left being an error in the devices' laws.

Where that does not converge, limited as it is (`devices.limit`), the step is gone in parts: the
open volts (v0 + D w + E u) are led from those of the step before, whose solution is known, to
the new ones.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from profiler.circuit.devices import CONTROLS, CURRENTS, MOST_CONTROLS, Devices, evaluate, limit
from profiler.circuit.elimination import Steps

# Of the scale over which a device bends: what a control may still be off after the last
# iteration is about the square of it.
TOLERANCE = 2e-2
ITERATIONS = 30
LEAST_PART = 1e-7  # of a step


class State(NamedTuple):
    """What a circuit remembers; every field is an array that `advance` writes to."""

    memory: np.ndarray  # (states,) w
    controls: np.ndarray  # (3, controls): v of the last three steps, the latest first
    open: np.ndarray  # (controls,) v0 + D w + E u of the last step
    currents: np.ndarray  # (currents,) j of the last step
    effort: np.ndarray  # (4,) int: steps, iterations, steps in parts, steps given up
    # of the last step of a block, for a meter: w before it, and u
    last_memory: np.ndarray
    last_input: np.ndarray


class Work(NamedTuple):
    """Room to compute in."""

    rows: np.ndarray
    memory: np.ndarray
    guess: np.ndarray  # (controls,)
    solved: np.ndarray
    start: np.ndarray
    goal: np.ndarray
    laws: np.ndarray  # (currents,) f(v^)
    slopes: np.ndarray  # (currents, MOST_CONTROLS)
    currents: np.ndarray  # (currents,) j
    matrix: np.ndarray  # (currents, currents)
    right: np.ndarray  # (currents,)
    active: np.ndarray  # (currents,) int
    device: np.ndarray  # (currents,) int: first control of the current's device
    width: np.ndarray  # (currents,) int: how many controls its device has
    iterations: int  # at most, before a step is gone in parts


def at_rest(steps: Steps) -> State:
    """The state that silence leaves as it is, to the last bit."""
    controls = steps.rest[: steps.sizes[0]]
    return State(
        memory=np.zeros(len(steps.states_of_input)),
        controls=np.tile(controls, (3, 1)),
        open=controls.copy(),
        currents=np.zeros(steps.sizes[2]),
        effort=np.zeros(4, dtype=np.int64),
        last_memory=np.zeros(len(steps.states_of_input)),
        last_input=np.zeros(1),
    )


def room(steps: Steps, devices: Devices, iterations: int = ITERATIONS) -> Work:
    """Room to step a circuit in."""
    controls, _, currents = steps.sizes
    rows = len(steps.rest)
    kinds = [kind for kind in devices.kind for _ in range(CURRENTS[kind])]
    firsts = [
        c
        for kind, c in zip(devices.kind, devices.control, strict=True)
        for _ in range(CURRENTS[kind])
    ]
    return Work(
        rows=np.zeros(rows),
        memory=np.zeros(len(steps.states_of_input)),
        guess=np.zeros(controls),
        solved=np.zeros(controls),
        start=np.zeros(controls),
        goal=np.zeros(controls),
        laws=np.zeros(currents),
        slopes=np.zeros((currents, MOST_CONTROLS)),
        currents=np.zeros(currents),
        matrix=np.zeros((currents, currents)),
        right=np.zeros(currents),
        active=np.zeros(currents, dtype=np.int64),
        device=np.array(firsts, dtype=np.int64),
        width=np.array([CONTROLS[kind] for kind in kinds], dtype=np.int64),
        iterations=iterations,
    )


@njit(cache=True, nogil=True, error_model="numpy")
def advance(steps, devices, state, work, volts, out):
    """Step a circuit through `(n,)` volts at its input.

    Parameters
    ----------
    out : (rows - controls, n) float array
        Written to: the output, and each probe.
    """
    controls, rows, _ = steps.sizes
    for n in range(len(volts)):
        _open(steps, state.memory, volts[n], work.rows)
        for c in range(controls):
            work.guess[c] = (
                3.0 * (state.controls[0, c] - state.controls[1, c]) + state.controls[2, c]
            )
        limit(devices, state.controls[0], work.guess)
        flowing = _solve(steps, devices, state, work)
        for r in range(controls, rows):
            total = work.rows[r]
            for k in range(flowing):
                a = work.active[k]
                total += work.currents[a] * steps.rows_of_currents[a, r]
            out[r - controls, n] = total
        if n == len(volts) - 1:
            state.last_memory[:] = state.memory
            state.last_input[0] = volts[n]
        _remember(steps, state, work, volts[n], flowing)


@njit(cache=True, nogil=True, error_model="numpy")
def _open(steps, memory, volts, rows):
    """rows = what they would be without devices."""
    for r in range(len(rows)):
        rows[r] = steps.rest[r] + steps.rows_of_input[r] * volts
    for k in range(0, len(memory), 4):
        w0, w1, w2, w3 = memory[k], memory[k + 1], memory[k + 2], memory[k + 3]
        d0, d1 = steps.rows_of_state[k], steps.rows_of_state[k + 1]
        d2, d3 = steps.rows_of_state[k + 2], steps.rows_of_state[k + 3]
        for r in range(len(rows)):
            rows[r] += d0[r] * w0 + d1[r] * w1 + d2[r] * w2 + d3[r] * w3


@njit(cache=True, nogil=True, error_model="numpy")
def _remember(steps, state, work, volts, flowing):
    """The memory a step later, and everything else that the next step starts from."""
    memory, new = state.memory, work.memory
    for s in range(len(memory)):
        new[s] = steps.states_of_input[s] * volts
    if steps.decay.shape[1]:
        own, beside = steps.decay[0], steps.decay[1]
        for s in range(0, len(memory), 2):
            new[s] += own[s] * memory[s] + beside[s] * memory[s + 1]
            new[s + 1] += own[s + 1] * memory[s + 1] + beside[s + 1] * memory[s]
    else:
        for k in range(len(memory)):
            column = steps.states_of_state[k]
            for s in range(len(memory)):
                new[s] += column[s] * memory[k]
    for k in range(flowing):
        a = work.active[k]
        column = steps.states_of_currents[a]
        for s in range(len(memory)):
            new[s] += column[s] * work.currents[a]
    for s in range(len(memory)):
        memory[s] = new[s]
    for c in range(len(work.solved)):
        state.controls[2, c] = state.controls[1, c]
        state.controls[1, c] = state.controls[0, c]
        state.controls[0, c] = work.solved[c]
        state.open[c] = work.rows[c]
    for a in range(len(work.currents)):
        state.currents[a] = work.currents[a]
    state.effort[0] += 1


@njit(cache=True, nogil=True, error_model="numpy")
def _solve(steps, devices, state, work):
    """Find `work.solved` and `work.currents` for the open volts in `work.rows`.

    Returns how many currents flow; `work.active` lists them.
    """
    controls = len(work.guess)
    reached, share = 0.0, 1.0
    for c in range(controls):
        work.start[c] = state.controls[0, c]
    while True:
        for c in range(controls):
            way = work.rows[c] - state.open[c]
            work.goal[c] = work.rows[c] if share == 1.0 else state.open[c] + share * way
        flowing = 0
        converged = False
        for _ in range(work.iterations):
            state.effort[1] += 1
            flowing = _linearise(steps, devices, work)
            if _distance(devices, work.solved, work.guess) < TOLERANCE:
                converged = True
                break
            limit(devices, work.guess, work.solved)
            for c in range(controls):
                work.guess[c] = work.solved[c]
        if converged and share == 1.0:
            return flowing
        if share == 1.0 and reached == 0.0:
            state.effort[2] += 1
        part = share - reached
        if converged:
            reached, part = share, 2.0 * part
            for c in range(controls):
                work.start[c] = work.solved[c]
        else:
            part *= 0.25
            if part < LEAST_PART:
                return _give_up(state, work)
        share = min(reached + part, 1.0)
        for c in range(controls):
            work.guess[c] = work.start[c]


@njit(cache=True, nogil=True, error_model="numpy")
def _give_up(state, work):
    """Nothing helped: what was found last stands in, and the count says so."""
    state.effort[3] += 1
    for c in range(len(work.solved)):
        work.solved[c] = state.controls[0, c]
    for a in range(len(work.currents)):
        work.active[a] = a
        work.currents[a] = state.currents[a]
    return len(work.currents)


@njit(cache=True, nogil=True, error_model="numpy")
def _linearise(steps, devices, work):
    """One Newton iteration from `work.guess` to `work.goal`: `work.currents`, `work.solved`."""
    rows, at = work.goal, work.guess
    laws, slopes, right, currents = work.laws, work.slopes, work.right, work.currents
    evaluate(devices, at, laws, slopes)
    flowing = 0
    for a in range(len(laws)):
        c = work.device[a]
        excess = laws[a] - steps.rest_currents[a]
        moved = slopes[a, 0] * (rows[c] - at[c])
        still = slopes[a, 0] == 0.0 and excess == 0.0
        for k in range(1, work.width[a]):
            moved += slopes[a, k] * (rows[c + k] - at[c + k])
            still = still and slopes[a, k] == 0.0
        currents[a] = 0.0
        if not still:
            work.active[flowing] = a
            right[flowing] = excess + moved
            flowing += 1
    for m in range(flowing):
        a = work.active[m]
        c, width = work.device[a], work.width[a]
        row = work.matrix[m]
        for k in range(flowing):
            across = steps.rows_of_currents[work.active[k]]
            total = slopes[a, 0] * across[c]
            if width > 1:
                total += slopes[a, 1] * across[c + 1]
            if width > 2:
                total += slopes[a, 2] * across[c + 2]
            row[k] = -total
        row[m] += 1.0
    _eliminate(work.matrix, right, flowing)
    for c in range(len(at)):
        work.solved[c] = rows[c]
    for k in range(flowing):
        a = work.active[k]
        currents[a] = right[k]
        across = steps.rows_of_currents[a]
        for c in range(len(at)):
            work.solved[c] += across[c] * right[k]
    return flowing


@njit(cache=True, nogil=True, error_model="numpy")
def _eliminate(matrix, right, size):
    """Solve the first `size` equations in place by Gaussian elimination, pivots by column."""
    for k in range(size):
        best, pivot = k, abs(matrix[k, k])
        for m in range(k + 1, size):
            if abs(matrix[m, k]) > pivot:
                best, pivot = m, abs(matrix[m, k])
        if best != k:
            for c in range(k, size):
                matrix[k, c], matrix[best, c] = matrix[best, c], matrix[k, c]
            right[k], right[best] = right[best], right[k]
        inverse = 1.0 / matrix[k, k] if matrix[k, k] != 0.0 else 0.0
        for m in range(k + 1, size):
            factor = matrix[m, k] * inverse
            if factor != 0.0:
                for c in range(k + 1, size):
                    matrix[m, c] -= factor * matrix[k, c]
                right[m] -= factor * right[k]
        matrix[k, k] = inverse
    for k in range(size - 1, -1, -1):
        total = right[k]
        for c in range(k + 1, size):
            total -= matrix[k, c] * right[c]
        right[k] = total * matrix[k, k]


@njit(cache=True, nogil=True, error_model="numpy")
def _distance(devices, a, b):
    """The largest difference of two sets of controls, in scales of their devices.

    Written so that a NaN is far away.
    """
    largest = 0.0
    for c in range(len(a)):
        apart = abs(a[c] - b[c]) / devices.scale[c]
        if not apart <= largest:
            largest = apart
    return largest
