import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest

# Every measure in 20 s; the multisine has as many realisations as the robust method asks for.
SIGNAL = """
name = "all"
[[segments]]
kind = "silence"
name = "quiet"
use = "analyse"
seconds = 0.4
[[segments]]
kind = "sweep"
name = "up"
use = "analyse"
level_dbfs = -12.0
seconds = 1.5
[[segments]]
kind = "sweep"
name = "down"
use = "analyse"
level_dbfs = -12.0
seconds = 1.5
direction = "down"
[[segments]]
kind = "burst"
name = "A440"
use = "analyse"
level_dbfs = -12.0
before_seconds = 0.3
after_seconds = 0.5
[[segments]]
kind = "marker"
name = "between"
use = "align"
level_dbfs = -12.0
[[segments]]
kind = "staircase"
name = "ladder"
use = "analyse"
level_dbfs = -3.0
seconds = 1.95
[[segments]]
kind = "twin-tone"
name = "SMPTE"
use = "analyse"
level_dbfs = -6.0
steps = 3
seconds = 1.5
[[segments]]
kind = "level-step"
name = "step"
use = "analyse"
level_dbfs = -6.0
soft_dbfs = -26.0
before_seconds = 0.3
[[segments]]
kind = "multisine"
name = "odd"
use = "analyse"
odd_only = true
realisations = 6
seconds = 6.0
level_dbfs = -6.0
"""
MEASURES = {"settling", "response", "distortion", "intermodulation", "memory", "dynamics", "noise"}
FIGURES = {
    "settling",
    "receptive-field",
    "frequency-response",
    "excess-phase",
    "up-and-down",
    "harmonics",
    "distortion-over-frequency",
    "distortion-over-level",
    "intermodulation",
    "output-against-input",
    "odd-and-even",
    "memory",
    "soft-and-loud",
    "attack-and-release",
    "noise",
    "signal-to-noise",
}
OF_ONE_DEVICE = {"receptive-field", "harmonics", "output-against-input", "odd-and-even"}


@pytest.fixture(scope="module")
def captures(tmp_path_factory):
    """Takes of a wire and of a pedal; nothing in them is changed but analysis and figures."""
    from profiler.capture.take import take
    from profiler.rig.connect import connect
    from profiler.rig.rig import load_rig
    from profiler.stimulus.plan import load_signal

    place = tmp_path_factory.mktemp("analyse")
    signal = place / "all.toml"
    signal.write_text(SIGNAL)
    for name in ("wire", "drive"):
        rig = load_rig(name)
        plan = load_signal(str(signal)).plan(48_000).bracketed()
        take(rig, plan, place / name, connect(rig))
    return place


def test_all_that_the_signal_holds_is_measured_and_drawn(captures, ampscope):
    outcome = ampscope("analyse", captures / "drive", "-o", "figures")
    assert outcome.code == 0
    assert {path.stem for path in Path("figures").iterdir()} == FIGURES
    analysis = json.loads((captures / "drive" / "analysis.json").read_text())
    assert analysis["schema"] == "ampscope.analysis/2"
    assert {name for name in MEASURES if analysis[name] is None} == set()
    assert analysis["cabinet"] is None
    assert "cabinet not measured: the take holds no DI" in " ".join(outcome.err.split())
    said = " ".join(outcome.out.split())
    assert re.search(r"THD at 1 kHz -12 dBFS: [\d.]+ %", said)
    assert "multisine at -6 dBFS: neither" in said
    assert f"{len(FIGURES)} files in figures" in said


def test_a_wire_is_both_a_curve_and_a_filter_and_bends_nothing(captures, ampscope):
    outcome = ampscope("analyse", captures / "wire", "-o", "figures", "--json")
    analysis = json.loads(outcome.out)
    assert analysis["memory"]["word"] == "both"
    assert [curve["fallen_1db_dbfs"] for curve in analysis["dynamics"]["curves"]] == [None]
    assert analysis["settling"]["receptive_field_samples"] < 1000
    sweep = analysis["response"]["sweeps"][0]
    middle = [
        level
        for frequency, level in zip(sweep["frequency_hz"], sweep["magnitude_db"], strict=True)
        if 40.0 < frequency < 15_000.0
    ]
    assert max(map(abs, middle)) < 0.01


def test_the_same_command_again_measures_nothing_anew(captures, ampscope):
    ampscope("analyse", captures / "wire", "-o", "figures")
    before = (captures / "wire" / "analysis.json").stat().st_mtime_ns
    outcome = ampscope("analyse", captures / "wire", "-o", "figures")
    assert outcome.code == 0
    assert "measure: already there" in outcome.err
    assert (captures / "wire" / "analysis.json").stat().st_mtime_ns == before


