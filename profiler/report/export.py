"""Figures and tables as files, to be sent around and opened elsewhere."""

import re
from collections.abc import Sequence
from pathlib import Path

from profiler.analysis.tables import csv_text, tables
from profiler.definitions import replacing
from profiler.report.gallery import Measured, Picture


def write_figures(pictures: Sequence[Picture], folder: Path, *, png: bool = False) -> list[Path]:
    """Write every figure as an SVG on white paper, named after its title; and as PNG.

    Raises
    ------
    OSError
        The folder cannot be written to.
    """
    written = []
    for picture in pictures:
        path = folder / f"{_slug(picture.title)}.svg"
        written.append(_write(path, picture.drawing.svg_file().encode()))
        if png:
            written.append(_write(path.with_suffix(".png"), picture.drawing.png()))
    return written


def write_tables(devices: Sequence[Measured], folder: Path) -> list[Path]:
    """Write the numbers of every device's analysis, a CSV file a table."""
    several = len(devices) > 1
    return [
        _write(
            folder / _slug(device.name) / f"{name}.csv" if several else folder / f"{name}.csv",
            csv_text(table).encode(),
        )
        for device in devices
        for name, table in tables(device.analysis).items()
    ]


def _write(path, data):
    with replacing(path) as beside:
        beside.write_bytes(data)
    return path


def _slug(title):
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
