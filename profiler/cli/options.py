"""Options that several commands share, each written once."""

import typing
from pathlib import Path

import click

from profiler.errors import SafetyStop
from profiler.rig.faults import FaultName
from profiler.rig.rig import Rig
from profiler.stimulus.plan import SignalPlan, load_signal
from profiler.units import Level, dbu_to_volts, parse_level, parse_time

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
accept = click.option(
    "--accept",
    "accepted",
    multiple=True,
    metavar="NAME",
    type=click.Choice(typing.get_args(FaultName)),
    help="Go on in spite of this finding; the capture says so for ever. May be repeated.",
)
engine = click.option(
    "--engine",
    type=click.Choice(["auto", "native", "torch"]),
    default="auto",
    show_default=True,
    help="What computes: the native kernels, or torch (on a graphics card, if there is one).",
)


class ArchitectureType(click.ParamType):
    """The name of an architecture."""

    name = "name"

    def convert(self, value, param, ctx):
        from profiler.model.architectures import architecture

        try:
            architecture(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return value


_TRAINING = (
    click.option(
        "--architecture",
        type=ArchitectureType(),
        help="Of the network: nano, feather, lite, standard, standard-L of L layers; a2-lite, "
        "a2-full; lstm-H of H units; net-1, net-2, dense-HISTORY-WIDTH-WIDTH...  "
        "[default: by the recommended receptive field]",
    ),
    click.option(
        "--preset",
        type=click.Choice(["quick", "standard", "best"]),
        default="standard",
        show_default=True,
        help="Time for training: 20 s, 90 s or 10 min; the rate of the machine says how many "
        "steps that is.",
    ),
    click.option(
        "--minutes",
        type=click.FloatRange(min=0.0, min_open=True),
        help="Time for training, instead of the preset's.",
    ),
    click.option(
        "--until-esr",
        type=click.FloatRange(min=0.0, min_open=True),
        help="Stop when the validation ESR is this small.",
    ),
    click.option(
        "--until-floor",
        type=click.FloatRange(min=1.0, min_open=True),
        metavar="X",
        help="Stop at X times the floor that the repeats in the capture allow, such as 1.2.",
    ),
    click.option(
        "--loss",
        type=click.Choice(["spectral", "esr", "treble"]),
        default="spectral",
        show_default=True,
        help="What is made small: the ESR and a little of the spectra's difference, the ESR alone, "
        "or the pre-emphasised ESR, DC and spectra.",
    ),
    click.option(
        "--stft",
        type=click.FloatRange(min=0.0),
        help="Weight of the multi-resolution STFT distance, instead of the loss's.",
    ),
    click.option(
        "--dc",
        type=click.FloatRange(min=0.0),
        help="Weight of the DC error, instead of the loss's.",
    ),
    click.option(
        "--pre-emphasis",
        type=click.FloatRange(min=0.0, max=1.0, max_open=True),
        help="c of 1 - c z^-1 before the squared error, instead of the loss's.",
    ),
    click.option(
        "--learning-rate",
        type=click.FloatRange(min=0.0, min_open=True),
        help="Peak of the schedule.  [default: found by a short test]",
    ),
    engine,
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


class SecondsType(click.ParamType):
    """A time with its unit, such as 10s; at least so long."""

    name = "time"

    def __init__(self, least: float):
        self._least = least

    def convert(self, value, param, ctx):
        if isinstance(value, float):
            return value
        try:
            duration = parse_time(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if duration.unit != "s" or duration.value < self._least:
            self.fail(f"expected {self._least:g}s or more, got {value!r}", param, ctx)
        return duration.value


level = click.option(
    "--level",
    type=LevelType(),
    help="Peak of the whole stimulus: -6dBFS, or 4dBu, -10dBV, 1.2Vrms where the send is "
    "calibrated.  [default: as the signal has it]",
)


def planned(
    signal_name: str, sample_rate: int, wanted: Level | None, *, rig: Rig | None = None
) -> SignalPlan:
    """The plan of a signal at a rate, brought to the level that was asked for.

    A level in volts, dBu or dBV is that of the sine with the stimulus's peak, at the calibrated
    send of `rig`.
    """
    plan = load_signal(signal_name).plan(sample_rate)
    if wanted is None:
        return plan
    return plan.model_copy(update={"gain_db": peak_dbfs(wanted, rig) - plan.peak_dbfs})


def peak_dbfs(wanted: Level, rig: Rig | None) -> float:
    """The peak that a level means on a rig.

    Raises
    ------
    SafetyStop
        A voltage where the send is not calibrated, or more than it can give.
    """
    from profiler.capture.calibration import send_dbu_at_full_scale

    if wanted.unit == "dBFS":
        return wanted.value
    full_scale_dbu = None if rig is None else send_dbu_at_full_scale(rig)
    if full_scale_dbu is None:
        raise SafetyStop(
            f"--level {wanted}: the send of this rig is not calibrated in volts (ampscope "
            "calibrate send RIG); or give the level in dBFS, such as --level -12dBFS"
        )
    level_dbfs = wanted.dbu - full_scale_dbu
    if level_dbfs > 0.0:
        raise SafetyStop(
            f"--level {wanted}: the send gives at most {full_scale_dbu:.1f} dBu "
            f"({dbu_to_volts(full_scale_dbu):.3g} V), {level_dbfs:.1f} dB less: turn it up and "
            "calibrate it again, or give a lower level"
        )
    return level_dbfs


def training_options(chosen: dict):
    """The library's options from what the command line says."""
    from profiler.model.losses import LOSSES
    from profiler.model.training import PRESETS, TrainingOptions

    given = {name: value for name, value in chosen.items() if value is not None}
    weights = {name: given.pop(name) for name in ("stft", "dc", "pre_emphasis") if name in given}
    given["loss"] = LOSSES[given["loss"]].model_copy(update=weights)
    return TrainingOptions(**PRESETS[given.pop("preset")] | given)
