"""Keys that are pressed while something runs, without waiting for them."""

import os
import select
import sys


class Keys:
    """The terminal's keys, one by one and unechoed; none where there is no terminal."""

    def __enter__(self):
        self._before = None
        if sys.stdin.isatty() and os.name == "posix":
            import termios
            import tty

            self._before = termios.tcgetattr(sys.stdin)
            tty.setcbreak(sys.stdin)
        return self

    def __exit__(self, *error):
        if self._before is not None:
            import termios

            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._before)

    @property
    def there(self) -> bool:
        """Whether keys can be pressed at all."""
        return self._before is not None or (os.name == "nt" and sys.stdin.isatty())

    def pressed(self) -> str:
        """What was pressed since the last call, a character each."""
        if os.name == "nt":
            return self._from_console() if sys.stdin.isatty() else ""
        keys = ""
        while self._before is not None and select.select([sys.stdin], [], [], 0.0)[0]:
            read = os.read(sys.stdin.fileno(), 64)
            if not read:
                break  # the terminal has gone
            keys += read.decode(errors="replace")
        return keys

    def _from_console(self):
        import msvcrt

        keys = ""
        while msvcrt.kbhit():  # type: ignore[attr-defined]
            keys += msvcrt.getwch()  # type: ignore[attr-defined]
        return keys
