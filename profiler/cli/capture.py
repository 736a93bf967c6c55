"""`ampscope capture`: one take."""

from pathlib import Path

import click

from profiler import wav
from profiler.cli import console, options
from profiler.stimulus.plan import plan_path


@click.command()
@click.argument("rig_name", metavar="RIG")
@options.signal
@options.folder
@options.level
@options.yes
@options.no_input
@options.dry_run
@options.json_output
def command(rig_name, signal_name, output, level, yes, no_input, dry_run, as_json):
    """Play a stimulus through RIG, record the response, and align it."""
    from profiler.capture.safety import announce
    from profiler.rig.rig import load_rig

    rig = load_rig(rig_name)
    refuse_file_rig(rig)
    plan = options.planned(signal_name, rig.interface.sample_rate, level).bracketed()
    output = output or default_folder(rig)
    if dry_run:
        rehearse(plan, announce(rig, plan), output)
        return
    show_capture(play(rig, plan, output, yes=yes, no_input=no_input), as_json)


def show_capture(folder, as_json):
    """Align a capture, and show where it is and how it lies."""
    from profiler.capture.alignment import load_aligned

    repairs = folder.record().repairs
    for repair in repairs:
        console.talk(f"repaired: {repair}")
    alignment = load_aligned(folder).alignment
    if as_json:
        console.show_json(
            {
                "schema": "ampscope.captured/1",
                "folder": str(folder.path),
                "repairs": list(repairs),
                "alignment": alignment.model_dump(mode="json"),
            }
        )
        return
    console.show_facts(
        (
            ("capture", str(folder.path)),
            ("delay", alignment_words(alignment)),
            ("polarity", polarity_words(alignment)),
        )
    )


def play(rig, plan, output, *, yes, no_input):
    """Confirm the sound, play the plan, and return the folder of the capture."""
    from profiler.capture.safety import announce
    from profiler.capture.take import take

    interface = connected(rig, plan, announce(rig, plan), yes=yes, no_input=no_input)
    with console.StageProgress() as progress:
        progress.started("capture")
        folder = take(
            rig,
            plan,
            output,
            interface,
            replace=yes,
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
    from profiler.stimulus.synthesis import render

    for line in announcement.lines():
        console.talk(line)
    path = Path(output).with_name(f"{Path(output).name}-stimulus.wav")
    wav.write(path, render(plan), plan.sample_rate)
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
