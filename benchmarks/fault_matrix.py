"""Is every fault found by its name, and is no clean take accused?

    python benchmarks/fault_matrix.py                       20 seeds, 200 clean takes: half an hour
    python benchmarks/fault_matrix.py --seeds 1 --clean 20  a look
    python benchmarks/fault_matrix.py --json FILE           and the counts as JSON

Every fault at its minimum strength, in each of its variants, is put into takes of the signal
`check` through `wire`, `tweed` and `drive`, with a seed's own gain, noise, latency and polarity.
A hit is a take whose first finding, notes about the device aside, has the fault's name. Clean
takes go through every rig, and vary controls, rate, gain, noise, latency, polarity and cabinet; any
stop or warn accuses one. Prints the confusion table.
"""

import argparse
import collections
import concurrent.futures
import dataclasses
import functools
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import scipy.signal

from profiler.capture.checks.check import check
from profiler.capture.checks.evidence import Evidence
from profiler.capture.loop import fingerprint_of, measure_loop
from profiler.rig.connect import connect
from profiler.rig.faults import KINDS, Fault, inject, weakest
from profiler.rig.interface import StreamReport
from profiler.rig.rig import load_rig
from profiler.stimulus.plan import SignalPlan, load_signal
from profiler.stimulus.synthesis import render

SIGNAL = "check"
RATE = 48_000
RIGS = ("wire", "tweed", "drive")
CLEAN_RIGS = (*RIGS, "plexi", "hi-gain", "clean", "fuzz")
ON_A_LOOP = "wire"

# What can be told on one kind of rig only, beyond what KINDS says.
NOT_ON_A_LOOP = {"bypass", "line-level"}
# Two channels that differ are no take to be checked: importing refuses them.
REFUSED = {("file-hygiene", "stereo")}
# These happen before the device, so they must be played through it.
BEFORE_THE_DEVICE = {"line-level", "wrong-stimulus"}
# These have a place; the others last for the whole take.
WITH_A_PLACE = {
    "zero-fill",
    "lost-block",
    "repeated-block",
    "standby",
    "dc-step",
    "room-noise",
    "mains-step",
    "knob-moved",
}
PLACES = (3.0, 16.5)  # seconds of the signal between which such a fault begins
# A noise in the room is told where nothing sounds, where a tone does, or where a passage comes
# again; reflections are there all the time.
PLACES_OF = {"room-noise, burst": (11.0, 13.0), "room-noise, reflection": (0.0, 0.0)}
TELL_EVERY = 100  # takes
GUITAR_DBU = -0.8  # of a peak of 0 dBFS that is a peak of 1 V


