"""Bad input: one line, the right exit code, nothing half-written."""

import json
from pathlib import Path

import click
import numpy as np
import pytest

from profiler import wav
from profiler.cli import command
from profiler.definitions import shipped_folder
from profiler.export import nam
from profiler.model.wavenet import ARCHITECTURES, WaveNet, initial_weights

RATE = 48_000


def every_command(group=command, names=()):
    """The words that call each command, and the command; what is added is tested too."""
    for name in group.list_commands(None):
        found = group.get_command(None, name)
        if isinstance(found, click.Group):
            yield from every_command(found, (*names, name))
        else:
            yield (*names, name), found


def arguments_of(found):
    return [param for param in found.params if isinstance(param, click.Argument)]


COMMANDS = dict(every_command())
CALLED = pytest.mark.parametrize("names", COMMANDS, ids=" ".join)
ON_A_RIG = [names for names, found in COMMANDS.items() if "RIG" in str(found.params[0].metavar)]
ON_A_RIG += [("rig", "show")]
ON_FILES = [
    names
    for names, found in COMMANDS.items()
    if any(isinstance(argument.type, click.Path) for argument in arguments_of(found))
]


@pytest.fixture
def pair(tmp_path):
    """A stimulus of the user's own and its response through a wire."""
    generator = np.random.default_rng(1)
    played = 0.2 * generator.standard_normal(4 * RATE).astype(np.float32)
    stimulus, response = tmp_path / "played.wav", tmp_path / "recorded.wav"
    wav.write(stimulus, played, RATE)
    wav.write(response, np.roll(played, 100), RATE)
    return stimulus, response


def rig_file(tmp_path, **changes):
    """The shipped wire with lines changed."""
    text = (shipped_folder("rigs") / "wire.toml").read_text()
    for before, after in changes.items():
        assert before in text
        text = text.replace(before, after)
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return path


@CALLED
def test_every_command_and_each_of_its_options_says_what_it_is_for(names, ampscope):
    outcome = ampscope(*names, "--help")
    assert outcome.code == 0
    assert "Usage: " in outcome.out
    assert COMMANDS[names].help
    unsaid = [
        option.name
        for option in COMMANDS[names].params
        if isinstance(option, click.Option) and not option.help
    ]
    assert unsaid == []


@CALLED
def test_an_option_that_no_command_has_is_a_usage_error(names, ampscope):
    outcome = ampscope(*names, "--nonsense")
    assert (outcome.code, outcome.out) == (2, "")
    assert "--nonsense" in outcome.complaint


@pytest.mark.parametrize(
    "names",
    [names for names, found in COMMANDS.items() if any(a.required for a in arguments_of(found))],
    ids=" ".join,
)
def test_a_command_without_its_argument_is_a_usage_error(names, ampscope):
    outcome = ampscope(*names)
    assert (outcome.code, outcome.out) == (2, "")
    assert "Missing argument" in outcome.complaint


@pytest.mark.parametrize("names", ON_A_RIG, ids=" ".join)
def test_every_command_refuses_a_rig_that_is_not_there(names, ampscope):
    outcome = ampscope(*names, "twed")
    assert (outcome.code, outcome.out) == (1, "")
    assert "no rig is named 'twed': there are tweed" in outcome.complaint
    outcome = ampscope(*names, "nowhere/twed.toml")
    assert (outcome.code, outcome.out) == (1, "")
    assert "nowhere/twed.toml: no such file" in outcome.complaint
    assert list(Path().iterdir()) == []


# Options that a command does not do without.
WANTED = {("import",): ("-o", "c"), ("play",): ("--device", "none")}


