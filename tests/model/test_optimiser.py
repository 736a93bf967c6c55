import numpy as np
import pytest

from profiler.model.optimiser import (
    LARGEST_GRADIENT,
    Soap,
    averaged,
    clipped,
    one_cycle,
    optimiser_of,
)
from profiler.model.wavenet import ARCHITECTURES

ROWS, COLUMNS = 4, 6


def quadratic(seed):
    """sum (A W B - C)^2 over a matrix, plus (v - d)^2 over a vector: value and gradient."""
    random = np.random.default_rng(seed)
    a = random.standard_normal((ROWS, ROWS)) * np.logspace(0, 1, ROWS)  # badly conditioned
    b = random.standard_normal((COLUMNS, COLUMNS))
    wanted = random.standard_normal((ROWS, COLUMNS))
    vector = random.standard_normal(3)

    def of(weights):
        w, v = weights[: ROWS * COLUMNS].reshape(ROWS, COLUMNS), weights[ROWS * COLUMNS :]
        error = a @ (w - wanted) @ b
        gradient = 2 * a.T @ error @ b.T
        value = np.sum(error**2) + np.sum((v - vector) ** 2)
        return value, np.concatenate([gradient.ravel(), 2 * (v - vector)]).astype(np.float32)

    return of, np.concatenate([wanted.ravel(), vector])


def minimised(optimiser, function, steps=1500):
    weights = np.zeros(ROWS * COLUMNS + 3, np.float32)
    for step in range(steps):
        _, gradient = function(weights)
        weights = weights + optimiser.step(gradient, 0.05 * one_cycle(step / steps, 0.05))
    return weights


def test_soap_finds_the_minimum_of_a_quadratic():
    function, minimum = quadratic(0)
    found = minimised(Soap([(0, ROWS, COLUMNS)], len(minimum)), function)
    assert found == pytest.approx(minimum, abs=0.01)


def test_soap_gets_closer_in_the_same_steps_than_adam():
    function, minimum = quadratic(0)
    soap = minimised(Soap([(0, ROWS, COLUMNS)], len(minimum)), function, 300)
    adam = minimised(Soap([], len(minimum)), function, 300)  # nothing but vectors is Adam
    assert function(soap)[0] < 0.5 * function(adam)[0]


def test_restored_soap_goes_on_as_if_nothing_had_happened():
    function, minimum = quadratic(1)
    weights = np.zeros(len(minimum), np.float32)
    optimiser = Soap([(0, ROWS, COLUMNS)], len(minimum))
    for _ in range(25):
        weights = weights + optimiser.step(function(weights)[1], 0.01)
    saved = {name: array.copy() for name, array in optimiser.state().items()}
    again = Soap([(0, ROWS, COLUMNS)], len(minimum))
    again.restore(25, saved)
    gradient = function(weights)[1]
    assert np.array_equal(optimiser.step(gradient, 0.01), again.step(gradient, 0.01))


def test_every_matrix_of_a_network_is_preconditioned():
    config = ARCHITECTURES["standard"]
    state = optimiser_of(config).state()
    assert state["16x48.mean"].shape == (10, 16, 48)
    assert state["8x24.mean"].shape == (10, 8, 24)
    assert state["16x16.mean"].shape == (10, 16, 16)
    assert state["8x16.mean"].shape == (2, 8, 16)  # head of the first, rechannel of the second


def test_the_schedule_rises_to_its_peak_and_falls_to_a_hundredth():
    rates = np.array([one_cycle(fraction, 0.05) for fraction in np.linspace(0, 1, 1001)])
    assert rates[0] == pytest.approx(0.1)
    assert np.argmax(rates) == 50
    assert rates.max() == pytest.approx(1.0)
    assert np.all(np.diff(rates[51:]) < 0)
    assert rates[-1] == pytest.approx(0.01)


def test_a_schedule_without_a_warm_up_begins_at_its_peak():
    assert one_cycle(0.0, 0.0) == 1.0
    assert one_cycle(0.5, 0.0) == pytest.approx(0.505)


def test_the_average_of_constant_weights_is_soon_those_weights():
    average = np.zeros(2, np.float32)
    for step in range(1, 401):
        average = averaged(average, np.ones(2, np.float32), step)
    assert average == pytest.approx(np.ones(2), abs=1e-3)


def test_a_gradient_is_shortened_but_keeps_its_direction():
    long, short = np.array([30.0, 40.0], np.float32), np.array([0.03, 0.04], np.float32)
    assert np.linalg.norm(clipped(long)) == pytest.approx(LARGEST_GRADIENT)
    assert clipped(long)[1] / clipped(long)[0] == pytest.approx(4 / 3)
    assert np.array_equal(clipped(short), short)
