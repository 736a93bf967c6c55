"""`ampscope capture`: one take."""

from pathlib import Path

import click

from profiler.cli import console, options
from profiler.cli.check import show_findings
from profiler.stimulus.plan import plan_path


@click.command()
@click.argument("rig_name", metavar="RIG")
@options.signal
@options.folder
@options.level
@options.average
@options.accept
@click.option(
    "--meter",
    is_flag=True,
    help="Set the level first: play guitar, show the return, say what to turn. No take is made.",
)
@options.yes
@options.no_input
@options.dry_run
@options.json_output
def command(
    rig_name, signal_name, output, level, passes, accepted, meter, yes, no_input, dry_run, as_json
):
    """Play a stimulus through RIG, record the response, check it, and align it."""
    from profiler.capture.safety import announce
    from profiler.rig.rig import load_rig

    rig = load_rig(rig_name)
    refuse_file_rig(rig)
    plan = options.planned(signal_name, rig.interface.sample_rate, level, rig=rig).bracketed()
    output = output or default_folder(rig)
    if dry_run:
        rehearse(plan, announce(rig, plan), output)
        return
    if meter:
        from profiler.cli.meter import set_level, show_advice

        show_advice(set_level(rig, plan, yes=yes, no_input=no_input), as_json)
        return
    folder = play(rig, plan, output, yes=yes, no_input=no_input, passes=passes)
    show_capture(folder, accepted, as_json)


def show_capture(folder, accepted, as_json):
    """Check and align a capture, and show where it is and how it lies.

    Exits with 3, after all that was found was shown, when a finding stops the work.
    """
    from profiler.analysis.forecast import forecast
    from profiler.capture.alignment import load_aligned
    from profiler.capture.checks.verdict import verdict
    from profiler.capture.recheck import recheck

    repairs, average = folder.record().repairs, folder.record().average
    for repair in repairs:
        console.talk(f"repaired: {repair}")
    found = verdict(folder, accepted)
    if not found.passed:
        if as_json:
            console.show_json(found.findings_only())
        else:
            console.show_facts((("capture", str(folder.path)),))
            show_findings(found)
        raise click.exceptions.Exit(console.CHECK_FAILED_EXIT)
    capture = load_aligned(folder)
    alignment = capture.alignment
    rechecked = recheck(folder, alignment.delay_samples)
    if rechecked.warning is not None:
        console.warn(rechecked.warning)
    if as_json:
        console.show_json(
            {
                "schema": "ampscope.captured/1",
                "folder": str(folder.path),
                "repairs": list(repairs),
                "check": found.findings_only().model_dump(mode="json"),
                "average": average and average.model_dump(mode="json"),
                "alignment": alignment.model_dump(mode="json"),
            }
        )
        return
    console.show_facts(
        (
            ("capture", str(folder.path)),
            ("delay", alignment_words(alignment)),
            ("polarity", polarity_words(alignment)),
            *((("average", average.words()),) if average else ()),
            *_joined_facts(folder.record()),
            *_reference_facts(rechecked),
        )
    )
    show_findings(found)
    console.show(forecast(capture).sentence)


def _joined_facts(record):
    if len(record.joins) > 1:
        rate = record.plan.sample_rate
        spans = (f"{part.start / rate:.2f}-{part.stop / rate:.2f} s" for part in record.joins)
        yield "joined", f"of passes: {', '.join(spans)}; each is kept in passes/"


def _reference_facts(rechecked):
    if rechecked.device is not None:
        apart = f"{rechecked.device.deviation_db:+.2f} dB"
        yield "reference", f"{apart} against the take of {rechecked.since:%Y-%m-%d %H:%M} UTC"


def play(rig, plan, output, *, yes, no_input, passes=1):
    """Confirm the sound, play the plan, and return the folder of the capture."""
    from profiler.capture.checks.verdict import broken_places
    from profiler.capture.safety import announce
    from profiler.capture.take import take, taken
    from profiler.capture.watchdog import watched

    if (folder := taken(rig, plan, output)) is not None and not yes:
        console.talk(f"{output}: the take is there already and is looked at (-y takes it anew)")
        return folder
    interface = connected(rig, plan, announce(rig, plan), yes=yes, no_input=no_input)
    with console.StageProgress() as progress:
        progress.started("capture")
        folder = take(
            rig,
            plan,
            output,
            interface,
            replace=yes,
            passes=passes,
            broken=broken_places,
            watch=watched(rig),
            on_progress=lambda p: progress.progress(
                "capture", p.seconds / p.total_seconds, take_detail(p)
            ),
        )
        progress.finished("capture", f"{plan.seconds:.0f} s in {folder.path}")
    return folder


def connected(rig, plan, announcement, *, yes, no_input):
    """The open interface of a rig, when the sound was confirmed and the quiet ramp answered.

    The ramp is played where the sound is real, once for a rig in a session.
    """
    from profiler.capture import session
    from profiler.capture.approach import approach, first_level_dbfs
    from profiler.rig.connect import connect

    console.confirm_sound(announcement, yes=yes, no_input=no_input)
    interface = connect(rig)
    if announcement.audible and not session.happened(announcement.conditions, "approached"):
        level = first_level_dbfs(rig, plan)
        console.talk(f"the first sound on this rig: a quiet ramp up to {level:.1f} dBFS")
        console.talk(approach(rig, plan, interface).sentence())
        session.remember(announcement.conditions, "approached")
    return interface


def refuse_file_rig(rig):
    """A usage error for a rig that plays nothing."""
    if rig.interface.driver == "file":
        raise click.UsageError(
            f"{rig.name} is a pair of files, so nothing can be played: use ampscope profile or "
            "ampscope import"
        )


def default_folder(rig) -> Path:
    """Where captures of a rig go when nothing else is said."""
    return Path("captures") / rig.name


def rehearse(plan, announcement, output):
    """What `--dry-run` does: say it, and write the stimulus to listen to."""
    from profiler.stimulus.synthesis import write

    for line in announcement.lines():
        console.talk(line)
    path = Path(output).with_name(f"{Path(output).name}-stimulus.wav")
    write(path, plan)
    plan.save(plan_path(path))
    console.show(str(path))
    console.talk("dry run: no sound was made")


def take_detail(progress) -> str:
    """The return's meter and the time that is left."""
    left = progress.total_seconds - progress.seconds
    return f"return {progress.return_highest_dbfs:6.1f} dBFS highest, {left:.0f} s of sound left"


def alignment_words(alignment) -> str:
    """Delay, its uncertainty, and where it comes from."""
    return (
        f"{alignment.delay_samples:.3f} ±{alignment.sigma_samples:.2g} samples "
        f"({alignment.reference})"
    )


def polarity_words(alignment) -> str:
    return "as sent" if alignment.polarity > 0 else "inverted"