@pytest.mark.parametrize("names", ON_FILES, ids=" ".join)
def test_every_command_names_a_file_that_is_not_there(names, ampscope):
    paths = [f"nowhere/{argument.name}" for argument in arguments_of(COMMANDS[names])]
    outcome = ampscope(*names, *paths, *WANTED.get(names, ()))
    assert (outcome.code, outcome.out) == (1, "")
    assert "nowhere" in outcome.complaint
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    "words", [("signal", "show"), ("signal", "make"), ("capture", "wire", "--signal")], ids=" ".join
)
def test_a_signal_that_is_not_there_is_refused_and_the_nearest_is_named(words, ampscope):
    outcome = ampscope(*words, "standart")
    assert (outcome.code, outcome.out) == (1, "")
    assert "no signal is named 'standart': there are standard" in outcome.complaint


def test_a_wrong_key_in_a_rig_file_is_named_with_its_file_and_meaning(ampscope, tmp_path):
    path = rig_file(tmp_path, maximum_send_dbfs="maximum_send")
    outcome = ampscope("capture", path)
    assert outcome.code == 1
    said = outcome.complaint
    assert str(path) in said
    assert "maximum_send" in said
    assert "ceiling" in said


def test_a_stimulus_above_the_ceiling_makes_no_sound(ampscope):
    outcome = ampscope("capture", "wire", "--signal", "a440", "--level", "0dBFS", "-o", "c")
    assert outcome.code in (0, 5)
    path = rig_file(Path.cwd(), **{"maximum_send_dbfs = 0": "maximum_send_dbfs = -20"})
    outcome = ampscope("capture", path, "--signal", "a440", "-o", "loud")
    assert outcome.code == 5
    assert "above the rig's ceiling of -20 dBFS" in outcome.complaint
    assert not Path("loud").exists()


def test_an_output_folder_that_exists_is_left_alone(ampscope):
    Path("c").mkdir()
    Path("c/letter.txt").write_text("dear")
    outcome = ampscope("capture", "wire", "--signal", "a440", "-o", "c")
    assert outcome.code == 1
    assert "already holds letter.txt" in outcome.complaint
    assert [p.name for p in Path("c").iterdir()] == ["letter.txt"]


def test_a_level_without_a_unit_is_a_usage_error(ampscope):
    outcome = ampscope("capture", "wire", "--level", "-6")
    assert outcome.code == 2
    assert "-12dBFS" in outcome.complaint


def test_a_level_in_volts_needs_a_calibration(ampscope):
    outcome = ampscope("capture", "wire", "--level", "4dBu")
    assert outcome.code == 5
    assert "not calibrated" in outcome.complaint


@pytest.mark.parametrize(
    ("damage", "said", "code"),
    [
        (lambda x: x[:0], "is empty", 1),
        (lambda x: np.where(np.arange(len(x)) == 77, np.nan, x), "sample 77 is not a number", 1),
        (lambda x: np.stack([x, -x], axis=1), "2 different channels", 1),
        (lambda x: x[: 2 * RATE], "before", 1),
        (lambda x: 0 * x, "only silence", 1),
    ],
)
def test_a_response_that_cannot_be_used_is_refused(damage, said, code, ampscope, pair):
    stimulus, response = pair
    samples, _ = wav.read_mono(response)
    wav.write(response, damage(samples).astype(np.float32), RATE)
    outcome = ampscope("import", stimulus, response, "-o", "c")
    assert said in outcome.complaint
    assert outcome.code == code
    assert not Path("c").exists()


def test_a_response_at_another_rate_is_refused(ampscope, pair):
    stimulus, response = pair
    samples, _ = wav.read_mono(response)
    wav.write(response, samples, 44_100)
    outcome = ampscope("import", stimulus, response, "-o", "c")
    assert outcome.code == 1
    assert "is at 44100 Hz, expected 48000 Hz" in outcome.complaint


def test_a_response_that_is_no_audio_is_refused(ampscope, pair):
    stimulus, response = pair
    response.write_text("a letter")
    outcome = ampscope("import", stimulus, response, "-o", "c")
    assert outcome.code == 1
    assert "cannot be read as audio" in outcome.complaint


