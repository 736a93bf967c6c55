"""`ampscope settle`: how long the amp takes to adjust, and how much history a model needs."""

import contextlib
import tempfile
from pathlib import Path

import click

from profiler.cli import console, options
from profiler.cli.capture import play, refuse_file_rig
from profiler.definitions import replacing
from profiler.errors import CaptureError

UNKNOWN = "-"


@click.command()
@click.argument("source", metavar="RIG|CAPTURE")
@click.option(
    "--signal",
    "signal_name",
    default="settling",
    show_default=True,
    help="Bursts to play, when a rig is given; a440 is the plain question, in 3 s.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Keep the take in this folder, when a rig is given.",
)
@click.option(
    "--csv",
    "csv_path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write all that was measured as a table, a row a burst.",
)
@click.option(
    "--png",
    "png_path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Draw the curves, time constants and receptive fields.",
)
@options.level
@options.yes
@options.no_input
@options.json_output
def command(source, signal_name, output, csv_path, png_path, level, yes, no_input, as_json):
    """How long after a tone starts or stops does the amp settle?

    And how far back must a model see because of it: settling, rest and gain recovery over
    frequency and level, the time constants, what kind of memory it is, and what models of the
    known sizes would miss.
    """
    from profiler.analysis.settling import adjustment
    from profiler.capture.alignment import load_aligned
    from profiler.capture.folder import CaptureFolder
    from profiler.rig.rig import load_rig

    for path in (csv_path, png_path):
        if path is not None:
            _refuse_overwriting(path, yes)
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
        found = adjustment(load_aligned(folder))
    if csv_path is not None:
        from profiler.analysis.settling_table import settling_csv

        with replacing(csv_path) as beside:
            beside.write_text(settling_csv(found.analysis), encoding="utf-8")
    if png_path is not None:
        from profiler.report.figures import adjustment as figure

        drawn = figure.adjustment(found.curves, found.recoveries, found.analysis)
        with replacing(png_path) as beside:
            beside.write_bytes(drawn.png())
    for warning in found.analysis.warnings:
        console.warn(warning)
    if as_json:
        console.show_json(found.analysis)
    else:
        _show(found.analysis)


def _refuse_overwriting(path, yes):
    if path.exists() and not yes:
        raise CaptureError(f"{path}: is already there: choose another name, or replace it with -y")


def _show(analysis):
    """Tables of times and constants, and what follows from them in sentences."""
    bursts = analysis.bursts
    levels = tuple(f"{level} dB" for level in bursts[0].settling_ms)
    _table(
        ("settling, ms", *levels, "steady after"),
        (
            (
                *_times(burst.settling_ms, _over(burst)),
                _samples(burst.steady_after_samples) or _over(burst),
            )
            for burst in bursts
        ),
        bursts,
    )
    _table(
        ("slow mean, ms", *levels),
        (_times(burst.dc_settling_ms, _over(burst)) for burst in bursts),
        bursts,
    )
    _table(
        ("rest, ms", *levels, "only noise after"),
        ((*_times(burst.rest_ms, UNKNOWN), _silent(burst)) for burst in bursts),
        bursts,
    )
    _table(
        ("time constants, ms", "waveform", "slow mean", "tail"),
        (map(_constants, (burst.settling, burst.dc, burst.tail)) for burst in bursts),
        bursts,
    )
    if analysis.recoveries:
        console.show_table(
            ("gain of a probe", "under the burst", "after it", "back after", "time constants, ms"),
            [_recovery_row(recovery) for recovery in analysis.recoveries],
        )
        console.show("")
    console.show(f"memory: {analysis.memory.kind} ({analysis.memory.because})")
    field = analysis.receptive_field
    if field is None:
        console.show("recommended receptive field: unknown, see the warnings")
        return
    least = "at least " if field.at_least else ""
    console.show(f"recommended receptive field: {least}{field.samples} samples ({field.ms:.0f} ms)")
    console.show(f"  {field.because}")
    for preset in field.presets:
        console.show(f"  {_preset(preset)}")


def _table(heads, rows, bursts):
    """A row a burst, named by frequency and level."""
    names = (f"{burst.frequency:g} Hz, {burst.level_dbfs:g} dBFS" for burst in bursts)
    console.show_table(heads, [(name, *row) for name, row in zip(names, rows, strict=True)])
    console.show("")


def _recovery_row(recovery):
    back = UNKNOWN if recovery.recovery_ms is None else f"{recovery.recovery_ms:.0f} ms"
    if recovery.at_least_ms is not None:
        back = f"> {recovery.at_least_ms:.0f} ms"
    return (
        f"{recovery.level_dbfs:g} dBFS for {recovery.tone_ms:.0f} ms",
        UNKNOWN if recovery.under_db is None else f"{recovery.under_db:+.1f} dB",
        f"{recovery.departure_db:+.2f} dB",
        back,
        _constants(recovery.recovering),
    )


def _preset(preset):
    name = f"{', '.join(preset.names)} ({preset.samples} samples, {preset.ms:.0f} ms)"
    if preset.enough:
        return f"{name}: sees enough"
    left = [
        f"{words} {value:{form}} dB"
        for words, value, form in (
            ("settling", preset.settling_db, ".0f"),
            ("a tail of", preset.rest_db, ".0f"),
            ("gain off by", preset.gain_db, ".1f"),
        )
        if value is not None
    ]
    return f"{name}: misses {', '.join(left) or 'what was not seen'}"


def _times(times, unknown):
    return [unknown if value is None else f"{value:.1f}" for value in times.values()]


def _over(burst):
    return UNKNOWN if burst.at_least_ms is None else f"> {burst.at_least_ms:.0f}"


def _samples(count):
    return None if count is None else f"{count} samples"


def _silent(burst):
    zero = _samples(burst.zero_after_samples)
    return f"{zero}, then zero" if zero else _samples(burst.silent_after_samples) or UNKNOWN


def _constants(found):
    """Each with half of its interval; `~` where it is the effective one of the later part."""
    about = "~" if found.late else ""
    return ", ".join(
        f"{about}{each.tau_ms:.3g} ±{(each.high_ms - each.low_ms) / 2:.1g}"
        for each in found.constants
    )
