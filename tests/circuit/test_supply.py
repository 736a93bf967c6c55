import numpy as np

from profiler.circuit.supply import node, settle_node


def test_a_step_of_current_follows_the_closed_form_of_the_node():
    volts, ohms, farads, rate, drawn = 360.0, 4.7e3, 22e-6, 384_000.0, 8e-3
    supply = node(volts, ohms, farads, rate)
    state, course = volts, []
    for _ in range(100_000):
        state = settle_node(supply, state, drawn)
        course.append(state)
    seconds = np.arange(1, 100_001) / rate
    truth = volts - ohms * drawn * (1.0 - np.exp(-seconds / (ohms * farads)))
    # exact for a constant current but for rounding, a bit a step
    assert np.max(np.abs(np.array(course) - truth)) < 1e-8


def test_the_rate_changes_nothing():
    ends = []
    for rate in (44_100, 352_800):
        supply, state = node(360.0, 4.7e3, 22e-6, rate), 360.0
        for _ in range(rate // 10):
            state = settle_node(supply, state, 5e-3)
        ends.append(state)
    assert abs(ends[0] - ends[1]) < 1e-9
