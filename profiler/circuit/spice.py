"""The same circuit in another program: a deck for ngspice, and a run of it.

ngspice shares nothing with `solver.py` but the netlist and the devices' equations, which the
deck spells out as behavioural sources (tubes, iron) or meets with SPICE's own devices where
these are the same (junctions, transistors). What both agree on is not an error of either.

Conventions
-----------
The input is a table of a voltage at even times, and a straight line between them, as the
trapezoidal rule takes it; it begins with 0 V a sample before the first, where the circuit rests,
as it does in `Solver`. ngspice chooses its own steps, no longer than `STEPS_A_SAMPLE` of
them to a sample; its output is read at the samples by a cubic spline.
"""

import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from scipy import interpolate

from profiler.circuit.diode import VacuumDiode
from profiler.circuit.netlist import (
    GROUND,
    OP_AMP_RAIL,
    Bjt,
    Capacitor,
    Diode,
    IdealTransformer,
    Inductor,
    Input,
    Netlist,
    OpAmp,
    Pentode,
    Resistor,
    SaturatingInductor,
    Supply,
    Triode,
)
from profiler.circuit.tube import GRID_KNEE_VOLTS, GRID_OHMS, SCREEN_LEAST_VOLTS
from profiler.errors import ProfilerError

STEPS_A_SAMPLE = 2
RELATIVE_TOLERANCE = 1e-6
TOLERANCE_AMPERES = 1e-12  # where amperes flow, nothing converges to that: 1e-9 then
TIMEOUT_SECONDS = 240.0

# k T / q at SPICE's 27 degrees Celsius, with ngspice's own constants.
_THERMAL_VOLTS = 1.38064852e-23 * 300.15 / 1.6021766208e-19


def to_spice(
    netlist: Netlist,
    input_file: str | Path,
    output_file: str | Path,
    *,
    sample_rate: float,
    frames: int,
    steps_a_sample: int = STEPS_A_SAMPLE,
    relative_tolerance: float = RELATIVE_TOLERANCE,
    tolerance_amperes: float = TOLERANCE_AMPERES,
) -> str:
    """A deck for `ngspice -b`.

    Parameters
    ----------
    input_file : path
        What the input plays: lines of a time in s and a voltage (`spice_table` makes it).
    output_file : path
        Where ngspice writes a time, the output and each probe, one line a step.
    frames : int
        Length of the input in samples of `sample_rate`, without the rest before it.

    Returns
    -------
    str
        The deck. Nodes are numbered in the order of `netlist.nodes`; a comment says which is which.
    """
    name = {GROUND: "0"} | {node: f"n{k}" for k, node in enumerate(netlist.nodes, start=1)}
    step = 1.0 / sample_rate
    pairs = [netlist.output, *((node, GROUND) for node in netlist.probes.values())]
    watched = [f"{_vector(name[plus])}-{_vector(name[minus])}" for plus, minus in pairs]
    vectors = [f"let look{k}={vector}" for k, vector in enumerate(watched)]
    lines = [
        "* a circuit of ampscope",
        *(f"* {spice} is {node}" for node, spice in name.items()),
        *(line for k, c in enumerate(netlist.components) for line in _card(c, str(k), name)),
        f'.model source filesource (file="{input_file}" amploffset=[0] amplscale=[1]'
        " timeoffset=0 timescale=1 timerelative=false amplstep=false)",
        f".options reltol={relative_tolerance:g} abstol={tolerance_amperes:g} vntol=1e-7"
        " chgtol=1e-18 trtol=1 gmin=1e-18 itl1=1000 itl2=1000 itl4=200",
        ".control",
        "set numdgt=16",
        "set wr_singlescale",
        f"tran {step:.12g} {frames * step:.12g} 0 {step / steps_a_sample:.12g}",
        *vectors,
        f"wrdata {output_file} {' '.join(f'look{k}' for k in range(len(watched)))}",
        ".endc",
        ".end",
    ]
    return "\n".join(lines) + "\n"


def spice_table(volts: np.ndarray, sample_rate: float) -> str:
    """`(n,)` volts as ngspice reads them: a line of time and voltage a sample.

    The circuit rests a sample before the first. The last is held for two more, because behind
    its table ngspice finds 0 V.
    """
    held = (0.0, *volts, volts[-1], volts[-1])
    return "".join(f"{n / sample_rate:.15g} {v:.17g}\n" for n, v in enumerate(held))


