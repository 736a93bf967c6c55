import numpy as np
import pytest

from profiler import kernels
from profiler.errors import TrainingError
from profiler.model import training
from profiler.model.architectures import architecture
from profiler.model.engine import engine_for, pass_for
from profiler.model.training import ModelSpec, TrainingOptions, train
from profiler.model.wavenet import A2, ARCHITECTURES, LayerArray, WaveNetConfig, initial_weights

NANO = ARCHITECTURES["nano"]
TWO_CONDITIONS = WaveNetConfig((LayerArray(1, 4, 1, (1, 2), condition_size=2),))

with_kernels = pytest.mark.skipif(not kernels.available(), reason=str(kernels.why_not()))


@pytest.fixture
def no_kernels(monkeypatch):
    monkeypatch.setattr(kernels, "_loaded", lambda: "the native kernels were left out")


@with_kernels
def test_the_native_kernels_serve_where_they_can():
    assert engine_for(NANO) == ("native", "")
    assert engine_for(NANO, "torch").name == "torch"
    engine = engine_for(TWO_CONDITIONS)
    assert engine.name == "torch"
    assert "cannot train this network" in engine.reason


def test_torch_serves_where_they_were_not_built_and_says_why(no_kernels):
    assert engine_for(NANO) == ("torch", "slower: the native kernels were left out")


def test_kernels_that_are_asked_for_and_not_there_are_refused(no_kernels):
    with pytest.raises(TrainingError, match="were left out; --engine torch trains"):
        engine_for(NANO, "native")


@with_kernels
@pytest.mark.parametrize("name", [*ARCHITECTURES, *A2])
def test_both_engines_have_one_output_and_one_gradient(name):
    config = architecture(name)
    weights = initial_weights(config, 1)
    random = np.random.default_rng(0)
    results = []
    for engine in ("native", "torch"):
        run = pass_for(engine, config, 500)
        random = np.random.default_rng(0)
        output = run.forward(weights, random.standard_normal((1, run.inputs)).astype(np.float32))
        gradient = run.backward(random.standard_normal((1, 500)).astype(np.float32))
        results.append((output.copy(), gradient))
    (native, native_gradient), (torch, torch_gradient) = results
    assert np.max(np.abs(native - torch)) < 1e-5
    error = np.linalg.norm(native_gradient - torch_gradient)
    assert error < 1e-5 * np.linalg.norm(torch_gradient)
    assert native_gradient[-1] == torch_gradient[-1] == 0.0


@with_kernels
@pytest.mark.parametrize("name", ["nano", "standard"])
def test_both_engines_train_alike(name, capture, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "PROGRESS_SECONDS", 0.0)
    courses = {}
    for engine in ("native", "torch"):
        options = TrainingOptions(
            architecture=name,
            minutes=None,
            steps=8,
            window=2048,
            learning_rate=5e-3,
            engine=engine,
        )
        seen = []
        train([capture], tmp_path / engine, options, on_progress=seen.append)
        assert ModelSpec.load_json(tmp_path / engine / "spec.json").engine == engine
        courses[engine] = [progress.training_loss for progress in seen[:-1]]
    native, torch = courses["native"], courses["torch"]
    assert len(native) == 7
    # The first loss is one rounding apart. The first step of an Adam is of one size whatever
    # the gradient, so that one near 0, all rounding, turns about as often as not.
    assert native[0] == pytest.approx(torch[0], rel=1e-6)
    assert native == pytest.approx(torch, rel=5e-3)


@with_kernels
def test_a_training_goes_on_by_the_engine_it_was_begun_with(capture, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "PROGRESS_SECONDS", 0.0)
    options = TrainingOptions(architecture="nano", minutes=None, steps=6, window=2048)
    with monkeypatch.context() as without:
        without.setattr(kernels, "_loaded", lambda: "the native kernels were left out")
        begun = train([capture], tmp_path / "m", options, on_progress=_interrupt)
    assert begun.spec.engine == "torch"
    assert not begun.finished
    ended = train([capture], tmp_path / "m", options)
    assert ended.finished
    assert ended.spec.engine == "torch"


def _interrupt(progress):
    raise KeyboardInterrupt
