from benchmarks.train_against_nam import reached, show

SOON = [(1.0, 2.0, 0.2), (2.0, 4.0, 0.04), (3.0, 6.0, 0.009)]
LATE = [(30.0, 60.0, 0.3), (60.0, 120.0, 0.05), (90.0, 180.0, 0.06)]


def run(ours, theirs):
    return {"ours": ours, "theirs": theirs, "our_test_esr": 0.01, "their_test_esr": 0.07}


def test_a_level_is_reached_by_the_first_that_is_as_low():
    assert reached(SOON, 0.05, 0) == 2.0
    assert reached(LATE, 0.05, 1) == 120.0
    assert reached(LATE, 0.04, 0) is None


def test_the_table_tells_the_median_and_how_much_sooner(capsys):
    later = [(2 * wall, 2 * cpu, error) for wall, cpu, error in LATE]
    show([run(SOON, LATE), run(SOON, LATE), run(SOON, later)])
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()[2:-2]}
    assert rows["0.05"].replace(" ", "") == "0.052.0(4.0)60(120)30(30)"
    assert "never" in rows["0.02"]
    assert rows["0.01"].split()[1] == "3.0"
