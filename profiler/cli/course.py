"""The course of a training, drawn with characters: validation ESR over time.

The ESR is drawn on a logarithmic scale with a line a decade; dots of braille give each
character two columns and four rows. The floor is a dashed line where it is near enough.
"""

import math
from collections.abc import Sequence

# Bits of the braille pattern, by row from the top; left column, then right column.
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_BLANK = 0x2800
FLOOR_DECADES = 1.0  # below the lowest ESR that the floor is still drawn
LABEL_WIDTH = 7


def drawn(
    points: Sequence[tuple[float, float]],
    *,
    seconds: float,
    floor: float | None = None,
    width: int = 60,
    height: int = 8,
) -> list[str]:
    """Lines of text.

    Parameters
    ----------
    points : sequence of (seconds, ESR)
        In the order of time, ESR above 0.
    seconds : float
        At the right edge.
    floor : float, optional
        ESR that a perfect model would reach.
    width, height : int
        Characters of the field itself; labels and the axis of time come in addition.
    """
    levels = [math.log10(esr) for _, esr in points]
    lowest = min(levels, default=-1.0)
    if floor and math.log10(floor) > lowest - FLOOR_DECADES:
        lowest = min(lowest, math.log10(floor))
    bottom = math.floor(lowest - 0.05)
    top = max(math.ceil(max(levels, default=0.0)), bottom + 1)
    rows = 4 * height

    def row_of(level):
        return min(rows - 1, max(0, round((top - level) / (top - bottom) * (rows - 1))))

    cells = [[_BLANK] * width for _ in range(height)]
    for column, first, last in _columns(points, levels, seconds, 2 * width, row_of):
        for row in range(min(first, last), max(first, last) + 1):
            cells[row // 4][column // 2] |= _DOTS[row % 4][column % 2]

    decades = {row_of(level) // 4: f"{10.0**level:g}" for level in range(bottom, top + 1)}
    dashed = row_of(math.log10(floor)) // 4 if floor and math.log10(floor) >= bottom else None
    lines = []
    for number, line in enumerate(cells):
        label = "floor" if number == dashed else decades.get(number, "")
        edge = "┤" if label else "│"
        empty = "╌" if number == dashed else " "
        field = "".join(empty if cell == _BLANK else chr(cell) for cell in line)
        lines.append(f"{label:>{LABEL_WIDTH}} {edge}{field}")
    end = f"{seconds:.0f} s"
    lines.append(f"{'ESR':>{LABEL_WIDTH}} └{'0 s':<{width - len(end)}}{end}")
    return lines


def _columns(points, levels, seconds, columns, row_of):
    """(column, row, row of the column before) of a line through the points."""
    before = None
    place = 0
    for column in range(columns):
        time = (column + 0.5) * seconds / columns
        while place < len(points) and points[place][0] < time:
            place += 1
        if place == 0 and len(points) and abs(points[0][0] - time) <= seconds / columns:
            level = levels[0]
        elif place == 0 or place == len(points):
            continue
        else:
            (begin, _), (end, _) = points[place - 1], points[place]
            share = (time - begin) / (end - begin)
            level = levels[place - 1] + share * (levels[place] - levels[place - 1])
        row = row_of(level)
        yield column, row, row if before is None else before
        before = row
