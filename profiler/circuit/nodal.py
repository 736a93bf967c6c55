"""A netlist as matrices: modified nodal analysis.

    G x + Q S d/dt Q^T x + N i(v) = b + e u(t)        v = P x + c

x are the voltages of the nodes and the currents of what has no conductance of its own (sources,
inductors, windings, op-amps). Each capacitor is a column of Q with its capacitance in S, each
inductor one with minus its inductance. The devices' currents i depend on their controls v alone.

Ho, Ruehli and Brennan, "The modified nodal approach to network analysis", IEEE Trans. Circuits
and Systems 22(6), 1975.
"""

from dataclasses import dataclass

import numpy as np

from profiler.circuit import netlist as parts
from profiler.circuit.devices import JUNCTION, Devices, row_of, table
from profiler.circuit.netlist import GROUND, OP_AMP_RAIL, Netlist


@dataclass(frozen=True)
class Nodal:
    """A circuit's matrices; `unknowns` is the length of x."""

    conductance: np.ndarray  # G (unknowns, unknowns)
    reactance: np.ndarray  # Q (unknowns, reactances)
    sizes: np.ndarray  # S (reactances,): F, or -H
    stiff: np.ndarray  # (reactances,) bool: may be shorted by a junction
    injection: np.ndarray  # N (unknowns, currents)
    control: np.ndarray  # P (controls, unknowns)
    control_offset: np.ndarray  # c (controls,)
    source: np.ndarray  # b (unknowns,)
    signal: np.ndarray  # e (unknowns,)
    output: np.ndarray  # (unknowns,): the output is this times x
    probes: np.ndarray  # (probes, unknowns)
    nodes: dict[str, int]
    devices: Devices


def assemble(netlist: Netlist) -> Nodal:
    """The matrices of a netlist."""
    return _Stamps(netlist).nodal()


