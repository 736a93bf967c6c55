import numpy as np
import pytest

from profiler.report.figures.model import Point, levels, overlay, training

SAMPLE_RATE = 48_000


def noisy():
    device = np.random.default_rng(0).standard_normal(SAMPLE_RATE)
    return overlay(device, 0.9 * device, SAMPLE_RATE)


def trained():
    return training([Point(1.0, 0.5), Point(2.0, 0.05), Point(3.0, 0.08)], 0.01)


@pytest.mark.parametrize(
    ("figure", "labels"),
    [
        (noisy, {"re full scale", "time, ms", "RMS, dBFS", "time, s", "device", "model"}),
        (trained, {"validation ESR", "training time, s", "best", "floor"}),
    ],
)
def test_axes_have_units_and_curves_names(figure, labels, texts):
    assert labels <= set(texts(figure()))


def test_the_overlay_shows_where_the_device_is_loudest(texts):
    device = 0.01 * np.ones(3 * SAMPLE_RATE)
    device[2 * SAMPLE_RATE : round(2.03 * SAMPLE_RATE)] = 1.0
    assert "30 ms from 2.00 s on" in texts(overlay(device, device, SAMPLE_RATE))


def test_the_residual_of_a_model_that_is_right_is_a_flat_line(lines):
    device = np.random.default_rng(0).standard_normal(SAMPLE_RATE)
    drawn = overlay(device, device, SAMPLE_RATE)
    wave, _ = lines(drawn, "strong")[:2]
    assert np.ptp(wave[:, 1]) > 10.0
    assert any(
        len(line) >= 2 and np.ptp(line[:, 0]) > 200 and np.ptp(line[:, 1]) == 0.0
        for line in lines(drawn, "ink")
    )


def test_levels_are_rms_in_frames_of_50_ms():
    sine = np.sin(2 * np.pi * 1000 * np.arange(SAMPLE_RATE) / SAMPLE_RATE)
    sine[SAMPLE_RATE // 2 :] *= 0.1
    seconds, rms_dbfs = levels(sine, SAMPLE_RATE)
    np.testing.assert_allclose(seconds, 0.025 + 0.05 * np.arange(20))
    np.testing.assert_allclose(rms_dbfs, np.repeat([-3.0103, -23.0103], 10), atol=1e-3)


@pytest.mark.parametrize("frames", [100, 4_800, 100_000])
def test_a_device_that_is_silent_or_short_can_still_be_drawn(frames, texts):
    silence = np.zeros(frames)
    assert "residual" in texts(overlay(silence, silence, SAMPLE_RATE))


def test_only_the_best_validation_so_far_is_drawn_as_best(lines):
    best = max(lines(trained(), "strong"), key=len)
    assert (np.diff(best[:, 1]) >= 0.0).all()  # downwards on the page: an ESR that falls


@pytest.mark.parametrize("floor", [None, 0.0, 1e-8])
def test_no_floor_is_drawn_where_there_is_none_or_far_below(floor, texts):
    assert "floor" not in texts(training([Point(1.0, 0.5)], floor))
