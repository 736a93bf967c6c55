"""What amps have in common: stages, tone stacks, a phase splitter, output, supply, loudspeaker.

Each function gives the components of one part. The nodes of a part bear its name: the plate of
the stage "V1" is `V1_plate`. An amp's module puts parts together with what is its own, as a
schematic does.

Controls stand at 0 to 10; a `share` is the part of a pot's track below the wiper, 0 to 1.
"""

from collections.abc import Iterable, Mapping, Set
from typing import NamedTuple

import numpy as np

from profiler.circuit import tube
from profiler.circuit.diode import DIODE_1N4007
from profiler.circuit.filters import audio_taper
from profiler.circuit.netlist import (
    GROUND,
    Capacitor,
    Component,
    Diode,
    IdealTransformer,
    Inductor,
    Netlist,
    Pentode,
    Resistor,
    SaturatingInductor,
    Supply,
    Triode,
    capacitances,
    pot,
)

Components = tuple[Component, ...]

# Hz, at least: 4 x 44.1 kHz. An amp's own treble takes what a pedal would need twice that for.
AMP_RATE = 176_400

AMP_CONTROLS = ("gain", "tone", "bass", "middle", "treble", "master")

# What can be left out of an amp, one mechanism at a time.
SAG = "sag"  # every supply node stays where it rests
GRID_CONDUCTION = "grid-conduction"  # no grid draws current: no coupling capacitor blocks
TRANSFORMER = "transformer"  # an ideal one: no inductance, no iron, no leakage
CABINET = "cabinet"  # the loudspeaker's terminals are what is heard
AMP_LEAVE_OUTS = (SAG, GRID_CONDUCTION, TRANSFORMER, CABINET)

# Where a meter is held in an amp with a power pair.
PUSH_PULL_PROBES = {
    "reservoir": "reservoir",
    "screens": "screens",
    "preamp": "preamp",
    "upper grid": "upper_grid",
    "lower grid": "lower_grid",
}


def amp(components: Iterable[Component], leave_out: Set[str], probes: Mapping[str, str]) -> Netlist:
    """An amp of its components, heard at its loudspeaker's terminals."""
    if GRID_CONDUCTION in leave_out:
        components = (
            part._replace(grid_conducts=False) if isinstance(part, Triode | Pentode) else part
            for part in components
        )
    return Netlist(tuple(components), output=("speaker", GROUND), probes=probes)


def amp_knobs(controls: Mapping[str, float]) -> dict[str, float]:
    """Every knob of an amp with a tone stack; one that is not named stands at 5.

    `tone` turns the whole stack: treble up and bass down. A knob of the stack that is named
    stands where it is named.
    """
    tone = controls.get("tone", 5.0)
    following = {"gain": 5.0, "bass": 10.0 - tone, "middle": 5.0, "treble": tone, "master": 5.0}
    return following | dict(controls)


def triode(plate: str, grid: str, cathode: str, model: tube.Triode) -> Components:
    """A triode and what lies between its electrodes."""
    component = Triode(plate, grid, cathode, model)
    return (component, *capacitances(component))


def pentode(plate: str, screen: str, grid: str, cathode: str, model: tube.Pentode) -> Components:
    """A pentode and what lies between its electrodes."""
    component = Pentode(plate, screen, grid, cathode, model)
    return (component, *capacitances(component))


def gain_stage(
    name: str,
    grid: str,
    supply: str,
    plate_ohms: float,
    cathode_ohms: float,
    cathode_farads: float | None = None,
    model: tube.Triode = tube.TRIODE_12AX7,
) -> Components:
    """A triode in common cathode, its cathode bypassed or not."""
    plate, cathode = f"{name}_plate", f"{name}_cathode"
    bypass = () if cathode_farads is None else (Capacitor(cathode, GROUND, cathode_farads),)
    return (
        *triode(plate, grid, cathode, model),
        Resistor(supply, plate, plate_ohms),
        Resistor(cathode, GROUND, cathode_ohms),
        *bypass,
    )


