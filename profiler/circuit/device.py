"""A virtual device as a stream: samples in, samples out, what it remembers kept between.

Conventions
-----------
A sample of 1.0 is 1 V at the input. A device lies `latency_samples` behind its circuit, the
whole number of samples that oversampling costs; nothing else about it is a pure delay.
"""

from typing import Protocol

import numpy as np

from profiler.circuit import drive, tweed
from profiler.circuit.oversampling import LATENCY_SAMPLES, Oversampled
from profiler.errors import DefinitionError

CONTROLS: dict[str, tuple[str, ...]] = {
    "wire": (),
    "tweed": tweed.CONTROLS,
    "drive": drive.CONTROLS,
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


class Wire:
    """What goes in comes out."""

    latency_samples = 0

    def process(self, block: np.ndarray) -> np.ndarray:
        return np.array(block, dtype=np.float64)

    def process_with_di(self, block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        out = self.process(block)
        return out, out


class Circuit:
    """A circuit, oversampled."""

    latency_samples = LATENCY_SAMPLES

    def __init__(self, circuit: tweed.Tweed | drive.Drive, resampler: Oversampled):
        self.circuit = circuit
        self._resampler = resampler

    def process(self, block: np.ndarray) -> np.ndarray:
        inner = self._resampler.up(np.asarray(block, dtype=np.float64))
        return self._resampler.down(self.circuit.run(inner))

    def process_with_di(self, block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        out = self.process(block)
        return out, out


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


def create(circuit: str, controls: dict[str, float | str], sample_rate: int) -> Device:
    """The virtual device `wire`, `tweed` or `drive`, its controls set, at rest.

    A control that is not named stands at 5.

    Raises
    ------
    ValueError
        There is no such circuit.
    DefinitionError
        The circuit has no such control, or the control no such position.
    """
    if circuit not in CONTROLS:
        raise ValueError(f"got circuit={circuit!r}: there are {', '.join(CONTROLS)}")
    positions = _positions(circuit, controls)
    if circuit == "wire":
        return Wire()
    resampler = Oversampled(sample_rate)
    kind = tweed.Tweed if circuit == "tweed" else drive.Drive
    return Circuit(kind(positions, resampler.rate), resampler)


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
    return {name: float(controls.get(name, CONTROL_DEFAULT)) for name in known}