@pytest.mark.parametrize("damage", ["{}", "oops", '{"schema": "ampscope.analysis/1"}'])
def test_an_analysis_of_an_earlier_version_or_a_damaged_one_is_made_anew(
    damage, captures, ampscope
):
    path = captures / "wire" / "analysis.json"
    path.write_text(damage)
    assert ampscope("analyse", captures / "wire", "-o", "figures").code == 0
    assert json.loads(path.read_text())["schema"] == "ampscope.analysis/2"


def test_two_devices_are_laid_over_each_other(captures, ampscope):
    outcome = ampscope("analyse", captures / "wire", "--compare", captures / "drive", "--png")
    assert outcome.code == 0
    place = captures / "wire" / "figures" / "against-drive"
    names = {path.stem for path in place.glob("*.svg")}
    assert names == FIGURES - OF_ONE_DEVICE
    assert {path.stem for path in place.glob("*.png")} == names
    for name in ("frequency-response", "distortion-over-level", "memory", "soft-and-loud"):
        svg = (place / f"{name}.svg").read_text()
        assert re.search(r">wire\b", svg), name
        assert re.search(r">drive\b", svg), name
    assert [line for line in outcome.out.splitlines() if line.strip() in ("wire", "drive")]


def test_a_device_compared_with_itself_has_two_names(captures, ampscope):
    wire = captures / "wire"
    assert ampscope("analyse", wire, "--compare", wire, "-o", "figures").code == 0
    assert "wire (2)" in Path("figures/frequency-response.svg").read_text()


def test_the_numbers_are_written_as_tables(captures, ampscope):
    assert ampscope("analyse", captures / "drive", "--csv", "-o", "figures").code == 0
    analysis = json.loads((captures / "drive" / "analysis.json").read_text())
    with Path("figures/distortion.sweeps.1.csv").open() as file:
        rows = list(csv.DictReader(file))
    swept = analysis["distortion"]["sweeps"][0]
    assert [float(row["frequency_hz"]) for row in rows] == swept["frequency_hz"]
    second = [row["harmonics.2.level_db"] for row in rows]
    assert [None if cell == "" else float(cell) for cell in second] == swept["harmonics"][1][
        "level_db"
    ]
    with Path("figures/values.csv").open() as file:
        values = dict(csv.reader(file))
    assert float(values["noise.rms_dbfs"]) == analysis["noise"]["rms_dbfs"]


def test_a_folder_that_cannot_be_written_to_is_one_line(captures, ampscope):
    Path("figures").write_text("a file")
    outcome = ampscope("analyse", captures / "wire", "-o", "figures")
    assert outcome.code == 1
    assert "figures" in outcome.complaint


def test_what_is_no_capture_is_refused(captures, ampscope):
    Path("empty").mkdir()
    outcome = ampscope("analyse", captures / "wire", "--compare", "empty")
    assert (outcome.code, outcome.out) == (1, "")
    assert "empty" in outcome.complaint


def test_the_cabinet_is_written_for_a_convolver_and_for_a_player(captures, ampscope):
    from profiler import wav
    from profiler.export import nam

    wire = captures / "wire"
    assert ampscope("analyse", wire, "-o", "figures", "--cabinet", "wire.wav").code == 0
    impulse, rate = wav.read_mono(Path("wire.wav"))
    assert rate == 48_000
    spectrum = abs(np.fft.rfft(impulse, 4096))
    middle = spectrum[10:1200]  # 117 Hz to 14 kHz: a cable is flat there
    np.testing.assert_allclose(middle, 1.0, atol=0.01)
    outcome = ampscope("analyse", wire, "-o", "figures", "--cabinet", "wire.nam", "--minimum-phase")
    assert outcome.code == 0
    model = nam.read_linear(Path("wire.nam"))
    assert abs(model.impulse[0]) == abs(model.impulse).max()  # it begins at once


@pytest.mark.parametrize(
    ("options", "code", "complaint"),
    [
        (("--cabinet", "ir.mp3"), 2, "ends in .wav or .nam"),
        (("--minimum-phase",), 2, "--cabinet FILE, which is not given"),
        (("--cabinet", "there.wav"), 1, "is already there"),
    ],
)
def test_a_cabinet_that_cannot_be_written_is_refused_at_once(
    options, code, complaint, captures, ampscope
):
    Path("there.wav").write_text("something else")
    outcome = ampscope("analyse", captures / "wire", *options)
    assert (outcome.code, outcome.out) == (code, "")
    assert complaint in outcome.complaint
    assert Path("there.wav").read_text() == "something else"
