"""A device at the far end: a JACK client that delays and bends what it is sent.

Run as `python bending_insert.py NAME DELAY`, until its standard input ends. It knows nothing
of the package that is tested.
"""

import sys

import jack
import numpy as np


def bend(signal):
    """A nonlinear device, one-sided and silent at rest: `0.6 (tanh(3 x + 0.2) - tanh(0.2))`."""
    bent = np.tanh(np.float32(3.0) * signal + np.float32(0.2)) - np.tanh(np.float32(0.2))
    return (np.float32(0.6) * bent).astype(np.float32)


def main(name, delay):
    client = jack.Client(name)
    inport = client.inports.register("in")
    outport = client.outports.register("out")
    past = np.zeros(delay, np.float32)

    @client.set_process_callback
    def process(frames):
        nonlocal past
        heard = np.concatenate((past, inport.get_array()))
        outport.get_array()[:] = bend(heard[:frames])
        past = heard[frames:]

    with client:
        sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
