"""How much memory does a long take need, and how fast is it?

    python benchmarks/long_take.py 60
    python benchmarks/long_take.py 2 --passes 2

A take of two channels at 192 kHz through a simulated wire, of so many minutes, in a process of its
own: stimulus, response, markers, noise and hashes as in any take. Needs 140 MB of disk a
minute, and twice that with `--passes`. Prints a JSON object: the largest resident memory of that
process, of which Python and its packages are `before_mb`, and the speed in times real time.
"""

import argparse
import json
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

SAMPLE_RATE = 192_000
PASSAGE_SECONDS = 5.0


def plan_of(minutes: float):
    """Guitar, noise and tones in turn, a marker after each, for so many minutes."""
    from profiler.stimulus.plan import SignalDefinition

    passages: list[dict] = [
        {"kind": "guitar", "level_dbfs": -3.0},
        {"kind": "noise", "level_dbfs": -3.0},
        {"kind": "sine", "level_dbfs": -12.0},
        {"kind": "multisine", "level_dbfs": -3.0},
    ]
    segments: list[dict] = []
    for n in range(max(1, round(60.0 * minutes / (PASSAGE_SECONDS + 0.5)))):
        passage = {"name": f"passage {n}", "use": "train", "seconds": PASSAGE_SECONDS, "seed": n}
        segments += [
            passage | passages[n % len(passages)],
            {"name": f"after {n}", "kind": "marker", "use": "align", "level_dbfs": -12.0},
        ]
    definition = SignalDefinition.model_validate({"name": "long", "segments": segments})
    return definition.plan(SAMPLE_RATE).bracketed()


def measured(minutes: float, folder: Path, *, passes: int = 1) -> dict[str, float]:
    """Take for so many minutes in this very process, and say what it needed."""
    from profiler.capture.take import take
    from profiler.rig.connect import connect
    from profiler.rig.rig import Chain, Rig, SimulatedInterface

    interface = SimulatedInterface(
        driver="simulated", sample_rate=SAMPLE_RATE, loopback_channel=2, block_size=1024
    )
    rig = Rig(name="w", maximum_send_dbfs=0.0, interface=interface, chain=Chain(circuit="wire"))
    plan = plan_of(minutes)
    opened = connect(rig)
    before_mb = resident_mb()
    begun = time.monotonic()
    taken = take(rig, plan, folder / "take", opened, passes=passes)
    seconds = time.monotonic() - begun
    return {
        "minutes": plan.seconds / 60.0,
        "passes": passes,
        "bytes": taken.response_path.stat().st_size,
        "before_mb": before_mb,
        "peak_mb": resident_mb(),
        "seconds": seconds,
        "cpu_seconds": resource.getrusage(resource.RUSAGE_SELF).ru_utime,
        "times_real_time": passes * plan.seconds / seconds,
    }


def in_a_process(minutes: float, folder: Path, *, passes: int = 1) -> dict[str, float]:
    """As `measured`, in a process of its own."""
    program = (
        "import json, sys; from pathlib import Path; from benchmarks.long_take import measured; "
        "print(json.dumps(measured(float(sys.argv[1]), Path(sys.argv[2]), "
        "passes=int(sys.argv[3]))))"
    )
    arguments = [sys.executable, "-c", program, str(minutes), str(folder), str(passes)]
    run = subprocess.run(
        arguments, check=True, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]
    )
    return json.loads(run.stdout)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("minutes", type=float)
    parser.add_argument("--passes", type=int, default=1, help="play it so often, and average")
    parser.add_argument("--folder", type=Path, help="where there is room  [a temporary one]")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        found = in_a_process(given.minutes, Path(folder), passes=given.passes)
    print(json.dumps(found, indent=1))
    return 0


def resident_mb() -> float:
    """The highest so far. (`ru_maxrss` would count what the parent had when it forked.)"""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(re.search(r"VmHWM:\s*(\d+) kB", status)[1]) / 1024


if __name__ == "__main__":
    sys.exit(main())
