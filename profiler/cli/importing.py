"""`ampscope import`: a pair recorded elsewhere."""

import math
from pathlib import Path

import click

from profiler.cli import options
from profiler.cli.capture import show_capture

Wav = click.Path(path_type=Path, dir_okay=False)


class _Delay(click.ParamType):
    name = "samples"

    def convert(self, value, param, ctx):
        try:
            delay = float(value)
        except ValueError:
            delay = math.nan
        if not math.isfinite(delay):
            self.fail(f"expected a number of samples, got {value!r}", param, ctx)
        return delay


@click.command("import")
@click.argument("stimulus", type=Wav)
@click.argument("response", type=Wav)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder of the capture."
)
@click.option("--channel", type=click.IntRange(1), help="Channel of the response, from 1.")
@click.option("--delay", type=_Delay(), help="Response behind stimulus, when you know better.")
@click.option("--make", default="", help="Who built the device.")
@click.option("--model", default="", help="What it is called.")
@click.option(
    "--gear-type",
    type=click.Choice(
        ["amp", "pedal", "pedal_amp", "amp_cab", "amp_pedal_cab", "preamp", "studio"]
    ),
    default="amp",
    show_default=True,
    help="What the chain contains.",
)
@click.option("-y", "--yes", is_flag=True, help="Replace a capture that is there.")
@options.accept
@options.json_output
def command(
    stimulus, response, output, channel, delay, make, model, gear_type, yes, accepted, as_json
):
    """Make a capture of STIMULUS and RESPONSE, recorded elsewhere."""
    from profiler.capture.importing import import_pair
    from profiler.rig.rig import Chain, FileInterface, Rig

    rig = Rig(
        name=Path(response).stem,
        maximum_send_dbfs=0.0,
        interface=FileInterface(
            driver="file",
            stimulus=str(Path(stimulus).absolute()),
            response=str(Path(response).absolute()),
            return_channel=channel,
            delay_samples=delay,
        ),
        chain=Chain(make=make, model=model, gear_type=gear_type),
    )
    show_capture(import_pair(rig, output, replace=yes, accepted=accepted), accepted, as_json)
