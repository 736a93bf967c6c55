"""A circuit as data: components between named nodes.

    stage = Netlist(
        (
            Supply("B+", "0", 250.0),
            Input("grid", "0"),
            Triode("plate", "grid", "cathode", TRIODE_12AX7),
            Resistor("B+", "plate", 100e3),
            Resistor("cathode", "0", 1.5e3),
            Capacitor("cathode", "0", 25e-6),
        ),
        output=("plate", "0"),
    )

A netlist is checked when it is made: what the solver is handed can be solved. A misspelt node
is found because nothing else stands on it.

Conventions
-----------
SI units. A node is a name; "0" is ground, and every voltage is against it unless a pair of
nodes says otherwise. Two-terminal components count current from the first node to the second.
A netlist is written by code, so a wrong one is a `ValueError`.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from profiler.circuit import diode, transistor, tube

GROUND = "0"


class Resistor(NamedTuple):
    a: str
    b: str
    ohms: float


class Capacitor(NamedTuple):
    a: str
    b: str
    farads: float


class Inductor(NamedTuple):
    a: str
    b: str
    henries: float


class SaturatingInductor(NamedTuple):
    """A winding on iron: i = flux / henries (1 + (flux / saturation_webers) ** exponent).

    The flux is the integral of the voltage over it; at `saturation_webers` (volt-seconds of this
    winding) the magnetising current is twice what a straight core would take.
    """

    a: str
    b: str
    henries: float
    saturation_webers: float
    exponent: int = 8  # even: how sharp the knee of the iron is


class Supply(NamedTuple):
    """An ideal source of a steady voltage."""

    plus: str
    minus: str
    volts: float


class Input(NamedTuple):
    """The one source of the signal, ideal; a pickup's resistance is a `Resistor` behind it."""

    plus: str
    minus: str


class IdealTransformer(NamedTuple):
    """Windings on one core without losses, leakage or magnetising current.

    Volts per turn are the same in each, and the ampere-turns add up to nothing. What a real one
    adds stands beside it: an inductor across a winding, inductors and resistors in series.
    """

    windings: tuple[tuple[str, str, float], ...]  # plus, minus, turns


class OpAmp(NamedTuple):
    """An ideal operational amplifier: no input current, and what its output does is such that
    plus and minus are equal. With rails, the output stays between them within tenths of a volt:
    from there on plus and minus differ by what a diode to the rail, `OP_AMP_RAIL`, would draw, 1 A
    a volt.
    """

    plus: str
    minus: str
    out: str
    low_volts: float | None = None
    high_volts: float | None = None


OP_AMP_RAIL = diode.Junction(saturation_amperes=1e-6, emission_volts=10e-3)


class Triode(NamedTuple):
    """A triode. `grid_conducts` is off where the netlist itself says what its grid draws."""

    plate: str
    grid: str
    cathode: str
    model: tube.Triode
    grid_conducts: bool = True


class Pentode(NamedTuple):
    """A pentode or beam tetrode, its suppressor on the cathode; `grid_conducts` as in `Triode`."""

    plate: str
    screen: str
    grid: str
    cathode: str
    model: tube.Pentode
    grid_conducts: bool = True


class Diode(NamedTuple):
    anode: str
    cathode: str
    model: diode.Junction | diode.VacuumDiode


class Bjt(NamedTuple):
    """A bipolar transistor after Ebers and Moll."""

    collector: str
    base: str
    emitter: str
    model: transistor.Bjt


Component = (
    Resistor
    | Capacitor
    | Inductor
    | SaturatingInductor
    | Supply
    | Input
    | IdealTransformer
    | OpAmp
    | Triode
    | Pentode
    | Diode
    | Bjt
)


def pot(top: str, wiper: str, bottom: str, ohms: float, share: float) -> tuple[Resistor, Resistor]:
    """A potentiometer whose wiper stands at a share (0 to 1) of its track, from the bottom.

    Half a thousandth of the track stays at either end, as in a real one.
    """
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"got share={share}: a wiper stands between 0 and 1")
    lower = min(max(share, POT_END), 1.0 - POT_END) * ohms
    return Resistor(top, wiper, ohms - lower), Resistor(wiper, bottom, lower)


POT_END = 5e-4  # of the track


def capacitances(component: Triode | Pentode) -> tuple[Capacitor, ...]:
    """What lies between the electrodes of a tube; to stand in the netlist beside it.

    A pentode's screen counts as cathode: it lies on a capacitor.
    """
    model = component.model
    between = (
        (component.grid, component.cathode, model.grid_cathode_farads),
        (component.grid, component.plate, model.grid_plate_farads),
        (component.plate, component.cathode, model.plate_cathode_farads),
    )
    return tuple(Capacitor(a, b, farads) for a, b, farads in between if a != b)


