"""Does a network play live without a sample lost, and how late?

    python benchmarks/live_playing.py
    python benchmarks/live_playing.py --minutes 0.5 --period 32 --model my-amp.nam --json live.json

`ampscope play` runs for so long between a JACK server of its own, in blocks of 64 samples at
48 kHz, and another process that plays noise bursts and records what comes back. The server is
asynchronous, as a sound card is: who is late is left out, and heard to be.

Told are the xruns of all three, the time that callbacks took re the time that they have, and every
sample that is not what the model, rendered, says of the same signal behind one delay. Without
`--model`, an A1 standard network of random weights is played, which costs as much as a trained one.
Needs jackd (Debian: jackd2). Prints a table, and writes a JSON object where `--json` says.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from profiler.export import nam
from profiler.model.streaming import render
from profiler.model.wavenet import ARCHITECTURES, WaveNet, initial_weights

GUITARIST = Path(__file__).parents[1] / "tests" / "rig" / "guitarist.py"
RATE = 48_000
START_SECONDS = 3.0  # in which the sound comes up
LONGEST_DELAY = 4800  # samples
PATIENCE_SECONDS = 30.0


def random_model(path):
    """An A1 standard network whose output is some tenths of full scale."""
    weights = initial_weights(ARCHITECTURES["standard"], 3)
    weights[-1] = 0.05
    nam.write(path, WaveNet(ARCHITECTURES["standard"], weights, RATE), nam.Metadata())
    return path


def bursts(seconds, seed=0):
    """Noise that swells once a second, after silence in which the sound comes up."""
    frames = round(seconds * RATE)
    swell = np.square(np.sin(np.pi * np.arange(frames) / RATE))
    signal = 0.1 * swell * np.random.default_rng(seed).standard_normal(frames)
    signal[: round(START_SECONDS * RATE)] = 0.0
    return signal.astype(np.float32)


def wait_for(port, environment, process):
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        listed = subprocess.run(["jack_lsp"], env=environment, capture_output=True, text=True)
        if port in listed.stdout.split("\n"):
            return
        if process.poll() is not None or time.monotonic() > until:
            raise RuntimeError(f"JACK has no port {port}: {listed.stderr}")
        time.sleep(0.1)


def played(model_path, seconds, period, folder):
    """What `ampscope play` tells, what the guitarist played, heard, and was told of xruns."""
    name = f"ampscope-live-{os.getpid()}"
    environment = os.environ | {"JACK_DEFAULT_SERVER": name, "JACK_NO_START_SERVER": "1"}
    environment["AMPSCOPE_HOME"] = str(folder / "home")
    server = subprocess.Popen(
        f"jackd -n {name} -R -P 10 -t 5000 -L 2 -d dummy -r {RATE} -p {period}".split(),
        env=environment | {"JACK_NO_AUDIO_RESERVATION": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for("loopback:capture_1", environment, server)
        signal = bursts(seconds)
        np.save(folder / "played.npy", signal)
        guitarist = subprocess.Popen(
            [sys.executable, GUITARIST, "guitarist", folder / "played.npy", folder / "heard.npy"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        wait_for("guitarist:out", environment, guitarist)
        arguments = ["--device", "guitarist", "--seconds", f"{seconds + 5.0}s", "-y", "--json"]
        play = subprocess.Popen(
            [sys.executable, "-m", "profiler", "play", model_path, *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for line in play.stderr:
            if line.startswith("in "):
                break
        guitarist.stdin.write("\n")
        guitarist.stdin.flush()
        xruns = int(guitarist.stdout.readline())
        out, err = play.communicate(timeout=60)
        guitarist.communicate(timeout=60)
        if play.returncode:
            raise RuntimeError(err)
        return json.loads(out), signal, np.load(folder / "heard.npy"), xruns
    finally:
        server.terminate()
        server.wait()


def compared(model, signal, heard):
    """Delay in samples, and how many samples are not the model's."""
    expected = render(model, signal)
    size = 2 * RATE  # of the first second that sounds
    first = round(START_SECONDS * RATE)
    spectrum = np.fft.rfft(heard[first : first + RATE], size)
    spectrum *= np.conj(np.fft.rfft(expected[first : first + RATE] - expected[first], size))
    delay = int(np.argmax(np.fft.irfft(spectrum)[:LONGEST_DELAY]))
    apart = np.abs(heard[first + delay :] - expected[first : len(expected) - delay])
    return delay, int(np.count_nonzero(apart > 1e-5))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--period", type=int, default=64, help="samples of a block of JACK")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = arguments.model or random_model(Path(folder) / "standard.nam")
        seconds = START_SECONDS + 60.0 * arguments.minutes
        told, signal, heard, xruns = played(path, seconds, arguments.period, Path(folder))
        delay, wrong = compared(nam.read(path).network, signal, heard)
    result = {
        "schema": "ampscope.live-playing/1",
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "period": arguments.period,
        "delay_samples": delay,
        "delay_ms": 1e3 * delay / RATE,
        "wrong_samples": wrong,
        "samples": len(signal),
        "server_xruns": xruns,
        "play": told,
    }
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1))
    xruns = (
        f"{told['overloaded_blocks']} of ours, {told['late_blocks']} blocks late, "
        f"{told['flagged_blocks']} told to us, {xruns} told to the"
    )
    loads = (100 * told[f"load_{which}"] for which in ("mean", "p999", "highest"))
    print(f"played       {told['seconds']:.0f} s, {told['blocks']} blocks of {arguments.period}")
    print(f"round trip   {delay} samples, {result['delay_ms']:.2f} ms, one block of them JACK's")
    print(f"wrong        {wrong} of {len(signal)} samples")
    print(f"xruns        {xruns} guitarist")
    print("load         {:.1f} % mean, {:.1f} % p99.9, {:.1f} % highest".format(*loads))


if __name__ == "__main__":
    main()
