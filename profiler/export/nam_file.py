"""What is common to every `.nam` file: the JSON object around an architecture's own config."""

import json
import re
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from profiler.definitions import replacing
from profiler.errors import ExportError


class Keys(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class File(Keys):
    version: str
    architecture: str
    config: dict
    weights: list[Annotated[float, Field(allow_inf_nan=False)]]
    sample_rate: Annotated[float, Field(gt=0.0, allow_inf_nan=False)] | None = None
    metadata: dict | None = None

    @property
    def rate(self) -> int | None:
        return None if self.sample_rate is None else round(self.sample_rate)


Count = Annotated[int, Field(ge=1, le=1_000_000)]


def read_file(path: Path) -> File:
    """What every `.nam` holds, of a version that is known.

    Raises
    ------
    ExportError
        Not such a file: what is wrong with it, in one line.
    """
    file = validated(File, _parsed(path), path)
    check_version(file, path)
    return file


def check_version(file: File, path: Path) -> None:
    """That a file, or a model in it, is of a version that players read."""
    match = re.fullmatch(r"(\d+)\.(\d+)\.(\d+)", file.version)
    if match is None or (int(match[1]), int(match[2])) not in ((0, 5), (0, 6), (0, 7)):
        raise ExportError(
            f"{path}: is of version {file.version!r}, expected 0.5.0 to 0.7.x: export it again "
            "for a current player"
        )


def weights_of(file: File, count: int, path: Path) -> np.ndarray:
    """The weights of a file, float32: so many, and finite."""
    with np.errstate(over="ignore"):  # too large for float32: refused below
        weights = np.asarray(file.weights, np.float64).astype(np.float32)
    if len(weights) != count:
        raise ExportError(
            f"{path}: holds {len(weights)} weights, but its config needs {count}: the file is "
            "damaged or was edited, export it again"
        )
    if not np.isfinite(weights).all():
        raise ExportError(f"{path}: holds weights that are not finite: export it again")
    return weights


def _parsed(path):
    try:
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except FileNotFoundError:
        raise ExportError(f"{path}: no such file") from None
    except OSError as error:
        raise ExportError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise ExportError(
            f"{path}: is not a whole .nam file ({str(error).splitlines()[0]}): export or download "
            "it again"
        ) from None


def _refuse_constant(name):
    raise ValueError(f"{name} is no number in JSON")


def validated(model, data, path: Path, where: str = "", expected: str = "an A1 or A2 WaveNet"):
    """Data as a model of keys; what does not fit is said in one line."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        details = error.errors()[0]
        key = ".".join(str(part) for part in (where, *details["loc"]) if part != "")
        found = details.get("input")
        shown = f", found {found!r}" if isinstance(found, str | int | float | None) else ""
        raise ExportError(
            f"{path}: {key or 'the file'}: {details['msg']}{shown}: not {expected}'s"
        ) from None


def write_file(path: Path, content: dict) -> None:
    """Write a `.nam`, beside its final name first."""
    with replacing(Path(path)) as beside:
        beside.write_text(json.dumps(content, allow_nan=False) + "\n", encoding="utf-8")
