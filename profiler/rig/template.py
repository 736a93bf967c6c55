"""A new rig from a few questions: what `rig new` asks, and the file it writes.

The file is `rigs/hardware.toml.in` with the answers filled in, comments and all: it is
meant to be read and changed by hand afterwards.
"""

import json
import math
import re
import tomllib
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template

from profiler.definitions import shipped_folder
from profiler.errors import DefinitionError
from profiler.rig.rig import GearType, Rig


@dataclass(frozen=True)
class Question:
    """One question: the key its answer goes by, what is asked, and what is meant."""

    key: str
    prompt: str
    default: str
    help: str


QUESTIONS = (
    Question("name", "Name of the rig", "my-amp", "how you will call it: ampscope profile NAME"),
    Question("description", "What is it, in a line", "", "for yourself; may stay empty"),
    Question("make", "Who built the amp or pedal", "", "the maker; may stay empty"),
    Question("model", "What is it called", "", "the model; may stay empty"),
    Question("gear_type", "What is in the chain", "amp", ", ".join(typing.get_args(GearType))),
    Question(
        "controls",
        "Where do the knobs stand",
        "",
        "name=position, separated by commas: gain=5, bass=4.5, channel=lead",
    ),
    Question(
        "load",
        "What is the amp connected to",
        "",
        "speaker or load box, and its impedance; an amp without one is destroyed",
    ),
    Question(
        "device",
        "Name of the audio interface",
        "",
        "or a part of the name that only it has; `ampscope devices` lists them",
    ),
    Question("host_api", "Host API", "", "ALSA, JACK, ASIO, ...; empty where only one has it"),
    Question("send_channel", "Output channel to the amp", "1", "counted from 1"),
    Question("return_channel", "Input channel from the amp", "1", "counted from 1"),
    Question(
        "loopback_channel",
        "Input channel wired straight to the send",
        "",
        "a second cable from the send to a spare input: the best alignment; empty for none",
    ),
    Question("sample_rate", "Sample rate in Hz", "48000", "44100, 48000, 88200, 96000 or 192000"),
    Question(
        "maximum_send_dbfs",
        "Ceiling in dBFS",
        "-12",
        "no sample above it is ever played; raise it once you know what the amp is sent",
    ),
    Question(
        "maximum_send_dbu",
        "Ceiling in dBu",
        "",
        "the same in volts, for a send that is calibrated; empty for none",
    ),
    Question(
        "lowest_sweep_hz",
        "Lowest frequency in Hz",
        "20",
        "20 for a load box, 60 to 80 for a speaker: what is lower is never played",
    ),
)


def fill(answers: Mapping[str, str]) -> str:
    """The text of a rig file, commented, from answers as they were typed.

    An unanswered question takes its default. The result is a rig that can be loaded.

    Raises
    ------
    ValueError
        An answer to a question that is not asked.
    DefinitionError
        An answer that cannot be meant: the message names its key.
    """
    unasked = sorted(set(answers) - {question.key for question in QUESTIONS})
    if unasked:
        raise ValueError(f"got answers to questions that are not asked: {', '.join(unasked)}")
    typed = {q.key: answers.get(q.key, q.default).strip() for q in QUESTIONS}
    template = Template((shipped_folder("rigs") / "hardware.toml.in").read_text(encoding="utf-8"))
    text = template.substitute({key: _written(key, answer) for key, answer in typed.items()})
    Rig.from_data(tomllib.loads(text), Path("the new rig"))
    return text


def _written(key, answer):
    """An answer as the template takes it: a value, or lines of their own."""
    match key:
        case "name" | "device" if not answer:
            raise DefinitionError(f"{key}: expected a name, got an empty answer")
        case "controls":
            return "\n".join(f"{_key(k)} = {v}" for k, v in _controls(answer))
        case "host_api":
            return f"host_api = {_string(answer)}" if answer else '# host_api = "ALSA"'
        case "loopback_channel":
            return f"{key} = {_number(key, answer, int)}" if answer else f"# {key} = 2"
        case "send_channel" | "return_channel" | "sample_rate":
            return _number(key, answer, int)
        case "maximum_send_dbu":
            return f"{key} = {_number(key, answer, float)}" if answer else f"# {key} = 4"
        case "maximum_send_dbfs" | "lowest_sweep_hz":
            return _number(key, answer, float)
    return _string(answer)


def _number(key, answer, kind):
    try:
        number = kind(answer)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        meant = "a whole number" if kind is int else "a number"
        raise DefinitionError(f"{key}: expected {meant}, got {answer!r}")
    return str(number)


def _controls(answer):
    """`gain=5, channel=lead` as pairs of a name and a TOML value."""
    seen = set()
    for part in filter(None, map(str.strip, answer.split(","))):
        name, equals, position = map(str.strip, part.partition("="))
        if not (name and equals and position):
            raise DefinitionError(f"controls: expected name=position, got {part!r}")
        if name in seen:
            raise DefinitionError(f"controls: {name!r} is there twice")
        seen.add(name)
        yield name, position if _NUMBER.fullmatch(position) else _string(position)


_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?")


def _key(name):
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _string(name)


def _string(text):
    # JSON's strings are TOML's, but for one control character that JSON leaves as it is
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
