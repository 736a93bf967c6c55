import typing

import click
import pytest

from profiler.cli import options
from profiler.model.engine import EngineChoice
from profiler.model.losses import LOSSES, LossName
from profiler.model.training import PRESETS, PresetName


def chosen(*arguments):
    """The options of a training, as a command line gives them."""

    @click.command()
    @options.training
    def command(**training):
        return options.training_options(training)

    return command.main(list(arguments), standalone_mode=False)


def choices(name):
    @click.command()
    @options.training
    def command(**training):
        pass

    return next(p.type.choices for p in command.params if p.name == name)


@pytest.mark.parametrize(
    ("option", "names"), [("preset", PresetName), ("loss", LossName), ("engine", EngineChoice)]
)
def test_the_command_line_offers_what_the_library_has(option, names):
    assert tuple(choices(option)) == typing.get_args(names)
    assert set(PRESETS) == set(typing.get_args(PresetName))
    assert set(LOSSES) == set(typing.get_args(LossName))


def test_a_preset_is_a_time_and_minutes_go_before_it():
    assert chosen().minutes == 1.5
    assert chosen("--preset", "quick").minutes == pytest.approx(1 / 3)
    assert chosen("--preset", "best").batch == 8
    assert chosen("--preset", "best", "--minutes", "2").minutes == 2.0


def test_a_weight_of_the_loss_goes_before_the_preset_s():
    assert chosen("--loss", "esr").loss.stft == 0.0
    loss = chosen("--loss", "treble", "--dc", "0", "--stft", "0.001").loss
    assert (loss.dc, loss.stft) == (0.0, 0.001)
    assert loss.pre_emphasis == LOSSES["treble"].pre_emphasis
