"""Every take here is whole but for one block; what is refused must say where and how much."""

import functools
import re

import numpy as np
import pytest

from profiler.capture.alignment import align
from profiler.errors import NotAligned
from profiler.rig.connect import connect
from profiler.rig.rig import load_rig
from profiler.stimulus.marker import half_frames
from profiler.stimulus.plan import load_signal
from profiler.stimulus.synthesis import render

RATE = 48_000
LATENCY = 1235  # of the shipped rigs, to the sample


@functools.cache
def take(rig_name, signal="quick"):
    """A whole take of a shipped rig."""
    plan = load_signal(signal).plan(RATE).bracketed()
    stimulus = render(plan).astype(np.float64)
    blocks = []
    connect(load_rig(rig_name)).play_record(
        [stimulus], plan.frames, lambda block: blocks.append(block.samples.copy())
    )
    return plan, stimulus, np.concatenate(blocks)[:, 0].astype(np.float64)


def lost(response, at, frames):
    return np.concatenate([response[:at], response[at + frames :], 1e-6 * np.ones(frames)])


def repeated(response, at, frames):
    return np.concatenate([response[:at], response[at - frames : at], response[at:]])[
        : len(response)
    ]


def assert_refused(plan, stimulus, response, at, frames, word):
    with pytest.raises(NotAligned) as refusal:
        align(plan, stimulus, response)
    told = r"(at least )?(\d+) samples were (\w+) at ([\d.]+) s"
    found = re.match(told, str(refusal.value))
    assert found is not None, str(refusal.value)
    assert int(found[2]) == frames or (found[1] and int(found[2]) < frames)
    assert found[3] == word
    assert refusal.value.fault == ("lost-block" if word == "lost" else "repeated-block")
    assert refusal.value.at_seconds == pytest.approx(float(found[4]), abs=0.006)
    # silence tells nothing, nor a tone where the block is a multiple of its period
    tells = {"marker", "guitar", "noise", "multisine"}
    (kind,) = (p.segment.kind for p in plan.placed() if p.start <= at < p.stop)
    around = stimulus[max(at - RATE // 10, 0) : at + RATE // 10]
    loud = np.min(np.abs(around).reshape(-1, RATE // 40).max(axis=1)) > 0.03  # over the noise
    within = 0.2 if kind in tells and loud else 0.6
    assert float(found[4]) == pytest.approx(at / RATE, abs=within + frames / RATE)


@pytest.mark.parametrize("rig_name", ["wire", "tweed", "drive"])
def test_a_block_anywhere_in_the_programme_is_refused_with_its_place_and_size(rig_name):
    plan, stimulus, response = take(rig_name)
    markers = list(plan.of_kind("marker"))
    rng = np.random.default_rng(4)
    for _ in range(16):
        frames = int(rng.choice([64, 109, 128, 256, 1024, 1091, 4096]))
        at = int(rng.integers(markers[0].start, markers[-1].stop - 4800 - frames))
        noise = 10 ** (rng.uniform(-100, -45) / 20) * rng.standard_normal(len(response))
        change, word = ((lost, "lost"), (repeated, "repeated"))[rng.integers(2)]
        broken = change(response, at + LATENCY, frames) + noise
        assert_refused(plan, stimulus, broken, at, frames, word)


@pytest.mark.parametrize("rig_name", ["wire", "tweed", "drive"])
def test_a_block_within_any_marker_is_refused(rig_name):
    plan, stimulus, response = take(rig_name)
    rng = np.random.default_rng(5)
    for placed in plan.of_kind("marker"):
        for frames in (64, 1024):
            at = placed.start + int(rng.integers(0.005 * RATE, 0.44 * RATE))
            change, word = ((lost, "lost"), (repeated, "repeated"))[rng.integers(2)]
            assert_refused(plan, stimulus, change(response, at + LATENCY, frames), at, frames, word)


@pytest.mark.parametrize("seconds", [0.008, 0.03, 0.1, 0.19])
def test_a_block_at_the_outer_edge_of_head_or_tail_is_refused(seconds):
    plan, stimulus, response = take("tweed", "latency")
    head, *_, tail = plan.of_kind("marker")
    code_end = tail.start + half_frames(RATE) + round(0.2 * RATE)
    for at in (head.start + round(seconds * RATE), code_end - round(seconds * RATE)):
        for frames in (64, 512):
            for change, word in ((lost, "lost"), (repeated, "repeated")):
                broken = change(response, at + LATENCY, frames)
                assert_refused(plan, stimulus, broken, at, frames, word)


def test_a_block_in_a_programme_without_markers_is_refused():
    plan = load_signal("quick").plan(RATE)
    only = plan.model_copy(
        update={"segments": tuple(s for s in plan.segments if s.kind in ("guitar", "noise"))}
    )
    stimulus = render(only).astype(np.float64)
    response = np.concatenate([np.zeros(300), stimulus])[: len(stimulus)]
    for at, frames in ((4 * RATE, 64), (15 * RATE, 256)):
        with pytest.raises(NotAligned, match=f"{frames} samples were lost"):
            align(only, stimulus, lost(response, at, frames))


@pytest.mark.parametrize("rig_name", ["wire", "tweed", "drive"])
@pytest.mark.parametrize("signal", ["quick", "latency", "a440", "levels", "sweep"])
def test_a_whole_take_is_never_refused(rig_name, signal):
    plan, stimulus, response = take(rig_name, signal)
    rng = np.random.default_rng(6)
    for noise_dbfs in (-100.0, -40.0):
        for polarity in (1, -1):
            noise = 10 ** (noise_dbfs / 20) * rng.standard_normal(len(response))
            assert align(plan, stimulus, polarity * response + noise).polarity == polarity
