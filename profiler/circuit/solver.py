"""A circuit that plays: a netlist, solved sample by sample.

    amp = Solver(netlist, rate=384_000)
    output = amp.run(volts)

The solver knows no circuit: what it plays is decided by the netlist. It rests when it is made,
and keeps its state between calls; how a stream is cut into blocks changes no bit of it.

`nodal.py` writes the netlist as matrices, `operating_point.py` finds where it rests,
`elimination.py` solves all that is linear once, and `stepper.py` does the rest for each sample.
"""

import numpy as np

from profiler.circuit.elimination import eliminate, looking_at
from profiler.circuit.netlist import Netlist
from profiler.circuit.nodal import assemble
from profiler.circuit.operating_point import operating_point
from profiler.circuit.stepper import advance, at_rest, room

LARGEST_VOLTS = 1e6  # at the input: nothing that plays is near it, and no sum overflows yet


class Solver:
    """A netlist at an internal rate, at rest when it is made.

    Parameters
    ----------
    netlist : Netlist
    rate : float
        Steps a second. Both rules of integration are of second order: at twice the rate, what
        they do to the treble is a quarter.

    Raises
    ------
    ProfilerError
        The circuit has no point of rest, or no solution.
    """

    def __init__(self, netlist: Netlist, rate: float):
        if not (np.isfinite(rate) and rate > 0.0):
            raise ValueError(f"got rate={rate!r}: expected steps a second")
        self.netlist = netlist
        self.rate = float(rate)
        nodal = assemble(netlist)
        steps = eliminate(nodal, operating_point(nodal), self.rate)
        seen = 1 + len(netlist.probes)
        self._played = looking_at(steps, 0, 1)
        self._probed = looking_at(steps, 0, seen)
        self._metered = looking_at(steps, seen, seen + len(nodal.nodes))
        self._nodes = tuple(nodal.nodes)
        self._devices = nodal.devices
        self._state = at_rest(steps)

    def run(self, volts: np.ndarray) -> np.ndarray:
        """The output for `(n,)` volts at the input, `(n,)` in V, both at the internal rate.

        Raises
        ------
        ValueError
            A sample is not finite, or beyond `LARGEST_VOLTS`.
        """
        return self._advance(self._played, volts)[0]

    def run_probes(self, volts: np.ndarray) -> dict[str, np.ndarray]:
        """What each probe of the netlist sees, by its name, and "output"; otherwise as `run`."""
        names = ("output", *self.netlist.probes)
        return dict(zip(names, self._advance(self._probed, volts), strict=True))

    def voltages(self) -> dict[str, float]:
        """What a meter would show now at each node, in V."""
        steps, state = self._metered, self._state
        seen = (
            steps.rest
            + steps.rows_of_state.T @ state.last_memory
            + steps.rows_of_input * state.last_input[0]
            + steps.rows_of_currents.T @ state.currents
        )
        controls = steps.sizes[0]
        return {node: float(seen[controls + k]) for k, node in enumerate(self._nodes)}

    def effort(self) -> dict[str, int]:
        """How hard it was so far: steps, Newton iterations, steps in parts, and given up.

        A step given up keeps the last solution; no input that the tests know leads there.
        """
        names = ("steps", "iterations", "in_parts", "given_up")
        return dict(zip(names, map(int, self._state.effort), strict=True))

    def _advance(self, steps, volts):
        volts = np.ascontiguousarray(volts, dtype=np.float64)
        if volts.ndim != 1:
            raise ValueError(f"got volts of shape {volts.shape}: expected one dimension")
        wrong = np.flatnonzero(~(np.abs(volts) <= LARGEST_VOLTS))
        if len(wrong):
            raise ValueError(
                f"got {volts[wrong[0]]} V at sample {wrong[0]}: expected finite volts, "
                f"{LARGEST_VOLTS:g} V at most"
            )
        out = np.empty((steps.sizes[1] - steps.sizes[0], len(volts)))
        advance(steps, self._devices, self._state, room(steps, self._devices), volts, out)
        return out
