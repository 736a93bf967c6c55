"""Drawing: how every figure looks, as SVG to stand in a page, and as a file to be sent around.

Ink and paper of an SVG are the page's: text and axes have its colour, so that one figure does for
light and dark. A curve differs from the others by its dashes and its lightness, never by its
hue alone, so that it can be told in grey. Each figure is drawn for the width of a phone and grows
with the page. Its text is left as text.

A function that draws is marked `@drawing` and returns a `Figure` made by `rows`; who calls it gets
a `Drawing`, which is drawn when its SVG or PNG is wanted.
"""

import functools
import hashlib
import io
import re
import typing
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import matplotlib
import matplotlib.rcsetup
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

WIDTH_INCHES = 4.6  # 331 points, about as wide as a phone's page
ROW_INCHES = 1.7
SINGLE_INCHES = 2.6  # of a figure with one row
POINTS = 500  # of a curve: more than a screen shows
LINE_LETTERS = 56  # of a legend's, that fit on a line of that width
HANDLE_LETTERS = 6  # that the sign of a curve is wide
PNG_WIDTH_PIXELS = 1380  # three for each point and a bit: sharp on a phone and on paper

P = typing.ParamSpec("P")

# The pens, by their place in matplotlib's colour cycle: which colours they have is said when the
# figure is written.
INK, FAINT, STRONG, WEAK = "C0", "C1", "C2", "C3"
_SENTINELS = ("#010203", "#040506", "#070809", "#0a0b0c")  # replaced by the page's own in an SVG
_PAGE = ("var(--ink)", "var(--faint)", "var(--strong)", "var(--weak)")
_ON_WHITE = ("#1b1b1b", "#b9b9b4", "#dd7a2c", "#4f86a8")

# The page says how wide a figure is and how lines join; ids of groups are said twice in a page.
_UNWANTED = (
    re.compile(r"<metadata>.*?</metadata>", re.DOTALL),
    re.compile(r"<style.*?</style>", re.DOTALL),
    re.compile(r'(?<=<g) id="[^"]*"'),
    re.compile(r' (?:width|height)="[^"]*pt"'),
)
_CLIP = re.compile(r'<clipPath id="(?P<id>p[0-9a-f]{10})">(?P<content>.*?)</clipPath>', re.DOTALL)
_CLIP_ID = re.compile(r"\bp[0-9a-f]{10}\b")
DASHES: tuple[typing.Any, ...] = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))


@dataclass(frozen=True)
class Drawing:
    """A figure, drawn when it is wanted."""

    name: str
    draw: Callable[[], Figure]

    def svg(self) -> str:
        """An `<svg>` element with the page's colours and no size of its own."""
        file = io.StringIO()
        # ids are made from the salt: one a figure, as they share a page
        with matplotlib.rc_context(_style(_SENTINELS) | {"svg.hashsalt": self.name}):
            FigureCanvasSVG(self.draw()).print_svg(file, metadata={"Date": None, "Creator": None})
        text = _clips_by_content(file.getvalue(), self.name)
        text = text[text.index("<svg") :]
        for sentinel, colour in zip(_SENTINELS, _PAGE, strict=True):
            text = text.replace(sentinel, colour)
        for unwanted in _UNWANTED:
            text = unwanted.sub("", text)
        return text

    def svg_file(self) -> str:
        """An SVG to stand alone: on white paper, with a size."""
        file = io.StringIO()
        style = _style(_ON_WHITE) | {"figure.facecolor": "white", "svg.hashsalt": self.name}
        with matplotlib.rc_context(style):
            FigureCanvasSVG(self.draw()).print_svg(file, metadata={"Date": None, "Creator": None})
        return _clips_by_content(file.getvalue(), self.name)

    def png(self) -> bytes:
        """The figure on white paper, `PNG_WIDTH_PIXELS` wide."""
        file = io.BytesIO()
        with matplotlib.rc_context(_style(_ON_WHITE) | {"figure.facecolor": "white"}):
            figure = self.draw()
            figure.set_dpi(PNG_WIDTH_PIXELS / figure.get_figwidth())
            FigureCanvasAgg(figure).print_png(file, metadata={"Software": None})
        return file.getvalue()


def drawing(draw: Callable[P, Figure]) -> Callable[P, Drawing]:
    """Make a function that draws return its `Drawing`, named as it is."""

    @functools.wraps(draw)
    def delayed(*args: P.args, **kwargs: P.kwargs) -> Drawing:
        return Drawing(draw.__name__, lambda: draw(*args, **kwargs))

    return delayed


