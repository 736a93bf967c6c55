"""A guitarist at the far end: a JACK client that plays a signal and records what it hears.

Run as `python guitarist.py NAME PLAYED.npy HEARD.npy`. It begins when a line comes on its standard
input, and prints one when all was played and what was heard meanwhile is written: how many xruns
the server told it of. It knows nothing of the package that is tested.
"""

import sys
import threading

import jack
import numpy as np


def main(name, played, heard):
    signal = np.load(played)
    client = jack.Client(name)
    inport = client.inports.register("in")
    outport = client.outports.register("out")
    recorded = np.zeros(len(signal), np.float32)
    at = xruns = 0
    begun, over = threading.Event(), threading.Event()

    @client.set_xrun_callback
    def xrun(delayed_usecs):
        nonlocal xruns
        xruns += 1

    @client.set_process_callback
    def process(frames):
        nonlocal at
        out = outport.get_array()
        out[:] = 0.0
        if not begun.is_set() or at == len(signal):
            return
        count = min(frames, len(signal) - at)
        out[:count] = signal[at : at + count]
        recorded[at : at + count] = inport.get_array()[:count]
        at += count
        if at == len(signal):
            over.set()

    with client:
        sys.stdin.readline()
        begun.set()
        over.wait()
        np.save(heard, recorded)
        print(xruns, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
