"""`ampscope calibrate`: the interface measured by itself, with a loop cable."""

import click

from profiler.cli import console, options


@click.group("calibrate")
def command():
    """Measure the interface with a loop cable."""


@command.command("latency")
@click.argument("rig_name", metavar="RIG")
@click.option("--repeats", type=click.IntRange(2, 20), default=3, show_default=True)
@options.level
@options.yes
@options.no_input
@options.json_output
def latency(rig_name, repeats, level, yes, no_input, as_json):
    """Round-trip latency: a cable from the send straight to the return."""
    from profiler.capture.calibration import measure_latency, store
    from profiler.capture.safety import announce
    from profiler.rig.connect import connect
    from profiler.rig.rig import load_rig

    rig = load_rig(rig_name)
    if rig.interface.driver == "file":
        raise click.UsageError(f"{rig_name} is a file rig: it has no interface to calibrate")
    plan = options.planned("latency", rig.interface.sample_rate, level)
    console.talk("expected: a cable from the send straight to the return, no amp between")
    console.confirm_sound(announce(rig, plan.bracketed()), yes=yes, no_input=no_input)
    with console.StageProgress() as progress:
        progress.started("latency")
        calibration = measure_latency(
            rig,
            plan,
            connect(rig),
            repeats=repeats,
            on_repeat=lambda index, delay: progress.progress(
                "latency", (index + 1) / repeats, f"{delay:.3f} samples"
            ),
        )
        progress.finished("latency", f"{calibration.round_trip_samples:.3f} samples")
    path = store(rig, calibration)
    if as_json:
        console.show_json(calibration)
        return
    milliseconds = 1e3 * calibration.round_trip_samples / rig.interface.sample_rate
    console.show_facts(
        (
            (
                "round trip",
                f"{calibration.round_trip_samples:.3f} samples ({milliseconds:.2f} ms)",
            ),
            ("spread", f"{calibration.spread_samples:.4f} samples over {repeats} repeats"),
            ("polarity", "as sent" if calibration.polarity > 0 else "inverted"),
            ("kept in", str(path)),
        )
    )
