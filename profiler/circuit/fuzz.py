"""A fuzz of the sixties: two germanium transistors that bias each other.

    input - 10 kohm of a pickup - 2.2 uF - Q1 - Q2 - 10 nF - level

Q2's emitter feeds Q1's base through 100 kohm, which sets both operating points; the fuzz knob
decides how much of the signal takes the same way back. The circuit is PNP, its battery upside
down.
"""

from collections.abc import Mapping, Set

from profiler.circuit import oversampling
from profiler.circuit.filters import audio_taper
from profiler.circuit.netlist import GROUND, Bjt, Capacitor, Input, Netlist, Resistor, Supply, pot
from profiler.circuit.transistor import BJT_AC128

CONTROLS = ("fuzz", "level")
LEAVE_OUTS = ()
INTERNAL_RATE = oversampling.INTERNAL_RATE
OUTPUT_PER_VOLT = 2.8  # of full scale: the loudest transients end a little under it

# A pair is picked: the first with the lower gain.
Q1 = BJT_AC128._replace(forward_beta=70.0)
Q2 = BJT_AC128._replace(forward_beta=120.0)
BASE_COLLECTOR_FARADS = 100e-12  # of an alloy transistor
BASE_EMITTER_FARADS = 1e-9


def netlist(
    controls: Mapping[str, float],
    leave_out: Set[str] = frozenset(),
    rest: Mapping[str, float] | None = None,
) -> Netlist:
    """The pedal with its controls at 0 to 10."""
    knobs = {"fuzz": 5.0, "level": 5.0} | dict(controls)
    components = (
        Supply(GROUND, "battery", 9.0),
        Input("pickup", GROUND),
        Resistor("pickup", "jack", 10e3),
        Capacitor("jack", "Q1_base", 2.2e-6),
        *_transistor("Q1_collector", "Q1_base", GROUND, Q1),
        Resistor("battery", "Q1_collector", 33e3),
        *_transistor("Q2_collector", "Q1_collector", "Q2_emitter", Q2),
        Resistor("Q2_collector", "tap", 8.2e3),
        Resistor("tap", "battery", 470.0),
        Resistor("Q2_emitter", "Q1_base", 100e3),
        *pot("Q2_emitter", "fuzz", GROUND, 1e3, knobs["fuzz"] / 10.0),
        Capacitor("fuzz", GROUND, 20e-6),
        Capacitor("tap", "level_top", 10e-9),
        *pot("level_top", "level", GROUND, 500e3, audio_taper(knobs["level"])),
    )
    return Netlist(components, output=("level", GROUND), probes={"collector": "Q2_collector"})


def _transistor(collector, base, emitter, model):
    return (
        Bjt(collector, base, emitter, model),
        Capacitor(base, collector, BASE_COLLECTOR_FARADS),
        Capacitor(base, emitter, BASE_EMITTER_FARADS),
    )
