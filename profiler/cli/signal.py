"""`ampscope signal`: the stimuli that there are, and their WAV files."""

from pathlib import Path

import click

from profiler.cli import console, options
from profiler.definitions import available
from profiler.errors import CaptureError
from profiler.stimulus.plan import SAMPLE_RATES, load_signal, plan_path

rate = click.option(
    "--rate",
    type=click.Choice([str(r) for r in SAMPLE_RATES]),
    default="48000",
    show_default=True,
    help="Sample rate in Hz.",
)


@click.group("signal")
def command():
    """Stimulus definitions: list, show, make."""


@command.command("list")
@options.json_output
def list_signals(as_json):
    """Every stimulus that a bare name means."""
    signals = [load_signal(name) for name in sorted(available("signals"))]
    if as_json:
        rows = [
            {"name": s.name, "version": s.version, "seconds": round(s.plan(48_000).seconds, 3)}
            for s in signals
        ]
        console.show_json({"schema": "ampscope.signals/1", "signals": rows})
        return
    console.show_table(
        ("signal", "seconds", "what it is for"),
        ((s.name, f"{s.plan(48_000).seconds:.0f}", s.description) for s in signals),
    )


@command.command("show")
@click.argument("name")
@rate
@options.json_output
def show_signal(name, rate, as_json):
    """What every second of a stimulus is played for."""
    plan = load_signal(name).plan(int(rate))
    if as_json:
        console.show_json(plan)
        return
    console.show_table(
        ("from s", "to s", "segment", "kind", "use", "peak dBFS"),
        (
            (
                f"{placed.start / plan.sample_rate:.2f}",
                f"{placed.stop / plan.sample_rate:.2f}",
                placed.segment.name,
                placed.segment.kind,
                placed.segment.use,
                "" if placed.segment.kind == "silence" else f"{placed.segment.level_dbfs:g}",
            )
            for placed in plan.placed()
        ),
    )


@command.command("make")
@click.argument("name")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="WAV to write.  [NAME.wav]")
@rate
@options.level
@click.option("-y", "--yes", is_flag=True, help="Replace a WAV that is there.")
@options.json_output
def make_signal(name, output, rate, level, yes, as_json):
    """Write a stimulus as WAV, with its plan beside it."""
    from profiler.stimulus.synthesis import write

    plan = options.planned(name, int(rate), level)
    output = output or Path(f"{plan.name}.wav")
    beside = plan_path(output)
    for path in (output, beside):
        if path.exists() and not yes:
            raise CaptureError(
                f"{path}: is already there: choose another -o, or replace it with -y"
            )
    write(output, plan)
    plan.save(beside)
    if as_json:
        console.show_json(
            {
                "schema": "ampscope.signal-made/1",
                "wav": str(output),
                "plan": str(beside),
                "seconds": plan.seconds,
                "peak_dbfs": plan.peak_dbfs,
            }
        )
        return
    console.show(
        f"{output}  {plan.seconds:.1f} s at {plan.sample_rate} Hz, peak {plan.peak_dbfs:.1f} dBFS"
    )
    console.show(f"{beside}")
