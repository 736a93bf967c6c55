import re
from html.parser import HTMLParser

import pytest

from profiler.report.contents import ReportContents
from profiler.report.figures.model import Point, training
from profiler.report.gallery import Picture
from profiler.report.page import page

NASTY = '<script>alert("1")</script> & <img src=http://evil.example/x>'
DRAWING = training([Point(1.0, 0.5), Point(2.0, 0.1)], 0.01)


def contents(**changes):
    values = {
        "title": "tweed",
        "subtitle": "a small amp",
        "facts": (
            ("latency", "1234.567 samples"),
            ("settling time", "-3 dBFS: 9 ms\n0 dBFS: 12 ms"),
        ),
        "pictures": (Picture("Training", DRAWING, "The error falls.", "On two cores."),),
        "files": ("response.wav", "models/lite/exports/my amp #1.nam"),
    }
    return ReportContents(**(values | changes))


class Elements(HTMLParser):
    """Tags and attributes of a page, and whether every element is closed."""

    VOID = frozenset({"meta", "br"})

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.attributes = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_every_element_is_closed():
    assert Elements(page(contents())).open == []


@pytest.mark.parametrize(
    "changes",
    [
        {"title": NASTY},
        {"subtitle": NASTY},
        {"facts": ((NASTY, NASTY),)},
        {"notes": (NASTY,)},
        {"files": (NASTY,)},
        {"pictures": (Picture(NASTY, DRAWING, NASTY, NASTY),)},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_comes_from_a_rig_file_is_text_and_never_markup(changes):
    nasty = Elements(page(contents(**changes)))
    assert not {"script", "img"} & set(nasty.tags)
    assert not {name for name, _ in nasty.attributes} & {"src", "onload", "onerror"}


def test_the_page_needs_no_network_and_runs_no_script():
    text = page(contents())
    elements = Elements(text)
    assert "default-src 'none'; style-src 'unsafe-inline'" in text
    assert not {"script", "img", "iframe", "object", "link"} & set(elements.tags)
    addresses = [value for name, value in elements.attributes if "http" in (value or "")]
    assert set(addresses) <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert not re.search(r"@import|url\((?!#)", text)


def test_every_figure_says_what_it_shows_to_who_cannot_see_it():
    assert '<svg role="img" aria-label="The error falls."' in page(contents())


def test_a_value_of_several_lines_has_them_on_the_page():
    assert "-3 dBFS: 9 ms<br>0 dBFS: 12 ms" in page(contents())


def test_a_link_to_a_file_is_quoted():
    assert '<a href="models/lite/exports/my%20amp%20%231.nam">' in page(contents())


def test_notes_are_shown_and_without_any_there_is_no_heading_for_them():
    assert "What to know" not in page(contents())
    assert "<li>No model yet.</li>" in page(contents(notes=("No model yet.",)))


def test_text_outside_ascii_survives():
    assert "Müller’s ±0.1 µV" in page(contents(title="Müller’s ±0.1 µV"))
