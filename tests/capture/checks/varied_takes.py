"""Takes of the signal `check` through the three virtual devices, clean or with one fault.

Each seed is another device, level, noise and polarity. A device is played once; level and noise
come afterwards, as from another interface.
"""

import functools

import numpy as np

from profiler.capture.checks.evidence import Evidence
from profiler.rig.faults import Fault, inject, weakest
from profiler.rig.interface import StreamReport
from profiler.rig.rig import load_rig
from profiler.rig.simulated import Simulated
from profiler.stimulus.plan import load_signal
from profiler.stimulus.synthesis import render
from profiler.units import db_to_amplitude, peak_dbfs

RATE = 48_000
CIRCUITS = ("wire", "tweed", "drive")
SEEDS = range(6)  # two of each device
CLEAN_SEEDS = range(9)
PLAN = load_signal("check").plan(RATE)
MOVES_IN_TIME = {"file-hygiene"}
IMPORTED = StreamReport("file", "response.wav", RATE, PLAN.frames, blocks=0)


@functools.cache
def stimulus():
    return render(PLAN)


@functools.cache
def played(circuit):
    """What a device answers, without noise."""
    rig = load_rig(circuit)
    interface = rig.interface.model_copy(
        update={"noise_rms_dbfs": -300.0, "loopback_channel": None, "low_cut_hz": 2.0}
    )
    blocks = []
    Simulated(rig.model_copy(update={"interface": interface})).play_record(
        [stimulus()], PLAN.frames, lambda block: blocks.append(block.samples)
    )
    return np.concatenate(blocks)[:, 0].astype(np.float64)


def circuit_of(seed):
    return CIRCUITS[seed % len(CIRCUITS)]


def response(seed):
    """A clean take's: a peak of -25 to -1 dBFS, noise of -110 to -60 dBFS RMS."""
    rng = np.random.default_rng((7, seed))
    answer = played(circuit_of(seed))
    level = db_to_amplitude(rng.uniform(-25.0, -1.0) - peak_dbfs(answer)) * rng.choice([1, -1])
    noise = db_to_amplitude(rng.uniform(-110.0, -60.0))
    return (level * answer + noise * rng.standard_normal(len(answer))).astype(np.float32)


def evidence(samples, seed, *, imported=False):
    """What a check is given of a response."""
    return Evidence(
        plan=PLAN,
        stimulus=stimulus().astype(np.float64),
        response=np.asarray(samples, np.float64),
        is_loop=circuit_of(seed) == "wire",
        stream=IMPORTED if imported else None,
    )


@functools.cache
def clean(seed):
    """A take without a fault."""
    return evidence(response(seed), seed)


def faulty(seed, name, *, imported=False, **fault):
    """A take with one fault, the weakest that must be found unless a strength is given."""
    samples = response(seed).astype(np.float64)
    fault.setdefault("strength", weakest(name, samples))
    spoilt = inject(PLAN, stimulus(), samples, {name: Fault(seed=seed, **fault)})
    found = evidence(spoilt.astype(np.float32), seed, imported=imported)
    if name not in MOVES_IN_TIME:  # aligning each of them anew would take most of a test's time
        vars(found)["alignment"] = clean(seed).alignment
    return found


def accused(found):
    """Names of the findings that are no notes, the first cause first."""
    return [finding.name for finding in found if finding.severity != "note"]
