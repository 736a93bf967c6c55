import pytest

from profiler.cli.course import LABEL_WIDTH, drawn

FALLING = [(float(t), 10.0 ** -(t / 10.0)) for t in range(1, 31)]  # a decade in 10 s


def field(lines):
    return [line[LABEL_WIDTH + 2 :] for line in lines[:-1]]


def dots(lines):
    """(column, row) of every dot, four rows a line and two columns a character."""
    bits = {0: (0, 0), 1: (0, 1), 2: (0, 2), 6: (0, 3), 3: (1, 0), 4: (1, 1), 5: (1, 2), 7: (1, 3)}
    return {
        (2 * column + right, 4 * row + down)
        for row, line in enumerate(field(lines))
        for column, character in enumerate(line)
        if character not in " ╌"
        for bit, (right, down) in bits.items()
        if (ord(character) - 0x2800) >> bit & 1
    }


def test_an_exponential_fall_is_a_straight_line():
    marks = dots(drawn(FALLING, seconds=30.0, width=60, height=8))
    columns = sorted({column for column, _ in marks})
    # from the first point at 1 s, four columns a second
    assert columns[0] == pytest.approx(4, abs=2)
    assert columns[-1] == pytest.approx(119, abs=2)
    highest = {column: min(row for c, row in marks if c == column) for column in columns}
    for column in columns:
        level = -(column + 0.5) / 40  # decades
        # from 1 to 1e-4 over 32 rows
        assert highest[column] == pytest.approx(-level / 4 * 31, abs=1.6)


def test_decades_and_time_are_labelled():
    lines = drawn(FALLING, seconds=30.0)
    labels = [line[:LABEL_WIDTH].strip() for line in lines]
    assert [label for label in labels if label] == ["1", "0.1", "0.01", "0.001", "0.0001", "ESR"]
    assert lines[-1].endswith("30 s")
    assert len({len(line) for line in lines}) == 1


def test_the_floor_is_dashed_where_it_is_near():
    near = drawn(FALLING[:10], seconds=30.0, floor=0.02)
    dashed = [line for line in near if "╌" in line]
    assert len(dashed) == 1
    assert dashed[0].startswith("  floor ┤")
    assert not any("╌" in line for line in drawn(FALLING[:10], seconds=30.0, floor=1e-9))


def test_before_the_first_validation_there_is_an_empty_field():
    assert not dots(drawn([], seconds=30.0))
    assert len(dots(drawn([(3.0, 0.5)], seconds=30.0))) in (1, 2)
