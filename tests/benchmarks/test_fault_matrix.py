"""The confusion table at a size for every run; the whole of it is `benchmarks/fault_matrix.py`."""

import sys

from benchmarks.fault_matrix import Case, Outcome, clean_cases, fault_cases, hit, run, table


def outcome(fault, *found, variant=None):
    return Outcome(Case("drive", 0, fault, variant), found, 1.0)


def test_a_hit_is_the_fault_s_name_in_front():
    assert hit(outcome("hum", ("hum", "warn"), ("dc-offset", "warn")))
    assert not hit(outcome("hum", ("dc-offset", "warn"), ("hum", "warn")))
    assert not hit(outcome("hum"))
    assert hit(outcome("hum", ("hum", "warn"), ("polarity-inverted", "note")))
    assert hit(outcome("polarity-inverted", ("polarity-inverted", "note")))
    assert not hit(outcome("polarity-inverted", ("hum", "warn"), ("polarity-inverted", "note")))


def test_a_note_accuses_no_clean_take():
    assert not Outcome(Case("drive", 0), (("speaker-simulation", "note"),), 1.0).accused
    assert Outcome(Case("drive", 0), (("hum", "warn"),), 1.0).accused


def checked(cases, capsys):
    results = run(cases, workers=1)
    with capsys.disabled():
        sys.stdout.write(f"\n{table(results)}\n")
    return results


def test_every_fault_is_found_first(capsys):
    # each fault and variant on one of the rigs on which it can be told, in turn
    everywhere = {}
    for case in fault_cases(seeds=1):
        everywhere.setdefault((case.fault, case.variant), []).append(case)
    chosen = [cases[n % len(cases)] for n, cases in enumerate(everywhere.values())]
    results = checked(sorted(chosen, key=lambda case: case.rig), capsys)
    assert [r for r in results if not hit(r)] == []


def test_no_clean_take_is_accused(capsys):
    assert [r for r in checked(clean_cases(9), capsys) if r.accused] == []
