"""A session at the amp: what was asked and heard once need not be asked and heard again.

The checklist is confirmed, and the quiet ramp played, once for a rig in a session. A session ends
after eight hours or with the computer, and a rig of which anything was changed, a knob or a
channel, is another rig: nobody knows what it does now.
"""

import contextlib
import datetime
import time
from pathlib import Path
from typing import Literal

from pydantic import Field

from profiler.definitions import Record, user_data_folder
from profiler.errors import DefinitionError

SESSION_HOURS = 8.0

Event = Literal["confirmed", "approached"]  # the checklist, the quiet ramp


class Session(Record):
    """What happened to one rig: `sessions/<conditions>.json` in the user's data folder."""

    schema_: Literal["ampscope.session/1"] = Field(default="ampscope.session/1", alias="schema")
    happened_utc: dict[Event, datetime.datetime]


def remember(conditions: str, event: Event) -> None:
    """Keep that something happened to the rig with this fingerprint, now."""
    now = datetime.datetime.now(datetime.UTC)
    Session(happened_utc=_load(conditions) | {event: now}).save(_path(conditions))


def happened(conditions: str, event: Event) -> bool:
    """Whether it happened to the rig with this fingerprint in this session."""
    at = _load(conditions).get(event)
    if at is None:
        return False
    seconds = (datetime.datetime.now(datetime.UTC) - at).total_seconds()
    # The monotonic clock of every system starts with the computer.
    return 0.0 <= seconds < min(SESSION_HOURS * 3600.0, time.monotonic())


def _load(conditions) -> dict[Event, datetime.datetime]:
    with contextlib.suppress(DefinitionError):  # absent, or damaged: then it is asked again
        return Session.load_json(_path(conditions)).happened_utc
    return {}


def _path(conditions) -> Path:
    return user_data_folder() / "sessions" / f"{conditions}.json"
