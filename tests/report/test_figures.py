import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from profiler.analysis.settling import SettlingCurve
from profiler.report import figures
from profiler.report.figures import Point

SAMPLE_RATE = 48_000


def texts(svg):
    """Everything that is written in a figure."""
    root = ElementTree.fromstring(svg)
    return ["".join(node.itertext()) for node in root.iter("{http://www.w3.org/2000/svg}text")]


def drawn(svg, colour):
    """Corners of every line drawn in a colour of the page, as (n, 2) in points."""
    paths = re.findall(r'<path d="([^"]*)"[^>]*stroke: var\(--' + colour, svg)
    return [np.array(re.findall(r"[ML] (\S+) (\S+)", path), float) for path in paths]


def overlay():
    device = np.random.default_rng(0).standard_normal(SAMPLE_RATE)
    return figures.overlay(device, 0.9 * device, SAMPLE_RATE)


def settling():
    seconds = np.arange(0.0, 0.5, 1 / 440)
    curves = [
        SettlingCurve("A440", level, seconds, level - 100 * seconds, -80.0)
        for level in (-33.0, -18.0, -3.0)
    ]
    return figures.settling(curves, (-20, -40))


def response():
    frequencies = np.geomspace(10.0, 24_000.0, 500)
    flat = np.full(500, -6.0)
    return figures.response(frequencies, flat, {2: flat - 30.0, 3: flat - 40.0})


def training():
    return figures.training([Point(1.0, 0.5), Point(2.0, 0.05), Point(3.0, 0.08)], 0.01)


FIGURES = [overlay, settling, response, training]
every_figure = pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.__name__)


@every_figure
def test_a_figure_is_one_svg_that_needs_nothing_else(figure):
    svg = figure()
    assert ElementTree.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"
    outside = re.findall(r'(?:href="|url\()([^")]*)', svg)
    assert all(reference.startswith("#") for reference in outside)
    assert not re.search(r"<(script|style|image|metadata)", svg)


@every_figure
def test_a_figure_has_only_the_colours_of_the_page(figure):
    assert not re.findall(r"#[0-9a-f]{6}\b|rgb\(", figure())


@every_figure
def test_a_figure_takes_the_width_it_is_given(figure):
    opening = figure().split(">")[0]
    assert "viewBox" in opening
    assert not re.search(r"\b(width|height)=", opening)


@every_figure
def test_a_figure_is_the_same_every_time(figure):
    assert figure() == figure()


def test_two_figures_share_no_id():
    found = [re.findall(r'id="([^"]*)"', figure()) for figure in FIGURES]
    every = [name for names in found for name in names]
    assert len(every) == len(set(every))


@pytest.mark.parametrize(
    ("figure", "labels"),
    [
        (overlay, {"re full scale", "time, ms", "RMS, dBFS", "time, s", "device", "model"}),
        (settling, {"distance from steady, dB", "-33 dBFS", "-18 dBFS", "-3 dBFS"}),
        (response, {"magnitude, dB", "frequency, Hz", "1k", "linear", "H2", "H3"}),
        (training, {"validation ESR", "training time, s", "best", "floor"}),
    ],
)
def test_axes_have_units_and_curves_names(figure, labels):
    assert labels <= set(texts(figure()))


def test_the_overlay_shows_where_the_device_is_loudest():
    device = 0.01 * np.ones(3 * SAMPLE_RATE)
    device[2 * SAMPLE_RATE : round(2.03 * SAMPLE_RATE)] = 1.0
    svg = figures.overlay(device, device, SAMPLE_RATE)
    assert "30 ms from 2.00 s on" in texts(svg)


def test_the_residual_of_a_model_that_is_right_is_a_flat_line():
    device = np.random.default_rng(0).standard_normal(SAMPLE_RATE)
    wave, _ = drawn(figures.overlay(device, device, SAMPLE_RATE), "strong")[:2]
    assert np.ptp(wave[:, 1]) > 10.0
    inked = drawn(figures.overlay(device, device, SAMPLE_RATE), "ink")
    assert any(
        len(line) >= 2 and np.ptp(line[:, 0]) > 200 and np.ptp(line[:, 1]) == 0.0 for line in inked
    )


def test_levels_are_rms_in_frames_of_50_ms():
    sine = np.sin(2 * np.pi * 1000 * np.arange(SAMPLE_RATE) / SAMPLE_RATE)
    sine[SAMPLE_RATE // 2 :] *= 0.1
    seconds, levels = figures._levels(sine, SAMPLE_RATE)
    np.testing.assert_allclose(seconds, 0.025 + 0.05 * np.arange(20))
    np.testing.assert_allclose(levels, np.repeat([-3.0103, -23.0103], 10), atol=1e-3)


def test_a_long_curve_is_thinned_without_losing_its_peaks():
    seconds = np.arange(48_000) / SAMPLE_RATE
    error_db = np.full(48_000, -60.0)
    error_db[31_234] = -20.0
    at, thinned = figures._thinned(seconds, error_db)
    assert len(thinned) <= 2 * figures.POINTS
    assert thinned.max() == -20.0
    assert at[np.argmax(thinned)] == pytest.approx(31_234 / SAMPLE_RATE, abs=1 / figures.POINTS)


def test_a_device_that_settles_exactly_can_be_drawn():
    curve = SettlingCurve("A440", -3.0, np.array([0.0, 0.1]), np.array([0.0, -np.inf]), -np.inf)
    assert "-3 dBFS" in texts(figures.settling([curve], (-20,)))


@pytest.mark.parametrize("frames", [100, 4_800, 100_000])
def test_a_device_that_is_silent_or_short_can_still_be_drawn(frames):
    silence = np.zeros(frames)
    assert "residual" in texts(figures.overlay(silence, silence, SAMPLE_RATE))


def test_only_the_best_validation_so_far_is_drawn_as_best():
    best = max(drawn(training(), "strong"), key=len)
    assert (np.diff(best[:, 1]) >= 0.0).all()  # downwards on the page: an ESR that falls


@pytest.mark.parametrize("floor", [None, 0.0, 1e-8])
def test_no_floor_is_drawn_where_there_is_none_or_far_below(floor):
    assert "floor" not in texts(figures.training([Point(1.0, 0.5)], floor))


def test_what_is_not_known_of_a_response_is_not_drawn():
    frequencies = np.geomspace(10.0, 24_000.0, 500)
    known = np.where(frequencies < 5_000.0, -6.0, np.nan)
    svg = figures.response(frequencies, known, {2: known - 30.0, 3: known - 200.0})
    lines = drawn(svg, "strong")
    full = drawn(response(), "strong")
    assert max(line[-1, 0] for line in lines) < max(line[-1, 0] for line in full)
