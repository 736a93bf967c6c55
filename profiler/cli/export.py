"""`ampscope export`: a trained model for a player."""

from pathlib import Path

import click

from profiler.cli import console, options


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "format_name",
    type=click.Choice(["nam"]),
    default="nam",
    show_default=True,
    help="Of the file.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File.  [MODEL's name.nam]")
@click.option("--name", help="What the player shows.")
@click.option("--modeled-by", help="Who made the model.")
@click.option(
    "--smaller",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="MODEL",
    help="A smaller model of the same device, in the same file: players choose by a quality knob, "
    "at 0 the smallest. May be repeated, the smallest first.",
)
@click.option("-y", "--yes", is_flag=True, help="Replace a file that is there.")
@options.json_output
def command(model, format_name, output, name, modeled_by, smaller, yes, as_json):
    """Write MODEL, a model folder or a .nam file, for a player."""
    from profiler.pipeline import export_model

    output = output or Path(f"{Path(model).resolve().stem}.{format_name}")
    metadata = export_model(
        model, output, name=name, modeled_by=modeled_by, smaller=smaller, replace=yes
    )
    if as_json:
        console.show_json(
            {
                "schema": "ampscope.exported/1",
                "file": str(output),
                "format": format_name,
                "metadata": metadata.model_dump(mode="json", exclude_none=True),
            }
        )
        return
    console.show(str(output))
