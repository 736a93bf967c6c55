"""Is anything lost when `capture` or `profile` is killed, at whatever moment?

    python benchmarks/killed.py capture --moments 50
    python benchmarks/killed.py profile --moments 50
    python benchmarks/killed.py capture --full-disk

A take through a simulated wire, played at a few times real time, is killed with SIGKILL at
random moments of the command's life, once or twice; the last run is left alone. After every kill
the folder must open (with the finished capture, or with a line that says what is there), and
everything that the interface had handed over must be readable and what was played. In the end
the same command must have finished the job, and the response must be that of a take that nobody
disturbed. With `--full-disk` the disk fills up instead, at random places, until there is room.

The commands run in forks of this process, which has everything imported: so the moments fall
into the work and not into Python's start. Prints a JSON object; exit 1 when something was lost.
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from profiler import wav
from profiler.capture import take
from profiler.capture.alignment import load_aligned
from profiler.capture.folder import CaptureFolder
from profiler.cli import main
from profiler.cli import profile as _profile  # noqa: F401  imported here, not in every fork
from profiler.definitions import Record
from profiler.errors import CaptureError
from profiler.rig import connect
from profiler.rig.interface import Block
from profiler.rig.rig import Rig, load_rig
from profiler.rig.simulated import Simulated
from profiler.stimulus.plan import SignalDefinition
from profiler.stimulus.synthesis import render

SPEED = 20.0  # times real time
HANDED_OVER = "handed-over"  # file of how much the interface has handed over in this pass
LOUDEST_NOISE_DBFS = -97.0  # of the -100 that the interface has, over a hundredth of a second
DISK_MB = (0.2, 12.0)  # where a disk fills up; a capture takes 5 MB, and 12 with what is joined
TRAINING = ("--architecture", "nano", "--minutes", "0.02")

RIG = """
name = "slow"
maximum_send_dbfs = 0.0
[interface]
driver = "simulated"
round_trip_samples = 1234.5
noise_rms_dbfs = -100.0
[chain]
circuit = "wire"
"""
PASSAGES = (
    ("train", 2.0, None),
    ("train", 2.0, None),
    ("validate", 1.0, None),
    ("validate", 1.0, "passage 2"),
    ("test", 1.0, None),
)


class Slow:
    """A simulated interface that takes its time, and notes what it has handed over."""

    def __init__(self, rig: Rig):
        self._interface = Simulated(rig)
        self.sample_rate, self.channels = self._interface.sample_rate, self._interface.channels

    def play_record(self, stimulus, frames, on_block):
        begun = time.monotonic()

        def in_time(block: Block):
            time.sleep(max(begun + block.frame / (SPEED * self.sample_rate) - time.monotonic(), 0))
            on_block(block)
            handed_over = block.frame + len(block.samples)
            Path(HANDED_OVER).write_text(f"{handed_over:12d}")

        return self._interface.play_record(stimulus, frames, in_time)


def definition() -> SignalDefinition:
    """Ten seconds of passages, a marker after each."""
    segments: list[dict] = [
        {"name": "pre-roll", "kind": "silence", "use": "align", "seconds": 0.5},
        {"name": "head", "kind": "marker", "use": "align", "level_dbfs": -12.0},
        {"name": "quiet", "kind": "silence", "use": "analyse", "seconds": 0.5},
        {"name": "quiet over", "kind": "marker", "use": "align", "level_dbfs": -12.0},
    ]
    for n, (use, seconds, original) in enumerate(PASSAGES):
        seed = n if original is None else int(original.split()[1])
        passage = {"kind": "noise", "use": use, "seconds": seconds, "seed": seed}
        passage |= {"name": f"passage {n}", "level_dbfs": -3.0, "replicate_of": original}
        marker = {"name": f"after {n}", "kind": "marker", "use": "align", "level_dbfs": -12.0}
        segments += [passage, marker]
    segments.append({"name": "post-roll", "kind": "silence", "use": "align", "seconds": 1.0})
    return SignalDefinition.model_validate({"name": "killed", "segments": segments})


def signal_toml(signal_definition: Record) -> str:
    """A definition as a user would have written it."""
    data = signal_definition.model_dump(exclude_none=True, exclude_defaults=True)
    lines = [f"name = {json.dumps(data['name'])}"]
    for segment in data["segments"]:
        lines += ["[[segments]]", *(f"{key} = {json.dumps(v)}" for key, v in segment.items())]
    return "\n".join(lines)


def run(
    arguments: Sequence[str], *, kill_after_seconds: float | None = None
) -> tuple[int | None, float]:
    """Run a command in a fork of this process.

    Returns
    -------
    exit code : int or None
        None when it was killed.
    seconds : float
        How long it lived.
    """
    Path(HANDED_OVER).unlink(missing_ok=True)
    begun = time.monotonic()
    child = os.fork()
    if child == 0:
        _be_the_command(arguments)
    if kill_after_seconds is not None:
        while time.monotonic() < begun + kill_after_seconds:
            if os.waitpid(child, os.WNOHANG)[0]:
                return 0, time.monotonic() - begun
            time.sleep(0.002)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    code = None if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    return code, time.monotonic() - begun


def _be_the_command(arguments):
    try:
        connect.connect = Slow
        take.SPARE_DISK_BYTES = -(10**12)  # that a disk is too small shows when it is full
        sys.argv = ["ampscope", *arguments]
        with open("said.txt", "a", encoding="utf-8") as said:
            os.dup2(said.fileno(), 1)
            os.dup2(said.fileno(), 2)
        main()
    except SystemExit as exit_:
        os._exit(exit_.code if isinstance(exit_.code, int) else 0)
    except BaseException:
        traceback.print_exc()
    os._exit(70)


class Lost(Exception):
    """Something that was there is not there any more, or not as it was."""


def look_at(path: Path, expected: np.ndarray) -> str:
    """What is in a folder after a kill, in a word; `Lost` when it is not what it should be."""
    folder = CaptureFolder(path)
    try:
        CaptureFolder.existing(path).verify_unchanged()
    except CaptureError as error:
        if "no such capture folder" in str(error):
            return "nothing yet"
        if "holds no finished capture" not in str(error) or "\n" in str(error):
            raise Lost(f"does not open: {error}") from error
    else:
        return "finished"
    handed_over = int(Path(HANDED_OVER).read_text() or 0) if Path(HANDED_OVER).exists() else 0
    kept = 0
    for number in folder.pass_numbers():
        wav.read(folder.pass_path(number))
    if handed_over:
        last = folder.partial_response_path
        if not last.exists():  # the last pass is whole, and being joined
            last = folder.pass_path(folder.pass_numbers()[-1])
        kept = len(wav.read(last)[0])
        if kept < handed_over:
            raise Lost(f"{handed_over} frames were recorded and {kept} are kept")
        first_pass = not folder.pass_numbers()
        if first_pass and _noise_dbfs(wav.read(last)[0][:, 0], expected) > LOUDEST_NOISE_DBFS:
            raise Lost("what is kept is not what was played")
    return "begun" if kept else "nothing recorded yet"


def finished(command: str, path: Path, expected: np.ndarray) -> str:
    """What the finished job consists of, in words; `Lost` when it is not whole."""
    folder = CaptureFolder.existing(path)
    folder.verify_unchanged()
    left = [p for p in folder.path.iterdir() if ".partial." in p.name or p.name == "take.json"]
    if left:
        raise Lost(f"{left[0].name} is left over")
    response, _ = wav.read(folder.response_path)
    noise_dbfs = _noise_dbfs(response[:, 0], expected)
    if noise_dbfs > LOUDEST_NOISE_DBFS:
        raise Lost(f"the response differs from that of a whole take: {noise_dbfs:.1f} dBFS")
    delay = load_aligned(folder).alignment.delay_samples
    if abs(delay - 1234.5) > 0.1:
        raise Lost(f"aligned at {delay:.3f} samples, expected 1234.5")
    if command == "profile" and not (
        folder.report_path.is_file() and list(folder.models_path.glob("*/exports/*.nam"))
    ):
        raise Lost("no model or no report")
    return f"joined from {len(folder.record().joins)}" if folder.record().joins else "one pass"


def _noise_dbfs(response, expected):
    """Highest RMS over a hundredth of a second of what is not expected."""
    whole = len(response) // 480 * 480
    if not whole:
        return -np.inf
    error = (response[:whole] - expected[:whole]).reshape(-1, 480)
    return 10 * np.log10(np.max(np.mean(error**2, axis=1)) + 1e-20)


def trial(command: str, seed: int, longest_seconds: float, expected: np.ndarray) -> list[str]:
    """One folder, killed once or twice and then finished: what was found, in words."""
    rng = np.random.default_rng(seed)
    path = Path(f"{command}-{seed}")
    arguments = arguments_of(command, path)
    found = []
    for _ in range(rng.integers(1, 3)):
        _, _ = run(arguments, kill_after_seconds=rng.uniform(0.0, longest_seconds))
        found.append(look_at(path, expected))
    found.append(_gone_on_with(command, arguments, path, expected))
    return found


def full_disk_trial(command: str, seed: int, expected: np.ndarray) -> list[str]:
    """One folder on a disk that fills up, and is then enlarged."""
    size_mb = np.random.default_rng(seed).uniform(*DISK_MB)
    disk = Path(f"disk-{seed}")
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_mb}m", "tmpfs", disk], check=True)
    try:
        path = disk / "c"
        arguments = arguments_of(command, path)
        code, _ = run(arguments)
        found = [f"{size_mb:.1f} MB: exit {code}, {look_at(path, expected)}"]
        subprocess.run(["mount", "-o", "remount,size=100m", disk], check=True)
        return [*found, _gone_on_with(command, arguments, path, expected)]
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def _gone_on_with(command, arguments, path, expected):
    done = command == "capture" and (path / "alignment.json").exists()  # but for being shown
    code = 0 if done else run(arguments)[0]
    if code not in ((0, 3) if command == "profile" else (0,)):  # so short a training may not pass
        said = Path("said.txt").read_text(encoding="utf-8").strip().splitlines()[-1:]
        raise Lost(f"the same command ended with exit {code}: {said}")
    return finished(command, path, expected)


def arguments_of(command: str, path: Path) -> list[str]:
    """The command line, the same at every run."""
    training = TRAINING if command == "profile" else ()
    return [command, "./slow.toml", "--signal", "./killed.toml", "-o", str(path), *training]


def expected_response() -> np.ndarray:
    """What the rig returns of the signal, noise aside."""
    rig = load_rig("./slow.toml")
    quiet = rig.interface.model_copy(update={"noise_rms_dbfs": -200.0})
    plan = definition().plan(quiet.sample_rate)
    blocks: list[np.ndarray] = []
    Simulated(rig.model_copy(update={"interface": quiet})).play_record(
        [render(plan)], plan.frames, lambda block: blocks.append(block.samples[:, 0])
    )
    return np.concatenate(blocks)


def benchmark(arguments: Sequence[str] | None = None) -> int:
    """Run the trials, and print what they found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=["capture", "profile"])
    parser.add_argument(
        "--moments", type=int, default=50, help="folders, each killed at least once"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--full-disk", action="store_true", help="needs the right to mount")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        os.environ["AMPSCOPE_HOME"] = folder
        Path("slow.toml").write_text(RIG)
        Path("killed.toml").write_text(signal_toml(definition()))
        expected = expected_response()
        run(arguments_of(given.command, Path("first")))  # compiles, and fills the disk's cache
        code, longest_seconds = run(arguments_of(given.command, Path("undisturbed")))
        found, lost = Counter[str](), []
        for seed in range(given.seed, given.seed + given.moments):
            try:
                if given.full_disk:
                    found.update(full_disk_trial(given.command, seed, expected))
                else:
                    found.update(trial(given.command, seed, longest_seconds, expected))
            except Lost as error:
                lost.append(f"seed {seed}: {error}")
    result = {
        "command": given.command,
        "folders": given.moments,
        "undisturbed": {"exit": code, "seconds": round(longest_seconds, 2)},
        "found": dict(found.most_common()),
        "lost": lost,
    }
    print(json.dumps(result, indent=1))
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(benchmark())
