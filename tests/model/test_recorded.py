import numpy as np
import pytest

from profiler import kernels
from profiler.model import engine, recorded, training
from profiler.model.architectures import architecture
from profiler.model.engine import engine_for, pass_for, passes_for
from profiler.model.recorded import RecordedPass
from profiler.model.training import TrainingOptions, train

NAMES = ["nano", "standard", "a2-lite", "lstm-8x2", "dense-20-8-4"]


def recorded_pass(name, outputs, windows):
    config = architecture(name)
    return RecordedPass(config, engine._EVALUATE[type(config)], outputs, windows=windows)


@pytest.mark.parametrize("name", NAMES)
def test_several_windows_at_a_time_are_what_each_is_alone(name):
    config = architecture(name)
    weights = config.initial_weights(1)
    together, alone = recorded_pass(name, 700, 3), pass_for("torch", config, 700)
    random = np.random.default_rng(0)
    x = random.standard_normal((3, together.inputs)).astype(np.float32)
    slopes = random.standard_normal((3, 700)).astype(np.float32)
    output, gradient = together.forward(weights, x), together.backward(slopes)
    assert (together.inputs, together.windows) == (alone.inputs, 3)
    expected = np.zeros_like(gradient)
    for window in range(3):
        one = alone.forward(weights, x[window : window + 1])
        assert np.max(np.abs(output[window] - one[0])) < 1e-5
        expected += alone.backward(slopes[window : window + 1])
    if name.startswith(("nano", "standard", "a2")):  # the head scale is not trained
        assert gradient[-1] == expected[-1] == 0.0
    assert np.linalg.norm(gradient - expected) < 1e-5 * np.linalg.norm(expected)


def test_other_weights_and_fewer_windows_leave_nothing_behind():
    run, fresh = recorded_pass("nano", 50, 3), recorded_pass("nano", 50, 3)
    config = architecture("nano")
    x = np.random.default_rng(0).standard_normal((3, run.inputs)).astype(np.float32)
    run.forward(config.initial_weights(0), x)
    run.backward(np.ones((3, 50), np.float32))
    weights = config.initial_weights(1)
    again, first = (each.forward(weights, x[:2]).copy() for each in (run, fresh))
    assert np.array_equal(again, first)
    slope = np.ones((2, 50), np.float32)
    assert np.array_equal(run.backward(slope), fresh.backward(slope))


@pytest.mark.parametrize("name", ["nano", "lstm-8"])
def test_a_batch_at_a_time_trains_as_a_window_at_a_time_does(name, capture, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "PROGRESS_SECONDS", 0.0)
    chosen = TrainingOptions(
        architecture=name, minutes=None, steps=8, window=2048, batch=3, learning_rate=5e-3
    )
    courses = []
    for passes in (passes_for, lambda *a: [recorded_pass(name, 2048, 3)]):
        monkeypatch.setattr(training, "passes_for", passes)
        seen = []
        train([capture], tmp_path / str(len(courses)), chosen, on_progress=seen.append)
        courses.append([progress.training_loss for progress in seen[:-1]])
    assert courses[0][0] == pytest.approx(courses[1][0], rel=1e-6)
    assert courses[0] == pytest.approx(courses[1], rel=5e-3)


@pytest.fixture
def card(monkeypatch):
    """A machine with a card, as far as the choice of an engine can see."""

    def put(name):
        monkeypatch.setattr(engine.recorded, "device", lambda: name)

    monkeypatch.setattr(engine.recorded, "device_name", lambda on: f"a card by {on}")
    return put


def test_a_graphics_card_takes_the_batch_as_a_whole(card, monkeypatch):
    made = []
    monkeypatch.setattr(engine, "RecordedPass", lambda *a, **how: made.append(how))
    config = architecture("nano")
    card("cuda")
    passes_for("torch", config, 100, 4, 16)
    assert made == [{"windows": 4, "on": "cuda"}]
    card("cpu")
    assert len(passes_for("torch", config, 100, 4, 3)) == 3
    assert len(made) == 1


def test_a_graphics_card_is_named_and_taken_where_it_is_faster(card):
    small, large, no_wavenet = map(architecture, ("nano", "standard", "lstm-16"))
    by_cuda, by_mps = ("torch", "on a card by cuda"), ("torch", "on a card by mps")
    card("cuda")
    assert engine_for(large) == engine_for(no_wavenet) == engine_for(small, "torch") == by_cuda
    card("mps")
    assert engine_for(no_wavenet) == engine_for(large, "torch") == by_mps
    if kernels.available():
        assert engine_for(large) == ("native", "")
        card("cuda")
        assert engine_for(small) == engine_for(large, "native") == ("native", "")


@pytest.mark.hardware
@pytest.mark.parametrize("name", NAMES)
def test_a_graphics_card_computes_what_the_processor_does(name):
    card = recorded.device()
    config = architecture(name)
    weights = config.initial_weights(1)
    evaluate = engine._EVALUATE[type(config)]
    runs = [RecordedPass(config, evaluate, 700, windows=3, on=on) for on in (card, "cpu")]
    random = np.random.default_rng(0)
    for windows in (3, 2, 3):
        weights = weights * np.float32(0.9)
        x = random.standard_normal((windows, runs[0].inputs)).astype(np.float32)
        slopes = random.standard_normal((windows, 700)).astype(np.float32)
        outputs = [run.forward(weights, x) for run in runs]
        gradients = [run.backward(slopes) for run in runs]
        assert np.max(np.abs(outputs[0] - outputs[1])) < 1e-5
        error = np.linalg.norm(gradients[0] - gradients[1])
        assert error < 5e-5 * np.linalg.norm(gradients[1])  # shorter formats: 1e-3
