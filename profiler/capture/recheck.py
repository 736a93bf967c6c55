"""Does a take still agree with what is known of its interface and of its rig?

The reference tone of the take is measured and compared. On a loop with calibrated volts it must
come back as send and return say, on a loopback channel as in the last take of the same rig: within
0.2 dB, or a volume was moved since. Through the device it is compared with the last take of the
same rig too, which proves nothing: that may be the device.

What a take gave is remembered in the user's data folder, for the next take of the rig as it is set,
with the tone at the same level.
"""

import datetime
import hashlib
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from profiler import wav
from profiler.capture.calibration.reference import TOLERANCE_DB, ReferenceCheck, reference_check
from profiler.capture.folder import CaptureFolder
from profiler.definitions import Record, user_data_folder


class ReferenceGains(Record):
    """What the reference tone of a take came back as."""

    schema_: Literal["ampscope.reference/1"] = Field(default="ampscope.reference/1", alias="schema")
    rig: str
    return_gain_db: float  # peak re peak, of the whole chain
    loopback_gain_db: float | None
    created_utc: datetime.datetime  # of the take


@dataclass(frozen=True)
class Recheck:
    """The reference tone of a take against what is known; None where nothing is."""

    device: ReferenceCheck | None  # the return, against the last take: for information
    loop: ReferenceCheck | None  # a loop or the loopback channel: must hold
    since: datetime.datetime | None  # of the take that is compared with

    @property
    def holds(self) -> bool:
        """Whether no volume was moved, as far as can be told."""
        return self.loop is None or self.loop.holds

    @property
    def warning(self) -> str | None:
        """What to say of a loop that is not as it was."""
        if self.loop is None or self.loop.holds:
            return None
        return (
            f"the reference tone on the loop is {self.loop.deviation_db:+.2f} dB off what is known "
            f"of it (within {TOLERANCE_DB:g} dB expected): a volume was moved: set it back, or "
            "calibrate send and return again"
        )


def recheck(folder: CaptureFolder, delay_samples: float) -> Recheck:
    """Compare the reference tone of a take, and remember it for the next one.

    A take of a stimulus without the tone, or of files, is compared with nothing.
    """
    record = folder.record()
    plan, rig = record.plan, record.rig
    if rig.interface.driver == "file":
        return Recheck(None, None, None)
    recorded, _ = wav.read(folder.response_path, sample_rate=plan.sample_rate)

    def check(column, expected_gain_db):
        signal = recorded[:, column]
        return reference_check(plan, signal, delay_samples, expected_gain_db=expected_gain_db)

    measured = check(0, 0.0)
    if measured is None:
        return Recheck(None, None, None)
    has_loopback = rig.interface.loopback_channel is not None and recorded.shape[1] > 1
    loopback = check(1, 0.0) if has_loopback else None

    path = _path(rig, measured.expected_dbfs)
    known = ReferenceGains.load_json(path) if path.is_file() else None
    earlier = known if known is not None and known.created_utc < record.created_utc else None
    if known is None or earlier is not None:
        ReferenceGains(
            rig=rig.name,
            return_gain_db=measured.deviation_db,
            loopback_gain_db=None if loopback is None else loopback.deviation_db,
            created_utc=record.created_utc,
        ).save(path)

    loop = None
    if rig.chain.circuit == "wire" and record.levels is not None:
        loop = check(0, record.levels.loop_gain_db)
    elif loopback is not None and earlier is not None:
        loop = check(1, earlier.loopback_gain_db)
    if earlier is None:
        return Recheck(None, loop, None)
    return Recheck(check(0, earlier.return_gain_db), loop, earlier.created_utc)


def _path(rig, sent_dbfs):
    essence = f"{rig.model_dump_json()} {sent_dbfs:.3f}"
    name = f"reference-{hashlib.sha256(essence.encode()).hexdigest()[:16]}.json"
    return user_data_folder() / "calibrations" / name
