"""The kernels without Python (driver.cpp): under the sanitizers, and with allocations counted."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def built(name, *options):
    """The driver, built where the next run finds it."""
    if not (shutil.which("cmake") and shutil.which("c++")):
        pytest.skip("no CMake or no C++ compiler")
    folder = ROOT / "build" / name
    source = ROOT / "profiler" / "kernels"
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    for command in (
        ["cmake", "-S", source, "-B", folder, *generator, "-DAMPSCOPE_DRIVER=ON", *options],
        ["cmake", "--build", folder, "--parallel", "2"],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder / "driver"


def test_neither_sanitizer_has_a_complaint_about_any_path():
    driver = built("driver-sanitized", "-DAMPSCOPE_SANITIZE=ON")
    run = subprocess.run([driver, "stress"], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "portable: no complaint" in run.stdout


def test_a_million_blocks_are_played_without_an_allocation():
    run = subprocess.run(
        [built("driver"), "allocations", "1000000"], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout == "0 allocations in 1000000 blocks\n"
