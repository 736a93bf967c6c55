import os
from pathlib import Path

import numpy as np
import pytest

from benchmarks import recorded_guitar_check
from benchmarks.recorded_guitar import recorded_guitar
from benchmarks.recorded_guitar_check import main, newest_model, response_of
from profiler.analysis.error import esr
from profiler.capture.folder import CaptureFolder
from profiler.rig.rig import load_rig


@pytest.mark.parametrize(("gain_db", "polarity"), [(0.0, 1), (-6.0, -1)])
def test_the_round_trip_is_taken_out_and_gain_and_polarity_are_left(gain_db, polarity):
    rig = load_rig("wire")
    settings = {"gain_db": gain_db, "polarity": polarity, "round_trip_samples": 777.25}
    rig = rig.model_copy(update={"interface": rig.interface.model_copy(update=settings)})
    guitar = recorded_guitar(4.0, 1, level_dbfs=-11.0)
    expected = polarity * 10 ** (gain_db / 20) * guitar
    # What is left is the converters' AC coupling (2 Hz) and noise; a tenth of a sample of
    # delay more would be an ESR of 3e-4 or above.
    assert esr(expected, response_of(rig, guitar)) < 1e-4


def test_a_rig_that_cannot_be_simulated_here_is_refused():
    rig = load_rig("wire")
    faster = rig.interface.model_copy(update={"sample_rate": 96_000})
    with pytest.raises(ValueError, match="expected a simulated rig at 48000 Hz"):
        response_of(rig.model_copy(update={"interface": faster}), np.zeros(10))


@pytest.mark.parametrize(("worst", "exit_code"), [(0.019, 0), (0.021, 1)])
def test_the_worst_level_decides(monkeypatch, capsys, worst, exit_code):
    monkeypatch.setattr(recorded_guitar_check, "check", lambda *_, **__: {-1.0: 1e-3, -11.0: worst})
    assert main(["model.nam", "tweed", "--limit", "0.02"]) == exit_code
    assert f"peak -11 dBFS  ESR {worst:.5f}" in capsys.readouterr().out


def test_the_newest_export_of_a_capture_is_judged(tmp_path):
    folder = CaptureFolder(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no \.nam is exported"):
        newest_model(folder)
    for age, name in enumerate(["nano", "lite"]):
        path = Path(folder.models_path, name, "exports", "model.nam")
        path.parent.mkdir(parents=True)
        path.write_text("")
        os.utime(path, (1000 - age, 1000 - age))
    assert newest_model(folder).parts[-3] == "nano"
