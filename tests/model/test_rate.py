import time

import pytest

from profiler import kernels
from profiler.model.rate import measure_rate, torch_summary
from profiler.model.training import TrainingOptions


def test_the_rate_is_that_of_the_steps_it_takes():
    steps = 12
    begun = time.perf_counter()
    rate = measure_rate("nano", steps)
    took = time.perf_counter() - begun
    options = TrainingOptions()
    # the steps but the first took at most all the time, and most of it
    least = (steps - 1) * options.window * options.batch / took
    assert least < rate < 10 * least


def test_a_larger_network_is_slower():
    assert measure_rate("nano", 6) > measure_rate("standard", 6)


def test_one_step_is_no_rate():
    with pytest.raises(ValueError, match="got 1"):
        measure_rate("nano", 1)


def test_torch_is_told_with_its_version_and_cores():
    assert "2." in torch_summary()
    assert "core" in torch_summary()


def test_the_engine_is_told(monkeypatch):
    if kernels.available():
        assert kernels.paths()[0] in torch_summary()
    monkeypatch.setattr(kernels, "_loaded", lambda: "the native kernels were left out")
    assert "were left out" in torch_summary()
