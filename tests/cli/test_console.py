"""Before the first sound: what is said, asked, refused and tried softly."""

import sys
from pathlib import Path

import click
import pytest

import profiler.rig.connect
from profiler import wav
from profiler.capture.safety import CHECKLIST, announce
from profiler.cli import console
from profiler.cli.capture import connected
from profiler.errors import SafetyStop
from profiler.rig.faults import Fault
from profiler.rig.rig import Rig, load_rig
from profiler.rig.simulated import Simulated
from profiler.stimulus.plan import load_signal

PLAN = load_signal("latency").plan(48_000)


def announcement(**changes):
    interface = {"driver": "portaudio", "device": "Scarlett"}
    rig = {"name": "deluxe", "maximum_send_dbfs": 0.0, "interface": interface} | changes
    return announce(Rig.model_validate(rig), PLAN)


class Person:
    """At a terminal, or not; counts how often she is asked."""

    def __init__(self, monkeypatch, answer):
        self.asked = 0
        self._answer = answer
        monkeypatch.setattr(sys, "stdin", self)
        monkeypatch.setattr(click, "confirm", self._confirm)

    def isatty(self):
        return self._answer is not None

    def _confirm(self, *question, **settings):
        self.asked += 1
        return self._answer


@pytest.fixture
def person(monkeypatch, tmp_path):
    monkeypatch.setenv("AMPSCOPE_HOME", str(tmp_path))
    return lambda answer: Person(monkeypatch, answer)


def test_the_checklist_is_asked_once_a_session(person, capsys):
    she = person(True)
    for _ in range(3):
        console.confirm_sound(announcement(), yes=False, no_input=False)
    assert she.asked == 1
    said = " ".join(capsys.readouterr().err.split())
    assert said.count(" ".join(CHECKLIST.split())) == 1
    assert said.count("was confirmed for this rig earlier in this session") == 2


def test_a_rig_of_which_anything_was_changed_is_asked_about_again(person):
    she = person(True)
    for gain in (5, 6, 5):
        changed = announcement(chain={"controls": {"gain": gain}})
        console.confirm_sound(changed, yes=False, no_input=False)
    assert she.asked == 2


def test_no_is_no_and_not_remembered(person):
    she = person(False)
    for _ in range(2):
        with pytest.raises(SafetyStop, match="as answered"):
            console.confirm_sound(announcement(), yes=False, no_input=False)
    assert she.asked == 2


@pytest.mark.parametrize(("answer", "no_input"), [(None, False), (True, True)])
def test_without_a_terminal_there_is_no_sound_even_in_a_session(person, answer, no_input):
    person(True)
    console.confirm_sound(announcement(), yes=False, no_input=False)
    person(answer)
    with pytest.raises(SafetyStop, match="no terminal to ask at; -y confirms") as stop:
        console.confirm_sound(announcement(), yes=False, no_input=no_input)
    assert stop.value.exit_code == 5


def test_yes_in_advance_asks_nothing_and_is_no_answer_for_later(person, capsys):
    nobody = person(None)
    console.confirm_sound(announcement(), yes=True, no_input=False)
    assert nobody.asked == 0
    assert "Speaker or load connected" in capsys.readouterr().err
    she = person(True)
    console.confirm_sound(announcement(), yes=False, no_input=False)
    assert she.asked == 1


def test_a_simulation_makes_no_sound_and_asks_nothing(person, capsys):
    nobody = person(None)
    console.confirm_sound(announcement(interface={"driver": "simulated"}), yes=False, no_input=True)
    assert nobody.asked == 0
    assert "Speaker" not in capsys.readouterr().err


# -- the first sound from the command line ------------------------------------------------

SOFT = load_signal("latency").plan(48_000, gain_db=-26.0)

REAL = """
name = "deluxe"
maximum_send_dbfs = -6
maximum_tone_duty = 0.5
[interface]
driver = "portaudio"
device = "an interface that nobody has"
return_channel = 3
"""


@pytest.mark.parametrize("command", ["capture", "profile"])
def test_a_dry_run_says_what_would_sound_and_makes_none(ampscope, command):
    Path("deluxe.toml").write_text(REAL)
    outcome = ampscope(
        command, "./deluxe.toml", "--signal", "sweep", "--level", "-20dBFS", "-o", "c", "--dry-run"
    )
    assert outcome.code == 0, outcome.err
    said = " ".join(outcome.err.split())
    assert "an interface that nobody has, output channel 1, input channel 3" in said
    assert (
        "peak -20.0 dBFS (ceiling -6 dBFS), 13 s, 0 s of them at full power, loud tones 0 %" in said
    )
    assert "no sound was made" in said
    assert wav.header(Path("c-stimulus.wav")).frames > 11 * 48_000
    assert not Path("c").exists()


@pytest.mark.parametrize("command", ["capture", "profile"])
def test_a_dry_run_refuses_what_would_be_refused(ampscope, command):
    Path("deluxe.toml").write_text(REAL)
    outcome = ampscope(
        command, "./deluxe.toml", "--signal", "sweep", "--level", "-6dBFS", "-o", "c", "--dry-run"
    )
    assert outcome.code == 5
    assert "maximum_tone_duty" in outcome.complaint
    assert not list(Path.cwd().glob("c*"))


@pytest.fixture
def real(monkeypatch, tmp_path):
    """A rig that is taken for real, with a simulated wire behind it, maybe one that is broken."""
    monkeypatch.setenv("AMPSCOPE_HOME", str(tmp_path))
    interface = {"driver": "portaudio", "device": "Scarlett"}
    rig = Rig.model_validate({"name": "mine", "maximum_send_dbfs": 0.0, "interface": interface})

    def behind(**faults):
        wire = load_rig("wire")
        update = {"faults": {name: Fault() for name in faults}}
        wire = wire.model_copy(update={"interface": wire.interface.model_copy(update=update)})
        monkeypatch.setattr(profiler.rig.connect, "connect", lambda rig: Simulated(wire))
        return rig

    return behind


def test_a_real_rig_is_approached_before_its_first_take_of_a_session_only(real, capsys):
    rig = real()
    ramps = []
    for _ in range(2):
        connected(rig, SOFT, announce(rig, SOFT), yes=True, no_input=True)
        ramps.append("a quiet ramp up to -38.0 dBFS" in capsys.readouterr().err)
    assert ramps == [True, False]


def test_a_rig_that_did_not_answer_is_approached_again(real, capsys):
    rig = real(**{"no-signal": None})
    for _ in range(2):
        with pytest.raises(SafetyStop, match="nothing but crosstalk"):
            connected(rig, SOFT, announce(rig, SOFT), yes=True, no_input=True)
        assert "quiet ramp" in capsys.readouterr().err


def test_a_simulated_rig_is_not_approached(real, capsys):
    real()
    rig = load_rig("wire")
    connected(rig, SOFT, announce(rig, SOFT), yes=False, no_input=True)
    assert "ramp" not in capsys.readouterr().err