@dataclasses.dataclass(frozen=True)
class Case:
    """One take to be checked."""

    rig: str
    seed: int
    fault: str | None = None
    variant: str | None = None


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What the check of a case said."""

    case: Case
    found: tuple[tuple[str, str], ...]  # name and severity, first cause first
    seconds: float  # the check took

    @property
    def first(self) -> str:
        """The first finding that is not a note, else the first note, else nothing."""
        grave = [name for name, severity in self.found if severity != "note"]
        return (*grave, *(name for name, _ in self.found), "nothing")[0]

    @property
    def accused(self) -> bool:
        return any(severity != "note" for _, severity in self.found)


def fault_cases(seeds: int, rigs=RIGS) -> list[Case]:
    """Every fault, variant and rig on which it can be told, for so many seeds."""
    return [
        Case(rig, seed, name, variant)
        for seed in range(seeds)
        for rig in rigs
        for name, kind in KINDS.items()
        for variant in kind.variants or (None,)
        if (name, variant) not in REFUSED
        and (rig == ON_A_LOOP or not kind.loop_only)
        and not (rig == ON_A_LOOP and name in NOT_ON_A_LOOP)
    ]


def clean_cases(count: int) -> list[Case]:
    return [Case(CLEAN_RIGS[seed % len(CLEAN_RIGS)], 10_000 + seed) for seed in range(count)]


def outcome(case: Case) -> Outcome:
    """Make the take of a case, and check it."""
    evidence = _faulty(case) if case.fault else _clean(case)
    began = time.perf_counter()
    found = check(evidence)
    took = time.perf_counter() - began
    return Outcome(case, tuple((f.name, f.severity) for f in found.findings), took)


def hit(result: Outcome) -> bool:
    """Whether the fault was found by its name, as the first cause.

    A note is no accusation, so it is enough that it is there and nothing graver is.
    """
    names = [name for name, _ in result.found]
    if result.first == result.case.fault:
        return True
    return result.case.fault in names and not result.accused


def table(results: list[Outcome]) -> str:
    """The confusion table, in Markdown."""
    rows: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
    totals: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
    for result in results:
        if result.case.fault:
            named = _row(result.case)
            rows[named][result.case.fault if hit(result) else result.first] += 1
            totals[named][result.case.rig] += 1
    lines = [
        "| fault, at its minimum | unit | takes: wire, tweed, drive | found first | else |",
        "|---|---|---|---|---|",
    ]
    order = list(KINDS)
    for named in sorted(rows, key=lambda named: order.index(named.split(",")[0])):
        name, found = named.split(",")[0], rows[named]
        kind = KINDS[name]
        least = "" if kind.minimum is None else f"{kind.minimum:g} "
        others = ", ".join(f"{n} {other}" for other, n in found.most_common() if other != name)
        takes = ", ".join(str(totals[named][rig]) for rig in RIGS)
        lines.append(
            f"| {named} | {least}{kind.unit} | {takes} | {found[name]} | {others or '-'} |"
        )
    clean = [result for result in results if not result.case.fault]
    accused = [result for result in clean if result.accused]
    lines.append(
        f"| none | | {len(clean)} clean takes | {len(clean) - len(accused)} not accused | "
        f"{', '.join(r.first for r in accused) or '-'} |"
    )
    return "\n".join(lines)


def run(cases: list[Case], workers: int) -> list[Outcome]:
    """The outcomes of all cases, in order; a worker keeps the takes of a rig and seed."""
    if workers == 1:
        return list(_told(map(outcome, cases), len(cases)))
    with concurrent.futures.ProcessPoolExecutor(workers) as pool:
        return list(_told(pool.map(outcome, cases, chunksize=16), len(cases)))


def wrong(result: Outcome) -> bool:
    """Whether a fault was missed, or a clean take accused."""
    return not hit(result) if result.case.fault else result.accused


def _told(results, count):
    for number, result in enumerate(results, 1):
        if wrong(result):
            print(result.case, result.found, file=sys.stderr, flush=True)
        if number % TELL_EVERY == 0:
            print(f"{number} of {count} takes", file=sys.stderr, flush=True)
        yield result


def _row(case):
    return case.fault if case.variant is None else f"{case.fault}, {case.variant}"


@functools.lru_cache(maxsize=8)
def _stimulus(rate) -> tuple[SignalPlan, np.ndarray]:
    plan = load_signal(SIGNAL).plan(rate).bracketed()
    return plan, render(plan).astype(np.float64)


def _recorded(rig, rate):
    plan, stimulus = _stimulus(rate)
    blocks = []
    connect(rig).play_record(
        [stimulus.astype(np.float32)],
        plan.frames,
        lambda block: blocks.append(block.samples.copy()),
    )
    return np.concatenate(blocks)[:, 0].astype(np.float64)


def _varied(case, rate=RATE, faults=None):
    """The rig of a case, with a seed's own interface."""
    rng = np.random.default_rng([case.seed, CLEAN_RIGS.index(case.rig)])
    rig = load_rig(case.rig)
    upright = case.rig == ON_A_LOOP or case.fault == "polarity-inverted"
    changed = {
        "sample_rate": rate,
        "loopback_channel": None,
        "round_trip_samples": float(rng.uniform(64, 8000)),
        "gain_db": float(rng.uniform(-12, -2) if case.rig != "tweed" else rng.uniform(-6, 2)),
        # what is inverted twice is upright
        "polarity": 1 if upright else int(rng.choice([1, -1])),
        "noise_rms_dbfs": float(rng.uniform(-105, -85)),
        "seed": case.seed,
        "faults": faults or {},
    }
    interface = rig.interface.model_copy(update=changed)
    return rig.model_copy(update={"interface": interface}), rng


@functools.lru_cache(maxsize=4)
def _take(rig_name, seed, fault=None):
    """A clean take at 48 kHz, and its true round trip."""
    rig, _ = _varied(Case(rig_name, seed, fault))
    return _recorded(rig, RATE), rig.interface.round_trip_samples


