"""`ampscope warmup` as a user runs it."""

import json

import pytest

from profiler.cli import warmup
from profiler.definitions import shipped_folder
from profiler.rig.interface import Block


def rig_file(tmp_path, faults=""):
    path = tmp_path / "mine.toml"
    path.write_text((shipped_folder("rigs") / "wire.toml").read_text() + faults)
    return path


def test_a_steady_rig_is_stable_and_says_so_in_a_sentence(ampscope):
    outcome = ampscope("warmup", "wire", "--every", "2s")
    assert outcome.code == 0
    assert "stable after" in outcome.out
    plain = [line for line in outcome.err.splitlines() if " dBFS, +0.00 dB since" in line]
    assert plain[0].startswith("0:00  -")
    assert plain[1].startswith("0:02  -")


def test_json_is_one_object_with_every_burst(ampscope):
    outcome = ampscope("warmup", "wire", "--every", "2s", "--level", "-30dBFS", "--json")
    known = json.loads(outcome.out)
    assert known["schema"] == "ampscope.warmup/1"
    assert known["stable_after_seconds"] == known["bursts"][-1]["seconds"]
    assert known["bursts"][0]["level_dbfs"] == pytest.approx(-30.0, abs=0.1)
    assert known["level_db"]["at_most"] < known["level_db"]["limit"] == 0.05


def test_an_amp_that_creeps_ends_with_3_and_says_by_how_much(ampscope, tmp_path):
    rig = rig_file(tmp_path, "\n[interface.faults]\nwarm-up = { strength = 1.5 }\n")
    outcome = ampscope("warmup", rig, "--every", "2s", "--minutes", "0.6")
    assert outcome.code == 3
    assert "not stable yet" in outcome.out
    assert "the level will rise by" in outcome.out


def test_ctrl_c_shows_what_is_known_so_far(ampscope, monkeypatch):
    class Wire:
        sample_rate, channels = 48_000, 1

        def play_record(self, stimulus, frames, on_block, watch=None):
            for number, block in enumerate(stimulus):
                if number == 3:
                    raise KeyboardInterrupt
                on_block(Block(block[:, None], number * len(block)))

    monkeypatch.setattr("profiler.rig.connect.connect", lambda rig: Wire())
    outcome = ampscope("warmup", "wire", "--json")
    assert outcome.code == 130
    assert "interrupted" in outcome.complaint
    assert len(json.loads(outcome.out)["bursts"]) == 3


@pytest.mark.parametrize(
    ("option", "value", "said", "code"),
    [
        ("--level", "-12dBFS", "-20 dBFS or quieter", 2),
        ("--level", "4dBu", "not calibrated", 5),
        ("--every", "1s", "expected 2s or more", 2),
        ("--every", "10", "a time such as", 2),
        ("--minutes", "0", "0.1<=x<=240", 2),
    ],
)
def test_what_cannot_be_meant_is_refused_in_a_line(option, value, said, code, ampscope):
    outcome = ampscope("warmup", "wire", option, value)
    assert outcome.code == code
    assert said in outcome.complaint
    assert outcome.out == ""


def test_without_a_terminal_a_real_rig_makes_no_sound(ampscope, tmp_path):
    path = tmp_path / "real.toml"
    path.write_text(
        'name = "real"\nmaximum_send_dbfs = -6\n[interface]\ndriver = "portaudio"\n'
        'device = "nowhere"\n'
    )
    outcome = ampscope("warmup", path)
    assert outcome.code == 5
    assert "-y confirms in advance" in outcome.complaint


def test_bars_stand_from_the_least_to_the_greatest_and_noise_looks_small():
    assert warmup._blocks([-20.0, -19.5, -19.0], 0.1) == "▁▅█"
    assert warmup._blocks([-20.0, -20.001, -20.002], 0.1) == "▅▄▄"
    assert warmup._blocks([-20.0], 0.1) == "▅"
