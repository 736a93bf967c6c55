import json

from benchmarks.render import CORE, ENGINES, main
from benchmarks.stream_against_core import PLAYER


def test_every_engine_renders_an_lstm_and_says_how_fast(tmp_path, capsys):
    assert PLAYER.is_dir(), "the player core is not installed: make test installs it"
    file = tmp_path / "render.json"
    # fails where the kernels and torch do not agree
    assert main(["--seconds", "1", "--networks", "LSTM 24", "--json", str(file)]) == 0
    found = json.loads(file.read_text())
    assert 0.0 < found["difference"] < 1e-5
    native, torch, core = found["renderings"]
    assert [each["engine"] for each in (native, torch, core)] == [*ENGINES, CORE]
    assert native["times_real_time"] > 2.0 * torch["times_real_time"]
    for each in (native, torch, core):
        assert abs(each["seconds"] * each["times_real_time"] - 1.0) < 1e-9
        assert each["peak_mb"] >= each["before_mb"]
    # bounded: a second of float32 is 0.2 MB
    assert native["peak_mb"] - native["before_mb"] < 40.0
    table = capsys.readouterr().out
    assert table.count("LSTM 24") == 3
    assert f"{native['times_real_time']:.1f}" in table
