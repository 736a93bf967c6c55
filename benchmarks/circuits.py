"""How fast is each virtual device, and how near to ngspice, on one core?

    python benchmarks/circuits.py
    python benchmarks/circuits.py --seconds 10 --json circuits.json plexi hi-gain

Every shipped rig plays guitar at 48 kHz, at full scale, through the very device that its captures
hear, resampling included. Circuits of components are also given to ngspice, their controls as in
the rig: the loudest piece of the same guitar, at the same internal rate. `times ngspice` is
ngspice's time over ours for that piece. What is compiled is compiled before the clock runs.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
from scipy import signal

from profiler.analysis.error import esr
from profiler.circuit import device
from profiler.circuit.oversampling import factor
from profiler.circuit.solver import Solver
from profiler.circuit.spice import run_spice
from profiler.definitions import available
from profiler.rig.rig import Chain, load_rig
from profiler.stimulus.guitar import guitar
from profiler.stimulus.plan import Guitar

SAMPLE_RATE = 48_000
PIECE_SECONDS = 0.1  # for ngspice, which is slow
SEED = 3


def playing(seconds: float) -> np.ndarray:
    """Guitar at full scale, `(n,)`."""
    segment = Guitar(name="g", kind="guitar", seconds=seconds, level_dbfs=-0.1, use="test")
    return guitar(segment, SAMPLE_RATE, np.random.default_rng(SEED)).astype(np.float64)


def measure(chain: Chain, seconds: float) -> dict[str, float | str | None]:
    """One device: seconds of computing a second of sound, and the comparison with ngspice."""
    circuit = chain.circuit
    stimulus = playing(seconds)
    device.create(circuit, chain.controls, SAMPLE_RATE, chain.leave_out).process(stimulus[:4800])
    played = device.create(circuit, chain.controls, SAMPLE_RATE, chain.leave_out)
    start = time.perf_counter()
    played.process(stimulus)
    found = {
        "circuit": circuit,
        "computing_a_second": (time.perf_counter() - start) / seconds,
        "oversampling": None,
        "ngspice_esr": None,
        "times_ngspice": None,
    }
    if circuit not in device.NETLISTS:
        return found
    times = factor(SAMPLE_RATE, device.NETLISTS[circuit].INTERNAL_RATE)
    netlist = device.netlist(circuit, chain.controls, chain.leave_out)
    loudest = int(np.argmax(np.abs(stimulus)))
    frames = round(PIECE_SECONDS * SAMPLE_RATE)
    begin = max(0, min(loudest - frames // 4, len(stimulus) - frames))
    piece = stimulus[begin : begin + frames] * np.minimum(1.0, np.arange(frames) / 48.0)
    fine = signal.resample_poly(piece, times, 1)
    start = time.perf_counter()
    truth, _ = run_spice(netlist, fine, times * SAMPLE_RATE)
    spice_seconds = time.perf_counter() - start
    solver = Solver(netlist, times * SAMPLE_RATE)
    start = time.perf_counter()
    ours = solver.run(fine)
    our_seconds = time.perf_counter() - start
    return found | {
        "oversampling": times,
        "ngspice_esr": float(esr(truth, ours)),
        "times_ngspice": spice_seconds / our_seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rigs", nargs="*", help="names of rigs; all simulated ones")
    parser.add_argument("--seconds", type=float, default=8.0, help="of guitar")
    parser.add_argument("--json", type=Path, help="write the numbers to a file, too")
    arguments = parser.parse_args()
    rows = []
    print("| rig | s of computing a second | oversampled | ESR to ngspice | times ngspice |")
    print("|---|---|---|---|---|")
    for name in arguments.rigs or sorted(available("rigs")):
        rig = load_rig(name)
        if rig.chain.circuit is None:
            continue
        row = {"rig": name} | measure(rig.chain, arguments.seconds)
        rows.append(row)
        beside = (
            f"{row['oversampling']} | {row['ngspice_esr']:.1e} | {row['times_ngspice']:.0f}"
            if row["oversampling"]
            else "- | - | -"
        )
        print(f"| {name} | {row['computing_a_second']:.3f} | {beside} |", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
