"""The shipped rigs, as files."""

import re

import numpy as np
import pytest

from profiler.definitions import shipped_folder
from profiler.rig.connect import connect
from profiler.rig.faults import Fault
from profiler.rig.rig import (
    Chain,
    FileInterface,
    PortAudioInterface,
    Rig,
    SimulatedInterface,
    load_rig,
)

SHIPPED = ("wire", "tweed", "plexi", "hi-gain", "clean", "drive", "fuzz")


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_rig_plays_at_a_usable_level(name):
    interface = connect(load_rig(name))
    tone = 0.9 * np.sin(2 * np.pi * 196 * np.arange(24_000) / 48_000)
    blocks = []
    interface.play_record([tone], len(tone), blocks.append)
    response = np.concatenate([block.samples for block in blocks])[:, 0]
    assert 0.4 < np.max(np.abs(response)) < 0.95


def test_the_amps_are_wired_with_a_loopback():
    wired = {name for name in SHIPPED if load_rig(name).interface.loopback_channel == 2}
    assert wired == {"tweed", "plexi", "hi-gain", "clean"}


def test_the_hardware_template_is_not_listed_as_a_rig():
    assert {path.stem for path in shipped_folder("rigs").glob("*.toml")} == set(SHIPPED)
    assert (shipped_folder("rigs") / "hardware.toml.in").is_file()


def test_the_readme_explains_every_key():
    readme = (shipped_folder("rigs") / "README.md").read_text(encoding="utf-8")
    explained = set(re.findall(r"^\| `(\w+)` \|", readme, flags=re.MULTILINE))
    models = (Rig, Chain, SimulatedInterface, Fault, PortAudioInterface, FileInterface)
    keys = {name for model in models for name in model.model_fields}
    assert explained == keys - {"interface", "chain"}
