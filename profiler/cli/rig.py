"""`ampscope rig`: the rigs that there are, and a new one by questions."""

from pathlib import Path

import click

from profiler.cli import console, options
from profiler.definitions import available, find, replacing, user_folder
from profiler.errors import DefinitionError
from profiler.rig.rig import Rig, load_rig
from profiler.rig.template import QUESTIONS, fill


@click.group("rig")
def command():
    """Rig definitions: list, show, new."""


@command.command("list")
@options.json_output
def list_rigs(as_json):
    """Every rig that a bare name means."""
    rigs = {name: load_rig(name) for name in sorted(available("rigs"))}
    if as_json:
        rows = [
            {"name": name, "driver": rig.interface.driver, "description": rig.description}
            for name, rig in rigs.items()
        ]
        console.show_json({"schema": "ampscope.rigs/1", "rigs": rows})
        return
    console.show_table(
        ("rig", "interface", "what it is"),
        ((name, rig.interface.driver, rig.description) for name, rig in rigs.items()),
    )


@command.command("show")
@click.argument("name")
@options.json_output
def show_rig(name, as_json):
    """A rig file as it stands."""
    rig = load_rig(name)
    if as_json:
        console.show_json(rig)
        return
    path = find("rigs", name)
    console.talk(f"{path}")
    console.show(path.read_text(encoding="utf-8").rstrip())


@command.command("new")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Where to write it.")
@click.option("-y", "--yes", is_flag=True, help="Replace a rig file that is there.")
def new_rig(output, yes):
    """Ask about your rig and write its file."""
    answers = {}
    for question in QUESTIONS:
        console.talk(question.help)
        answers[question.key] = click.prompt(question.prompt, default=question.default, err=True)
    text = fill(answers)
    path = output or user_folder("rigs") / f"{answers['name']}.toml"
    if path.exists() and not yes:
        raise DefinitionError(f"{path}: is already there: choose another -o, or replace it with -y")
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8")
    Rig.load_toml(path)
    console.show(f"{path}")
    console.talk(f"next: ampscope devices, then ampscope profile {output or answers['name']}")
