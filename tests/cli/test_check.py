"""Findings from the command line, on takes with faults that a rig file injects."""

import json
from pathlib import Path

import pytest

from profiler.capture.folder import CaptureFolder
from profiler.definitions import shipped_folder


@pytest.fixture
def captured(ampscope, tmp_path):
    """Capture the signal `check` through `drive` with faults, into the folder c."""

    def capture(*faults, arguments=()):
        text = (shipped_folder("rigs") / "drive.toml").read_text(encoding="utf-8")
        (tmp_path / "work" / "faulty.toml").write_text("\n".join((text, *faults)), encoding="utf-8")
        return ampscope("capture", "./faulty.toml", "--signal", "check", "-o", "c", *arguments)

    return capture


HUM = "[interface.faults.hum]\nstrength = -60"
DRIFT = "[interface.faults.clock-drift]\nstrength = 2"
LOST = "[interface.faults.lost-block]\nstrength = 64\nat_seconds = 12.3"


def test_a_clean_take_passes_and_its_floor_is_forecast(captured, ampscope):
    taken = captured()
    assert taken.code == 0
    assert "passed: nothing was found" in taken.out
    assert "ESR" in taken.out
    checked = ampscope("check", "c", "--json")
    assert json.loads(checked.out) == {"schema": "ampscope.check/1", "passed": True, "findings": []}


def test_a_warning_is_told_with_what_to_do_and_does_not_stop(captured, ampscope):
    taken = captured(HUM)
    assert taken.code == 0
    assert "warn  hum" in taken.out
    (finding,) = json.loads(ampscope("check", "c", "--json").out)["findings"]
    assert set(finding) == {
        "name",
        "severity",
        "measured",
        "limit",
        "unit",
        "at_seconds",
        "cause",
        "action",
    }
    assert finding["measured"] == pytest.approx(-60.0, abs=0.5)
    assert "50 Hz" in finding["cause"]
    assert "outlet" in finding["action"]


def test_a_finding_that_stops_exits_with_3_until_it_is_accepted_for_ever(captured, ampscope):
    assert captured(DRIFT).code == 3
    assert ampscope("check", "c").code == 3
    stopped = ampscope("train", "c", "--architecture", "nano", "--minutes", "0.01")
    assert stopped.code == 3
    assert stopped.complaint.startswith("ampscope: clock-drift: the delay drifts by +1.9")
    assert "--accept clock-drift" in stopped.complaint
    assert not CaptureFolder(Path("c")).models_path.exists()

    accepted = ampscope("check", "c", "--accept", "clock-drift")
    assert accepted.code == 0
    assert "stop  clock-drift (accepted)" in accepted.out
    assert CaptureFolder(Path("c")).record().accepted == ("clock-drift",)
    assert ampscope("check", "c").code == 0


def test_profile_stops_before_any_training(captured, ampscope):
    captured()  # for the rig file
    text = Path("faulty.toml").read_text(encoding="utf-8")
    Path("drifting.toml").write_text(f"{text}\n{DRIFT}\n", encoding="utf-8")
    stopped = ampscope("profile", "./drifting.toml", "--signal", "check", "-o", "p")
    assert stopped.code == 3
    assert "clock-drift" in stopped.complaint
    assert not CaptureFolder(Path("p")).models_path.exists()


def test_a_lost_block_is_played_again_and_the_take_told_to_be_joined(captured):
    taken = captured(LOST)
    assert taken.code == 0
    assert "joined" in taken.out
    record = CaptureFolder(Path("c")).record()
    assert len({part.recorded_in for part in record.joins}) == 2


def test_the_verdict_is_kept_until_the_take_is_another(captured, ampscope):
    captured(HUM)
    path = CaptureFolder(Path("c")).findings_path
    before = path.stat().st_mtime_ns
    ampscope("check", "c")
    assert path.stat().st_mtime_ns == before
    captured(arguments=("-y",))
    assert json.loads(ampscope("check", "c", "--json").out)["findings"] == []