def run_spice(
    netlist: Netlist, volts: np.ndarray, sample_rate: float, **options
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The output of a netlist, and its probes, as ngspice finds them.

    Parameters
    ----------
    volts : (n,) float array
        At the input; the circuit rests before them.
    options
        `steps_a_sample`, `relative_tolerance` and `tolerance_amperes` of `to_spice`.

    Returns
    -------
    output : (n,) float array
    probes : dict of str to (n,) float array

    Raises
    ------
    ProfilerError
        ngspice is not installed, or found no solution: the message quotes it.
    """
    program = shutil.which("ngspice")
    if program is None:
        raise ProfilerError("ngspice is not installed: install it (Debian: apt install ngspice)")
    with tempfile.TemporaryDirectory(prefix="ampscope-spice-") as folder:
        table, deck, found = (Path(folder) / name for name in ("in.txt", "deck.cir", "out.txt"))
        table.write_text(spice_table(volts, sample_rate), encoding="ascii")
        text = to_spice(
            netlist, table, found, sample_rate=sample_rate, frames=len(volts), **options
        )
        deck.write_text(text, encoding="utf-8")
        run = subprocess.run(
            [program, "-b", str(deck)],
            capture_output=True,
            text=True,
            cwd=folder,
            timeout=TIMEOUT_SECONDS,
        )
        columns = np.loadtxt(found, ndmin=2) if found.exists() else np.zeros((0, 1))
    end = len(volts) / sample_rate
    if len(columns) < 4 or columns[-1, 0] < end - 0.5 / sample_rate:
        said = [line.strip() for line in run.stderr.splitlines() if line.strip()]
        reached = columns[-1, 0] if len(columns) else 0.0
        raise ProfilerError(
            f"ngspice came to {reached:.6g} s of {end:.6g} s; it said: {' | '.join(said[:6])}"
        )
    times, first = np.unique(columns[:, 0], return_index=True)
    at = np.arange(1, len(volts) + 1) / sample_rate
    curves = interpolate.CubicSpline(times, columns[first, 1:])(at)  # (n, 1 + probes)
    return curves[:, 0], dict(zip(netlist.probes, curves[:, 1:].T, strict=True))


def _card(component, k, name):
    """The lines of a deck for a component, the k-th."""
    match component:
        case Resistor(a, b, ohms):
            return [f"R{k} {name[a]} {name[b]} {ohms:.15g}"]
        case Capacitor(a, b, farads):
            return [f"C{k} {name[a]} {name[b]} {farads:.15g}"]
        case Inductor(a, b, henries):
            return [f"L{k} {name[a]} {name[b]} {henries:.15g}"]
        case SaturatingInductor():
            return _saturating_inductor(component, k, name)
        case Supply(plus, minus, volts):
            return [f"V{k} {name[plus]} {name[minus]} {volts:.15g}"]
        case Input(plus, minus):
            return [f"A{k} %vd([{name[plus]} {name[minus]}]) source"]
        case IdealTransformer(windings):
            return [
                line
                for w, (plus, minus, turns) in enumerate(windings)
                for line in (
                    f"E{k}w{w} {name[plus]} {name[minus]} core{k} 0 {turns:.15g}",
                    f"F{k}w{w} core{k} 0 E{k}w{w} {turns:.15g}",
                )
            ]
        case OpAmp():
            return _op_amp(component, k, name)
        case Triode():
            return _triode(component, k, name)
        case Pentode():
            return _pentode(component, k, name)
        case Diode(anode, cathode, VacuumDiode(perveance)):
            across = _between(name[anode], name[cathode])
            return [f"B{k} {name[anode]} {name[cathode]} I={perveance:.15g}*uramp({across})^1.5"]
        case Diode(anode, cathode, junction):
            return _junction(k, name[anode], name[cathode], junction)
        case Bjt():
            return _transistor(component, k, name)
        case _:
            raise ValueError(f"got {component!r}: there is no such card")


def _between(a, b):
    """The voltage between two nodes, as a behavioural source writes it."""
    return f"V({a})" if b == "0" else f"V({a},{b})"


def _vector(node):
    """A node's voltage in ngspice's own language of vectors, which knows no ground."""
    return "0" if node == "0" else f"v({node})"


def _saturating_inductor(component, k, name):
    # the flux is the charge of a capacitor of 1 F that is fed with a current of v
    ratio = f"(V(flux{k})/{component.saturation_webers:.15g})"
    return [
        f"G{k}f 0 flux{k} {name[component.a]} {name[component.b]} 1",
        f"C{k}f flux{k} 0 1",
        f"B{k} {name[component.a]} {name[component.b]} "
        f"I=V(flux{k})/{component.henries:.15g}*(1+{'*'.join([ratio] * component.exponent)})",
    ]


def _op_amp(component, k, name):
    """A nullor: into node `null` flows what plus and minus differ by, and nothing flows out."""
    lines = [
        f"G{k} 0 null{k} {name[component.plus]} {name[component.minus]} 1",
        f"E{k} {name[component.out]} 0 null{k} 0 1",
    ]
    if component.high_volts is not None:
        lines += [
            f"V{k}high high{k} 0 {component.high_volts:.15g}",
            f"V{k}low low{k} 0 {component.low_volts:.15g}",
            *_junction(f"{k}high", f"null{k}", f"high{k}", OP_AMP_RAIL),
            *_junction(f"{k}low", f"low{k}", f"null{k}", OP_AMP_RAIL),
        ]
    return lines


def _junction(k, anode, cathode, model):
    emission = model.emission_volts / _THERMAL_VOLTS
    return [
        f"D{k} {anode} {cathode} junction{k}",
        f".model junction{k} D(IS={model.saturation_amperes:.15g} N={emission:.15g})",
    ]


def _transistor(component, k, name):
    model = component.model
    emission = model.emission_volts / _THERMAL_VOLTS
    nodes = f"{name[component.collector]} {name[component.base]} {name[component.emitter]}"
    return [
        f"Q{k} {nodes} transistor{k}",
        f".model transistor{k} {'PNP' if model.pnp else 'NPN'}(IS={model.saturation_amperes:.15g} "
        f"BF={model.forward_beta:.15g} BR={model.reverse_beta:.15g} "
        f"NF={emission:.15g} NR={emission:.15g})",
    ]


def _softplus(x):
    """ln(1 + exp(x)) that does not overflow."""
    return f"(uramp({x})+ln(1+exp(-abs({x}))))"


def _grid(k, grid, cathode):
    volts, knee = _between(grid, cathode), GRID_KNEE_VOLTS
    bend = f"{knee / 6.0:.15g}*uramp(1-abs({volts})/{knee:.15g})^3"
    return f"B{k}g {grid} {cathode} I=(uramp({volts})+{bend})/{GRID_OHMS:.15g}"


def _triode(component, k, name):
    plate, grid, cathode = (name[n] for n in (component.plate, component.grid, component.cathode))
    tube = component.model
    plate_volts, grid_volts = _between(plate, cathode), _between(grid, cathode)
    return [
        f"B{k}x x{k} 0 V={tube.kp:.15g}*({1.0 / tube.mu:.15g}+{grid_volts}"
        f"/sqrt({tube.kvb:.15g}+{plate_volts}*{plate_volts}))",
        f"B{k}e e{k} 0 V=uramp({plate_volts})/{tube.kp:.15g}*{_softplus(f'V(x{k})')}",
        f"B{k} {plate} {cathode} I={2.0 / tube.kg1:.15g}*uramp(V(e{k}))^{tube.ex:.15g}",
        *([_grid(k, grid, cathode)] if component.grid_conducts else []),
    ]


def _pentode(component, k, name):
    plate, screen, grid, cathode = (
        name[node]
        for node in (component.plate, component.screen, component.grid, component.cathode)
    )
    tube = component.model
    plate_volts = _between(plate, cathode)
    least = f"{SCREEN_LEAST_VOLTS:.15g}"
    screen_volts = f"({least}+uramp({_between(screen, cathode)}-{least}))"
    return [
        f"B{k}x x{k} 0 V={tube.kp:.15g}*({1.0 / tube.mu:.15g}+{_between(grid, cathode)}"
        f"/{screen_volts})",
        f"B{k}e e{k} 0 V={screen_volts}/{tube.kp:.15g}*{_softplus(f'V(x{k})')}",
        f"B{k}d d{k} 0 V=uramp(V(e{k}))^{tube.ex:.15g}",
        f"B{k} {plate} {cathode} "
        f"I={2.0 / tube.kg1:.15g}*V(d{k})*atan(uramp({plate_volts})/{tube.kvb:.15g})",
        f"B{k}s {screen} {cathode} I=V(d{k})/{tube.kg2:.15g}",
        *([_grid(k, grid, cathode)] if component.grid_conducts else []),
    ]
