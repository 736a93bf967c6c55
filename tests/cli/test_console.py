"""What is asked before a sound."""

import sys

import click
import pytest

from profiler.capture.safety import CHECKLIST, announce
from profiler.cli import console
from profiler.errors import SafetyStop
from profiler.rig.rig import Rig
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
