"""`ampscope verify`: an exported model against the device."""

import contextlib
import tempfile
from pathlib import Path

import click

from profiler.cli import console, options
from profiler.cli.capture import play, refuse_file_rig


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("source", metavar="CAPTURE|RIG")
@click.option(
    "--signal",
    "signal_name",
    default="quick",
    show_default=True,
    help="What to play, when a rig is given.",
)
@options.level
@options.yes
@options.no_input
@options.json_output
def command(model, source, signal_name, level, yes, no_input, as_json):
    """Compare MODEL, evaluated from its file, with the device's held-out response.

    MODEL is a .nam file, or a model folder, whose exported file is taken.
    """
    from profiler.capture.alignment import load_aligned
    from profiler.capture.folder import CaptureFolder
    from profiler.export.nam import load_model
    from profiler.pipeline import exported_file
    from profiler.rig.rig import load_rig
    from profiler.verify.verification import verify

    nam_path = exported_file(model)
    trained = load_model(model).trained
    with contextlib.ExitStack() as stack:
        if Path(source).is_dir():
            folder = CaptureFolder.existing(Path(source))
        else:
            rig = load_rig(source)
            refuse_file_rig(rig)
            plan = options.planned(
                signal_name, rig.interface.sample_rate, level, rig=rig
            ).bracketed()
            output = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "verify"
            folder = play(rig, plan, output, yes=yes, no_input=no_input)
        verification = verify(nam_path, load_aligned(folder), trained)
    if as_json:
        console.show_json(verification)
    else:
        _show(nam_path, verification)
    if not verification.passed:
        raise click.exceptions.Exit(console.CHECK_FAILED_EXIT)


def _show(nam_path, verification):
    def known(value, form):
        return "unknown" if value is None else format(value, form)

    console.show_facts(
        (
            ("model", str(nam_path)),
            ("ESR", f"{verification.esr:.5f}"),
            ("pre-emphasised", f"{verification.esr_preemphasised:.5f}"),
            ("RMSE", f"{verification.rmse:.5f}"),
            ("replicate ESR", known(verification.replicate_esr, ".2g")),
            ("times the floor", known(verification.ratio_to_floor, ".1f")),
            ("file against trained", known(verification.parity_max_abs, ".1e")),
            ("passed", "yes" if verification.passed else "NO"),
        )
    )
    console.show_table(
        ("held-out segment", "use", "seconds", "ESR", "RMSE"),
        (
            (name, found.use, f"{found.seconds:.1f}", f"{found.esr:.5f}", f"{found.rmse:.5f}")
            for name, found in verification.by_segment.items()
        ),
    )
