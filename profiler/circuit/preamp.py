"""A preamp of two 12AX7 stages: the circuit whose figures are known, to measure others by.

    input - V1 - 22 nF - 1 Mohm - V2 - 22 nF - 1 Mohm - output

300 V and 100 kohm at each plate, 1.5 kohm at each cathode, under 25 uF in the first stage and
1 uF in the second. Its slow modes are 25.7, 23.4, 17.2 and 0.75 ms; driven, it shifts its bias
and blocks, so that a tone settles in a tenth of a second and silence takes a third of one.

The grids conduct as in Koren's circuit of a tube: a diode of 1 nA behind 2 kohm. It begins to
conduct some 0.3 V later than `tube.grid_current`, which is nearer to what data sheets tell of
a 12AX7's grid; the figures that this circuit is known by belong to the diode.
"""

from profiler.circuit.diode import Junction
from profiler.circuit.netlist import (
    Capacitor,
    Component,
    Diode,
    Input,
    Netlist,
    Resistor,
    Supply,
    Triode,
    capacitances,
)
from profiler.circuit.tube import GRID_OHMS, TRIODE_12AX7

SUPPLY_VOLTS = 300.0
PLATE_OHMS = 100e3
CATHODE_OHMS = 1.5e3
CATHODE_FARADS = (25e-6, 1e-6)
COUPLING_FARADS = 22e-9
GRID_LEAK_OHMS = 1e6
GRID_DIODE = Junction(saturation_amperes=1e-9, emission_volts=25.85e-3)


def two_stages(*, koren_grids: bool = True) -> Netlist:
    """The preamp; its input is the first grid, its probes are "grid", "cathode" and "plate" of V2.

    Parameters
    ----------
    koren_grids : bool
        Grids that conduct as in Koren's circuit; otherwise as `tube.grid_current` says.
    """
    first = _stage("1", "in", CATHODE_FARADS[0], koren_grids)
    second = _stage("2", "grid2", CATHODE_FARADS[1], koren_grids)
    return Netlist(
        (
            Supply("B+", "0", SUPPLY_VOLTS),
            Input("in", "0"),
            *first,
            Capacitor("plate1", "grid2", COUPLING_FARADS),
            Resistor("grid2", "0", GRID_LEAK_OHMS),
            *second,
            Capacitor("plate2", "out", COUPLING_FARADS),
            Resistor("out", "0", GRID_LEAK_OHMS),
        ),
        output=("out", "0"),
        probes={"grid": "grid2", "cathode": "cathode2", "plate": "plate2"},
    )


def _stage(name, grid, cathode_farads, koren_grid) -> tuple[Component, ...]:
    plate, cathode, behind = f"plate{name}", f"cathode{name}", f"behind{name}"
    tube = Triode(plate, grid, cathode, TRIODE_12AX7, grid_conducts=not koren_grid)
    conducting = (
        (Resistor(grid, behind, GRID_OHMS), Diode(behind, cathode, GRID_DIODE))
        if koren_grid
        else ()
    )
    return (
        tube,
        *capacitances(tube),
        *conducting,
        Resistor("B+", plate, PLATE_OHMS),
        Resistor(cathode, "0", CATHODE_OHMS),
        Capacitor(cathode, "0", cathode_farads),
    )
