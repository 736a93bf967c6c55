"""The page: `report.html`, one file that needs no network and runs no script.

It is readable on a phone, on paper and in the dark. Whatever comes from a rig file is text
on it and never markup.
"""

import re
from html import escape
from pathlib import Path
from urllib.parse import quote

from profiler.capture.folder import CaptureFolder
from profiler.definitions import replacing
from profiler.report.contents import ReportContents, gather
from profiler.report.gallery import Picture

STYLE = """
:root { color-scheme: light dark; --ink: #1b1b1b; --paper: #fdfdfb; --faint: #b9b9b4;
        --strong: #dd7a2c; --weak: #4f86a8; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #ecebe8; --paper: #17181a; --faint: #55575a; --strong: #c8742f; --weak: #5c93b5; }
}
@media print { :root { --ink: #000; --paper: #fff; --faint: #bbb; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.2rem 1rem 3rem; max-width: 72rem; color: var(--ink);
       background: var(--paper); font: 1rem/1.45 system-ui, sans-serif;
       overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0; }
h2 { font-size: 1.05rem; margin: 0 0 .3rem; }
.subtitle { margin: .2rem 0 1.2rem; }
table { border-collapse: collapse; margin: 0 0 1.2rem; width: 100%; max-width: 52rem; }
th, td { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0;
         border-bottom: 1px solid var(--faint); }
th { font-weight: 600; width: 9.5rem; overflow-wrap: normal; }
@media (max-width: 40rem) { th { width: 6.5rem; } }
ul { margin: 0 0 1.2rem; padding-left: 1.2rem; }
.figures { columns: 2 26rem; column-gap: 2.5rem; }
figure { margin: 0; padding-bottom: 1.8rem; break-inside: avoid; }
figcaption { font-size: .9rem; max-width: 38rem; }
svg { display: block; width: 100%; height: auto; max-width: 38rem; margin: .2rem 0 .4rem; }
svg * { stroke-linejoin: round; stroke-linecap: butt; }
a { color: inherit; }
footer { margin-top: 2rem; font-size: .85rem; }
"""


def write_report(folder: CaptureFolder) -> Path:
    """Write `report.html` into a capture folder, from what is in it, and say where.

    What is not there yet, a model for instance, is said on the page.

    Raises
    ------
    ProfilerError
        The capture itself cannot be read, or the page not written.
    """
    text = page(gather(folder))
    with replacing(folder.report_path) as beside:
        beside.write_text(text, encoding="utf-8")
    return folder.report_path


def page(contents: ReportContents) -> str:
    """The whole page as HTML."""
    rows = "\n".join(
        f"<tr><th scope='row'>{escape(name)}</th><td>{_lines(value)}</td></tr>"
        for name, value in contents.facts
    )
    files = "\n".join(f"<li>{_link(path)}</li>" for path in contents.files)
    figures = "\n".join(_figure(picture) for picture in contents.pictures)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{escape(contents.title)} · Ampscope</title>
<style>{STYLE}</style>
</head>
<body>
<header>
<h1>{escape(contents.title)}</h1>
<p class="subtitle">{escape(contents.subtitle)}</p>
</header>
<main>
<table>
{rows}
</table>
{_list("What to know", contents.notes)}
<div class="figures">
{figures}
</div>
<section>
<h2>Files</h2>
<ul>
{files}
</ul>
</section>
</main>
<footer>{escape(contents.made_by)}</footer>
</body>
</html>
"""


def _lines(value):
    return "<br>".join(escape(line) for line in value.split("\n"))


def _list(title, items):
    if not items:
        return ""
    entries = "\n".join(f"<li>{escape(item)}</li>" for item in items)
    return f"<section>\n<h2>{title}</h2>\n<ul>\n{entries}\n</ul>\n</section>"


def _link(path):
    return f'<a href="{escape(quote(path))}">{escape(path)}</a>'


def _figure(picture: Picture):
    """The figure with its alternative text; the SVG itself is ours and is not escaped."""
    labelled = re.sub(
        r"<svg",
        lambda _: f'<svg role="img" aria-label="{escape(picture.alt)}"',
        picture.drawing.svg(),
        count=1,
    )
    return (
        f"<figure>\n<h2>{escape(picture.title)}</h2>\n{labelled}\n"
        f"<figcaption>{escape(picture.caption)}</figcaption>\n</figure>"
    )
