"""The native core is there, or says why not; the rest of it is tested in tests/kernels/."""

import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from profiler import kernels
from profiler.errors import ProfilerError

WITHOUT = """
import sys
sys.modules["profiler.kernels._native"] = None
from profiler import kernels
print(kernels.available(), kernels.why_not())
try:
    kernels.Network([kernels.LayerArray(1, (1,))])
except kernels.ProfilerError as error:
    print(error)
"""


def test_is_built_where_there_is_a_compiler():
    if shutil.which("c++") and Path(sysconfig.get_path("include"), "Python.h").exists():
        assert kernels.available(), kernels.why_not()
    assert kernels.available() == (kernels.why_not() is None)


def test_says_why_it_is_not_there():
    told = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    first, second = told.stdout.splitlines()
    assert first == f"False {second}"
    assert "were not built: install again where there is a C++ compiler" in second


def test_the_environment_chooses_the_instruction_path(monkeypatch):
    network = kernels.Network([kernels.LayerArray(1, (1,))])
    monkeypatch.setenv(kernels.PATH_VARIABLE, "abacus")
    with pytest.raises(ValueError, match=re.escape("no instruction path 'abacus'")):
        kernels.Pass(network, 1)
    kernels.Pass(network, 1, path="portable")  # the argument goes before it


def test_every_machine_has_the_portable_path_last():
    assert kernels.paths()[-1] == "portable"


def test_the_error_is_one_of_ours():
    assert issubclass(kernels.ProfilerError, ProfilerError)
