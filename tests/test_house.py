"""The house rules that a reader relies on, checked on the source itself."""

import ast
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "profiler"
MODULES = sorted(PACKAGE.rglob("*.py"))
TEST_FILES = sorted((ROOT / "tests").rglob("test_*.py"))

# From the top floor to the ground: a floor imports from those below it, and from itself.
FLOORS = (
    {"cli", "__main__"},
    {"pipeline", "doctor"},
    {"report"},
    {"verify"},
    {"export"},
    {"model"},
    {"kernels"},
    {"analysis"},
    {"capture"},
    {"rig"},
    {"stimulus"},
    {"circuit"},
    {"errors", "units", "definitions", "wav", "__init__"},
)

# Each heavy or outward-facing package has one home: a folder, or a file.
HOMES = {
    "sounddevice": "rig/portaudio.py",
    "soundfile": "wav.py",
    "torch": "model/",
    "safetensors": "model/",
    "click": "cli/",
    "rich": "cli/",
    "numba": "circuit/",
    "matplotlib": "report/drawing.py",
    "platformdirs": "definitions.py",
}

TESTS_OF_THE_WHOLE = {
    "test_demo.py",
    "test_experiments.py",
    "test_house.py",
    "test_real_audio.py",
    "test_refusals.py",
    "test_wheel.py",
}

every_module = pytest.mark.parametrize(
    "module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE))
)


def tree(module):
    return ast.parse(module.read_text(encoding="utf-8"))


def imports(module):
    """Dotted names of everything that a module imports, within functions too."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = node.module or ""
            if node.level:
                parents = ("profiler", *module.relative_to(PACKAGE).parts)[: -node.level]
                origin = ".".join(filter(None, (*parents, origin)))
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def floor_of(name):
    found = [number for number, names in enumerate(FLOORS) if name in names]
    return found[0] if found else None


def own_floor(module):
    return floor_of(module.relative_to(PACKAGE).with_suffix("").parts[0])


@every_module
def test_a_module_stands_on_a_floor_of_the_house(module):
    assert own_floor(module) is not None


@every_module
def test_floors_import_downwards_only(module):
    upwards = []
    for name in imports(module):
        first, _, rest = name.partition(".")
        if first != "profiler":
            continue
        floor = floor_of(rest.split(".")[0])
        if floor is None:  # a name of profiler/__init__.py
            floor = floor_of("__init__")
        if floor < own_floor(module):
            upwards.append(name)
    assert not upwards


@every_module
def test_an_outside_package_is_imported_only_in_its_home(module):
    place = str(module.relative_to(PACKAGE))
    packages = {name.split(".")[0] for name in imports(module)} & HOMES.keys()
    assert not {package for package in packages if not place.startswith(HOMES[package])}


@every_module
def test_what_is_imported_is_declared_in_pyproject(module):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {requirement.split(">=")[0] for requirement in project["dependencies"]}
    packages = {name.split(".")[0] for name in imports(module)} - sys.stdlib_module_names
    assert packages <= declared | {"profiler"}


@every_module
def test_nothing_is_pickled(module):
    assert not {"pickle", "shelve", "dill", "joblib"} & {n.split(".")[0] for n in imports(module)}


@every_module
def test_nothing_happens_on_import(module):
    bare = [
        node.lineno
        for node in tree(module).body
        if isinstance(node, ast.Expr) and not isinstance(node.value, ast.Constant)
    ]
    assert not bare, "calls at the top of a module"


@every_module
def test_only_the_command_line_prints(module):
    if module.is_relative_to(PACKAGE / "cli"):
        return
    calls = (node.func for node in ast.walk(tree(module)) if isinstance(node, ast.Call))
    assert not [f.lineno for f in calls if isinstance(f, ast.Name) and f.id == "print"]


@every_module
def test_nothing_is_asserted_about_a_users_data(module):
    assert not [node.lineno for node in ast.walk(tree(module)) if isinstance(node, ast.Assert)]


@every_module
def test_a_module_is_a_topic(module):
    names = module.relative_to(ROOT).with_suffix("").parts
    assert not {"utils", "util", "helpers", "helper", "misc", "common"} & set(names)


@pytest.mark.parametrize("file", TEST_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_test_file_mirrors_a_module(file):
    if file.name in TESTS_OF_THE_WHOLE:
        return
    place = file.relative_to(ROOT / "tests").with_name(file.name.removeprefix("test_"))
    mirrored = (
        PACKAGE / place,
        PACKAGE / place.with_suffix("") / "__init__.py",
        PACKAGE / place.parent / "native" / f"{place.stem}.cpp",  # kernels/
        file.with_name(f"{place.stem}.cpp"),  # a program beside its test
        ROOT / place,  # benchmarks/
        ROOT / place.stem,  # signals/ and rigs/, tested where they are read
    )
    assert any(path.exists() for path in mirrored)


def test_the_help_text_loads_nothing_heavy():
    heavy = ["torch", "scipy.signal", "sounddevice", "numba", "matplotlib"]
    program = f"""
import sys
sys.argv = ["ampscope", "--help"]
from profiler.cli import main
try:
    main()
finally:
    loaded = [name for name in {heavy} if name in sys.modules]
    sys.stderr.write("loaded: " + " ".join(loaded))
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "loaded: ")
    assert "Usage" in run.stdout


def test_the_command_is_installed_and_its_help_is_timed(capsys):
    command = Path(sys.executable).with_name("ampscope")
    begun = time.perf_counter()
    run = subprocess.run([command, "--help"], capture_output=True, text=True)
    took = time.perf_counter() - begun
    assert run.returncode == 0, run.stderr
    with capsys.disabled():
        sys.stdout.write(f" (ampscope --help took {took:.2f} s) ")
