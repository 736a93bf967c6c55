"""`ampscope settle` on a short signal, and what it says of it."""

import csv
import json

import pytest

SIGNAL = """
name = "short"
[[segments]]
name = "A440"
kind = "burst"
use = "analyse"
level_dbfs = -6
before_seconds = 0.3
tone_seconds = 1.0
after_seconds = 0.5
[[segments]]
name = "pump"
kind = "pump"
use = "analyse"
level_dbfs = -6
before_seconds = 0.4
tone_seconds = 0.6
after_seconds = 0.6
"""


@pytest.fixture
def short(ampscope):
    """The folder of a take of the simulated amp."""
    with open("short.toml", "w", encoding="utf-8") as file:
        file.write(SIGNAL)
    assert ampscope("settle", "tweed", "--signal", "./short.toml", "-o", "take", "-y").code == 0
    return "take"


def test_a_capture_is_read_in_tables_and_sentences(ampscope, short):
    outcome = ampscope("settle", short)
    assert outcome.code == 0
    for words in (
        "settling, ms",
        "rest, ms",
        "time constants, ms",
        "-6 dBFS for 600 ms",
        "memory: ",
        "recommended receptive field: ",
        "nano, feather, lite, standard (4093 samples, 85 ms)",
        "A2 (6347 samples, 132 ms)",
    ):
        assert words in outcome.out, words


def test_one_json_object_holds_all_of_it(ampscope, short):
    record = json.loads(ampscope("settle", short, "--json").out)
    assert record["schema"] == "ampscope.settle/2"
    (burst,) = record["bursts"]
    (pump,) = record["recoveries"]
    # what the simulated amp's screen supply does: 4.7 kohm and 22 uF, with what the tubes draw
    assert 55.0 < burst["settling"]["constants"][-1]["tau_ms"] < 85.0
    assert 55.0 < pump["recovering"]["constants"][-1]["tau_ms"] < 85.0
    assert record["receptive_field_samples"] == record["receptive_field"]["samples"]
    assert pump["recovery_ms"] > 100.0


def test_a_table_and_a_picture_are_written_and_never_over_one_that_is_there(ampscope, short):
    outcome = ampscope("settle", short, "--csv", "a.csv", "--png", "a.png")
    assert outcome.code == 0
    with open("a.csv", encoding="utf-8") as file:
        assert [row["kind"] for row in csv.DictReader(file)] == ["burst", "pump"]
    with open("a.png", "rb") as file:
        assert file.read(4) == b"\x89PNG"
    refused = ampscope("settle", short, "--csv", "a.csv")
    assert refused.code == 1
    assert "a.csv: is already there" in refused.complaint
    assert ampscope("settle", short, "--csv", "a.csv", "-y").code == 0


def test_a_capture_without_a_burst_is_refused_with_what_to_capture(ampscope):
    assert ampscope("capture", "wire", "--signal", "latency", "-o", "w", "-y").code == 0
    outcome = ampscope("settle", "w")
    assert outcome.code == 1
    assert "holds no burst" in outcome.complaint
    assert "capture settling" in outcome.complaint
