from typing import NamedTuple

import pytest

from profiler.cli import main


class Outcome(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def complaint(self):
        """The one line that a failed command says; anything more is a fault."""
        assert "Traceback" not in self.err
        lines = [line for line in self.err.splitlines() if line.startswith("ampscope: ")]
        assert len(lines) == 1, self.err
        return lines[0]


@pytest.fixture
def ampscope(monkeypatch, capsys, tmp_path):
    """Run a command in an empty folder, with an empty user folder and no terminal."""
    monkeypatch.setenv("AMPSCOPE_HOME", str(tmp_path / "home"))
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["ampscope", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            main()
        captured = capsys.readouterr()
        return Outcome(exit_.value.code, captured.out, captured.err)

    return run
