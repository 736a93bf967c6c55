"""The architectures that can be trained, by name.

nano, feather, lite, standard    A1 WaveNets, 4 to 16 channels
standard-L                       standard with L layers (1 to 13) in each array instead of 10
a2-lite, a2-full                 A2 WaveNets, 3 and 8 channels
lstm-H, lstm-HxL                 LSTM of H units (8 to 64), L layers (1 to 3)
net-1, net-2                     dense networks of 32 and 4096 samples
dense-N-W-W...                   dense, of N samples of history and hidden layers of widths W
"""

import re
from typing import Annotated

from pydantic import AfterValidator

from profiler.model.dense import DenseConfig
from profiler.model.lstm import LstmConfig
from profiler.model.network import Shape
from profiler.model.wavenet import A2, a1_of_layers
from profiler.model.wavenet import ARCHITECTURES as A1

NAMED: dict[str, Shape] = {
    **A1,
    **A2,
    "lstm-16": LstmConfig(16),
    "lstm-24": LstmConfig(24),
    "lstm-40": LstmConfig(40),
    "net-1": DenseConfig(32, (32, 32)),
    "net-2": DenseConfig(4096, (1024, 512, 256, 256)),
}
DEFAULT = "standard"  # played by every player
FAR = "a2-full"  # which reaches furthest of those that have an end
UNITS = range(8, 65)
LAYERS = range(1, 4)
DEPTHS = range(1, 14)  # layers of a WaveNet's array: the last of 13 reaches back 8192 samples
HISTORY = range(1, 16_385)  # samples: a third of a second at 48 kHz
WIDTHS = range(1, 4097)


def architecture(name: str) -> Shape:
    """The shape that a name means.

    Raises
    ------
    ValueError
        There is none, in one line.
    """
    if name in NAMED:
        return NAMED[name]
    if match := re.fullmatch(r"standard-(\d+)", name):
        if int(match[1]) not in DEPTHS:
            raise ValueError(
                f"architecture {name!r}: expected standard-L of {_span(DEPTHS)} layers an array"
            )
        return a1_of_layers(int(match[1]))
    if match := re.fullmatch(r"lstm-(\d+)(?:x(\d+))?", name):
        units, layers = int(match[1]), int(match[2] or 1)
        if units not in UNITS or layers not in LAYERS:
            raise ValueError(
                f"architecture {name!r}: expected lstm-H or lstm-HxL of {_span(UNITS)} units and "
                f"{_span(LAYERS)} layers"
            )
        return LstmConfig(units, layers)
    if match := re.fullmatch(r"dense-(\d+)((?:-\d+)+)", name):
        history, widths = int(match[1]), tuple(map(int, match[2][1:].split("-")))
        if history not in HISTORY or not all(width in WIDTHS for width in widths):
            raise ValueError(
                f"architecture {name!r}: expected dense-N-W-W... of {_span(HISTORY)} samples of "
                f"history and widths of {_span(WIDTHS)}"
            )
        return DenseConfig(history, widths)
    raise ValueError(
        f"unknown architecture {name!r}: expected {', '.join(NAMED)}, standard-L of "
        f"{_span(DEPTHS)} layers, lstm-H of {_span(UNITS)} units, or dense-N-W-W... of N samples "
        "of history and layers of widths W"
    )


def architecture_for(receptive_field: int | None) -> str:
    """The name of the architecture to take where none is asked for.

    Parameters
    ----------
    receptive_field : int or None
        In samples, as recommended; None where it is not known.
    """
    enough = receptive_field is None or receptive_field <= NAMED[DEFAULT].receptive_field
    return DEFAULT if enough else FAR


def shortfall(name: str, receptive_field: int | None, sample_rate: int) -> str | None:
    """That an architecture sees less than a device remembers, in a sentence; None if it does not.

    A recurrent network has no end to what it can remember, so nothing is said of it.
    """
    config = architecture(name)
    if receptive_field is None or config.recurrent or config.receptive_field >= receptive_field:
        return None

    def words(samples):
        return f"{samples} samples ({1e3 * samples / sample_rate:.0f} ms)"

    furthest = NAMED[FAR].receptive_field
    further = f"; {FAR} sees {words(furthest)}" if config.receptive_field < furthest else ""
    return (
        f"{name} sees {words(config.receptive_field)}, but the device remembers for "
        f"{words(receptive_field)}: what is older than the network sees, it can only average"
        f"{further}"
    )


def _span(numbers):
    return f"{numbers[0]} to {numbers[-1]}"


def _known(name: str) -> str:
    architecture(name)
    return name


ArchitectureName = Annotated[str, AfterValidator(_known)]
