import functools
import itertools

import numpy as np
import pytest

from profiler import wav
from profiler.capture.alignment import load_aligned
from profiler.capture.checks.findings import Finding
from profiler.capture.folder import CaptureFolder
from profiler.capture.retake import places_of, retake, stretches
from profiler.capture.take import is_under_way, take
from profiler.errors import CaptureError, InterfaceError, NotAligned
from profiler.rig.interface import Block, StreamReport
from profiler.rig.rig import Chain, Rig, SimulatedInterface
from profiler.rig.simulated import Simulated
from profiler.stimulus.plan import Marker, Noise, SignalDefinition, Silence
from profiler.stimulus.synthesis import render

RATE = 48_000
LATENCY = 1234.567
NOISE_DBFS = -100.0


class Passes:
    """A simulated interface whose passes each have a fault, a latency and a gain of their own."""

    sample_rate = RATE
    channels = 1

    def __init__(self, rig, faults=(), latencies=(), gains_db=()):
        self._rig, self._faults = rig, iter(faults)
        self._latencies, self._gains_db = iter(latencies), iter(gains_db)
        self._seeds = itertools.count()
        self.played = []  # frames of each pass

    def play_record(self, stimulus, frames, on_block):
        settings = self._rig.interface.model_copy(
            update={
                "round_trip_samples": next(self._latencies, LATENCY),
                "gain_db": next(self._gains_db, 0.0),
                "seed": next(self._seeds),
            }
        )
        recorded = recording(self._rig.model_copy(update={"interface": settings}), stimulus, frames)
        recorded = next(self._faults, lambda whole: whole)(recorded)[:frames]
        for start in range(0, frames, 4096):
            on_block(Block(recorded[start : start + 4096], start, "flagged" if start == 0 else ""))
        self.played.append(frames)
        return StreamReport("simulated", "passes", RATE, frames, -(-frames // 4096))


def recording(rig, stimulus, frames):
    """What comes back of a stimulus, and of a second of silence after it: some may be lost."""
    blocks = []
    longer = itertools.chain(stimulus, [np.zeros(RATE, np.float32)])
    Simulated(rig).play_record(longer, frames + RATE, lambda b: blocks.append(b.samples))
    return np.concatenate(blocks)


def loses(samples, at_seconds):
    at = round(at_seconds * RATE + LATENCY)
    return lambda whole: np.delete(whole, slice(at, at + samples), axis=0)


def repeats(samples, at_seconds):
    at = round(at_seconds * RATE + LATENCY)
    return lambda whole: np.concatenate([whole[:at], whole[at - samples :]])


def zeroes(samples, at_seconds):
    at = round(at_seconds * RATE + LATENCY)

    def zeroed(whole):
        whole[at : at + samples] = 0.0
        return whole

    return zeroed


def both(*faults):
    return lambda whole: functools.reduce(lambda samples, fault: fault(samples), faults, whole)


@functools.cache
def a_rig(circuit="wire"):
    interface = SimulatedInterface(
        driver="simulated", round_trip_samples=LATENCY, noise_rms_dbfs=NOISE_DBFS, gain_db=0.0
    )
    return Rig(
        name=circuit, maximum_send_dbfs=0.0, interface=interface, chain=Chain(circuit=circuit)
    )


@functools.cache
def a_plan():
    """Four passages of two seconds, from 1, 3.5, 6 and 8.5 s on, and markers around them."""
    passages = [
        (
            Marker(name=f"marker {n}", kind="marker", use="align", level_dbfs=-12.0),
            Noise(
                name=f"noise {n}", kind="noise", use="train", level_dbfs=-3.0, seed=n, seconds=2.0
            ),
        )
        for n in range(4)
    ]
    segments = (
        Silence(name="pre-roll", kind="silence", use="align", seconds=0.5),
        *itertools.chain(*passages),
        Marker(name="tail", kind="marker", use="align", level_dbfs=-12.0),
        Silence(name="post-roll", kind="silence", use="align", seconds=1.0),
    )
    return SignalDefinition(name="passages", segments=segments).plan(RATE)


@functools.cache
def clean(circuit="wire"):
    """What a whole take records, without noise."""
    rig = a_rig(circuit)
    quiet = rig.interface.model_copy(update={"noise_rms_dbfs": -200.0})
    plan = a_plan()
    return recording(rig.model_copy(update={"interface": quiet}), [render(plan)], plan.frames)[
        : plan.frames, 0
    ]


def taken(tmp_path, interface, places, circuit="wire", name="c"):
    """A take, its broken places played again."""
    asked = iter([places])
    return take(
        a_rig(circuit), a_plan(), tmp_path / name, interface, broken=lambda _: next(asked, [])
    )


def error_of(folder, circuit="wire"):
    response, _ = wav.read_mono(folder.response_path)
    return response - clean(circuit)


def esr(error, circuit="wire"):
    return np.sum(error**2) / np.sum(clean(circuit) ** 2)


def loudest_noise(error):
    """Highest RMS of a hundredth of a second, re the noise of the interface, in dB."""
    pieces = error[: len(error) // 480 * 480].reshape(-1, 480)
    return 10 * np.log10(np.max(np.mean(pieces**2, axis=1))) - NOISE_DBFS


@pytest.mark.parametrize(
    ("fault", "place", "later"),
    [
        (loses(256, 4.3), 4.3, 0.0),
        (loses(1, 4.3), 4.45, 64.0),  # a place is known to 0.2 s
        (loses(256, 4.3), 4.3, -3.41),
        (repeats(1024, 7.2), 7.05, 0.0),
        (repeats(1, 7.2), 7.2, 0.37),
        (zeroes(512, 7.2), 7.2, -64.0),
    ],
)
def test_a_broken_place_is_played_again_and_joined_to_what_a_clean_take_is(
    fault, place, later, tmp_path
):
    interface = Passes(a_rig(), faults=[fault], latencies=(LATENCY, LATENCY + later))
    folder = taken(tmp_path, interface, [place])
    error = error_of(folder)[: -RATE // 2]  # lost samples are missing at the very end
    assert esr(error_of(folder)[: -RATE // 2]) < 1e-6
    # noise of a hundredth of a second varies by 0.5 dB; a seam would stand out
    assert loudest_noise(error) < 3.0
    first, again = interface.played
    assert first == a_plan().frames
    # pre-roll, lead-in, marker, passage, marker, post-roll
    assert again == round((0.25 + 2.0 + 0.5 + 2.0 + 0.5 + 1.0) * RATE)


def test_a_retake_of_an_amp_that_remembers_is_what_a_clean_take_is(tmp_path):
    interface = Passes(a_rig("tweed"), faults=[loses(256, 6.5)])
    folder = taken(tmp_path, interface, [6.5], "tweed")
    assert esr(error_of(folder, "tweed"), "tweed") < 1e-6


def test_several_places_are_played_again_and_those_between_the_same_markers_once(tmp_path):
    fault = both(loses(64, 9.5), loses(128, 9.2), repeats(256, 2.4))
    interface = Passes(a_rig(), faults=[fault], latencies=(LATENCY, LATENCY + 0.37, LATENCY - 9.8))
    folder = taken(tmp_path, interface, [2.4, 9.2, 9.5])
    assert len(interface.played) == 3
    assert esr(error_of(folder)) < 1e-6
    assert loudest_noise(error_of(folder)[: -RATE // 2]) < 3.0


@pytest.mark.parametrize("place", [0.7, 10.7])
def test_a_place_in_the_first_or_the_last_marker_is_played_again_from_there_to_the_end(
    place, tmp_path
):
    interface = Passes(a_rig(), faults=[zeroes(4800, place)])
    folder = taken(tmp_path, interface, [place])
    assert esr(error_of(folder)) < 1e-6
    assert interface.played[1] < 7 * RATE


def test_a_retake_of_a_retake_keeps_what_the_first_has_mended(tmp_path):
    interface = Passes(a_rig(), faults=[both(loses(64, 7.2), loses(64, 2.4))])
    asked = iter([[2.4], [7.2], []])
    folder = take(
        a_rig(), a_plan(), tmp_path / "c", interface, broken=lambda _: next(asked), retakes=3
    )
    assert esr(error_of(folder)) < 1e-6
    assert [part.recorded_in for part in folder.record().joins] == [1, 2, 1, 3, 1]


def test_what_was_recorded_is_kept_and_the_record_says_what_is_from_where(tmp_path):
    heard = {}

    def remembered(whole):
        heard["first"] = loses(256, 4.3)(whole)
        return heard["first"]

    folder = taken(tmp_path, Passes(a_rig(), faults=[remembered]), [4.3])
    folder.verify_unchanged()
    record = folder.record()
    raw, _ = wav.read(folder.pass_path(1))
    np.testing.assert_array_equal(raw, heard["first"][: len(raw)])
    before, again, after = record.joins
    assert (before.recorded_in, again.recorded_in, after.recorded_in) == (1, 2, 1)
    assert (before.start, after.stop) == (0, record.plan.frames)
    assert (before.stop, again.stop) == (again.start, after.start)
    assert (before.shift_samples, after.shift_samples) == (0.0, -256.0)
    # the response is those very samples, but for the crossfades
    response, _ = wav.read(folder.response_path)
    second, _ = wav.read(folder.pass_path(2))
    middle = slice(again.start + 2000, again.stop - 2000)
    shift = round(again.shift_samples)
    assert again.shift_samples == shift
    np.testing.assert_array_equal(
        response[middle], second[middle.start + shift : middle.stop + shift]
    )
    assert record.stream.flagged == ((0, "flagged"),)
    assert record.stream.frames == record.plan.frames
    assert not folder.blocks_path.exists()
    assert folder.pass_blocks_path(1).is_file()


def test_a_finished_capture_is_mended_by_itself(tmp_path):
    interface = Passes(a_rig(), faults=[loses(256, 4.3)])
    folder = take(a_rig(), a_plan(), tmp_path / "c", interface)
    with pytest.raises(NotAligned, match="256 samples were lost"):
        load_aligned(folder)
    told = []
    retake(folder, [4.3], interface, on_progress=told.append)
    load_aligned(folder)
    assert told[-1].seconds == pytest.approx(told[-1].total_seconds)
    assert told[-1].total_seconds == pytest.approx(interface.played[1] / RATE)
    assert not folder.journal_path.exists()


def test_a_take_that_is_still_broken_is_asked_as_often_as_was_said(tmp_path):
    interface = Passes(a_rig(), faults=[loses(256, 4.3)])
    folder = take(a_rig(), a_plan(), tmp_path / "c", interface, broken=lambda _: [4.3], retakes=2)
    assert len(interface.played) == 3
    folder.verify_unchanged()


def test_a_device_that_was_turned_up_in_between_is_not_joined(tmp_path):
    interface = Passes(a_rig(), faults=[loses(256, 4.3)], gains_db=(0.0, 1.0))
    with pytest.raises(NotAligned, match=r"came back \+1\.0 dB .* changed in between.* with -y"):
        taken(tmp_path, interface, [4.3])
    CaptureFolder.existing(tmp_path / "c").verify_unchanged()


def test_a_retake_that_fails_leaves_the_capture_as_it_was(tmp_path):
    interface = Passes(a_rig(), faults=[loses(256, 4.3)])
    folder = take(a_rig(), a_plan(), tmp_path / "c", interface)
    before = folder.record_path.read_bytes()

    class Vanished(Passes):
        def play_record(self, stimulus, frames, on_block):
            on_block(Block(np.zeros((4096, 1), np.float32), 0))
            raise InterfaceError("the device vanished")

    with pytest.raises(InterfaceError, match="vanished"):
        retake(folder, [4.3], Vanished(a_rig()))
    folder.verify_unchanged()
    assert folder.record_path.read_bytes() == before
    retake(folder, [4.3], interface)
    assert esr(error_of(folder)[: -RATE // 2]) < 1e-6


def test_an_average_is_not_mended(tmp_path):
    folder = take(a_rig(), a_plan(), tmp_path / "c", Passes(a_rig()), passes=2)
    with pytest.raises(CaptureError, match="is an average"):
        retake(folder, [4.3], Passes(a_rig()))


def test_only_findings_that_have_a_place_and_spoil_only_that_are_retaken():
    def finding(name, at_seconds):
        return Finding(
            name=name,
            severity="stop",
            measured=1.0,
            limit=0.0,
            unit="",
            at_seconds=at_seconds,
            cause="",
            action="",
        )

    found = [
        finding("lost-block", 3.0),
        finding("zero-fill", None),
        finding("hum", 4.0),
        finding("room-noise", 5.0),
    ]
    assert places_of(found) == [3.0, 5.0]


def test_a_stretch_lies_between_markers_that_the_place_cannot_have_spoilt():
    plan = a_plan()
    markers = list(plan.of_kind("marker"))
    (found,) = stretches(plan, [markers[3].stop / RATE + 0.1])
    assert found.before == markers[2]
    assert found.after == markers[4]


def test_a_retake_that_was_stopped_is_gone_on_with_by_the_same_take(tmp_path):
    def stopped(whole):
        raise KeyboardInterrupt

    interface = Passes(a_rig(), faults=[loses(256, 4.3), stopped])
    with pytest.raises(KeyboardInterrupt):
        taken(tmp_path, interface, [4.3])
    CaptureFolder.existing(tmp_path / "c").verify_unchanged()
    assert is_under_way(a_rig(), a_plan(), tmp_path / "c")
    folder = taken(tmp_path, interface, [4.3])
    assert [frames == a_plan().frames for frames in interface.played] == [True, False]
    assert esr(error_of(folder)[: -RATE // 2]) < 1e-6
    assert not is_under_way(a_rig(), a_plan(), tmp_path / "c")
