"""Definitions (TOML, written by people) and records (JSON, written by us).

Both are frozen pydantic models that forbid keys they do not know, so a typing
mistake in a rig file is an error that names the file, the key and what is meant,
and never a setting that is silently not there.

A bare name (`standard`, `tweed`) is looked up in the user's own folder, then among
the shipped definitions; anything with a suffix or a slash is a path.
"""

import contextlib
import difflib
import json
import os
import tempfile
import tomllib
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, Self

import platformdirs
from pydantic import BaseModel, ConfigDict, ValidationError

from profiler.errors import DefinitionError, ProfilerError

Kind = Literal["signals", "rigs"]


class Record(BaseModel):
    """A frozen value that can be saved, loaded and looked at."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, serialize_by_alias=True
    )

    def save(self, path: Path) -> None:
        """Write as JSON, beside the final name first, then renamed."""
        with replacing(path) as beside:
            beside.write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load_json(cls, path: Path) -> Self:
        """Read a JSON record; a `DefinitionError` names what is wrong with it."""
        return cls.from_data(_read(path, json.loads), path)

    @classmethod
    def load_toml(cls, path: Path) -> Self:
        """Read a TOML definition; a `DefinitionError` names file, key and meaning."""
        return cls.from_data(_read(path, tomllib.loads), path)

    @classmethod
    def from_data(cls, data: object, path: Path) -> Self:
        """Validate what was read from `path`."""
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise DefinitionError(f"{path}: {_first_complaint(error, cls)}") from None


def find(kind: Kind, name: str) -> Path:
    """The definition file that a name or a path on the command line means.

    Raises
    ------
    DefinitionError
        Nothing of that name; the names that there are, nearest first, are listed.
    """
    path = Path(name)
    if path.suffix or "/" in name or os.sep in name:
        if not path.is_file():
            raise DefinitionError(f"{path}: no such file")
        return path
    known = available(kind)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or sorted(known)
        raise DefinitionError(
            f"no {kind[:-1]} is named {name!r}: there are {', '.join(near)}; a file needs its "
            "suffix or a slash"
        )
    return known[name]


def available(kind: Kind) -> dict[str, Path]:
    """Every definition by its bare name; the user's own hide shipped ones."""
    found: dict[str, Path] = {}
    for folder in (shipped_folder(kind), user_folder(kind)):
        if folder.is_dir():
            found |= {path.stem: path for path in sorted(folder.glob("*.toml"))}
    return found


def user_folder(kind: Kind) -> Path:
    """Where a user keeps definitions of her own."""
    return user_data_folder() / kind


def user_data_folder() -> Path:
    """The user's data folder (`AMPSCOPE_HOME`, else the platform's)."""
    home = os.environ.get("AMPSCOPE_HOME")
    return Path(home) if home else Path(platformdirs.user_data_dir("ampscope"))


def shipped_folder(kind: Kind) -> Path:
    """The shipped definitions: inside the package in a wheel, beside it in a checkout."""
    package = Path(__file__).parent
    inside = package / kind
    return inside if inside.is_dir() else package.parent / kind


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write to a file beside `path` that takes its place only when all went well."""
    beside = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix
        )
        os.close(handle)
        beside = Path(name)
        yield beside
        beside.chmod(0o666 & ~_umask())
        os.replace(beside, path)
    except OSError as error:
        raise ProfilerError(f"{path}: cannot be written ({error.strerror})") from error
    finally:
        if beside is not None:
            beside.unlink(missing_ok=True)


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _read(path, parse):
    try:
        return parse(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DefinitionError(f"{path}: no such file") from None
    except OSError as error:
        raise DefinitionError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise DefinitionError(f"{path}: is not text in UTF-8") from None
    except ValueError as error:  # both parsers' errors say line and column
        raise DefinitionError(f"{path}: {error}") from None


def _first_complaint(error, model):
    """One line about one thing pydantic found: key, what was found, what is meant.

    An unknown key comes first: it is most often the typing mistake by which another one
    is missing.
    """
    complaints = error.errors()
    unknown = [found for found in complaints if found["type"] == "extra_forbidden"]
    details = (unknown or complaints)[0]
    key = _key(model, details["loc"])
    owner = _owners(model, details["loc"][:-1])[0]
    known = {(field.alias or name): field for name, field in owner.model_fields.items()}
    name = str(details["loc"][-1]) if details["loc"] else ""
    if details["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        if near:
            return f"unknown key {key}: did you mean {near[0]} ({_meaning(known[near[0]])})?"
        return f"unknown key {key}: the keys here are {', '.join(known)}"
    meaning = f" ({_meaning(known[name])})" if name in known else ""
    if details["type"] == "missing":
        return f"{key} is missing{meaning}"
    found = details.get("input")
    shown = f", got {found!r}" if isinstance(found, str | int | float | bool | None) else ""
    message = details["msg"].removeprefix("Value error, ")
    return f"{key or 'the file'}{meaning}: {message}{shown}"


def _meaning(field):
    return field.description or "no description"


def _key(model, location):
    """The key as the file has it: pydantic also names the chosen member of a union."""
    named = [
        str(part)
        for depth, part in enumerate(location)
        if not any(_tags(owner, part) for owner in _owners(model, location[:depth]))
    ]
    return ".".join(named)


def _owners(model, location):
    """The model classes that a location inside `model` may point at."""
    current = [model]
    for part in location:
        nested = []
        for candidate in current:
            field = candidate.model_fields.get(str(part))
            if field is not None:
                nested += _models_in(field.annotation)
        # a list's index stays, a union's tag narrows
        current = nested or [c for c in current if _tags(c, part)] or current
    return current


def _tags(model, part):
    """Whether a discriminator of `model` (its kind or driver) says `part`."""
    tags = (model.model_fields.get(name) for name in ("kind", "driver"))
    return any(part in typing.get_args(tag.annotation) for tag in tags if tag is not None)


def _models_in(annotation):
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return [annotation] if issubclass(annotation, BaseModel) else []
    return [m for argument in typing.get_args(annotation) for m in _models_in(argument)]
