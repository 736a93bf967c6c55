"""A virtual device as a stream: samples in, samples out, what it remembers kept between.

Conventions
-----------
A sample of 1.0 is 1 V at the input. A device lies `latency_samples` behind its circuit, the
whole number of samples that oversampling costs; nothing else about it is a pure delay.
"""

from collections.abc import Collection, Mapping
from types import ModuleType
from typing import Protocol

import numpy as np

from profiler.circuit import clean, drive, fuzz, hi_gain, plexi, stages, tweed
from profiler.circuit.cabinet import Cabinet
from profiler.circuit.netlist import Netlist
from profiler.circuit.operating_point import rest_voltages
from profiler.circuit.oversampling import INTERNAL_RATE, LATENCY_SAMPLES, Oversampled, factor
from profiler.circuit.solver import Solver
from profiler.errors import DefinitionError

# Circuits of components, each a module with its `netlist`.
NETLISTS: dict[str, ModuleType] = {
    "clean": clean,
    "plexi": plexi,
    "hi-gain": hi_gain,
    "fuzz": fuzz,
}
CONTROLS: dict[str, tuple[str, ...]] = {
    "wire": (),
    "tweed": tweed.CONTROLS,
    "drive": drive.CONTROLS,
    **{name: module.CONTROLS for name, module in NETLISTS.items()},
}
CONTROL_DEFAULT = 5.0
CONTROL_MAXIMUM = 10.0


class Device(Protocol):
    """A device that is played through in blocks of any size."""

    latency_samples: int

    def process(self, block: np.ndarray) -> np.ndarray:
        """`(n,)` samples in, `(n,)` float64 out; how a stream is cut changes no bit of it."""

    def process_with_di(self, block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The same, and what goes to the cabinet; without a cabinet that is the same."""


class Stream(Protocol):
    """What is played through in blocks: a cabinet."""

    def process(self, block: np.ndarray) -> np.ndarray:
        """`(n,)` samples in, `(n,)` out."""


class Running(Protocol):
    """A circuit at its internal rate."""

    def run(self, volts: np.ndarray) -> np.ndarray:
        """What comes out for `(n,)` volts at the input, both at the internal rate."""


class Wire:
    """What goes in comes out."""

    latency_samples = 0

    def process(self, block: np.ndarray) -> np.ndarray:
        return np.array(block, dtype=np.float64)

    def process_with_di(self, block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        out = self.process(block)
        return out, out


class Circuit:
    """A circuit, oversampled, and its cabinet if it is heard through one."""

    latency_samples = LATENCY_SAMPLES

    def __init__(
        self, circuit: Running, sample_rate: int, internal_rate: int, cabinet: Running | None = None
    ):
        self.circuit = circuit
        self._cabinet = cabinet
        self._heard = Oversampled(sample_rate, internal_rate)
        self._line = Oversampled(sample_rate, internal_rate)

    def process(self, block: np.ndarray) -> np.ndarray:
        return self.process_with_di(block)[0]

    def process_with_di(self, block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        line = self.circuit.run(self._heard.up(np.asarray(block, dtype=np.float64)))
        if self._cabinet is None:
            out = self._heard.down(line)
            return out, out
        return self._heard.down(self._cabinet.run(line)), self._line.down(line)


class WithCabinet:
    """A device that is heard through a cabinet."""

    def __init__(self, device: Device, cabinet: Stream):
        self.latency_samples = device.latency_samples
        self._device = device
        self._cabinet = cabinet

    def process(self, block: np.ndarray) -> np.ndarray:
        return self.process_with_di(block)[0]

    def process_with_di(self, block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        before = self._device.process(block)
        return self._cabinet.process(before), before


class Solved:
    """A circuit of components while it is solved, from its rest."""

    def __init__(self, netlist: Netlist, output_per_volt: float, rate: float):
        self.solver = Solver(netlist, rate)
        self._output_per_volt = output_per_volt

    def run(self, volts: np.ndarray) -> np.ndarray:
        return self.solver.run(volts) * self._output_per_volt


def create(
    circuit: str,
    controls: Mapping[str, float | str],
    sample_rate: int,
    leave_out: Collection[str] = (),
) -> Device:
    """The virtual device of a name in `CONTROLS`, its controls set, at rest.

    Parameters
    ----------
    controls
        A control that is not named stands at 5; those of a tone stack follow `tone`.
    leave_out
        Mechanisms to leave out, of those that the circuit has: see `can_leave_out`.

    Raises
    ------
    ValueError
        There is no such circuit.
    DefinitionError
        The circuit has no such control, the control no such position, or the circuit no such
        mechanism.
    """
    if circuit not in CONTROLS:
        raise ValueError(f"got circuit={circuit!r}: there are {', '.join(CONTROLS)}")
    positions = _positions(circuit, controls)
    without = _left_out(circuit, leave_out)
    if circuit == "wire":
        return Wire()
    if circuit in NETLISTS:
        module = NETLISTS[circuit]
        rate = factor(sample_rate, module.INTERNAL_RATE) * sample_rate
        heard_through = stages.CABINET in can_leave_out(circuit) and stages.CABINET not in without
        return Circuit(
            Solved(netlist(circuit, controls, leave_out), module.OUTPUT_PER_VOLT, rate),
            sample_rate,
            module.INTERNAL_RATE,
            Cabinet(rate) if heard_through else None,
        )
    rate = factor(sample_rate) * sample_rate
    positions = dict.fromkeys(CONTROLS[circuit], CONTROL_DEFAULT) | positions
    if circuit == "tweed":
        return Circuit(tweed.Tweed(positions, rate, without), sample_rate, INTERNAL_RATE)
    return Circuit(drive.Drive(positions, rate), sample_rate, INTERNAL_RATE)


def netlist(
    circuit: str, controls: Mapping[str, float | str], leave_out: Collection[str] = ()
) -> Netlist:
    """A circuit of `NETLISTS` as it is solved; parameters and errors as for `create`."""
    module = NETLISTS[circuit]
    positions = _positions(circuit, controls)
    without = _left_out(circuit, leave_out)
    whole = module.netlist(positions)
    return module.netlist(positions, without, rest_voltages(whole)) if without else whole


def can_leave_out(circuit: str) -> tuple[str, ...]:
    """The mechanisms that can be left out of a circuit."""
    if circuit == "tweed":
        return tweed.LEAVE_OUTS
    return NETLISTS[circuit].LEAVE_OUTS if circuit in NETLISTS else ()


def _left_out(circuit, leave_out):
    known = can_leave_out(circuit)
    for name in leave_out:
        if name not in known:
            there_are = f"it can do without {', '.join(known)}" if known else "nothing can"
            raise DefinitionError(
                f"{name!r} cannot be left out of {circuit}: {there_are}; correct chain.leave_out"
            )
    return frozenset(leave_out)


def _positions(circuit, controls):
    known = CONTROLS[circuit]
    for name, value in controls.items():
        if name not in known:
            there_are = f"its controls are {', '.join(known)}" if known else "it has none"
            raise DefinitionError(
                f"{circuit} has no control {name!r}: {there_are}; correct chain.controls"
            )
        if isinstance(value, str) or not 0.0 <= value <= CONTROL_MAXIMUM:
            raise DefinitionError(
                f"control {name!r} of {circuit} stands at {value!r}: expected a number from 0 to "
                f"{CONTROL_MAXIMUM:g}"
            )
    return {name: float(value) for name, value in controls.items()}
