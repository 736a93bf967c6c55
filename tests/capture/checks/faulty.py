"""Takes of the shipped rigs, clean and with a fault, for the tests of the detectors."""

import functools

import numpy as np

from profiler.capture.checks.evidence import Evidence
from profiler.rig.connect import connect
from profiler.rig.faults import Fault, inject
from profiler.rig.rig import load_rig
from profiler.stimulus.plan import load_signal
from profiler.stimulus.synthesis import render

RATE = 48_000
LATENCY = 1235  # of the shipped rigs, to the sample
RIGS = ("wire", "tweed", "drive")


@functools.cache
def rendered(rig_name, signal="check", rate=RATE):
    """Plan, stimulus and response of a whole take."""
    plan = load_signal(signal).plan(rate).bracketed()
    stimulus = render(plan).astype(np.float64)
    rig = load_rig(rig_name)
    interface = rig.interface.model_copy(update={"sample_rate": rate, "loopback_channel": None})
    blocks = []
    connect(rig.model_copy(update={"interface": interface})).play_record(
        [stimulus], plan.frames, lambda block: blocks.append(block.samples[:, 0].copy())
    )
    return plan, stimulus, np.concatenate(blocks).astype(np.float64)


def recorded(rig_name, seed, *, peak_dbfs=(-18.0, -1.0), noise_dbfs=(-105.0, -70.0), **kwargs):
    """A clean take at a level, a noise and a polarity of its own, as its file has it."""
    plan, stimulus, response = rendered(rig_name, **kwargs)
    rng = np.random.default_rng(seed)
    gain = 10 ** (rng.uniform(*peak_dbfs) / 20) / np.max(np.abs(response))
    polarity = 1 if rig_name == "wire" else rng.choice([-1, 1])
    noise = 10 ** (rng.uniform(*noise_dbfs) / 20) * rng.standard_normal(len(response))
    return plan, stimulus, (polarity * gain * response + noise).astype(np.float32)


def evidence(rig_name, plan, stimulus, response, **circumstances):
    heard = np.asarray(response, dtype=np.float32).astype(np.float64)
    return Evidence(plan, stimulus, heard, is_loop=rig_name == "wire", **circumstances)


def clean(rig_name, seed, **kwargs):
    """The evidence of a clean take."""
    return evidence(rig_name, *recorded(rig_name, seed, **kwargs))


def with_fault(rig_name, seed, name, *, at_seconds=None, **fault):
    """The evidence of a take with one fault, whose place is a time of the stimulus."""
    plan, stimulus, response = recorded(rig_name, seed)
    at = None if at_seconds is None else at_seconds + LATENCY / plan.sample_rate
    faulty = inject(plan, stimulus, response, {name: Fault(at_seconds=at, seed=seed, **fault)})
    return evidence(rig_name, plan, stimulus, faulty)


def names(findings):
    return [finding.name for finding in findings]
