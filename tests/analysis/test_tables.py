import csv

import pytest
from pydantic import Field

from profiler.analysis.tables import SHORT, csv_text, tables
from profiler.definitions import Record


class Harmonic(Record):
    order: int
    level_db: tuple[float | None, ...]


class Swept(Record):
    name: str
    frequencies_hz: tuple[float, ...]
    thd_percent: tuple[float | None, ...]
    harmonics: tuple[Harmonic, ...] = ()


class Tone(Record):
    level_dbfs: float
    harmonics_dbfs: tuple[float | None, ...]


class Whole(Record):
    name: str
    swept: Swept | None = None
    times_ms: dict[str, float | None] = Field(default_factory=dict)
    sweeps: tuple[Swept, ...] = ()
    tones: tuple[Tone, ...] = ()
    warnings: tuple[str, ...] = ()


LONG = SHORT + 3
FREQUENCIES = tuple(20.5 + n for n in range(LONG))


def swept(name="up", offset=0.0):
    harmonics = (
        Harmonic(order=2, level_db=(None, *(-40.25 - offset for _ in range(LONG - 1)))),
        Harmonic(order=3, level_db=tuple(-50.25 - offset for _ in range(LONG))),
    )
    thd = tuple(n + 0.125 + offset for n in range(LONG))
    return Swept(name=name, frequencies_hz=FREQUENCIES, thd_percent=thd, harmonics=harmonics)


def test_single_values_stand_under_their_dotted_keys():
    assert tables(Whole(name="amp", times_ms={"-20": 5.5, "-60": None})) == {
        "values": {
            "key": ["name", "swept", "times_ms.-20", "times_ms.-60"],
            "value": ["amp", None, 5.5, None],
        }
    }


def test_curves_of_a_record_stand_beside_those_of_the_records_within_it():
    found = tables(Whole(name="amp", swept=swept()))
    assert list(found["swept"]) == [
        "frequencies_hz",
        "thd_percent",
        "harmonics.1.level_db",
        "harmonics.2.level_db",
    ]
    assert found["swept"]["frequencies_hz"] == list(FREQUENCIES)
    assert found["swept"]["harmonics.1.level_db"][:2] == [None, -40.25]
    assert found["swept.harmonics"] == {"order": [2, 3]}


def test_records_are_rows_and_each_has_a_table_of_its_curves():
    found = tables(Whole(name="amp", sweeps=(swept("up"), swept("down", 1.0))))
    assert found["sweeps"] == {"name": ["up", "down"]}
    assert found["sweeps.2"]["harmonics.2.level_db"][0] == -51.25
    assert set(found) == {"values", "sweeps", "sweeps.1", "sweeps.2"} | {
        "sweeps.1.harmonics",
        "sweeps.2.harmonics",
    }


def test_a_short_sequence_takes_columns_in_its_row():
    tones = (
        Tone(level_dbfs=-6.0, harmonics_dbfs=(-7.0, None)),
        Tone(level_dbfs=0.0, harmonics_dbfs=(-1.0, -30.0)),
    )
    assert tables(Whole(name="amp", tones=tones))["tones"] == {
        "level_dbfs": [-6.0, 0.0],
        "harmonics_dbfs.1": [-7.0, -1.0],
        "harmonics_dbfs.2": [None, -30.0],
    }


def test_curves_of_different_lengths_do_not_share_a_table():
    class Two(Record):
        levels_dbfs: tuple[float, ...]
        seconds: tuple[float, ...]

    found = tables(Two(levels_dbfs=(0.0, 1.0), seconds=(0.0, 1.0, 2.0)))
    assert found["levels_dbfs"] == {"levels_dbfs": [0.0, 1.0]}
    assert found["seconds"] == {"seconds": [0.0, 1.0, 2.0]}


def test_every_number_of_a_record_is_in_a_table_once():
    whole = Whole(
        name="amp",
        swept=swept(),
        sweeps=(swept("a", 2.0), swept("b", 3.0)),
        times_ms={"-20": 5.5},
        tones=(Tone(level_dbfs=-6.5, harmonics_dbfs=(-7.5, -8.5)),),
        warnings=("one", "two"),
    )
    cells = [c for t in tables(whole).values() for column in t.values() for c in column]
    assert sorted(c for c in cells if isinstance(c, float)) == sorted(_floats(whole.model_dump()))


def _floats(node):
    if isinstance(node, float):
        yield node
    for child in node.values() if isinstance(node, dict) else node if _several(node) else ():
        yield from _floats(child)


def _several(node):
    return isinstance(node, (list, tuple))


@pytest.mark.parametrize("cell", ["plain", "with, comma", 'with "quotes"', "two\nlines"])
def test_what_is_written_is_read_back(cell):
    read = list(csv.reader(csv_text({"head": [cell, 1.5, None]}).splitlines(keepends=True)))
    assert read == [["head"], [cell], ["1.5"], [""]]
