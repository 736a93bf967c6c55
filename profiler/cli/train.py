"""`ampscope train`: a neural model of what was captured."""

from pathlib import Path

import click

from profiler.cli import console, options, portrait


@click.command()
@click.argument(
    "captures", metavar="CAPTURE...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@options.training
@click.option(
    "--also",
    "smaller",
    type=options.ArchitectureType(),
    multiple=True,
    help="Train this smaller architecture first, as long; all go singly and in one file for a "
    "player's quality knob. May be repeated, the smallest first.",
)
@options.accept
@click.option("--resume", is_flag=True, help="Go on with a training that was interrupted.")
@click.option("-y", "--yes", is_flag=True, help="Train anew where a model is already.")
@options.json_output
def command(captures, smaller, resume, yes, accepted, as_json, **training):
    """Train a model of the device behind one or more captures.

    The model is kept in the first capture's folder. Ctrl-C keeps and exports the best so far.
    """
    from profiler.capture.folder import CaptureFolder
    from profiler.pipeline import interruption, train_together

    folders = [CaptureFolder.existing(path) for path in captures]
    with console.StageProgress() as progress:
        model, nam_path, together = train_together(
            folders,
            options.training_options(training),
            smaller,
            listener=progress,
            resume=resume,
            replace=yes,
            accepted=accepted,
        )
    if model.interrupted:
        raise interruption(model, nam_path)
    if model.rollbacks:
        console.warn(
            f"a loss ran away or was no number {model.rollbacks} times, and the training went back "
            "and on at a lower learning rate: check the take if the ESR disappoints"
        )
    if as_json:
        console.show_json(
            {
                "schema": "ampscope.trained/1",
                "folder": str(model.folder),
                "nam": nam_path and str(nam_path),
                "together": together and str(together),
                "validation_esr": model.validation_esr,
                "seconds": model.seconds,
                "learning_rate": model.learning_rate,
                "rollbacks": model.rollbacks,
                "network": portrait.network_json(model.network),
                "spec": model.spec.model_dump(mode="json"),
            }
        )
        return
    console.show_facts(
        (
            ("model", str(model.folder)),
            *portrait.network_facts(model.architecture, model.network),
            ("engine", f"{model.spec.engine}, learning rate {model.learning_rate:.2g}"),
            ("validation ESR", f"{model.validation_esr:.4f} after {model.seconds:.0f} s"),
            ("exported", str(nam_path) if nam_path else "no: no player plays it"),
            *([("together", str(together))] if together else []),
        )
    )
