import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from profiler.capture.level import Meter
from profiler.cli.meter import BAR_WIDTH, bar, line
from profiler.definitions import shipped_folder

RATE = 48_000


@pytest.fixture
def wire(tmp_path):
    """The shipped wire behind an input gain."""

    def at(gain_db):
        text = (shipped_folder("rigs") / "wire.toml").read_text()
        path = tmp_path / "mine.toml"
        path.write_text(text.replace("[chain]", f"gain_db = {gain_db}\n[chain]"))
        return path

    return at


@pytest.mark.parametrize(
    ("gain_db", "said"),
    [
        (-6.0, "the level is right"),
        (-20.0, "raise the input gain by 13 dB"),
        (8.0, "clipped: lower the input gain by 10 dB"),
    ],
)
def test_says_what_to_turn_and_makes_no_take(gain_db, said, ampscope, wire):
    outcome = ampscope("capture", wire(gain_db), "--meter", "-o", "c", "--json")
    assert outcome.code == 0
    found = json.loads(outcome.out)
    assert found["schema"] == "ampscope.level/1"
    assert said in found["advice"]
    assert found["noise_rms_dbfs"] == pytest.approx(-100.0, abs=0.2)
    assert "return" in outcome.err
    assert not Path("c").exists()


def fed(peak):
    meter = Meter(RATE)
    rest = 1e-3 * np.random.default_rng(0).standard_normal(RATE)  # -60 dBFS
    meter.add(rest)
    meter.add(peak * np.sin(np.arange(14 * RATE) / 20))
    return meter


def shown(text):
    console = Console(width=200, color_system=None)
    with console.capture() as capture:
        console.print(text)
    return capture.get()


def test_the_bar_is_as_long_as_the_return_is_loud():
    half, whole = (shown(bar(fed(peak), 3.0)) for peak in (10 ** (-30.1 / 20), 0.98))
    assert half.count("━") + 1 == BAR_WIDTH // 2
    assert whole.count("━") + 1 == BAR_WIDTH
    assert "-30.1 dBFS, 30 dB to clipping" in half
    assert "raise the input gain by 23 dB  (3 s)" in half


def test_before_anything_was_heard_the_meter_says_so():
    assert "no noise" in shown(bar(Meter(RATE), 30.0))
    assert "quiet passages first" in line(Meter(RATE))


def test_a_line_says_the_same_where_there_is_no_terminal():
    assert line(fed(0.4)) == (
        "return   -8.0 dBFS, highest   -8.0 dBFS, noise  -60.0 dBFS: the level is right"
    )
