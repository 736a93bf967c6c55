import numpy as np

from profiler.capture.silences import silences

RATE = 1000


def test_silences_are_found_to_the_sample():
    stimulus = np.ones(1000)
    stimulus[100:300] = 0.0
    stimulus[900:] = 0.0
    assert silences(stimulus, RATE) == [slice(100, 300), slice(900, 1000)]


def test_a_short_pause_is_none():
    stimulus = np.ones(1000)
    stimulus[100:170] = 0.0
    assert silences(stimulus, RATE) == []
    assert silences(stimulus, RATE, shortest_seconds=0.07) == [slice(100, 170)]


def test_the_dither_of_a_file_is_silence():
    stimulus = np.ones(1000)
    stimulus[100:300] = 2.0**-16
    assert silences(stimulus, RATE) == [slice(100, 300)]


def test_all_silence_is_one():
    assert silences(np.zeros(500), RATE) == [slice(0, 500)]
