"""`ampscope render`: a model over a WAV file."""

import dataclasses
import time
from pathlib import Path

import click

from profiler.cli import console, options
from profiler.units import amplitude_to_db


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("source", metavar="IN.wav", type=click.Path(path_type=Path))
@click.argument("destination", metavar="OUT.wav", type=click.Path(path_type=Path))
@click.option("--fast-tanh", is_flag=True, help="The approximation that players use.")
@options.engine
@click.option("-y", "--yes", is_flag=True, help="Replace OUT.wav when it is there.")
@options.json_output
def command(model, source, destination, fast_tanh, engine, yes, as_json):
    """Run MODEL, a model folder or a .nam file, over IN.wav."""
    from profiler.export.nam import load_model
    from profiler.model.rendering import render_file

    loaded = load_model(model)
    with console.StageProgress() as progress:
        progress.started("render")
        began = time.monotonic()
        rendered = render_file(
            loaded.network,
            source,
            destination,
            sample_rate=loaded.sample_rate,
            fast_tanh=fast_tanh,
            engine=engine,
            replace=yes,
            on_progress=lambda fraction: progress.progress("render", fraction, ""),
        )
        seconds = rendered.frames / rendered.sample_rate
        ratio = seconds / max(time.monotonic() - began, 1e-9)
        progress.finished("render", f"{ratio:.0f} times real time")
    if rendered.peak > 1.0:
        over_db = amplitude_to_db(rendered.peak)
        console.warn(f"the output peaks at {over_db:+.1f} dBFS: lower it before an integer export")
    if as_json:
        facts = {"output": str(destination), **dataclasses.asdict(rendered)}
        console.show_json({"schema": "ampscope.render/1", **facts})
        return
    console.show(f"{destination}  {seconds:.1f} s")
