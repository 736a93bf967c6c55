"""`ampscope analyse`: all that can be measured on a capture."""

from pathlib import Path

import click

from profiler.cli import console, options
from profiler.errors import ExportError


@click.command()
@click.argument("capture", type=click.Path(path_type=Path))
@click.option(
    "--compare",
    "others",
    multiple=True,
    metavar="CAPTURE",
    type=click.Path(path_type=Path),
    help="Lay another device, or another setting, over it. May be repeated.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Folder of the figures.  [default: CAPTURE/figures; of a comparison, one in there]",
)
@click.option("--png", is_flag=True, help="Write each figure as PNG, too.")
@click.option("--csv", is_flag=True, help="Write the numbers as CSV, too, a file a table.")
@click.option(
    "--cabinet",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the impulse response from DI to microphone, without a DI from stimulus to "
    "response: .wav, or .nam for a player.",
)
@click.option("--minimum-phase", is_flag=True, help="That of --cabinet in its shortest form.")
@options.yes
@options.json_output
def command(capture, others, output, png, csv, cabinet, minimum_phase, yes, as_json):
    """Measure all that CAPTURE was played for: analysis.json, and figures.

    Settling, response, distortion, memory, dynamics, noise, cabinet: what the signal holds
    nothing for is said, and left out.
    """
    from profiler.capture.folder import CaptureFolder
    from profiler.pipeline import measured
    from profiler.report.export import write_figures, write_tables
    from profiler.report.gallery import gallery, told_apart
    from profiler.report.measures import measured_facts

    _refuse(cabinet, minimum_phase, yes)
    folders = [CaptureFolder.existing(path) for path in (capture, *others)]
    with console.StageProgress() as progress:
        devices = told_apart([measured(folder, progress) for folder in folders])
    for device in devices:
        for warning in device.analysis.warnings:
            console.warn(f"{device.name}: {warning}" if others else warning)
    place = output or _place(devices, folders[0].path / "figures")
    written = write_figures(gallery(devices), place, png=png)
    if csv:
        written += write_tables(devices, place)
    if cabinet is not None:
        _write_cabinet(cabinet, folders[0], devices[0], minimum_phase)
        written.append(cabinet)
    if as_json:
        for device in devices:
            console.show_json(device.analysis)
        return
    for device in devices:
        if others:
            console.show(device.name)
        console.show_facts(measured_facts(device.analysis))
    console.show(f"{len(written)} files in {place}")


def _place(devices, figures):
    if len(devices) == 1:
        return figures
    return figures / "-".join(["against", *(device.name for device in devices[1:])]).replace(
        "/", "-"
    )


def _refuse(cabinet, minimum_phase, yes):
    """What cannot be meant, before anything is measured."""
    if cabinet is None:
        if minimum_phase:
            raise click.UsageError("--minimum-phase is of --cabinet FILE, which is not given")
        return
    if cabinet.suffix.lower() not in (".wav", ".nam"):
        raise click.UsageError(f"--cabinet {cabinet}: expected a name that ends in .wav or .nam")
    if cabinet.exists() and not yes:
        raise ExportError(
            f"{cabinet}: is already there: choose another name, or replace it with -y"
        )


def _write_cabinet(path, folder, device, minimum_phase):
    from profiler.analysis.cabinet import cabinet_ir
    from profiler.export.impulse_response import write_nam, write_wav

    ir = cabinet_ir(device.capture, minimum_phase=minimum_phase)
    if path.suffix.lower() == ".wav":
        write_wav(path, ir)
    else:
        write_nam(path, ir, chain=folder.record().rig.chain, name=device.name)