class ToneStack(NamedTuple):
    """Treble, middle and bass between two stages, as Fender and Marshall built them.

    With `middle_as_rheostat` the middle capacitor stands on top of the middle pot, which is a
    variable resistor; without, it stands on its wiper.
    """

    treble_farads: float
    slope_ohms: float
    bass_farads: float
    middle_farads: float
    treble_ohms: float
    bass_ohms: float
    middle_ohms: float
    middle_as_rheostat: bool
    linear_treble: bool

    def components(self, source: str, treble: float, middle: float, bass: float) -> Components:
        """The stack behind the node `source`; what comes out stands on `stack_out`."""
        treble_share = treble / 10.0 if self.linear_treble else audio_taper(treble)
        if self.middle_as_rheostat:
            middle_pot: Components = (
                Capacitor("stack_slope", "stack_middle", self.middle_farads),
                rheostat("stack_middle", GROUND, self.middle_ohms, middle / 10.0),
            )
        else:
            middle_pot = (
                Capacitor("stack_slope", "stack_wiper", self.middle_farads),
                *pot("stack_middle", "stack_wiper", GROUND, self.middle_ohms, middle / 10.0),
            )
        return (
            Capacitor(source, "stack_top", self.treble_farads),
            *pot("stack_top", "stack_out", "stack_bass", self.treble_ohms, treble_share),
            Resistor(source, "stack_slope", self.slope_ohms),
            Capacitor("stack_slope", "stack_bass", self.bass_farads),
            rheostat("stack_bass", "stack_middle", self.bass_ohms, audio_taper(bass)),
            *middle_pot,
        )


def rheostat(a: str, b: str, ohms: float, share: float) -> Resistor:
    """A pot of which only the part below the wiper is wired."""
    return pot("unwired", a, b, ohms, share)[1]


class PhaseSplitter(NamedTuple):
    """A long-tailed pair of triodes."""

    model: tube.Triode
    input_farads: float
    upper_plate_ohms: float  # of the triode that the signal drives
    lower_plate_ohms: float
    cathode_ohms: float
    tail_ohms: float
    leak_ohms: float = 1e6
    reference_farads: float = 100e-9  # holds the other grid at the foot

    def components(self, source: str, foot: str, supply: str) -> Components:
        """The pair behind the node `source`, its tail standing on `foot`."""
        return (
            Capacitor(source, "upper_in", self.input_farads),
            *triode("upper_split", "upper_in", "split_cathode", self.model),
            *triode("lower_split", "lower_in", "split_cathode", self.model),
            Resistor(supply, "upper_split", self.upper_plate_ohms),
            Resistor(supply, "lower_split", self.lower_plate_ohms),
            Resistor("split_cathode", "split_tail", self.cathode_ohms),
            Resistor("upper_in", "split_tail", self.leak_ohms),
            Resistor("lower_in", "split_tail", self.leak_ohms),
            Resistor("split_tail", foot, self.tail_ohms),
            Capacitor("lower_in", foot, self.reference_farads),
        )


class PowerPair(NamedTuple):
    """Two pentodes in push-pull behind a phase splitter, their bias fixed.

    A diode from ground to each plate keeps the loudspeaker's coil from kicking it below: without,
    an overdriven amp would see thousands of volts.
    """

    model: tube.Pentode
    coupling_farads: float
    leak_ohms: float
    stopper_ohms: float
    screen_ohms: float  # of each tube
    bias_volts: float

    def components(self, screens: str) -> Components:
        """Both tubes, from the splitter's plates to `upper_plate` and `lower_plate`."""
        sides = (self._side(side, screens) for side in ("upper", "lower"))
        return (Supply("bias", GROUND, self.bias_volts), *(part for side in sides for part in side))

    def _side(self, side: str, screens: str) -> Components:
        drive, grid, screen = f"{side}_drive", f"{side}_grid", f"{side}_screen"
        return (
            Capacitor(f"{side}_split", drive, self.coupling_farads),
            Resistor(drive, "bias", self.leak_ohms),
            Resistor(drive, grid, self.stopper_ohms),
            Resistor(screens, screen, self.screen_ohms),
            *pentode(f"{side}_plate", screen, grid, GROUND, self.model),
            Diode(GROUND, f"{side}_plate", DIODE_1N4007),
        )


