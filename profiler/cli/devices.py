"""`ampscope devices`: what a rig file can name."""

import dataclasses

import click

from profiler.cli import console, options


@click.command()
@options.json_output
def command(as_json):
    """Audio interfaces by name and host API, with channels and sample rates."""
    from profiler.rig.portaudio import devices

    found = devices()
    if as_json:
        rows = [dataclasses.asdict(device) for device in found]
        console.show_json({"schema": "ampscope.devices/1", "devices": rows})
        return
    if not found:
        console.talk("no audio device was found: connect one; simulated rigs need none")
        return
    console.show_table(
        ("device", "host API", "in", "out", "default rate", "rates"),
        (
            (
                device.name,
                device.host_api,
                str(device.inputs),
                str(device.outputs),
                f"{device.default_sample_rate:g}",
                " ".join(f"{rate:g}" for rate in device.sample_rates),
            )
            for device in found
        ),
    )
