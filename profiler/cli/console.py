"""What a person sees: talk and progress on stderr, results on stdout."""

import contextlib
import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table
from rich.text import Text

from profiler.capture import session
from profiler.capture.safety import CHECKLIST, Announcement, LiveAnnouncement
from profiler.cli.course import LABEL_WIDTH, drawn
from profiler.definitions import Record
from profiler.errors import SafetyStop

CHECK_FAILED_EXIT = 3  # a check or a verification failed; the result was shown
COURSE_WIDTH, COURSE_LEAST = 60, 20  # of the drawing of a training, in characters
NARROW = 80  # characters: below it bars are short, so that words have room
PLAIN_EVERY_SECONDS = 10.0  # between lines of progress where there is no terminal

stderr = Console(stderr=True, highlight=False)
stdout = Console(highlight=False)


def talk(message: str) -> None:
    """A line for the person at the terminal."""
    stderr.print(message, markup=False, soft_wrap=True)


def warn(message: str) -> None:
    """A doubt that does not stop the work."""
    stderr.print(f"[yellow]warning:[/] {_plain(message)}", soft_wrap=True)


def show(message: str) -> None:
    """A line of the result."""
    stdout.print(message, markup=False, soft_wrap=True)


def show_json(value: Record | dict) -> None:
    """One JSON object on stdout."""
    if isinstance(value, Record):
        click.echo(value.model_dump_json(indent=1))
    else:
        click.echo(json.dumps(value, indent=1))


def show_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table of the result; columns of plain text."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(_plain(cell) for cell in row))
    stdout.print(table)


def show_facts(facts: Iterable[tuple[str, str]]) -> None:
    """Names and values, one pair a line."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts:
        table.add_row(name, _plain(value))
    stdout.print(table)


def confirm_sound(
    announcement: Announcement | LiveAnnouncement, *, yes: bool, no_input: bool
) -> None:
    """Say what will sound, and ask; a simulated interface makes no sound.

    The checklist is asked once for a rig in a session; without a terminal, and without `-y`, there
    is no sound however often it was confirmed before.

    Raises
    ------
    SafetyStop
        Nobody is there to ask, and `-y` was not given; or the answer was no.
    """
    for line in announcement.lines():
        talk(line)
    if not announcement.audible:
        return
    asked = not session.happened(announcement.conditions, "confirmed")
    if asked or yes:
        talk(CHECKLIST)
    if yes:
        return
    if no_input or not sys.stdin.isatty():
        raise SafetyStop(
            "no sound was made: there is no terminal to ask at; -y confirms in advance"
        )
    if not asked:
        talk("the checklist was confirmed for this rig earlier in this session")
        return
    if not click.confirm("Make this sound now?", default=False, err=True):
        raise SafetyStop("no sound was made, as answered")
    session.remember(announcement.conditions, "confirmed")


def show_finding(severity: str, colour: str, name: str, seen: str, action: str) -> None:
    """A finding: how grave and its name, what was seen, what to do."""
    stdout.print(f"[{colour}]{severity:<4}[/]  [bold]{_plain(name)}[/]", soft_wrap=True)
    stdout.print(f"      {_plain(seen)}", soft_wrap=True)
    stdout.print(f"      → {_plain(action)}", soft_wrap=True)


class _Screen(Progress):
    """Bars, and a drawing below them."""

    drawing: str = ""

    def get_renderables(self):
        yield from super().get_renderables()
        if self.drawing:
            yield Text(self.drawing, no_wrap=True, overflow="crop")


class StageProgress:
    """Progress of named stages: a live screen on a terminal, plain lines elsewhere."""

    def __init__(self):
        self._live = stderr.is_terminal
        self._last_line = 0.0
        self._tasks = {}
        self._progress = _Screen(
            TextColumn("{task.description:<9}", table_column=Column(min_width=9)),
            BarColumn(bar_width=24 if stderr.width >= NARROW else 6),
            TextColumn("{task.percentage:>3.0f} %", table_column=Column(min_width=5)),
            TimeElapsedColumn(table_column=Column(min_width=7)),
            TextColumn("{task.fields[detail]}", markup=False),
            console=stderr,
            disable=not self._live,
        )

    def __enter__(self):
        self._progress.start()
        return self

    def __exit__(self, *error):
        self._progress.stop()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """The live screen out of the way of a question."""
        self._progress.stop()
        try:
            yield
        finally:
            self._progress.start()

    def started(self, stage: str) -> None:
        self._tasks[stage] = self._progress.add_task(stage, total=1.0, detail="")
        self._line(f"{stage}: started")

    def progress(self, stage: str, fraction: float, detail: str) -> None:
        self._progress.update(self._tasks[stage], completed=min(fraction, 1.0), detail=detail)
        now = time.monotonic()
        if now - self._last_line >= PLAIN_EVERY_SECONDS:
            self._line(f"{stage}: {100 * fraction:.0f} %  {detail}")

    def course(self, at) -> None:
        """Draw the course of a training, a `TrainingProgress`, where there is room for it."""
        width = min(COURSE_WIDTH, stderr.width - LABEL_WIDTH - 2)
        if not self._live or width < COURSE_LEAST or not stderr.encoding.startswith("utf"):
            return
        self._progress.drawing = "\n".join(
            drawn(
                [(row.seconds, row.validation_esr) for row in at.history],
                seconds=at.seconds + (at.eta_seconds or 0.0),
                floor=at.floor_esr,
                width=width,
            )
        )

    def finished(self, stage: str, detail: str, *, skipped: bool = False) -> None:
        if stage not in self._tasks:
            self._tasks[stage] = self._progress.add_task(stage, total=1.0, detail="")
        told = f"already there: {detail}" if skipped else detail
        self._progress.update(self._tasks[stage], completed=1.0, detail=told)
        self._progress.stop_task(self._tasks[stage])
        self._line(f"{stage}: {told}")

    def _line(self, text):
        self._last_line = time.monotonic()
        if not self._live:
            talk(text)


def _plain(text):
    return text.replace("[", "\\[")
