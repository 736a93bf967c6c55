import resource
import signal
import subprocess

import pytest

DISK_BYTES = 2**20

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in a shell's background, and inherited
    signal.signal(signal.SIGINT, signal.default_int_handler)


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
