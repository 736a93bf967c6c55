"""A British amp of the late sixties: two 12AX7 stages, a cathode follower, a pair of EL34.

    input - V1 - gain - V2 - cathode follower - tone stack - master - splitter - 2 x EL34
          - transformer - loudspeaker - cabinet

Feedback runs from the loudspeaker to the splitter's foot, less of it above 700 Hz: the presence
control at 5. The master volume, which the amps of that time had not, stands where their
successors have it.
"""

from collections.abc import Mapping, Set

from profiler.circuit import stages, tube
from profiler.circuit.filters import audio_taper
from profiler.circuit.netlist import GROUND, Capacitor, Input, Netlist, Resistor, pot
from profiler.circuit.stages import SupplyNode, gain_stage

CONTROLS = stages.AMP_CONTROLS
LEAVE_OUTS = stages.AMP_LEAVE_OUTS
INTERNAL_RATE = stages.AMP_RATE
OUTPUT_PER_VOLT = 1.0 / 72.0  # of full scale: the loudest transients end a little under it

STACK = stages.ToneStack(
    treble_farads=470e-12,
    slope_ohms=33e3,
    bass_farads=22e-9,
    middle_farads=22e-9,
    treble_ohms=250e3,
    bass_ohms=1e6,
    middle_ohms=25e3,
    middle_as_rheostat=False,
    linear_treble=True,
)
SPLITTER = stages.PhaseSplitter(
    tube.TRIODE_12AX7,
    input_farads=22e-9,
    upper_plate_ohms=82e3,
    lower_plate_ohms=100e3,
    cathode_ohms=470.0,
    tail_ohms=10e3,
)
POWER = stages.PowerPair(
    tube.PENTODE_EL34,
    coupling_farads=22e-9,
    leak_ohms=220e3,
    stopper_ohms=5.6e3,
    screen_ohms=1e3,
    bias_volts=-42.0,
)
TRANSFORMER = stages.OutputTransformer(
    load_ohms=3.4e3,
    speaker_ohms=8.0,
    primary_henries=15.0,
    saturation_webers=2.0,
    leakage_henries=8e-3,
    copper_ohms=110.0,
    winding_farads=1e-9,
)
SUPPLY_VOLTS = 475.0
SUPPLY = (
    SupplyNode("reservoir", 150.0, 50e-6),
    SupplyNode("screens", 560.0, 50e-6),
    SupplyNode("splitter", 8.2e3, 16e-6),
    SupplyNode("preamp", 10e3, 16e-6),
)


def netlist(
    controls: Mapping[str, float],
    leave_out: Set[str] = frozenset(),
    rest: Mapping[str, float] | None = None,
) -> Netlist:
    """The amp with its controls at 0 to 10, without what is left out.

    `rest` is the voltage at which every node of the whole amp rests, which a supply that does
    not sag keeps.
    """
    knobs = stages.amp_knobs(controls)
    components = (
        Input("jack", GROUND),
        Resistor("jack", GROUND, 1e6),
        Resistor("jack", "V1_grid", 68e3),
        *gain_stage("V1", "V1_grid", "preamp", 100e3, 2.7e3, 680e-9),
        Capacitor("V1_plate", "gain_top", 22e-9),
        *pot("gain_top", "gain", GROUND, 1e6, audio_taper(knobs["gain"])),
        Capacitor("gain_top", "gain", 100e-12),  # the bright capacitor
        Resistor("gain", "V2_grid", 470e3),
        Capacitor("gain", "V2_grid", 470e-12),
        Resistor("V2_grid", GROUND, 470e3),  # the other channel, turned down
        *gain_stage("V2", "V2_grid", "preamp", 100e3, 820.0),
        *stages.triode("preamp", "V2_plate", "follower", tube.TRIODE_12AX7),
        Resistor("follower", GROUND, 100e3),
        *STACK.components("follower", knobs["treble"], knobs["middle"], knobs["bass"]),
        *pot("stack_out", "master", GROUND, 1e6, audio_taper(knobs["master"])),
        *SPLITTER.components("master", "foot", "splitter"),
        Resistor("speaker", "foot", 47e3),
        Resistor("foot", GROUND, 4.7e3),
        Capacitor("foot", "presence", 100e-9),
        Resistor("presence", GROUND, 2.2e3),
        *POWER.components("screens"),
        *TRANSFORMER.push_pull(ideal=stages.TRANSFORMER in leave_out),
        *stages.TWELVE_INCHES.components(),
        *stages.supply(SUPPLY_VOLTS, SUPPLY, rest if stages.SAG in leave_out else None),
    )
    return stages.amp(components, leave_out, stages.PUSH_PULL_PROBES)
