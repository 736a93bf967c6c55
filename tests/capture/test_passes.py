import datetime

import numpy as np
import pytest

from profiler import wav
from profiler.capture.folder import CaptureFolder, Part
from profiler.capture.passes import Journal, Player
from profiler.errors import ProfilerError
from profiler.rig.interface import Block, StreamReport
from profiler.rig.rig import Chain, Rig, SimulatedInterface
from profiler.stimulus.plan import Marker, SignalDefinition, Silence, Sine

RATE = 48_000
RIG = Rig(
    name="w",
    maximum_send_dbfs=0.0,
    interface=SimulatedInterface(driver="simulated"),
    chain=Chain(circuit="wire"),
)


def a_plan():
    def marker(name):
        return Marker(name=name, kind="marker", use="align", level_dbfs=-12.0)

    segments = (
        Silence(name="pre-roll", kind="silence", use="align", seconds=0.5),
        marker("head"),
        Sine(name="tone", kind="sine", use="analyse", seconds=4.0, level_dbfs=-6.0),
        marker("middle"),
        Sine(name="tone again", kind="sine", use="analyse", seconds=4.0, level_dbfs=-6.0),
        marker("tail"),
        Silence(name="post-roll", kind="silence", use="align", seconds=1.0),
    )
    return SignalDefinition(name="tones", segments=segments).plan(RATE)


def journal():
    return Journal(
        started_utc=datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC),
        plan=a_plan(),
        rig=RIG,
        stimulus_sha256="",
    )


class Mirror:
    """Hands back what it is given, in blocks of 480, and remembers it."""

    sample_rate = RATE
    channels = 1

    def play_record(self, stimulus, frames, on_block):
        self.played = np.concatenate(list(stimulus))
        for n, start in enumerate(range(0, frames, 480)):
            flags = "input overflow, output underflow" if n == 10 else ""
            on_block(Block(self.played[start : start + 480, None], start, flags))
        return StreamReport("simulated", "mirror", RATE, frames, 0, notes=("a note",))


@pytest.fixture
def player(tmp_path):
    """A player of a stimulus in which every sample is known."""
    folder = CaptureFolder(tmp_path / "c")
    counted = np.linspace(0.1, 0.9, a_plan().frames, dtype=np.float32)
    wav.write(folder.partial_stimulus_path, counted, RATE)
    return Player(folder, journal(), Mirror())


def test_a_stretch_is_played_from_two_seconds_before_its_marker_to_the_end_of_the_other(player):
    _, middle, tail = a_plan().of_kind("marker")
    stretch = player.journal.stretch(1, middle, tail)
    player.play(stretch)
    played = player._interface.played
    quarter, second, fade = RATE // 4, RATE, RATE // 100
    stimulus, _ = wav.read_mono(player.played.stimulus_path)
    expected = stimulus[middle.start - 2 * second : tail.stop]
    assert not played[:quarter].any()
    assert played[quarter] == 0.0  # it fades in
    np.testing.assert_array_equal(played[quarter + fade : quarter + len(expected)], expected[fade:])
    assert not played[quarter + len(expected) :].any()
    assert len(played) == stretch.frames == quarter + len(expected) + second
    assert stretch.begins == middle.start - 2 * second - quarter


def test_a_stretch_without_markers_is_the_stimulus_as_it_is(player):
    player.play(player.journal.stretch(1, None, None))
    stimulus, _ = wav.read_mono(player.played.stimulus_path)
    np.testing.assert_array_equal(player._interface.played, stimulus)
    assert player.journal.stretch(1, None, None) == player.journal.whole(1)


def test_the_journal_says_what_is_played_before_it_is(player):
    class Silent(Mirror):
        def play_record(self, stimulus, frames, on_block):
            noted = Journal.load_json(player.folder.journal_path)
            assert [p.number for p in noted.passes] == [1]
            assert noted.passes[0].stream is None
            return super().play_record(stimulus, frames, on_block)

    player._interface = Silent()
    player.play(player.journal.whole(1))
    noted = Journal.load_json(player.folder.journal_path)
    assert noted.passes[0].stream.device == "mirror"


def test_a_pass_takes_its_number_when_the_next_begins(player):
    player.play(player.journal.whole(player.next_number))
    assert player.folder.pass_numbers() == []
    player.play(player.journal.whole(player.next_number))
    assert player.folder.pass_numbers() == [1]
    assert player.folder.pass_blocks_path(1).is_file()
    player.keep()
    assert player.folder.pass_numbers() == [1, 2]
    assert player.next_number == 3


def test_the_report_of_a_join_is_of_the_blocks_that_are_in_it(player):
    for _ in range(2):
        player.play(player.journal.whole(player.next_number))
    player.keep()
    log = player.folder.pass_blocks_path(1)
    whole = log.read_text()
    log.write_text(whole + "9999,48")  # a crash in the midst of a line
    frames = a_plan().frames
    parts = (
        Part(recorded_in=1, start=0, stop=10_000, shift_samples=0.0),
        Part(recorded_in=2, start=10_000, stop=frames, shift_samples=-100.0),
    )
    report = player.report(parts)
    assert report.flagged == ((4800, "input overflow, output underflow"),)
    assert report.frames == frames
    assert report.block_sizes == (480,)
    assert report.blocks == 2 * (whole.count("\n") - 1)
    assert (report.device, report.notes) == ("mirror", ("a note",))


def test_a_log_that_cannot_be_written_is_told_in_a_line(player, monkeypatch):
    class Full:
        def write(self, _):
            raise OSError(28, "No space left on device")

        def close(self):
            pass

    monkeypatch.setattr("builtins.open", lambda *_, **__: Full())
    with pytest.raises(ProfilerError, match=r"blocks.partial.csv: cannot be written \(No space"):
        player.play(player.journal.whole(1))