def test_a_pair_that_does_not_belong_together_is_refused(ampscope, pair):
    stimulus, response = pair
    other = np.random.default_rng(2).standard_normal(4 * RATE).astype(np.float32)
    wav.write(response, 0.1 * other, RATE)
    outcome = ampscope("import", stimulus, response, "-o", "c")
    assert outcome.code == 3
    assert "recorded.wav" in outcome.complaint
    assert not Path("c").exists()


def test_a_missing_capture_of_a_command_that_also_takes_a_rig_is_named(ampscope):
    outcome = ampscope("settle", "nowhere/")
    assert outcome.code == 1
    assert "nowhere" in outcome.complaint


def test_an_unknown_command_is_a_usage_error(ampscope):
    outcome = ampscope("proflie", "tweed")
    assert outcome.code == 2
    assert "no command is named 'proflie'" in outcome.complaint


@pytest.fixture
def model(tmp_path):
    """An untrained nano in a .nam file."""
    config = ARCHITECTURES["nano"]
    network = WaveNet(config, initial_weights(config, seed=0), RATE)
    path = tmp_path / "model.nam"
    nam.write(path, network, nam.Metadata(name="untrained"))
    return path


def test_a_truncated_model_file_is_refused_and_nothing_is_written(ampscope, model, pair):
    text = model.read_text()
    model.write_text(text[: len(text) // 2])
    outcome = ampscope("render", model, pair[0], "out.wav")
    assert outcome.code == 1
    assert str(model) in outcome.complaint
    assert not Path("out.wav").exists()


def test_weights_that_do_not_fit_their_config_are_counted(ampscope, model, pair):
    content = json.loads(model.read_text())
    content["weights"].pop()
    model.write_text(json.dumps(content))
    outcome = ampscope("render", model, pair[0], "out.wav")
    assert outcome.code == 1
    count = ARCHITECTURES["nano"].parameter_count
    assert f"holds {count - 1} weights, but its config needs {count}" in outcome.complaint


@pytest.mark.parametrize(
    ("channels", "rate", "said"), [(2, RATE, "expected mono"), (1, 44_100, "expected 48000 Hz")]
)
def test_a_file_that_the_model_cannot_play_is_refused(channels, rate, said, ampscope, model):
    wav.write(Path("in.wav"), np.zeros((1000, channels), np.float32), rate)
    outcome = ampscope("render", model, "in.wav", "out.wav")
    assert outcome.code == 1
    assert said in outcome.complaint
    assert not Path("out.wav").exists()


def test_a_rendering_that_is_there_is_left_alone(ampscope, model, pair):
    Path("out.wav").write_text("dear")
    outcome = ampscope("render", model, pair[0], "out.wav")
    assert outcome.code == 1
    assert "already there" in outcome.complaint
    assert Path("out.wav").read_text() == "dear"
    assert ampscope("render", model, pair[0], "out.wav", "-y").code == 0
    assert wav.header(Path("out.wav")).frames == wav.header(pair[0]).frames


def test_a_rendering_keeps_nothing_when_the_disk_is_full(ampscope, model, tiny_disk, tmp_path):
    wav.write(tmp_path / "long.wav", np.zeros(20 * RATE, np.float32), RATE)
    outcome = ampscope("render", model, tmp_path / "long.wav", tiny_disk / "out.wav")
    assert outcome.code == 1
    assert "out.wav" in outcome.complaint
    assert list(tiny_disk.iterdir()) == []


def test_a_take_that_does_not_fit_on_the_disk_is_not_begun(ampscope, tiny_disk):
    outcome = ampscope("capture", "wire", "--signal", "a440", "-o", tiny_disk / "c")
    assert outcome.code == 1
    assert "make room" in outcome.complaint
    assert list(tiny_disk.iterdir()) == []


def test_a_signal_made_twice_is_not_overwritten(ampscope):
    assert ampscope("signal", "make", "a440").code == 0
    outcome = ampscope("signal", "make", "a440")
    assert outcome.code == 1
    assert "already there" in outcome.complaint
