"""A take in a process of its own, for tests that break the driver in the middle of it.

Run as `python real_take.py DEVICE SECONDS RECORDING.npy`. Prints a JSON line when sound has
come in, and another that says how it ended. After a line on its standard input it tries the
device once more, and ends.
"""

import json
import sys
import time

import numpy as np

from profiler.errors import ProfilerError
from profiler.rig.portaudio import PortAudio
from profiler.rig.rig import Rig

RATE = 48_000


def stimulus_for(seconds):
    """Noise between silences, the same for everyone who asks."""
    signal = 0.5 * np.random.default_rng(7).uniform(-1.0, 1.0, round(seconds * RATE))
    signal[: RATE // 10] = 0.0
    return signal.astype(np.float32)


def rig_for(device, **interface):
    return Rig.model_validate(
        {
            "name": "test",
            "maximum_send_dbfs": -1.0,
            "interface": {"driver": "portaudio", "device": device, **interface},
        }
    )


def say(**what):
    print(json.dumps(what | {"at": time.monotonic()}), flush=True)


def main(device, seconds, recording):
    stimulus = stimulus_for(float(seconds))
    taken = []

    def on_block(block):
        taken.append(block.samples[:, 0])
        if len(taken) == 50:
            say(playing=True)

    error = None
    try:
        PortAudio(rig_for(device)).play_record(
            np.array_split(stimulus, 100), len(stimulus), on_block
        )
    except (ProfilerError, KeyboardInterrupt) as raised:
        error = raised
    np.save(recording, np.concatenate(taken))
    say(error=type(error).__name__, message=str(error))
    sys.stdin.readline()  # the test may do something to the server meanwhile
    try:
        PortAudio(rig_for(device))
    except ProfilerError as again:
        sys.exit(str(again))


if __name__ == "__main__":
    main(*sys.argv[1:])
