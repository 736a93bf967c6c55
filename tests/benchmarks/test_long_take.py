from benchmarks.long_take import in_a_process, plan_of

LARGEST_MB = 300.0


def test_a_take_needs_little_memory_and_no_more_for_being_longer(tmp_path):
    short, long = (in_a_process(minutes, tmp_path / str(minutes)) for minutes in (0.35, 0.85))
    assert long["bytes"] > short["bytes"] + 30e6
    assert long["peak_mb"] < LARGEST_MB
    # both hold every kind of passage; the longer take is 70 MB longer on the disk
    assert long["peak_mb"] - short["peak_mb"] < 20.0


def test_an_average_of_passes_needs_no_more(tmp_path):
    found = in_a_process(0.1, tmp_path, passes=2)
    assert found["peak_mb"] < LARGEST_MB


def test_the_plan_lasts_as_long_as_was_asked():
    assert abs(plan_of(60.0).seconds - 3600.0) < 10.0
