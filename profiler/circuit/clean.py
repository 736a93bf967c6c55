"""A clean amp of the blackface kind, with a pair of 6L6GC.

    input - V1 - tone stack - gain - V2 - master - 12AT7 splitter - 2 x 6L6GC - transformer
          - loudspeaker - cabinet

The stack follows the first stage, as in the amps it is modelled on; feedback runs from the
loudspeaker to the splitter's foot.
"""

from collections.abc import Mapping, Set

from profiler.circuit import stages, tube
from profiler.circuit.filters import audio_taper
from profiler.circuit.netlist import GROUND, Capacitor, Input, Netlist, Resistor, pot
from profiler.circuit.stages import SupplyNode, gain_stage

CONTROLS = stages.AMP_CONTROLS
LEAVE_OUTS = stages.AMP_LEAVE_OUTS
INTERNAL_RATE = stages.AMP_RATE
OUTPUT_PER_VOLT = 1.0 / 40.0  # of full scale: the loudest transients end a little under it

STACK = stages.ToneStack(
    treble_farads=250e-12,
    slope_ohms=100e3,
    bass_farads=100e-9,
    middle_farads=47e-9,
    treble_ohms=250e3,
    bass_ohms=250e3,
    middle_ohms=10e3,
    middle_as_rheostat=True,
    linear_treble=False,
)
SPLITTER = stages.PhaseSplitter(
    tube.TRIODE_12AT7,
    input_farads=1e-9,
    upper_plate_ohms=82e3,
    lower_plate_ohms=100e3,
    cathode_ohms=470.0,
    tail_ohms=22e3,
)
POWER = stages.PowerPair(
    tube.PENTODE_6L6GC,
    coupling_farads=100e-9,
    leak_ohms=220e3,
    stopper_ohms=1.5e3,
    screen_ohms=470.0,
    bias_volts=-45.5,
)
TRANSFORMER = stages.OutputTransformer(
    load_ohms=4e3,
    speaker_ohms=8.0,
    primary_henries=16.0,
    saturation_webers=1.9,
    leakage_henries=12e-3,
    copper_ohms=160.0,
    winding_farads=0.8e-9,
)
SUPPLY_VOLTS = 445.0
SUPPLY = (
    SupplyNode("reservoir", 150.0, 40e-6),
    SupplyNode("screens", 1e3, 32e-6),
    SupplyNode("splitter", 4.7e3, 20e-6),
    SupplyNode("preamp", 10e3, 20e-6),
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
        Resistor("jack", "V1_grid", 34e3),
        *gain_stage("V1", "V1_grid", "preamp", 100e3, 1.5e3, 25e-6),
        *STACK.components("V1_plate", knobs["treble"], knobs["middle"], knobs["bass"]),
        *pot("stack_out", "V2_grid", GROUND, 1e6, audio_taper(knobs["gain"])),
        *gain_stage("V2", "V2_grid", "preamp", 100e3, 1.5e3, 25e-6),
        Capacitor("V2_plate", "master_top", 22e-9),
        *pot("master_top", "master", GROUND, 1e6, audio_taper(knobs["master"])),
        *SPLITTER.components("master", "foot", "splitter"),
        Resistor("foot", GROUND, 47.0),
        Resistor("speaker", "foot", 820.0),
        *POWER.components("screens"),
        *TRANSFORMER.push_pull(ideal=stages.TRANSFORMER in leave_out),
        *stages.TWELVE_INCHES.components(),
        *stages.supply(SUPPLY_VOLTS, SUPPLY, rest if stages.SAG in leave_out else None),
    )
    return stages.amp(components, leave_out, stages.PUSH_PULL_PROBES)
