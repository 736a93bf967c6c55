"""A high-gain amp of the late eighties: four 12AX7 stages in a row, a pair of 6L6GC.

    input - V1 - gain - V2 - attenuator - V3, biased cold - attenuator - V4 - cathode follower
          - tone stack - master - splitter - 2 x 6L6GC - transformer - loudspeaker - cabinet

Between the stages capacitors of 22 nF block when the grids behind them conduct, and attenuators
of 470 kohm keep that within bounds. V3 clips one half of the wave by its cathode resistor of
39 kohm.
"""

from collections.abc import Mapping, Set

from profiler.circuit import stages, tube
from profiler.circuit.filters import audio_taper
from profiler.circuit.netlist import GROUND, Capacitor, Input, Netlist, Resistor, pot
from profiler.circuit.stages import SupplyNode, gain_stage

CONTROLS = stages.AMP_CONTROLS
LEAVE_OUTS = stages.AMP_LEAVE_OUTS
INTERNAL_RATE = stages.AMP_RATE
OUTPUT_PER_VOLT = 1.0 / 52.0  # of full scale: the loudest transients end a little under it

STACK = stages.ToneStack(
    treble_farads=470e-12,
    slope_ohms=47e3,
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
    tube.PENTODE_6L6GC,
    coupling_farads=100e-9,
    leak_ohms=220e3,
    stopper_ohms=2.2e3,
    screen_ohms=1e3,
    bias_volts=-48.0,
)
TRANSFORMER = stages.OutputTransformer(
    load_ohms=4e3,
    speaker_ohms=8.0,
    primary_henries=20.0,
    saturation_webers=2.2,
    leakage_henries=8e-3,
    copper_ohms=130.0,
    winding_farads=1e-9,
)
SUPPLY_VOLTS = 470.0
SUPPLY = (
    SupplyNode("reservoir", 110.0, 60e-6),
    SupplyNode("screens", 680.0, 47e-6),
    SupplyNode("splitter", 4.7e3, 22e-6),
    SupplyNode("preamp", 10e3, 22e-6),
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
        *gain_stage("V1", "V1_grid", "preamp", 220e3, 1.8e3, 1e-6),
        Capacitor("V1_plate", "V1_out", 22e-9),
        Resistor("V1_out", "gain_top", 470e3),
        Capacitor("V1_out", "gain_top", 470e-12),
        *pot("gain_top", "gain", GROUND, 1e6, audio_taper(knobs["gain"])),
        Resistor("gain", "V2_grid", 68e3),
        *gain_stage("V2", "V2_grid", "preamp", 100e3, 1.8e3, 1e-6),
        Capacitor("V2_plate", "V2_out", 22e-9),
        Resistor("V2_out", "V3_grid", 470e3),
        Capacitor("V2_out", "V3_grid", 470e-12),
        Resistor("V3_grid", GROUND, 470e3),
        *gain_stage("V3", "V3_grid", "preamp", 100e3, 39e3),
        Capacitor("V3_plate", "V3_out", 22e-9),
        Resistor("V3_out", "V4_grid", 470e3),
        Resistor("V4_grid", GROUND, 470e3),
        *gain_stage("V4", "V4_grid", "preamp", 220e3, 1.8e3),
        *stages.triode("preamp", "V4_plate", "follower", tube.TRIODE_12AX7),
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