class OutputTransformer(NamedTuple):
    """From the power tubes to the loudspeaker; all values are seen from the whole primary."""

    load_ohms: float  # that `speaker_ohms` on the secondary look like
    speaker_ohms: float
    primary_henries: float
    saturation_webers: float
    leakage_henries: float
    copper_ohms: float
    winding_farads: float

    @property
    def ratio(self) -> float:
        """Primary turns for one of the secondary."""
        return float(np.sqrt(self.load_ohms / self.speaker_ohms))

    def push_pull(self, *, ideal: bool) -> Components:
        """From `upper_plate` and `lower_plate`, fed at `reservoir`, to `speaker`.

        An ideal one keeps its copper: what it loses is the inductances, the iron and the
        winding's capacitance.
        """
        half = self.ratio / 2.0
        secondary = "speaker" if ideal else "secondary"
        windings = (
            ("upper_winding", "reservoir", half),
            ("reservoir", "lower_winding", half),
            (secondary, GROUND, 1.0),
        )
        copper = (
            Resistor("upper_plate", "upper_winding", self.copper_ohms / 2.0),
            Resistor("lower_plate", "lower_winding", self.copper_ohms / 2.0),
            IdealTransformer(windings),
        )
        iron = self._iron("upper_winding", "lower_winding", "upper_plate", "lower_plate")
        return copper if ideal else (*copper, *iron)

    def single_ended(self, *, ideal: bool, standing_volts: float = 0.0) -> Components:
        """From `power_plate`, fed at `reservoir`, to `speaker`.

        Without iron the tube's standing current has no inductance to flow through and would
        drop volts over the reflected load; `standing_volts` in series give them back.
        """
        secondary = "speaker" if ideal else "secondary"
        feed = "feed" if ideal else "reservoir"
        standing = (Supply(feed, "reservoir", standing_volts),) if ideal else ()
        windings = (("power_winding", feed, self.ratio), (secondary, GROUND, 1.0))
        copper = (
            Resistor("power_plate", "power_winding", self.copper_ohms),
            IdealTransformer(windings),
        )
        iron = self._iron("power_winding", "reservoir", "power_plate", "reservoir")
        return (*standing, *copper) if ideal else (*copper, *iron)

    def _iron(self, start: str, end: str, start_outside: str, end_outside: str) -> Components:
        leakage = self.leakage_henries / self.ratio**2
        return (
            SaturatingInductor(start, end, self.primary_henries, self.saturation_webers),
            Inductor("secondary", "speaker", leakage),
            Capacitor(start_outside, end_outside, self.winding_farads),
        )


class Loudspeaker(NamedTuple):
    """What a loudspeaker is to the amp: its coil, and its cone's resonance as the coil sees it."""

    coil_ohms: float
    coil_henries: float
    eddy_ohms: float  # across the coil's inductance: the pole piece
    resonance_hz: float
    resonance_ohms: float  # what the impedance rises by there
    quality: float  # of the cone alone, the coil open

    def components(self, plus: str = "speaker", minus: str = GROUND) -> Components:
        """The loudspeaker between two nodes."""
        radians = 2.0 * np.pi * self.resonance_hz
        return (
            Resistor(plus, "coil", self.coil_ohms),
            Inductor("coil", "cone", self.coil_henries),
            Resistor("coil", "cone", self.eddy_ohms),
            Resistor("cone", minus, self.resonance_ohms),
            Capacitor("cone", minus, self.quality / (radians * self.resonance_ohms)),
            Inductor("cone", minus, self.resonance_ohms / (radians * self.quality)),
        )


# Twelve inches, 8 ohms nominal: 6.9 ohms of copper, 50 at resonance, some 25 at 5 kHz.
TWELVE_INCHES = Loudspeaker(6.9, 0.9e-3, 40.0, 85.0, 43.0, 5.0)
# Eight inches: a stiffer, lighter cone.
EIGHT_INCHES = Loudspeaker(6.8, 0.5e-3, 30.0, 100.0, 32.0, 4.5)


class SupplyNode(NamedTuple):
    """A capacitor to ground behind a resistor from the node before."""

    name: str
    ohms: float
    farads: float


def supply(
    source_volts: float, nodes: Iterable[SupplyNode], rest: Mapping[str, float] | None
) -> Components:
    """A rectifier's open voltage and the chain of nodes behind it.

    With `rest`, the voltage at which every node rests, each is an ideal source of just that: the
    amp rests as it did and nothing sags.
    """
    if rest is not None:
        return tuple(Supply(node.name, GROUND, rest[node.name]) for node in nodes)
    parts: list[Component] = [Supply("rectifier", GROUND, source_volts)]
    before = "rectifier"
    for node in nodes:
        parts += [
            Resistor(before, node.name, node.ohms),
            Capacitor(node.name, GROUND, node.farads),
        ]
        before = node.name
    return tuple(parts)