@dataclass(frozen=True)
class Netlist:
    """Components, the pair of nodes that is the output, and nodes to look at by name.

    Raises
    ------
    ValueError
        The components make no circuit: the message names what is wrong and where.
    """

    components: tuple[Component, ...]
    output: tuple[str, str]
    probes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self):
        object.__setattr__(self, "components", tuple(self.components))
        for component in self.components:
            _check_component(component)
        _check_inputs(self)
        _check_nodes(self)
        _check_ground(self)

    @property
    def nodes(self) -> tuple[str, ...]:
        """Every node but ground, in the order in which the components name them."""
        named = (node for component in self.components for node in terminals(component))
        return tuple(node for node in dict.fromkeys(named) if node != GROUND)

    def of(self, *kinds: type) -> Iterator:
        """The components of these kinds, in their order."""
        return (component for component in self.components if isinstance(component, kinds))


def terminals(component: Component) -> tuple[str, ...]:
    """The nodes that a component stands on."""
    if isinstance(component, IdealTransformer):
        return tuple(node for winding in component.windings for node in winding[:2])
    return tuple(part for part in component if isinstance(part, str))


def describe(component: Component) -> str:
    """A component in the words of an error: `Resistor(plate, B+)`."""
    return f"{type(component).__name__}({', '.join(terminals(component))})"


_POSITIVE = ("ohms", "farads", "henries", "saturation_webers")


def _check_component(component):
    if not isinstance(component, Component):
        raise ValueError(f"got {component!r} among the components: expected one of netlist.py's")
    if not all(isinstance(node, str) and node for node in terminals(component)):
        raise ValueError(f"{describe(component)} has a node without a name")
    for name in _POSITIVE:
        value = getattr(component, name, 1.0)
        if not (math.isfinite(value) and value > 0.0):
            raise ValueError(f"{describe(component)} has {name}={value!r}: expected more than 0")
    match component:
        case Supply() if not math.isfinite(component.volts):
            raise ValueError(f"{describe(component)} has volts={component.volts!r}")
        case SaturatingInductor() if component.exponent < 2 or component.exponent % 2:
            raise ValueError(
                f"{describe(component)} has exponent={component.exponent!r}: expected an even one"
            )
        case IdealTransformer():
            _check_windings(component)
        case OpAmp():
            _check_rails(component)
    if not isinstance(component, IdealTransformer | OpAmp) and len(set(terminals(component))) < 2:
        raise ValueError(f"{describe(component)} is shorted: all of it stands on one node")


def _check_windings(transformer):
    if len(transformer.windings) < 2:
        raise ValueError(f"{describe(transformer)} has fewer than two windings")
    for plus, minus, turns in transformer.windings:
        if plus == minus:
            raise ValueError(f"{describe(transformer)} has a winding shorted at {plus!r}")
        if not (math.isfinite(turns) and turns > 0.0):
            raise ValueError(
                f"{describe(transformer)} has turns={turns!r}: expected more than 0 (nodes "
                "swapped turn a winding round)"
            )


def _check_rails(amplifier):
    low, high = amplifier.low_volts, amplifier.high_volts
    if (low is None) != (high is None):
        raise ValueError(f"{describe(amplifier)} has one rail: expected both, or none")
    if low is not None and not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"{describe(amplifier)} has rails from {low!r} to {high!r} V")


def _check_inputs(netlist):
    inputs = list(netlist.of(Input))
    if len(inputs) != 1:
        found = ", ".join(map(describe, inputs)) or "none"
        raise ValueError(f"a netlist has one Input: found {found}")


def _check_nodes(netlist):
    standing = {node: [] for node in (*netlist.nodes, GROUND)}
    for component in netlist.components:
        for node in terminals(component):
            standing[node].append(component)
    if not standing[GROUND]:
        raise ValueError(f"nothing stands on ground, the node {GROUND!r}")
    if len(netlist.output) != 2:
        raise ValueError(f"got output={netlist.output!r}: expected a pair of nodes")
    looked_at = {
        "output": netlist.output,
        **{f"probe {k!r}": (v,) for k, v in netlist.probes.items()},
    }
    for name, nodes in looked_at.items():
        for node in nodes:
            if node not in standing:
                known = ", ".join(netlist.nodes)
                raise ValueError(f"{name} names a node {node!r} that there is not: found {known}")
    for node, components in standing.items():
        if len(components) == 1 and node not in (GROUND, *netlist.output):
            raise ValueError(
                f"only {describe(components[0])} stands on node {node!r}: is its name misspelt?"
            )


def _check_ground(netlist):
    """Every node has a way to ground through components, or its voltage is nobody's guess."""
    neighbours = {node: {node} for node in (*netlist.nodes, GROUND)}

    def join(*nodes):
        together = set().union(*(neighbours[node] for node in nodes))
        for node in together:
            neighbours[node] = together

    for component in netlist.components:
        match component:
            case IdealTransformer():
                for plus, minus, _ in component.windings:
                    join(plus, minus)
            case OpAmp():
                join(component.out, GROUND)
            case _:
                join(*terminals(component))
    floating = [node for node in netlist.nodes if GROUND not in neighbours[node]]
    if floating:
        raise ValueError(
            f"node {floating[0]!r} floats, with {len(floating) - 1} more: nothing leads from it "
            "to ground (a secondary winding needs one end there)"
        )
