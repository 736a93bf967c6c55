"""What is known of an interface's levels: records, and what follows from them.

`basis` says where a level comes from: a `meter` (good to 0.1 dB) or the `nominal` value of a data
sheet (good to a decibel). What follows from a nominal level is nominal too.
"""

import datetime
from typing import Literal

from pydantic import Field

from profiler.definitions import Record

Basis = Literal["meter", "nominal"]
UNCERTAINTY_DB: dict[Basis, float] = {"meter": 0.1, "nominal": 1.0}


class MeterReading(Record):
    """What a voltmeter said of a sine of known peak."""

    level_dbfs: float  # peak of the sine that was played
    level_dbu: float  # RMS, as the meter had it


class SendCalibration(Record):
    """The level of an output."""

    schema_: Literal["ampscope.send/1"] = Field(default="ampscope.send/1", alias="schema")
    conditions: dict[str, str | int | float | None]
    dbu_at_full_scale: float  # RMS of the sine whose peak is 0 dBFS
    basis: Basis
    uncertainty_db: float
    readings: tuple[MeterReading, ...] = ()
    created_utc: datetime.datetime


class ReturnCalibration(Record):
    """The level of an input, at one position of its gain knob."""

    schema_: Literal["ampscope.return/1"] = Field(default="ampscope.return/1", alias="schema")
    conditions: dict[str, str | int | float | None]
    dbu_at_full_scale: float  # RMS of the sine that is recorded with a peak of 0 dBFS
    basis: Basis  # of the send that it was measured by
    uncertainty_db: float
    loop_gain_db: float | None = None  # of the cable; None for a data sheet's level
    clip_dbfs: float | None = None  # recorded peak at which it clips; None: it was not reached
    highest_clean_dbfs: float | None = None  # the highest recorded peak that did not clip
    headroom_db: float | None = None  # from the -12 dBFS of the reference tone to the clip point
    created_utc: datetime.datetime

    @property
    def gain_position(self) -> str | None:
        """Of the input's gain knob, where it was named."""
        position = self.conditions.get("gain_position")
        return None if position is None else str(position)

    @property
    def clip_dbu(self) -> float | None:
        """Level of a sine at the jack whose peak just clips."""
        return None if self.clip_dbfs is None else self.dbu_at_full_scale + self.clip_dbfs


class LevelCalibration(Record):
    """What was known of an interface's levels when a take was made."""

    send: SendCalibration | None = None
    return_: ReturnCalibration | None = Field(default=None, alias="return")

    @property
    def input_level_dbu(self) -> float | None:
        """Level into the device of a sine whose peak in the stimulus is 0 dBFS.

        A stimulus holds the samples as they were played, its plan's gain included, so the level
        of 1.0 is the send's, however loud a take was.
        """
        return None if self.send is None else self.send.dbu_at_full_scale

    @property
    def output_level_dbu(self) -> float | None:
        """Level out of the device of a sine that is recorded with a peak of 0 dBFS."""
        return None if self.return_ is None else self.return_.dbu_at_full_scale

    @property
    def loop_gain_db(self) -> float | None:
        """Of a cable from send to return, as it was measured; two data sheets do not tell it."""
        return None if self.return_ is None else self.return_.loop_gain_db