def rows(count: int, inches: float | Sequence[float] = ROW_INCHES) -> tuple[Figure, list[Axes]]:
    """A figure of so many plots one above the other, each so high."""
    heights = [inches] * count if isinstance(inches, (int, float)) else list(inches)
    figure = Figure(figsize=(WIDTH_INCHES, sum(heights)), layout="constrained")
    axes = figure.subplots(count, 1, squeeze=False, gridspec_kw={"height_ratios": heights})
    return figure, list(axes[:, 0])


def curve(number: int) -> dict[str, typing.Any]:
    """How the curve of a number looks among others."""
    return {"color": (STRONG, INK, WEAK)[number % 3], "linestyle": DASHES[number % len(DASHES)]}


def dots(axes: Axes, x: np.ndarray, y: np.ndarray, *, color: str, label: str) -> None:
    """Points, as the round ends of lines of hardly any length: one path, not an element each."""
    ends = np.repeat(np.stack([x, y]), 3, axis=1)
    ends[0, 1::3] += 1e-5 * np.ptp(x)
    ends[:, 2::3] = np.nan
    (line,) = axes.plot(*ends, color=color, linewidth=1.6, solid_capstyle="round")
    line.set_snap(False)  # to whole pixels, and simplified, they would have no length at all
    line.get_path().should_simplify = False
    axes.plot([], [], ".", color=color, label=label)


def legend(axes: Axes) -> None:
    """Above the axes, where it hides no curve; none where no curve has a name."""
    curves, names = axes.get_legend_handles_labels()
    if not any(names):
        return
    columns = max(1, LINE_LETTERS // (HANDLE_LETTERS + max(map(len, names))))
    axes.legend(
        curves,
        names,
        loc="lower right",
        bbox_to_anchor=(1.0, 1.0),
        ncols=min(columns, len(names)),
        borderaxespad=0.1,
        handlelength=1.8,
        handletextpad=0.4,
        columnspacing=1.1,
    )


def frequency_axis(axes: Axes, first_hz: float, last_hz: float) -> None:
    """Frequencies along a logarithmic x axis, 1 kHz as 1k."""
    axes.set_xscale("log")
    axes.set_xlim(first_hz, last_hz)
    axes.set_xlabel("frequency, Hz")
    axes.xaxis.set_major_formatter(FuncFormatter(_short_frequency))
    axes.xaxis.set_minor_formatter(NullFormatter())


def known(values: Iterable[float | None]) -> np.ndarray:
    """A curve of a record as an array: what is not known is NaN, and not drawn."""
    return np.array([np.nan if value is None else value for value in values], float)


def thinned(positions: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At most about `POINTS` points of a curve, the highest value of each stretch."""
    starts = np.arange(0, len(values), max(1, len(values) // POINTS))
    return positions[starts], np.maximum.reduceat(values, starts)


def decades(axes: Axes) -> None:
    """A logarithmic y axis on which only whole decades are labelled, as plain numbers."""
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _place: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def plain_logarithm(axis: Axis) -> None:
    """A logarithmic axis with plain numbers, three a decade."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _place: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _short_frequency(frequency, _place):
    return f"{frequency / 1e3:g}k" if frequency >= 1e3 else f"{frequency:g}"


def _clips_by_content(text, salt):
    """Name what curves are cut off by after what it is.

    matplotlib names it after its place in memory: the same figure would be another file.
    """
    named = {}
    for clip in _CLIP.finditer(text):
        content = hashlib.sha256((salt + clip["content"]).encode()).hexdigest()[:10]
        if f"p{content}" in named.values():
            text = text.replace(clip[0], "")
        named[clip["id"]] = f"p{content}"
    return _CLIP_ID.sub(lambda found: named.get(found[0], found[0]), text)


def _style(colours) -> dict[typing.Any, typing.Any]:  # matplotlib's keys are hundreds of names
    ink, faint = colours[:2]
    return {
        "axes.prop_cycle": matplotlib.rcsetup.cycler(color=colours),
        "font.family": "sans-serif",
        "font.size": 9.0,
        "text.color": ink,
        "axes.labelcolor": ink,
        "axes.edgecolor": faint,
        "axes.titlesize": 9.0,
        "axes.titlelocation": "left",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.unicode_minus": True,
        "grid.color": faint,
        "grid.linewidth": 0.4,
        "xtick.color": ink,
        "ytick.color": ink,
        "lines.linewidth": 1.3,
        "legend.frameon": False,
        "legend.fontsize": 8.5,
        "figure.facecolor": "none",
        "axes.facecolor": "none",
        "svg.fonttype": "none",
        "path.simplify_threshold": 0.3,
    }