def _faulty(case):
    plan, stimulus = _stimulus(RATE)
    upright = case.fault if case.fault == "polarity-inverted" else None
    response, latency = _take(case.rig, case.seed, upright)
    rng = np.random.default_rng([case.seed, list(KINDS).index(case.fault)])
    fault = Fault(
        strength=weakest(case.fault, response),
        at_seconds=float(rng.uniform(*PLACES_OF.get(_row(case), PLACES)))
        if case.fault in WITH_A_PLACE
        else None,
        variant=case.variant,
        seed=case.seed,
    )
    if case.fault in BEFORE_THE_DEVICE:
        rig, _ = _varied(case, faults={case.fault: fault})
        response = _recorded(rig, RATE)
        response *= min(1.0, 0.9 / np.max(np.abs(response)))  # the return is turned down for it
    else:
        response = inject(plan, stimulus, response, {case.fault: fault})
    files = StreamReport("file", "response.wav", RATE, len(response), blocks=0)
    return Evidence(
        plan=plan,
        stimulus=stimulus,
        response=response,
        is_loop=case.rig == ON_A_LOOP,
        stream=files if case.fault == "file-hygiene" else None,
        calibrated_delay_samples=latency if case.fault == "latency-changed" else None,
        # a send that was calibrated: 14 dB more are told from nothing else
        full_scale_dbu=GUITAR_DBU + fault.strength if case.fault == "line-level" else None,
        fingerprint=_fingerprint(case.seed) if case.fault == "volume-changed" else None,
    )


def _fingerprint(seed):
    """What a loop check of the same interface had found before."""
    rig, _ = _varied(Case(ON_A_LOOP, seed))
    plan = load_signal("loop").plan(RATE)
    stimulus = render(plan)
    blocks = []
    connect(rig).play_record(
        [stimulus], plan.frames, lambda block: blocks.append(block.samples.copy())
    )
    recorded = np.concatenate(blocks)[:, 0].astype(np.float64)
    return fingerprint_of(rig, measure_loop(plan, stimulus.astype(np.float64), recorded))


def _clean(case):
    rng = np.random.default_rng(case.seed)
    rate = int(rng.choice([44_100, 48_000, 48_000, 48_000, 96_000]))
    rig, rng = _varied(case, rate)
    noise = rng.uniform(-110, -70)
    turned = {name: float(rng.uniform(2, 8)) for name in load_rig(case.rig).chain.controls}
    held = {"master": float(rng.uniform(4, 9)), "level": 9.0}
    controls = turned | {name: held[name] for name in held if name in turned}
    rig = rig.model_copy(
        update={
            "chain": rig.chain.model_copy(update={"controls": controls}),
            "interface": rig.interface.model_copy(
                update={"noise_rms_dbfs": float(noise), "low_cut_hz": float(rng.choice([2, 8]))}
            ),
        }
    )
    plan, stimulus = _stimulus(rate)
    response = _recorded(rig, rate)
    if case.rig != ON_A_LOOP and rng.random() < 0.3:
        response = _through_a_cabinet(response, rate, rng)
    peak = np.max(np.abs(response))
    response *= 10 ** (rng.uniform(-20, -2) / 20) / peak
    return Evidence(plan=plan, stimulus=stimulus, response=response, is_loop=case.rig == ON_A_LOOP)


def _through_a_cabinet(response, rate, rng):
    """A loudspeaker's band and resonance."""
    low = scipy.signal.butter(2, rng.uniform(60, 100), "highpass", fs=rate, output="sos")
    high = scipy.signal.butter(4, rng.uniform(4000, 6000), "lowpass", fs=rate, output="sos")
    peak = scipy.signal.iirpeak(rng.uniform(90, 140), 2.0, fs=rate)
    heard = scipy.signal.sosfilt(np.concatenate([low, high]), response)
    return heard + 0.5 * scipy.signal.lfilter(*peak, heard)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--clean", type=int, default=200)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--only", help="one fault")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    cases = [
        case for case in fault_cases(options.seeds) if options.only in (None, case.fault)
    ] + clean_cases(options.clean)
    results = run(cases, options.workers)
    print(table(results))
    missed = [r for r in results if r.case.fault and wrong(r)]
    accused = [r for r in results if not r.case.fault and wrong(r)]
    seconds = np.median([r.seconds for r in results])
    print(
        f"\n{len(results)} takes, {len(missed)} missed, {len(accused)} accused; a check of 20 s "
        f"takes {seconds:.2f} s (median)"
    )
    if options.json:
        options.json.write_text(json.dumps([dataclasses.asdict(r) for r in results], indent=1))
    sys.exit(bool(missed or accused))


if __name__ == "__main__":
    main()
