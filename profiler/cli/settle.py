"""`ampscope settle`: the A440 burst."""

import contextlib
import tempfile
from pathlib import Path

import click

from profiler.cli import console, options
from profiler.cli.capture import play, refuse_file_rig


@click.command()
@click.argument("source", metavar="RIG|CAPTURE")
@click.option(
    "--signal",
    "signal_name",
    default="a440",
    show_default=True,
    help="Bursts to play, when a rig is given.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Keep the take in this folder, when a rig is given.",
)
@options.level
@options.yes
@options.no_input
@options.json_output
def command(source, signal_name, output, level, yes, no_input, as_json):
    """How long after a tone starts or stops does the amp settle?"""
    from profiler.analysis.settling import settling
    from profiler.capture.alignment import load_aligned
    from profiler.capture.folder import CaptureFolder
    from profiler.rig.rig import load_rig

    with contextlib.ExitStack() as stack:
        if Path(source).is_dir():
            folder = CaptureFolder.existing(Path(source))
        else:
            if output is None:
                output = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "settle"
            rig = load_rig(source)
            refuse_file_rig(rig)
            plan = options.planned(
                signal_name, rig.interface.sample_rate, level, rig=rig
            ).bracketed()
            folder = play(rig, plan, output, yes=yes, no_input=no_input)
        analysis = settling(load_aligned(folder))
    for warning in analysis.warnings:
        console.warn(warning)
    if as_json:
        console.show_json(analysis)
        return
    console.show_table(
        ("burst", "", "-20 dB", "-30 dB", "-40 dB", "-60 dB", "floor", "steady"),
        [row for burst in analysis.bursts for row in _rows(burst)],
    )
    samples = analysis.receptive_field_samples
    if samples is None:
        console.show("recommended receptive field: unknown, see the warnings")
    else:
        milliseconds = 1e3 * samples / analysis.sample_rate
        console.show(f"recommended receptive field: {samples} samples ({milliseconds:.0f} ms)")


def _rows(burst):
    steady = "yes" if burst.steady else "no"
    level = f"{burst.level_dbfs:g} dBFS"
    floor = f"{burst.floor_db:.0f} dB"
    yield (level, "settling", *map(_milliseconds, burst.settling_ms.values()), floor, steady)
    yield ("", "rest", *map(_milliseconds, burst.rest_ms.values()), "", "")


def _milliseconds(value):
    return "not reached" if value is None else f"{value:.1f} ms"
