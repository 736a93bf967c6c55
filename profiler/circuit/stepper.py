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
    first: np.ndarray  # (currents,) int: the first control of its device
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
        first=np.array(firsts, dtype=np.int64),
        width=np.array([CONTROLS[kind] for kind in kinds], dtype=np.int64),
        iterations=iterations,
    )


# The functions below are handed arrays, not tuples of them: a compiled function counts a reference
# for every field that it takes out of a tuple, and that would cost more than the arithmetic.


@njit(cache=True, nogil=True, error_model="numpy")
def advance(steps, devices, state, work, volts, out):
    """Step a circuit through `(n,)` volts at its input.

    Parameters
    ----------
    out : (rows - controls, n) float array
        Written to: the output, and each probe.
    """
    kinds, control, current, parameters, scale = devices
    across, rest_currents = steps.rows_of_currents, steps.rest_currents
    memory, earlier, before = state.memory, state.controls, state.open
    rows, guess, solved, start, goal = work.rows, work.guess, work.solved, work.start, work.goal
    laws, slopes, currents = work.laws, work.slopes, work.currents
    matrix, right, active, first = work.matrix, work.right, work.active, work.first
    width, effort, iterations = work.width, state.effort, work.iterations
    count = len(guess)
    for n in range(len(volts)):
        _open(steps.rest, steps.rows_of_input, steps.rows_of_state, memory, volts[n], rows)
        for c in range(count):
            start[c] = earlier[0, c]
            guess[c] = 3.0 * (earlier[0, c] - earlier[1, c]) + earlier[2, c]
        limit(kinds, control, parameters, start, guess)

        reached, share = 0.0, 1.0  # of the way from the open volts before to these
        flowing = 0
        while True:
            for c in range(count):
                goal[c] = rows[c] if share == 1.0 else before[c] + share * (rows[c] - before[c])
            converged = False
            for _ in range(iterations):
                effort[1] += 1
                evaluate(kinds, control, current, parameters, guess, laws, slopes)
                flowing = _equations(
                    goal, guess, laws, slopes, rest_currents, across, first, width, active,
                    matrix, right,
                )  # fmt: skip
                _eliminate(matrix, right, flowing)
                _follow(goal, across, active, right, flowing, currents, solved)
                if _distance(scale, solved, guess) < TOLERANCE:
                    converged = True
                    break
                limit(kinds, control, parameters, guess, solved)
                for c in range(count):
                    guess[c] = solved[c]
            if converged and share == 1.0:
                break
            if share == 1.0 and reached == 0.0:
                effort[2] += 1
            part = share - reached
            if converged:
                reached, part = share, 2.0 * part
                for c in range(count):
                    start[c] = solved[c]
            else:
                part *= 0.25
                if part < LEAST_PART:
                    # Nothing helped: what was found last stands in, and the count says so.
                    effort[3] += 1
                    flowing = len(currents)
                    for c in range(count):
                        solved[c] = earlier[0, c]
                    for a in range(flowing):
                        active[a] = a
                        currents[a] = state.currents[a]
                    break
            share = min(reached + part, 1.0)
            for c in range(count):
                guess[c] = start[c]

        for r in range(len(out)):
            total = rows[count + r]
            for k in range(flowing):
                total += currents[active[k]] * across[active[k], count + r]
            out[r, n] = total
        for c in range(count):
            earlier[2, c] = earlier[1, c]
            earlier[1, c] = earlier[0, c]
            earlier[0, c] = solved[c]
            before[c] = rows[c]
        for a in range(len(currents)):
            state.currents[a] = currents[a]
        if n == len(volts) - 1:
            state.last_memory[:] = memory
            state.last_input[0] = volts[n]
        _remember(
            memory, work.memory, steps.block, steps.decay, steps.states_of_input,
            steps.states_of_currents, volts[n], currents, active, flowing,
        )  # fmt: skip
    effort[0] += len(volts)


@njit(cache=True, nogil=True, error_model="numpy")
def _open(rest, of_input, of_state, memory, volts, rows):
    """rows = what they would be without devices."""
    for r in range(len(rows)):
        rows[r] = rest[r] + of_input[r] * volts
    for k in range(0, len(memory), 4):
        w0, w1, w2, w3 = memory[k], memory[k + 1], memory[k + 2], memory[k + 3]
        for r in range(len(rows)):
            rows[r] += (
                of_state[k, r] * w0
                + of_state[k + 1, r] * w1
                + of_state[k + 2, r] * w2
                + of_state[k + 3, r] * w3
            )


@njit(cache=True, nogil=True, error_model="numpy")
def _remember(memory, new, block, decay, of_input, of_currents, volts, currents, active, flowing):
    """The memory a step later."""
    for s in range(len(memory)):
        new[s] = of_input[s] * volts
    apart = len(block)
    for k in range(apart):
        for s in range(apart):
            new[s] += block[k, s] * memory[k]
    for s in range(apart, len(memory) - 1, 2):
        new[s] += decay[0, s] * memory[s] + decay[1, s] * memory[s + 1]
        new[s + 1] += decay[0, s + 1] * memory[s + 1] + decay[1, s + 1] * memory[s]
    for k in range(flowing):
        a = active[k]
        for s in range(len(memory)):
            new[s] += of_currents[a, s] * currents[a]
    for s in range(len(memory)):
        memory[s] = new[s]


@njit(cache=True, nogil=True, error_model="numpy")
def _equations(
    goal, guess, laws, slopes, rest_currents, across, first, width, active, matrix, right
):
    """The linear equations of a Newton iteration from `guess`; returns how many there are."""
    flowing = 0
    for a in range(len(laws)):
        c = first[a]
        excess = laws[a] - rest_currents[a]
        moved = slopes[a, 0] * (goal[c] - guess[c])
        still = slopes[a, 0] == 0.0 and excess == 0.0
        for k in range(1, width[a]):
            moved += slopes[a, k] * (goal[c + k] - guess[c + k])
            still = still and slopes[a, k] == 0.0
        if not still:
            active[flowing] = a
            right[flowing] = excess + moved
            flowing += 1
    for m in range(flowing):
        a = active[m]
        c = first[a]
        for k in range(flowing):
            b = active[k]
            total = slopes[a, 0] * across[b, c]
            if width[a] > 1:
                total += slopes[a, 1] * across[b, c + 1]
            if width[a] > 2:
                total += slopes[a, 2] * across[b, c + 2]
            matrix[m, k] = -total
        matrix[m, m] += 1.0
    return flowing


@njit(cache=True, nogil=True, error_model="numpy")
def _follow(goal, across, active, found, flowing, currents, solved):
    """Every current, and the controls that follow from them."""
    for a in range(len(currents)):
        currents[a] = 0.0
    for c in range(len(solved)):
        solved[c] = goal[c]
    for k in range(flowing):
        a = active[k]
        currents[a] = found[k]
        for c in range(len(solved)):
            solved[c] += across[a, c] * found[k]


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
                kept = matrix[k, c]
                matrix[k, c] = matrix[best, c]
                matrix[best, c] = kept
            kept = right[k]
            right[k] = right[best]
            right[best] = kept
        inverse = 1.0 / matrix[k, k] if pivot > 0.0 else 0.0
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
def _distance(scale, a, b):
    """The largest difference of two sets of controls, in scales of their devices.

    Written so that a NaN is far away.
    """
    largest = 0.0
    for c in range(len(a)):
        apart = abs(a[c] - b[c]) / scale[c]
        if not apart <= largest:
            largest = apart
    return largest
