"""Options that several commands share, each written once."""

from pathlib import Path

import click

from profiler.errors import SafetyStop
from profiler.stimulus.plan import SignalPlan, load_signal
from profiler.units import Level, parse_level

json_output = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
yes = click.option(
    "-y", "--yes", is_flag=True, help="Confirm the sound in advance; replace what is there."
)
no_input = click.option("--no-input", is_flag=True, help="Never ask; without -y make no sound.")
dry_run = click.option(
    "--dry-run",
    is_flag=True,
    help="Say what would sound, write the stimulus WAV, and make no sound.",
)
signal = click.option(
    "--signal",
    "signal_name",
    default="standard",
    show_default=True,
    help="Stimulus: a name from `ampscope signal list`, or a TOML file.",
)
average = click.option(
    "--average",
    "passes",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    metavar="N",
    help="Play the stimulus N times and average: the noise falls by 10 log10 N dB.",
)
_TRAINING = (
    click.option(
        "--architecture",
        type=click.Choice(["nano", "feather", "lite", "standard"]),
        default="standard",
        show_default=True,
        help="Size of the WaveNet.",
    ),
    click.option(
        "--minutes",
        type=click.FloatRange(min=0.0, min_open=True),
        default=1.5,
        show_default=True,
        help="Time for training.",
    ),
    click.option(
        "--until-esr",
        type=click.FloatRange(min=0.0, min_open=True),
        help="Stop when the validation ESR is this small.",
    ),
    click.option("--seed", type=click.IntRange(0), default=0, help="Of the network and its order."),
)
folder = click.option(
    "-o",
    "--output",
    "output",
    type=click.Path(path_type=Path),
    help="Folder of the capture.  [default: captures/<rig>]",
)


def training(function):
    """How long, and what kind of network."""
    for option in reversed(_TRAINING):
        function = option(function)
    return function


class LevelType(click.ParamType):
    """A level with its unit, such as -12dBFS."""

    name = "level"

    def convert(self, value, param, ctx):
        if isinstance(value, Level):
            return value
        try:
            return parse_level(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


level = click.option(
    "--level",
    type=LevelType(),
    help="Peak of the whole stimulus, such as -6dBFS.  [default: as the signal has it]",
)


def planned(signal_name: str, sample_rate: int, wanted: Level | None) -> SignalPlan:
    """The plan of a signal at a rate, brought to the level that was asked for."""
    plan = load_signal(signal_name).plan(sample_rate)
    if wanted is None:
        return plan
    if wanted.unit != "dBFS":
        raise SafetyStop(
            f"--level {wanted}: the send of this rig is not calibrated in volts; give the level "
            "in dBFS, such as --level -12dBFS"
        )
    return plan.model_copy(update={"gain_db": wanted.value - plan.peak_dbfs})


def training_options(chosen: dict):
    """The library's options from what the command line says."""
    from profiler.model.training import TrainingOptions

    return TrainingOptions(**chosen)
