"""`ampscope report`: one page to look at."""

from pathlib import Path

import click

from profiler.cli import console


@click.command()
@click.argument("capture", type=click.Path(path_type=Path))
def command(capture):
    """Write report.html of CAPTURE: one file that needs no network."""
    from profiler.capture.folder import CaptureFolder
    from profiler.report.page import write_report

    console.show(str(write_report(CaptureFolder.existing(capture))))
