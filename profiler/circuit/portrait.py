"""What is in a virtual device, and what it does by itself: parts, rest, time constants.

They are computed from the very netlist that is played, so they are the truth that a measurement
of the device should find.
"""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass

import numpy as np

from profiler.circuit import device, diode, transistor, tube
from profiler.circuit.modes import small_signal_modes
from profiler.circuit.netlist import Component, IdealTransformer, terminals
from profiler.circuit.operating_point import rest_voltages
from profiler.errors import DefinitionError
from profiler.units import with_prefix

FASTEST_SECONDS = 1e-5  # what is faster lies above the audible band

_UNITS = {"ohms": "ohm", "farads": "F", "henries": "H", "volts": "V", "saturation_webers": "Wb"}


@dataclass(frozen=True)
class Part:
    """A component: its kind, the nodes it stands on, its value in words."""

    kind: str
    nodes: tuple[str, ...]
    value: str


@dataclass(frozen=True)
class Mode:
    """A way in which the circuit comes to rest; 0 Hz does not ring."""

    seconds: float  # until 1/e
    hertz: float


@dataclass(frozen=True)
class Portrait:
    """A circuit at a position of its controls."""

    circuit: str
    controls: dict[str, float | str]
    leave_out: tuple[str, ...]
    parts: tuple[Part, ...]
    rest_volts: dict[str, float]
    modes: tuple[Mode, ...]  # the slowest first

    def as_dict(self) -> dict:
        """All of it as plain data."""
        return asdict(self)


def portrait(
    circuit: str, controls: Mapping[str, float | str], leave_out: Collection[str] = ()
) -> Portrait:
    """The portrait of a circuit of components, its controls set.

    Raises
    ------
    DefinitionError
        The circuit is not built of components, or see `device.create`.
    """
    if circuit not in device.NETLISTS:
        raise DefinitionError(
            f"{circuit} is not built of components: those that are: {', '.join(device.NETLISTS)}"
        )
    netlist = device.netlist(circuit, controls, leave_out)
    modes = small_signal_modes(netlist)
    heard = modes[(np.abs(modes) < 1.0 / FASTEST_SECONDS) & (modes.imag >= 0.0)]
    return Portrait(
        circuit,
        dict(controls),
        tuple(leave_out),
        tuple(map(_part, netlist.components)),
        rest_voltages(netlist),
        tuple(Mode(float(-1.0 / m.real), float(m.imag / (2.0 * np.pi))) for m in heard),
    )


def _part(component: Component) -> Part:
    kind = type(component).__name__
    if isinstance(component, IdealTransformer):
        turns = " : ".join(f"{winding[2]:.4g}" for winding in component.windings)
        return Part(kind, terminals(component), turns)
    values = [
        with_prefix(getattr(component, name), unit)
        for name, unit in _UNITS.items()
        if hasattr(component, name)
    ]
    if model := getattr(component, "model", None):
        values.append(_model_names().get(model, _in_words(model)))
    if not getattr(component, "grid_conducts", True):
        values.append("without grid current")
    return Part(kind, terminals(component), ", ".join(values))


def _model_names():
    """What each model of a tube, a diode or a transistor is called: the end of its constant."""
    constants = {name: value for m in (tube, diode, transistor) for name, value in vars(m).items()}
    kinds = (tube.Triode, tube.Pentode, diode.Junction, diode.VacuumDiode, transistor.Bjt)
    return {v: name.partition("_")[2] for name, v in constants.items() if isinstance(v, kinds)}


def _in_words(model):
    return ", ".join(f"{name} {value:g}" for name, value in model._asdict().items())