class _Stamps:
    """Matrices while they are filled, component by component."""

    def __init__(self, netlist):
        self.netlist = netlist
        self.index = {node: k for k, node in enumerate(netlist.nodes)}
        unknowns = len(self.index) + sum(map(_branches, netlist.components))
        self.G = np.zeros((unknowns, unknowns))
        self.b = np.zeros(unknowns)
        self.e = np.zeros(unknowns)
        self.reactances = []  # (column of Q, size, stiff)
        self.controls = []  # (row of P, offset)
        self.injections = []  # columns of N
        self.rows = []  # of the table of devices
        self._following = len(self.index)
        self._shorting = _shorting(netlist)
        for component in netlist.components:
            self._stamp(component)

    def nodal(self):
        unknowns = len(self.b)
        return Nodal(
            conductance=self.G,
            reactance=_columns([column for column, _, _ in self.reactances], unknowns),
            sizes=np.array([size for _, size, _ in self.reactances]),
            stiff=np.array([stiff for _, _, stiff in self.reactances], dtype=bool),
            injection=_columns(self.injections, unknowns),
            control=_columns([row for row, _ in self.controls], unknowns).T,
            control_offset=np.array([offset for _, offset in self.controls]),
            source=self.b,
            signal=self.e,
            output=self._between(*self.netlist.output),
            probes=_columns([self._at(node) for node in self.netlist.probes.values()], unknowns).T,
            nodes=self.index,
            devices=table(self.rows),
        )

    def _stamp(self, component):
        match component:
            case parts.Resistor(a, b, ohms):
                across = self._between(a, b)
                self.G += np.outer(across, across) / ohms
            case parts.Capacitor(a, b, farads):
                stiff = self._shorting(a, b)
                self.reactances.append((self._between(a, b), farads, stiff))
            case parts.Inductor(a, b, henries):
                through = self._branch(a, b)
                self.reactances.append((through, -henries, False))
            case parts.SaturatingInductor(a, b):
                flux = self._own()
                self.G -= np.outer(flux, self._between(a, b))
                self.reactances.append((flux, 1.0, False))
                self._device(component, [flux], [(a, b)])
            case parts.Supply(plus, minus, volts):
                self.b += volts * self._branch(plus, minus)
            case parts.Input(plus, minus):
                self.e += self._branch(plus, minus)
            case parts.IdealTransformer(windings):
                volts_a_turn = self._own()
                for plus, minus, turns in windings:
                    through = self._branch(plus, minus)
                    self.G -= turns * np.outer(through, volts_a_turn)
                    self.G += turns * np.outer(volts_a_turn, through)
            case parts.OpAmp():
                self._op_amp(component)
            case parts.Triode(plate, grid, cathode):
                controls = [self._between(node, cathode) for node in (grid, plate)]
                self._device(component, controls, [(plate, cathode), (grid, cathode)])
            case parts.Pentode(plate, screen, grid, cathode):
                controls = [self._between(node, cathode) for node in (grid, screen, plate)]
                self._device(component, controls, [(n, cathode) for n in (plate, screen, grid)])
            case parts.Diode(anode, cathode):
                self._device(component, [self._between(anode, cathode)], [(anode, cathode)])
            case parts.Bjt(collector, base, emitter):
                controls = [self._between(base, node) for node in (emitter, collector)]
                self._device(component, controls, [(collector, emitter), (base, emitter)])

    def _op_amp(self, amplifier):
        """A nullor: the output's current is whatever makes plus and minus equal."""
        through = self._own()
        self.G += np.outer(self._at(amplifier.out), through)
        self.G += np.outer(through, self._between(amplifier.plus, amplifier.minus))
        if amplifier.high_volts is None:
            return
        for sign, rail in ((1.0, amplifier.high_volts), (-1.0, amplifier.low_volts)):
            self.controls.append((sign * self._at(amplifier.out), -sign * rail))
            self.injections.append(-sign * through)
            self.rows.append((JUNCTION, tuple(OP_AMP_RAIL)))

    def _device(self, component, controls, paths):
        self.controls += [(control, 0.0) for control in controls]
        self.injections += [self._between(a, b) for a, b in paths]
        self.rows.append(row_of(component))

    def _at(self, node):
        """The unit vector of a node; nothing for ground."""
        unit = np.zeros(len(self.b))
        if node != GROUND:
            unit[self.index[node]] = 1.0
        return unit

    def _between(self, a, b):
        return self._at(a) - self._at(b)

    def _own(self):
        """The unit vector of an unknown that is no node."""
        unit = np.zeros(len(self.b))
        unit[self._following] = 1.0
        self._following += 1
        return unit

    def _branch(self, a, b):
        """An own current from a to b, and the voltage between them in its own equation."""
        through, across = self._own(), self._between(a, b)
        self.G += np.outer(across, through) + np.outer(through, across)
        return through


def _columns(vectors, length):
    return np.array(vectors, dtype=np.float64).reshape(-1, length).T


def _branches(component):
    """How many unknowns a component brings along."""
    match component:
        case parts.Supply() | parts.Input() | parts.Inductor() | parts.OpAmp():
            return 1
        case parts.SaturatingInductor():
            return 1
        case parts.IdealTransformer(windings):
            return 1 + len(windings)
    return 0


def _shorting(netlist):
    """Whether conducting junctions, with ideal sources, lead from one node to another."""
    sources = [parts.terminals(c) for c in netlist.of(parts.Supply, parts.Input)]
    sources += [(c.out, GROUND) for c in netlist.of(parts.OpAmp)]
    junctions = [parts.terminals(c) for c in netlist.of(parts.Diode, parts.Bjt)]
    nodes = (*netlist.nodes, GROUND)
    conducting, cut_off = _joined(nodes, sources + junctions), _joined(nodes, sources)
    return lambda a, b: conducting[a] == conducting[b] and cut_off[a] != cut_off[b]


def _joined(nodes, groups):
    """For each node, one that stands for all that the groups join to it."""
    stands_for = {node: node for node in nodes}
    for group in groups:
        joined = {stands_for[node] for node in group}
        stands_for = {
            node: min(joined) if root in joined else root for node, root in stands_for.items()
        }
    return stands_for
