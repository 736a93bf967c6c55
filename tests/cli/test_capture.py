"""From a rig to the first sound: rehearsed, or confirmed and approached."""

from pathlib import Path

import pytest

import profiler.rig.connect
from profiler import wav
from profiler.capture.safety import announce
from profiler.cli.capture import connected
from profiler.errors import SafetyStop
from profiler.rig.faults import Fault
from profiler.rig.rig import Rig, load_rig
from profiler.rig.simulated import Simulated
from profiler.stimulus.plan import load_signal

PLAN = load_signal("latency").plan(48_000, gain_db=-26.0)

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
        "peak -20.0 dBFS (ceiling -6 dBFS), 11 s, 0 s of them at full power, loud tones 0 %" in said
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
        connected(rig, PLAN, announce(rig, PLAN), yes=True, no_input=True)
        ramps.append("a quiet ramp up to -38.0 dBFS" in capsys.readouterr().err)
    assert ramps == [True, False]


def test_a_rig_that_did_not_answer_is_approached_again(real, capsys):
    rig = real(**{"no-signal": None})
    for _ in range(2):
        with pytest.raises(SafetyStop, match="nothing but crosstalk"):
            connected(rig, PLAN, announce(rig, PLAN), yes=True, no_input=True)
        assert "quiet ramp" in capsys.readouterr().err


def test_a_simulated_rig_is_not_approached(real, capsys):
    real()
    rig = load_rig("wire")
    connected(rig, PLAN, announce(rig, PLAN), yes=False, no_input=True)
    assert "ramp" not in capsys.readouterr().err
