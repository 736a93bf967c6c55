"""The numbers of a record as tables, for a spreadsheet: what `--csv` writes.

A record holds single values, curves (sequences of numbers, side by side where they have one
length), and sequences of records of one kind. The first become one table of keys and values,
curves a table with a column each, and records a table with a row each, in which a short sequence
takes some columns. Curves of the records within a record stand beside its own, if those have
their length: harmonics beside the frequencies that they are told at.

Conventions
-----------
Keys are the record's, joined by dots; units are in them. What is not known is an empty cell.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from profiler.definitions import Record

SHORT = 12  # sequence, at most, that takes columns in its record's row: harmonics, a pair

Cell = str | int | float | bool | None
Table = Mapping[str, Sequence[Cell]]  # columns of one length, by their heads


@dataclass
class _Found:
    """What a record holds; all names are re the record."""

    single: dict[str, Cell] = field(default_factory=dict)
    curves: dict[str, list[Cell]] = field(default_factory=dict)  # that stand in a table above
    tables: dict[str, Table] = field(default_factory=dict)


def tables(record: Record) -> dict[str, Table]:
    """Every table of a record, by its name; that of the single values is `values`."""
    found = _gather(record.model_dump(mode="json", by_alias=True), frozenset())
    values: Table = {"key": list(found.single), "value": list(found.single.values())}
    return {"values": values, **{name or "curves": table for name, table in found.tables.items()}}


def csv_text(table: Table) -> str:
    """A table as comma-separated values with a line of heads."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(table)
    writer.writerows(zip(*table.values(), strict=True))
    return file.getvalue()


def _gather(node, lengths_above):
    """Single values, curves and tables of a record; curves of `lengths_above` are left to it."""
    found = _Found()
    own = {key: list(map(_cell, value)) for key, value in node.items() if _is_curve(value)}
    lengths = lengths_above | {len(curve) for curve in own.values()}
    curves = dict(own)
    for key, value in node.items():
        if isinstance(value, dict):
            inner = _gather(value, lengths)
            found.single |= _under(key, inner.single)
            found.tables |= _under(key, inner.tables)
            curves |= _under(key, inner.curves)
        elif _is_of_records(value):
            inner = _of_records(value, lengths)
            found.tables |= _under(key, inner.tables)
            curves |= _under(key, inner.curves)
        elif not isinstance(value, list):
            found.single[key] = value
    found.curves = {name: curve for name, curve in curves.items() if len(curve) in lengths_above}
    for length in sorted(lengths - lengths_above):
        table = {name: curve for name, curve in curves.items() if len(curve) == length}
        alone = len(lengths - lengths_above) == 1
        found.tables["" if alone else next(iter(table))] = table
    return found


def _of_records(records, lengths_above):
    """A table with a row a record, and what does not fit in one."""
    found = _Found()
    rows: list[dict[str, Cell]] = []
    for number, record in enumerate(records, start=1):
        short = {
            key: value for key, value in record.items() if _is_curve(value) and len(value) <= SHORT
        }
        rest = {key: value for key, value in record.items() if key not in short}
        inner = _gather(rest, lengths_above)
        cells = {f"{key}.{n}": _cell(v) for key, s in short.items() for n, v in enumerate(s, 1)}
        rows.append(inner.single | cells)
        found.tables |= _under(str(number), inner.tables)
        found.curves |= _under(str(number), inner.curves)
    heads = list(dict.fromkeys(head for cells in rows for head in cells))
    found.tables = {
        "": {head: [cells.get(head) for cells in rows] for head in heads}
    } | found.tables
    return found


def _under(key, named):
    return {f"{key}.{name}".rstrip("."): value for name, value in named.items()}


def _is_of_records(value):
    return isinstance(value, list) and bool(value) and all(isinstance(v, dict) for v in value)


def _is_curve(value):
    return isinstance(value, list) and bool(value) and not _is_of_records(value)


def _cell(value):
    return ";".join(map(str, value)) if isinstance(value, list) else value
