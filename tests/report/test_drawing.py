import io
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from matplotlib import image

from profiler.report.drawing import (
    INK,
    PNG_WIDTH_PIXELS,
    POINTS,
    STRONG,
    WEAK,
    curve,
    dots,
    drawing,
    frequency_axis,
    legend,
    rows,
    thinned,
)


@drawing
def one():
    figure, (axes,) = rows(1)
    axes.plot([0, 1], [0, 1], label="first", **curve(0))
    axes.plot([0, 1], [1, 0], label="second", **curve(1))
    legend(axes)
    return figure


@drawing
def two():
    figure, (upper, lower) = rows(2, [2.0, 1.0])
    upper.plot([20, 20_000], [0, 1], color=STRONG)
    frequency_axis(upper, 20.0, 20_000.0)
    lower.plot([0, 1], [0, 1], color=WEAK)
    lower.axhline(0.5, color=INK)
    return figure


every_drawing = pytest.mark.parametrize("drawn", [one, two], ids=["one", "two"])


@every_drawing
def test_a_drawing_is_one_svg_that_needs_nothing_else(drawn):
    svg = drawn().svg()
    assert ElementTree.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"
    outside = re.findall(r'(?:href="|url\()([^")]*)', svg)
    assert all(reference.startswith("#") for reference in outside)
    assert not re.search(r"<(script|style|image|metadata)", svg)


@every_drawing
def test_an_svg_has_only_the_colours_of_the_page(drawn):
    svg = drawn().svg()
    assert not re.findall(r"#[0-9a-f]{6}\b|rgb\(", svg)
    assert {"var(--ink)", "var(--faint)", "var(--strong)"} <= set(re.findall(r"var\([^)]*\)", svg))


@every_drawing
def test_an_svg_takes_the_width_it_is_given(drawn):
    opening = drawn().svg().split(">")[0]
    assert "viewBox" in opening
    assert not re.search(r"\b(width|height)=", opening)


@every_drawing
def test_a_drawing_is_the_same_every_time(drawn):
    assert drawn().svg() == drawn().svg()
    assert drawn().png() == drawn().png()


def test_two_drawings_share_no_id():
    found = [re.findall(r'id="([^"]*)"', drawn().svg()) for drawn in (one, two)]
    every = [name for names in found for name in names]
    assert len(every) == len(set(every))


@every_drawing
def test_a_png_is_as_wide_as_said_and_on_white_paper(drawn):
    pixels = image.imread(io.BytesIO(drawn().png()))
    assert pixels.shape[1] == PNG_WIDTH_PIXELS
    np.testing.assert_array_equal(pixels[0, 0], 1.0)  # opaque
    assert pixels[..., :3].min() < 0.3


@every_drawing
def test_an_svg_of_its_own_has_a_size_and_white_paper(drawn):
    root = ElementTree.fromstring(drawn().svg_file())
    assert root.get("width").endswith("pt")
    assert "var(" not in drawn().svg_file()
    assert "fill: #ffffff" in drawn().svg_file()


def test_curves_are_told_apart_in_grey():
    pixels = image.imread(io.BytesIO(one().png()))[..., :3] @ [0.299, 0.587, 0.114]
    assert pixels.min() < 0.2  # ink
    looks = [(curve(n)["color"], str(curve(n)["linestyle"])) for n in range(12)]
    assert len(set(looks)) == len(looks)


@drawing
def many():
    figure, (axes,) = rows(1)
    for number in range(8):
        axes.plot([0, 1], [0, number], label=f"-{number}0.1 dBFS", **curve(number))
    legend(axes)
    return figure


def test_a_long_legend_takes_lines_and_no_width(lines):
    axes = np.concatenate([line for line in lines(many(), "strong") if np.ptp(line[:, 0]) > 100])
    assert np.ptp(axes[:, 0]) > 200.0  # of 331 points


def test_a_thousand_hertz_are_1k(texts):
    assert {"100", "1k", "10k", "frequency, Hz"} <= set(texts(two()))


def test_a_long_curve_is_thinned_without_losing_its_peaks():
    seconds = np.arange(48_000) / 48_000
    error_db = np.full(48_000, -60.0)
    error_db[31_234] = -20.0
    at, highest = thinned(seconds, error_db)
    assert len(highest) <= 2 * POINTS
    assert highest.max() == -20.0
    assert at[np.argmax(highest)] == pytest.approx(31_234 / 48_000, abs=1 / POINTS)


@drawing
def cloud():
    figure, (axes,) = rows(1)
    x = np.linspace(0.0, 1.0, 300)
    dots(axes, x, np.sin(20.0 * x), color=WEAK, label="samples")
    return figure


def test_every_dot_is_drawn_in_an_svg_and_in_a_png():
    drawn = re.findall(r"M (\S+ \S+) \nL (\S+ \S+)", cloud().svg())
    ends = np.array([[*begin.split(), *end.split()] for begin, end in drawn], float)
    assert np.sum(np.abs(ends[:, :2] - ends[:, 2:]).max(axis=1) < 0.01) == 300
    pixels = image.imread(io.BytesIO(cloud().png()))[..., :3]
    blue = np.all(np.abs(pixels - np.array([0x4F, 0x86, 0xA8]) / 255.0) < 0.1, axis=2)
    assert np.count_nonzero(blue) > 300 * 4
