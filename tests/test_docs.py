"""What the documents point at is there, and what they were written by still says the same."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "rigs/README.md"])
FIGURES = ROOT / "docs/figures"


def targets(page):
    """What a page links to or shows, without what lies elsewhere."""
    text = page.read_text(encoding="utf-8")
    found = re.findall(r"\]\(([^)\s]+)\)", text)
    return [target for target in found if not re.match(r"https?:|mailto:|#", target)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page):
    for target in targets(page):
        assert (page.parent / target.partition("#")[0]).exists(), target


def test_every_page_can_be_reached_from_the_first():
    seen, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in seen:
            continue
        seen.add(page)
        paths = [(page.parent / target.partition("#")[0]).resolve() for target in targets(page)]
        waiting += [path for path in paths if path.suffix == ".md"]
    assert not set(ROOT.glob("docs/**/*.md")) - seen


def test_every_figure_is_shown_and_can_be_drawn_anew():
    shown = {
        Path(target).stem for page in PAGES for target in targets(page) if "figures/" in target
    }
    spec = importlib.util.spec_from_file_location("figures", ROOT / "docs/figures.py")
    script = importlib.util.module_from_spec(spec)
    sys.modules["figures"] = script  # its dataclasses look there
    spec.loader.exec_module(script)
    del sys.modules["figures"]
    wanted = {each.name for each in script.WANTED}
    assert {path.stem for path in FIGURES.glob("*.svg")} == shown == wanted


def test_every_figure_says_what_it_shows():
    for page in PAGES:
        for alt in re.findall(r"!\[([^\]]*)\]", page.read_text(encoding="utf-8")):
            assert len(alt) > 20, page.name


def test_the_circuits_are_what_their_page_says():
    subprocess.run([sys.executable, ROOT / "docs/circuits.py", "--check"], check=True, cwd=ROOT)
