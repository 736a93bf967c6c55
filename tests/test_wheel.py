"""The definitions are found however the project came: as a wheel, editable, or just there."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
KINDS = ("signals", "rigs")
SHIPPED = {kind: {path.stem for path in (ROOT / kind).glob("*.toml")} for kind in KINDS}

ASK = """
import json, profiler
from profiler.definitions import available
found = {kind: sorted(available(kind)) for kind in ("signals", "rigs")}
print(json.dumps({"from": profiler.__file__, **found}))
"""


def run(command, cwd, **environment):
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment = inherited | {"AMPSCOPE_HOME": str(cwd / "nobody")} | environment
    result = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT]
    run(build, folder)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def clean(tmp_path_factory, wheel):
    """A new environment with the wheel; its dependencies are lent by the one we run in.

    A `.pth` line lends the folder but not the `.pth` files in it, so the checkout that
    is installed there as editable is out of sight.
    """
    folder = tmp_path_factory.mktemp("clean")
    run([sys.executable, "-m", "venv", "--without-pip", "env"], folder)
    python = folder / "env/bin/python"
    own = Path(run([python, "-c", "import site; print(site.getsitepackages()[0])"], folder).strip())
    (own / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--no-index", "--no-deps"]
    run([*pip, wheel], folder)
    return folder


def test_the_definitions_are_found_from_the_wheel(clean):
    found = json.loads(run([clean / "env/bin/python", "-c", ASK], clean))
    assert Path(found["from"]).is_relative_to(clean)
    assert {kind: set(found[kind]) for kind in KINDS} == SHIPPED


@pytest.mark.parametrize("kind", KINDS)
def test_the_command_lists_the_definitions_of_the_wheel(clean, kind):
    listing = run([clean / "env/bin/ampscope", kind.removesuffix("s"), "list"], clean)
    assert {name for name in SHIPPED[kind] if name not in listing} == set()


def test_the_definitions_are_found_from_the_editable_install(tmp_path):
    found = json.loads(run([sys.executable, "-c", ASK], tmp_path))
    assert Path(found["from"]).is_relative_to(ROOT)
    assert {kind: set(found[kind]) for kind in KINDS} == SHIPPED


def test_the_definitions_are_found_from_a_bare_checkout(tmp_path):
    checkout = tmp_path / "checkout"
    for name in ("profiler", *KINDS):
        shutil.copytree(ROOT / name, checkout / name)
    found = json.loads(run([sys.executable, "-c", ASK], tmp_path, PYTHONPATH=str(checkout)))
    assert Path(found["from"]).is_relative_to(checkout)
    assert {kind: set(found[kind]) for kind in KINDS} == SHIPPED


def test_the_definitions_that_the_readme_names_are_shipped():
    assert {"standard", "quick", "a440", "sweep", "latency", "levels"} <= SHIPPED["signals"]
    assert {"wire", "tweed", "drive"} <= SHIPPED["rigs"]


def test_the_wheel_holds_the_package_and_nothing_of_the_checkout_around_it(wheel):
    with zipfile.ZipFile(wheel) as archive:
        top = {name.split("/")[0] for name in archive.namelist()}
    assert {name for name in top if not name.endswith(".dist-info")} == {"profiler"}
