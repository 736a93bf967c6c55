import csv

import pytest

from profiler.analysis.tables import csv_text, tables
from profiler.definitions import Record


class Harmonic(Record):
    order: int
    level_db: float | None
    frequencies_hz: tuple[float, ...] = ()
    magnitude_db: tuple[float | None, ...] = ()


class Swept(Record):
    frequencies_hz: tuple[float, ...]
    phase_radians: tuple[float, ...]


class Whole(Record):
    name: str
    swept: Swept | None
    times_ms: dict[str, float | None]
    harmonics: tuple[Harmonic, ...] = ()
    warnings: tuple[str, ...] = ()


SWEPT = Swept(frequencies_hz=(20.0, 40.0), phase_radians=(0.0, -1.0))


def test_single_values_stand_under_their_dotted_keys():
    found = tables(Whole(name="amp", swept=None, times_ms={"-20": 5.5, "-60": None}))
    assert found == {
        "values": {
            "key": ["name", "swept", "times_ms.-20", "times_ms.-60"],
            "value": ["amp", None, 5.5, None],
        }
    }


def test_curves_of_one_record_stand_side_by_side():
    found = tables(Whole(name="amp", swept=SWEPT, times_ms={}))
    assert found["swept"] == {"frequencies_hz": [20.0, 40.0], "phase_radians": [0.0, -1.0]}


def test_records_are_rows_and_their_curves_tables_of_their_own():
    harmonics = (
        Harmonic(order=2, level_db=-40.0, frequencies_hz=(20.0,), magnitude_db=(None,)),
        Harmonic(order=3, level_db=None),
    )
    found = tables(Whole(name="amp", swept=SWEPT, times_ms={}, harmonics=harmonics))
    assert found["harmonics"] == {"order": [2, 3], "level_db": [-40.0, None]}
    assert found["harmonics.1.curves"] == {"frequencies_hz": [20.0], "magnitude_db": [None]}


def test_curves_of_different_lengths_do_not_share_a_table():
    class Two(Record):
        levels_dbfs: tuple[float, ...]
        seconds: tuple[float, ...]

    found = tables(Two(levels_dbfs=(0.0, 1.0), seconds=(0.0, 1.0, 2.0)))
    assert found["curves.levels_dbfs"] == {"levels_dbfs": [0.0, 1.0]}
    assert found["curves.seconds"] == {"seconds": [0.0, 1.0, 2.0]}


def test_every_number_of_a_record_is_in_a_table():
    harmonics = (Harmonic(order=2, level_db=-40.5, frequencies_hz=(21.5,), magnitude_db=(-3.5,)),)
    whole = Whole(name="amp", swept=SWEPT, times_ms={"-20": 5.5}, harmonics=harmonics)
    cells = {
        cell
        for table in tables(whole).values()
        for column in table.values()
        for cell in column
        if isinstance(cell, float)
    }
    assert cells == {-40.5, 21.5, -3.5, 20.0, 40.0, 0.0, -1.0, 5.5}


@pytest.mark.parametrize("cell", ["plain", "with, comma", 'with "quotes"', "two\nlines"])
def test_what_is_written_is_read_back(cell):
    read = list(csv.reader(csv_text({"head": [cell, 1.5, None]}).splitlines(keepends=True)))
    assert read == [["head"], [cell], ["1.5"], [""]]
