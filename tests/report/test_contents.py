import dataclasses
import re
import shutil

import pytest

from profiler.analysis.analysis import analyse
from profiler.analysis.error import esr_words
from profiler.capture.alignment import load_aligned
from profiler.capture.folder import CaptureFolder
from profiler.capture.take import take
from profiler.errors import DefinitionError
from profiler.export import nam
from profiler.model.training import TrainingOptions, train
from profiler.report.contents import chain_words, gather
from profiler.report.page import write_report
from profiler.rig.connect import connect
from profiler.rig.rig import Chain, Rig
from profiler.stimulus.plan import SignalDefinition
from profiler.verify.verification import verify

RIG = Rig.model_validate(
    {
        "name": "loop <1>",
        "description": "a loop & nothing else",
        "maximum_send_dbfs": 0,
        "interface": {"driver": "simulated", "polarity": -1, "loopback_channel": 2},
        "chain": {
            "make": "Nobody",
            "model": "Wire",
            "load": "an input",
            "gear_type": "preamp",
            "circuit": "wire",
        },
    }
)
SIGNAL = SignalDefinition.model_validate(
    {
        "name": "tiny",
        "segments": [
            {"name": "pre-roll", "kind": "silence", "use": "align", "seconds": 0.5},
            {"name": "head", "kind": "marker", "use": "align", "level_dbfs": -12},
            {"name": "quiet", "kind": "silence", "use": "analyse", "seconds": 0.5},
            {
                "name": "sweep",
                "kind": "sweep",
                "use": "analyse",
                "seconds": 1.5,
                "level_dbfs": -12,
            },
            {"name": "A440", "kind": "burst", "use": "analyse", "level_dbfs": -12},
            {"name": "guitar", "kind": "guitar", "use": "train", "seconds": 1.0, "seed": 1},
            {"name": "validation", "kind": "guitar", "use": "validate", "seconds": 1.0, "seed": 2},
            {
                "name": "again",
                "kind": "guitar",
                "use": "validate",
                "seconds": 1.0,
                "seed": 2,
                "replicate_of": "validation",
            },
            {"name": "test", "kind": "guitar", "use": "test", "seconds": 1.0, "seed": 3},
            {"name": "tail", "kind": "marker", "use": "align", "level_dbfs": -12},
            {"name": "post-roll", "kind": "silence", "use": "align", "seconds": 1.0},
        ],
    }
)


# What the signal above is measured for.
MEASURED = [
    "Settling",
    "Receptive field",
    "Frequency response",
    "Excess phase",
    "Harmonics",
    "Distortion over frequency",
    "Noise",
]


@pytest.fixture(scope="module")
def captured(tmp_path_factory):
    """A capture of a wire, measured, and no model of it yet."""
    path = tmp_path_factory.mktemp("report") / "wire"
    folder = take(RIG, SIGNAL.plan(48_000), path, connect(RIG))
    capture = load_aligned(folder)
    analyse(capture, folder.record().response_sha256).save(folder.analysis_path)
    return folder


@pytest.fixture(scope="module")
def model_folder(captured, tmp_path_factory):
    """A model of it, hardly trained, exported and verified."""
    capture = load_aligned(captured)
    folder = tmp_path_factory.mktemp("models") / "nano"
    options = TrainingOptions(architecture="nano", minutes=None, steps=20)
    model = train([capture], folder, options)
    path = folder / "exports" / "wire.nam"
    nam.write(path, model.network, nam.Metadata())
    verify(path, capture, model).save(folder / "verification.json")
    return folder


@pytest.fixture
def folder(captured, tmp_path):
    """A copy that may be changed; the audio is linked."""
    folder = CaptureFolder(tmp_path / "wire")
    folder.path.mkdir()
    for path in captured.path.iterdir():
        (folder.path / path.name).hardlink_to(path)
    return folder


@pytest.fixture
def modelled(folder, model_folder):
    """The same with the model."""
    shutil.copytree(model_folder, folder.models_path / "nano")
    return folder


def facts(folder):
    return dict(gather(folder).facts)


def titles(contents):
    return [picture.title for picture in contents.pictures]


def test_the_circumstances_are_told_as_the_rig_file_has_them(folder):
    contents = gather(folder)
    said = dict(contents.facts)
    assert (contents.title, contents.subtitle) == ("loop <1>", "a loop & nothing else")
    assert said["chain"] == "Nobody Wire (preamp)\ninto an input"
    assert said["signal"].startswith("tiny, version 1: 11.9 s at 48000 Hz")
    assert said["interface"] == "wire (simulated)"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", said["date"])


