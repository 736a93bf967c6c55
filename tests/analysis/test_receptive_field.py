import numpy as np
import pytest

from profiler.analysis.receptive_field import PRESETS, Reach, Remainder, recommended
from profiler.model.wavenet import ARCHITECTURES

RATE = 48_000


def test_the_presets_have_the_receptive_fields_of_their_networks():
    for name, config in ARCHITECTURES.items():
        assert PRESETS[name] == config.receptive_field


def test_a2_has_the_receptive_field_of_its_convolutions():
    # 23 layers and a head of 16 taps, as the player knows it
    kernels = [6] * 14 + [15] * 2 + [6] * 7
    octave = [1, 3, 7, 17, 41, 101, 239]
    dilations = [*octave, *octave, 1, 13, *octave]
    reach = sum((kernel - 1) * each for kernel, each in zip(kernels, dilations, strict=True))
    assert PRESETS["A2"] == 1 + reach + 15


def test_the_longest_time_and_the_filters_are_covered_and_the_reason_is_said():
    field = recommended([Reach("it rings for", 0.02), Reach("the gain is off for", 0.17)], RATE)
    assert field.samples == 0.175 * RATE
    assert field.ms == pytest.approx(175.0)
    assert not field.at_least
    assert field.because == "The gain is off for 170 ms; 5 ms are added for the filters."


def test_a_time_that_was_not_seen_to_its_end_makes_it_a_lower_bound():
    field = recommended(
        [Reach("it settles for", 0.3), Reach("the gain is off for", 0.2, reached=False)], RATE
    )
    assert field.at_least
    assert field.samples == 0.305 * RATE
    assert field.because.startswith("At least, as something was not seen to its end (the gain is")
    assert "more than 200 ms" in field.because
    assert not any(preset.enough for preset in field.presets)


def test_without_a_measurement_there_is_none():
    assert recommended([], RATE) is None


def test_a_device_without_memory_needs_its_filters_only():
    field = recommended([Reach("it settles for", 0.0)], RATE)
    assert field.samples == 240
    assert all(preset.enough for preset in field.presets)
    assert "nothing outlasts a period" in field.because.lower()


@pytest.mark.parametrize("rate", [44_100, 48_000, 96_000])
def test_what_a_preset_misses_is_the_largest_that_comes_later(rate):
    t = np.arange(0, 0.5, 0.001)
    settling = Remainder(t, -200 * t, -70.0)  # 200 dB a second
    gain = Remainder(t, 3.0 * np.exp(-t / 0.05), 0.01)
    field = recommended([Reach("it takes", 0.3)], rate, settling=[settling], gain=[gain])
    for preset in field.presets:
        seconds = preset.samples / rate
        assert preset.ms == pytest.approx(1e3 * seconds)
        assert preset.settling_db == pytest.approx(-200 * seconds, abs=0.2)
        assert preset.gain_db == pytest.approx(3.0 * np.exp(-seconds / 0.05), rel=0.03)
        assert preset.rest_db is None
        assert not preset.enough


def test_what_is_no_more_than_noise_is_not_missed():
    t = np.arange(0, 0.5, 0.001)
    field = recommended([Reach("it takes", 0.05)], RATE, settling=[Remainder(t, -500 * t, -40.0)])
    assert [preset.settling_db for preset in field.presets] == [None, None]


def test_presets_of_one_size_are_told_once():
    field = recommended([Reach("", 0.1)], RATE, presets={"a": 100, "b": 9000, "c": 100})
    assert [preset.names for preset in field.presets] == [("a", "c"), ("b",)]
    assert [preset.enough for preset in field.presets] == [False, True]
