import resource
import signal
import subprocess
from pathlib import Path

import pytest

DISK_BYTES = 2**20
FOLDER = Path(__file__).parent

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in a shell's background, and inherited
    signal.signal(signal.SIGINT, signal.default_int_handler)


# Those that take longest come first, so that none of them is left to the end, when the other
# worker has nothing to do.
LONG = (
    "benchmarks/test_fault_matrix.py",
    "kernels/test_driver.py",
    "capture/test_slips.py",
    "test_experiments.py",
    "cli/test_profile.py",
    "test_demo.py",
    "cli/test_real_audio.py",
    "benchmarks/test_killed.py",
    "cli/test_play.py",
    "test_wheel.py",
)


def pytest_collection_modifyitems(items):
    places = {FOLDER / name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get(item.path, len(LONG)))


@pytest.fixture
def tiny_disk(tmp_path):
    """A folder on a disk of 1 MiB; where none may be mounted, no file grows beyond that."""
    folder = tmp_path / "tiny-disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", folder]
    if subprocess.run(mount, capture_output=True).returncode == 0:
        yield folder
        subprocess.run(["umount", "--lazy", folder], check=True)
        return
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (DISK_BYTES, before[1]))
    yield folder
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
