"""A private JACK server: real audio on a machine that has no sound hardware.

Every JACK client with ports is a PortAudio device. The server's own `loopback` is a wire.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

PACKAGES = {"jackd": "jackd2", "jack_lsp": "jackd2"}
START_LIMIT_SECONDS = 20.0
STOP_LIMIT_SECONDS = 10.0


class JackServer:
    """`jackd` with the dummy driver and a loopback, under a name that nobody else has.

    `-S` makes the graph synchronous: a late client delays the next period, and is never left
    out of this one. With `-t 5000` it is waited for 5 s. That is what makes a wire exact on
    a busy machine. Without it (`synchronous=False`) a late client is left out, as on a sound card.
    """

    _started = 0

    def __init__(self, folder, *, sample_rate=48_000, period=256, synchronous=True):
        for program, package in PACKAGES.items():
            if shutil.which(program) is None:
                raise RuntimeError(
                    f"{program} is missing, and the real audio path cannot be tested without: "
                    f"apt install {package}"
                )
        JackServer._started += 1
        self.name = f"ampscope-{os.getpid()}-{JackServer._started}"
        self.sample_rate = sample_rate
        self.period = period
        self._mode = "-S -t 5000" if synchronous else "-t 5000"
        self.environment = os.environ | {
            "JACK_DEFAULT_SERVER": self.name,
            "JACK_NO_START_SERVER": "1",
            "JACK_NO_AUDIO_RESERVATION": "1",
        }
        self._log = Path(folder) / f"{self.name}.log"
        self._clients = []
        self._start()

    def _start(self):
        self._frozen = False
        command = f"jackd -n {self.name} -R -P 10 {self._mode} -L 2 -d dummy"
        command += f" -r {self.sample_rate} -p {self.period} -C 2 -P 2"
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                command.split(), env=self.environment, stdout=log, stderr=log
            )
        self.wait_for_port("loopback:capture_1")

    def wait_for_port(self, port, process=None):
        """Wait until a process (the server, if none is given) has registered its port."""
        process = process or self.process
        until = time.monotonic() + START_LIMIT_SECONDS
        while port not in self._ports():
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"JACK has no port {port}: {self._log.read_text()}")
            time.sleep(0.05)

    def _ports(self):
        listed = subprocess.run(
            ["jack_lsp"], env=self.environment, capture_output=True, text=True, timeout=20
        )
        return listed.stdout.splitlines()

    def start_client(self, command, port):
        """Start another process as a client, and wait for its port."""
        client = subprocess.Popen(command, env=self.environment, stdin=subprocess.PIPE)
        self._clients.append(client)
        self.wait_for_port(port, client)
        return client

    def kill(self):
        """As a crash would."""
        self.process.kill()
        self.process.wait()

    def freeze(self):
        """Alive, but not running any more."""
        self.process.send_signal(signal.SIGSTOP)
        self._frozen = True

    def close(self):
        """End the server and its clients, and leave no shared memory behind."""
        for client in self._clients:
            _end(client, client.stdin.close)
        if self._frozen:
            self.kill()
        _end(self.process, self.process.terminate)
        if self.process.returncode == -signal.SIGKILL:
            # Its shared memory is taken over, and given back, by the next one of its name.
            self._start()
            _end(self.process, self.process.terminate)
        for left in Path("/dev/shm").glob(f"jack*_{self.name}_*"):  # by clients that were killed
            left.unlink(missing_ok=True)


def _end(process, ask):
    """Ask a process to end, and make it when it does not."""
    ask()
    try:
        process.wait(STOP_LIMIT_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def insert_command(*arguments):
    """The command that runs the bending insert as a process of its own."""
    return [sys.executable, str(Path(__file__).with_name("bending_insert.py")), *arguments]
