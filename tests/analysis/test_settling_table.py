import csv
import io

import numpy as np
import pytest

from profiler.analysis.settling import settling
from profiler.analysis.settling_table import settling_csv
from profiler.capture.alignment import AlignedCapture, Alignment
from profiler.stimulus.plan import load_signal
from profiler.stimulus.synthesis import render


@pytest.fixture(scope="module")
def analysis():
    """Of a sag of 50 ms, two bursts and two pumps."""
    definition = load_signal("settling")
    kept = ("A440 soft", "A440 hard", "pump soft", "pump hard")
    segments = tuple(s for s in definition.segments if s.name in kept)
    plan = definition.model_copy(update={"segments": segments}).plan(48_000)
    response = render(plan).astype(np.float64)
    for placed in plan.of_kind("burst"):
        t = np.arange(placed.stop - placed.start) / 48_000 - placed.segment.before_seconds
        response[placed.slice] *= 1 + 0.3 * np.exp(-np.maximum(t, 0) / 0.05)
    alignment = Alignment(
        delay_samples=0.0,
        sigma_samples=0.0,
        polarity=1,
        reference="given",
        drift_ppm=None,
        markers=(),
    )
    return settling(AlignedCapture(plan, alignment, render(plan), response.astype(np.float32)))


def test_every_burst_and_pump_has_a_row_and_every_number_its_column(analysis):
    rows = list(csv.DictReader(io.StringIO(settling_csv(analysis))))
    assert [row["kind"] for row in rows] == ["burst", "burst", "pump", "pump"]
    assert [float(row["level_dbfs"]) for row in rows] == [-33.0, -3.0, -18.0, -3.0]
    for row, burst in zip(rows, analysis.bursts, strict=False):
        assert float(row["settling_ms.-40"]) == burst.settling_ms["-40"]
        assert float(row["settling.constants.1.tau_ms"]) == burst.settling.constants[0].tau_ms
        assert row["recovery_ms"] == ""
    assert [row["recovery_ms"] for row in rows[2:]] == ["0.0", "0.0"]
    assert rows[2]["settling_ms.-40"] == ""


def test_the_columns_of_one_measure_stand_together(analysis):
    heads = settling_csv(analysis).splitlines()[0].split(",")
    tops = [head.split(".")[0] for head in heads]
    assert len(set(tops)) == sum(
        first != second for first, second in zip(tops, [*tops[1:], None], strict=True)
    )
