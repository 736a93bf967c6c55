"""`ampscope rig`: the rigs that there are, and a new one by questions."""

from pathlib import Path

import click

from profiler.cli import console, options
from profiler.definitions import available, find, replacing, user_folder
from profiler.errors import DefinitionError
from profiler.rig.rig import Rig, load_rig
from profiler.rig.template import QUESTIONS, fill
from profiler.units import with_prefix


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
@click.option(
    "--circuit",
    "as_circuit",
    is_flag=True,
    help="The virtual device's components, where they rest, and its time constants.",
)
@options.json_output
def show_rig(name, as_circuit, as_json):
    """A rig file as it stands, or the circuit of a simulated one."""
    rig = load_rig(name)
    if as_circuit:
        _show_circuit(rig, as_json)
        return
    if as_json:
        console.show_json(rig)
        return
    path = find("rigs", name)
    console.talk(f"{path}")
    console.show(path.read_text(encoding="utf-8").rstrip())


def _show_circuit(rig, as_json):
    from profiler.circuit.portrait import portrait  # loads what solves circuits

    if rig.chain.circuit is None:
        raise DefinitionError(
            f"rig {rig.name!r} has no chain.circuit: only a simulated device can be looked into"
        )
    seen = portrait(rig.chain.circuit, rig.chain.controls, rig.chain.leave_out)
    if as_json:
        console.show_json({"schema": "ampscope.circuit/1", "rig": rig.name, **seen.as_dict()})
        return
    console.show_table(
        ("part", "between", "value"),
        ((part.kind, ", ".join(part.nodes), part.value) for part in seen.parts),
    )
    console.show("")
    console.show_table(
        ("node", "rests at"), ((node, f"{volts:.3f} V") for node, volts in seen.rest_volts.items())
    )
    console.show("")
    console.show_table(
        ("time constant", "rings at"),
        (
            (with_prefix(mode.seconds, "s"), f"{mode.hertz:.3g} Hz" if mode.hertz else "")
            for mode in seen.modes
        ),
    )


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
