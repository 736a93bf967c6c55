"""What `make demo` promises, by its own command: a model that holds on guitar it never heard."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIMIT = 0.02


@pytest.mark.timeout(600)
def test_the_demo_leaves_a_verified_model_that_holds_on_recorded_guitar(tmp_path):
    environment = os.environ | {"AMPSCOPE_HOME": str(tmp_path / "home")}
    folder = tmp_path / "demo"
    run = subprocess.run(
        [*demo_command(), "-o", str(folder), "--json"],
        env=environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert run.returncode == 0, run.stderr
    result = json.loads(run.stdout)
    assert result["verification"]["passed"]
    assert result["verification"]["esr"] <= LIMIT
    assert Path(result["report"]).is_file()

    check = [sys.executable, "benchmarks/recorded_guitar_check.py", str(folder)]
    checked = subprocess.run(
        [*check, "--limit", str(LIMIT)], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    print(checked.stdout)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def demo_command():
    """The command of the Makefile's demo, but for its folder."""
    (line,) = [
        line.split()
        for line in (ROOT / "Makefile").read_text().splitlines()
        if "ampscope profile" in line
    ]
    assert line[0] == "$(BIN)/ampscope"
    assert line[-3:] == ["-o", "captures/demo", "-y"]
    return [sys.executable, "-m", "profiler", *line[1:-3], "-y"]