def test_the_chain_is_told_with_every_knob():
    chain = Chain(model="Deluxe", controls={"volume": 6.5, "bright": "on"}, gear_type="amp_cab")
    said = chain_words(RIG.model_copy(update={"chain": chain}))
    assert said == "Deluxe (amp cab)\nvolume 6.5, bright on"
    assert chain_words(RIG.model_copy(update={"chain": Chain()})) == "not said (amp)"


def test_what_was_measured_is_what_was_simulated(folder):
    said = facts(folder)
    assert re.match(r"1234\.567 ±\S+ samples \(25\.72 ms\), by loopback", said["latency"])
    assert said["polarity"] == "inverted"
    # of -100 dBFS of white noise, 20 Hz to 20 kHz of the converters' 21.6 kHz
    assert float(said["noise floor"].split()[0]) == pytest.approx(-100.8, abs=0.3)
    assert "440 Hz at -12 dBFS:" in said["settling time"]
    assert "as its magnitude implies" in said["phase"]
    assert said["THD at 1 kHz"] == "-12 dBFS: below the noise"


def test_without_a_model_the_page_says_how_to_make_one(folder):
    contents = gather(folder)
    assert f"No model yet: ampscope train {folder.path}" in contents.notes
    assert titles(contents) == MEASURED


def test_with_a_model_its_error_is_told_as_verification_found_it(modelled):
    contents = gather(modelled)
    said = dict(contents.facts)
    verification = (modelled.models_path / "nano" / "verification.json").read_text()
    esr = float(re.search(r'"esr": ([\d.e-]+)', verification)[1])
    assert f"ESR {esr:.4f}" in said["model nano"]
    assert "times the floor" in said["model nano"]
    assert "did NOT pass verification" in said["model nano"]
    assert titles(contents) == [
        "Device and model nano",
        *MEASURED,
        "Training of nano",
    ]
    assert "models/nano/exports/wire.nam" in contents.files
    assert not [note for note in contents.notes if "model" in note]


def test_a_model_that_was_not_verified_or_exported_yet_is_shown_as_it_is(modelled):
    (modelled.models_path / "nano" / "verification.json").unlink()
    (modelled.models_path / "nano" / "exports" / "wire.nam").unlink()
    contents = gather(modelled)
    assert dict(contents.facts)["model nano"].endswith("not verified yet")
    assert "Device and model nano" in titles(contents)


def test_a_damaged_model_is_a_note_and_the_rest_is_shown(modelled):
    (modelled.models_path / "nano" / "weights.safetensors").write_bytes(b"oops")
    contents = gather(modelled)
    assert [note for note in contents.notes if note.startswith("Model nano: ")]
    assert "Frequency response" in titles(contents)


def test_a_capture_that_cannot_be_aligned_is_a_note_and_the_rest_is_shown(folder):
    folder.response_path.unlink()
    contents = gather(folder)
    assert [note for note in contents.notes if note.startswith("Not aligned: ")]
    assert "chain" in dict(contents.facts)


def test_a_capture_without_its_record_is_refused(tmp_path):
    with pytest.raises(DefinitionError, match=r"capture\.json: no such file"):
        gather(CaptureFolder(tmp_path))


def test_what_the_driver_complained_of_is_told(folder):
    record = folder.record()
    flagged = ((24_000, "input overflow"), (48_000, "x"))
    stream = dataclasses.replace(record.stream, flagged=flagged)
    folder.record_path.unlink()
    record.model_copy(update={"stream": stream}).save(folder.record_path)
    assert (
        "The driver flagged 2 blocks, the first at 0.50 s (input overflow)." in gather(folder).notes
    )


@pytest.mark.parametrize(
    ("esr", "words"),
    [(0.0099, "great"), (0.01, "not bad"), (0.09, "might be ok"), (0.2, "poor")],
)
def test_an_esr_has_the_word_that_users_know(esr, words):
    assert esr_words(esr) == words


def test_an_esr_of_a_model_of_something_else_has_no_kind_word():
    assert esr_words(2.0) == "not a model of this device"


def test_the_report_is_written_into_the_folder_and_replaced(modelled):
    assert write_report(modelled) == modelled.report_path
    first = modelled.report_path.read_text(encoding="utf-8")
    assert "<h1>loop &lt;1&gt;</h1>" in first
    write_report(modelled)
    assert modelled.report_path.read_text(encoding="utf-8") == first
