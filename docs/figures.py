"""Draw the figures of these pages from the virtual amps.

    python docs/figures.py                # all of them, about twenty minutes
    python docs/figures.py memory         # those whose name begins so

Every device plays the signal `measure`, is measured by what `ampscope analyse` measures with, and
is drawn by what draws there. A take that is there is measured again but not played again; it is
kept in `captures/figures`. Look at what has changed before it is committed.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

from profiler.capture.folder import CaptureFolder
from profiler.capture.take import take
from profiler.cli.console import StageProgress
from profiler.definitions import replacing
from profiler.pipeline import measured
from profiler.report.gallery import Measured, gallery
from profiler.rig.connect import connect
from profiler.rig.rig import Rig, load_rig
from profiler.stimulus.plan import load_signal

HERE = Path(__file__).resolve().parent
CAPTURES = HERE.parent / "captures" / "figures"
SIGNAL = "measure"


@dataclass(frozen=True)
class Wanted:
    """A figure of a page: its file's name, its title in the gallery, whom it shows."""

    name: str
    title: str
    devices: tuple[str, ...]


WANTED = (
    Wanted("settling-plexi", "Settling", ("plexi",)),
    Wanted("settling-recovery", "Gain recovery", ("plexi",)),
    Wanted("settling-sag", "Gain recovery", ("plexi", "plexi without sag", "drive")),
    Wanted("settling-constants", "Time constants", ("plexi",)),
    Wanted("settling-receptive-field", "Receptive field", ("plexi",)),
    Wanted("response-levels", "Frequency response", ("plexi",)),
    Wanted("response-devices", "Frequency response", ("clean", "plexi", "drive")),
    Wanted("response-excess-phase", "Excess phase", ("clean", "plexi", "drive")),
    Wanted("response-directions", "Up and down", ("wire", "plexi", "drive")),
    Wanted("distortion-harmonics", "Harmonics", ("plexi",)),
    Wanted("distortion-frequency", "Distortion over frequency", ("plexi",)),
    Wanted("distortion-level", "Distortion over level", ("clean", "plexi", "hi-gain", "drive")),
    Wanted("distortion-intermodulation", "Intermodulation", ("clean", "plexi", "hi-gain")),
    Wanted("memory-drive", "Output against input", ("drive",)),
    Wanted("memory-plexi", "Output against input", ("plexi",)),
    Wanted("memory-odd-even", "Odd and even", ("plexi",)),
    Wanted("memory-shares", "Memory", ("wire", "drive", "plexi")),
    Wanted("dynamics-levels", "Soft and loud", ("clean", "plexi", "hi-gain")),
    Wanted("dynamics-steps", "Attack and release", ("plexi",)),
    Wanted("noise-hum", "Noise", ("tweed", "tweed with hum")),
    Wanted("noise-driven", "Signal to noise", ("tweed", "tweed with hum")),
    Wanted("cabinet", "Cabinet", ("clean with DI",)),
)


def rig_of(device: str) -> Rig:
    """The rig of a shipped name, or one of them with something changed."""
    name, changed = VARIANTS.get(device, (device, lambda rig: rig))
    return changed(load_rig(name)).model_copy(update={"name": device})


def _leave_out(mechanism):
    def changed(rig):
        without = (*rig.chain.leave_out, mechanism)
        return rig.model_copy(update={"chain": rig.chain.model_copy(update={"leave_out": without})})

    return changed


def _interface(**values):
    def changed(rig):
        interface = type(rig.interface).model_validate(rig.interface.model_dump() | values)
        return rig.model_copy(update={"interface": interface})

    return changed


VARIANTS = {
    "plexi without sag": ("plexi", _leave_out("sag")),
    "clean with DI": ("clean", _interface(di_channel=3)),
    "tweed with hum": (
        "tweed",
        _interface(noise_rms_dbfs=-85.0, faults={"hum": {"strength": -70.0}}),
    ),
}


def captured(device: str) -> CaptureFolder:
    """The take of a device, played unless it is there."""
    path = CAPTURES / device.replace(" ", "-")
    rig = rig_of(device)
    plan = load_signal(SIGNAL).plan(rig.interface.sample_rate).bracketed()
    folder = CaptureFolder(path)
    if folder.record_path.is_file():
        record = folder.record()
        if (record.rig, record.plan) == (rig, plan):
            return folder
    print(f"playing {SIGNAL} through {device}", file=sys.stderr)
    return take(rig, plan, path, connect(rig), replace=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("begins", nargs="?", default="", help="name of a figure, or its beginning")
    chosen = [each for each in WANTED if each.name.startswith(parser.parse_args().begins)]
    if not chosen:
        parser.error(f"no such figure: there are {', '.join(each.name for each in WANTED)}")
    devices: dict[str, Measured] = {}
    for name in dict.fromkeys(name for each in chosen for name in each.devices):
        folder = captured(name)
        with StageProgress() as progress:
            devices[name] = measured(folder, progress)
    for wanted in chosen:
        pictures = gallery([devices[name] for name in wanted.devices])
        (picture,) = (each for each in pictures if each.title == wanted.title)
        path = HERE / "figures" / f"{wanted.name}.svg"
        with replacing(path) as beside:
            beside.write_text(picture.drawing.svg_file(), encoding="utf-8")
        print(f"{path.relative_to(HERE.parent)}: {picture.alt}")


if __name__ == "__main__":
    main()
