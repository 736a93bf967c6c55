"""The experiments of the documents, so small that they only show that they run and can tell."""

import importlib.util
import re
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "docs/experiments/experiments.py"


@pytest.fixture(scope="module")
def experiments():
    spec = importlib.util.spec_from_file_location("experiments", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    sys.modules["experiments"] = script  # its dataclasses look there
    spec.loader.exec_module(script)
    yield script
    del sys.modules["experiments"]


@pytest.fixture(scope="module")
def bench(experiments, tmp_path_factory):
    return experiments.Bench(tmp_path_factory.mktemp("experiments"), experiments.REDUCED)


def column(found, place):
    return {row[0]: float(row[place]) for row in found.table[1:]}


def drawn(found):
    return all(drawing.svg_file().count("<path") > 3 for drawing in found.figures.values())


def test_a_curve_is_learned_by_what_sees_little(experiments, bench):
    found = experiments.memoryless(bench)
    errors = column(found, 2)
    assert errors["net 1 after 300 minibatches"] < 0.6 * errors["the best straight line"]
    assert drawn(found)


def test_an_amp_is_not(experiments, bench):
    found = experiments.memory(bench)
    assert column(found, 5)["nano"] < 0.7 * column(found, 5)["net-1"]
    assert drawn(found)


def test_who_sees_more_errs_less(experiments, bench):
    found = experiments.receptive_field(bench)
    (row,) = found.table[1:]
    assert float(row[5]) < float(row[4])
    assert drawn(found)


def test_a_measured_cabinet_adds_no_error_to_the_amp_s(experiments, bench):
    found = experiments.cabinet(bench)
    what, error = found.table[2][:2]
    amp_alone = re.search(r"ESR ([\d.]+)", what)[1]
    assert float(error) < 1.2 * float(amp_alone)
    assert drawn(found)


def test_every_material_teaches_an_amp_on_which_guitar_was_never_played(experiments, bench):
    found = experiments.generalisation(bench)
    assert [row[1] for row in found.table[1:]] == list(experiments.MATERIALS)
    assert all(float(error) < 0.5 for row in found.table[1:] for error in row[3:])
    assert drawn(found)


def test_a_cabinet_behind_a_network_stands_where_it_was_measured(experiments):
    random = np.random.default_rng(0)
    di = random.standard_normal(20_000)
    taps = np.zeros(300)
    taps[48] = 1.0  # the kept response begins 1 ms ahead
    for delay in (0, 48, 70):
        response = np.concatenate([np.zeros(delay), di])[: len(di)]

        class Ir:
            samples = taps

        late = experiments._lag(di, response, Ir)
        behind = np.convolve(di, taps)
        assert np.allclose(experiments._shifted(behind, late, len(di)), response, atol=1e-9)


def test_every_material_is_a_signal_with_its_seconds_of_training(experiments):
    for material in experiments.MATERIALS:
        plan = experiments.material_plan(material, 8.0)
        seconds = sum(placed.segment.duration for placed in plan.used_for("train"))
        assert 7.9 < seconds < 10.5, material  # sweeps end with a silence for what rings


def test_the_page_has_every_table_and_figure(experiments):
    text = experiments.PAGE.read_text(encoding="utf-8")
    for name in experiments.EXPERIMENTS:
        assert experiments.written(text, name, [("a", "b"), ("1", "2")]).count("| 1 | 2 |") == 1
        assert f"({name}.svg)" in text
        assert (experiments.HERE / f"{name}.svg").is_file(), name
