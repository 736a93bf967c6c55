from benchmarks.startup import COMMANDS, measured, prepared, table


def test_every_command_runs_and_is_timed(tmp_path):
    commands = prepared(tmp_path, None)
    assert commands.keys() == COMMANDS.keys()
    quick = {name: commands[name] for name in ("ampscope --help", "python -c pass")}
    seconds = measured(quick, runs=2)
    assert all(len(taken) == 2 and min(taken) > 0.0 for taken in seconds.values())
    assert min(seconds["ampscope --help"]) > min(seconds["python -c pass"])
    assert "ampscope --help" in table(seconds)
    measured({"render": commands["ampscope render MODEL IN OUT, 1 s"]}, runs=0)
    assert (tmp_path / "out.wav").is_file()
