import dataclasses

import pytest

from profiler.report.gallery import Measured, gallery, told_apart


def titles(devices):
    return [picture.title for picture in gallery(devices)]


def test_what_was_measured_is_drawn_in_the_order_of_a_look_at_an_amp(measured_tanh):
    assert titles([measured_tanh]) == [
        "Settling",
        "Receptive field",
        "Frequency response",
        "Excess phase",
        "Harmonics",
        "Distortion over frequency",
        "Distortion over level",
        "Output against input",
        "Odd and even",
        "Memory",
        "Soft and loud",
        "Noise",
        "Signal to noise",
    ]


def test_every_picture_says_what_it_shows(measured_tanh):
    for picture in gallery([measured_tanh]):
        assert picture.alt.endswith(".")
        assert picture.caption.endswith(".")


def test_two_devices_are_named_in_every_figure_of_both(measured_tanh, texts):
    other = dataclasses.replace(measured_tanh, name="another")
    for picture in gallery([measured_tanh, other]):
        written = " ".join(texts(picture.drawing))
        assert measured_tanh.name in written, picture.title
        assert "another" in written, picture.title


def test_a_device_without_a_measure_is_left_out_of_its_figure(noisy, empty, measured_tanh, texts):
    quiet = Measured("quiet", measured_tanh.capture, noisy(-90.0, -93.0))
    nothing = Measured("nothing", measured_tanh.capture, empty)
    (picture,) = gallery([quiet, nothing])
    assert picture.title == "Noise"
    assert "nothing" not in texts(picture.drawing)
    assert gallery([nothing]) == []


@pytest.mark.parametrize(
    ("names", "apart"),
    [
        (["amp", "pedal"], ["amp", "pedal"]),
        (["amp", "amp", "amp"], ["amp", "amp (2)", "amp (3)"]),
        (["amp", "pedal", "amp"], ["amp", "pedal", "amp (2)"]),
    ],
)
def test_devices_of_one_name_are_numbered(measured_tanh, names, apart):
    devices = [dataclasses.replace(measured_tanh, name=name) for name in names]
    assert [device.name for device in told_apart(devices)] == apart
