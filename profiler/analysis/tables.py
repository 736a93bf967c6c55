"""The numbers of a record as tables, for a spreadsheet: what `--csv` writes.

A record holds single values, curves (sequences of numbers of one length, side by side), and
sequences of records of one kind. The first become one table of keys and values, curves a table
with a column each, and records a table with a row each; a curve within one of several records
has a table of its own, numbered as its record.

Conventions
-----------
Keys are the record's, joined by dots; units are in them. What is not known is an empty cell.
"""

import csv
import io
from collections.abc import Mapping, Sequence

from profiler.definitions import Record

Cell = str | int | float | bool | None
Table = Mapping[str, Sequence[Cell]]  # columns of one length, by their heads


def tables(record: Record) -> dict[str, Table]:
    """Every table of a record, by its name; that of the single values is `values`."""
    found: dict[str, Table] = {}
    single: dict[str, Cell] = {}
    _gather(record.model_dump(mode="json", by_alias=True), "", single, found)
    values: Table = {"key": list(single), "value": list(single.values())}
    return {"values": values, **found}


def csv_text(table: Table) -> str:
    """A table as comma-separated values with a line of heads."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(table)
    writer.writerows(zip(*table.values(), strict=True))
    return file.getvalue()


def _gather(node, prefix, single, found):
    """Sort what a record holds into single values and tables."""
    curves: dict[int, dict[str, list[Cell]]] = {}
    for key, value in node.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            _gather(value, f"{name}.", single, found)
        elif not isinstance(value, list):
            single[name] = value
        elif value and all(isinstance(each, dict) for each in value):
            found |= _of_records(value, name)
        elif value:
            curves.setdefault(len(value), {})[key] = [_cell(each) for each in value]
    for columns in curves.values():
        whole = prefix.rstrip(".") or "curves"
        found[whole if len(curves) == 1 else f"{whole}.{next(iter(columns))}"] = columns


def _of_records(records, name):
    """A table with a row a record, and those of the curves within them."""
    found: dict[str, Table] = {}
    rows: list[dict[str, Cell]] = []
    for number, record in enumerate(records, start=1):
        cells: dict[str, Cell] = {}
        inner: dict[str, Table] = {}
        _gather(record, "", cells, inner)
        rows.append(cells)
        found |= {f"{name}.{number}.{part}": table for part, table in inner.items()}
    heads = list(dict.fromkeys(head for cells in rows for head in cells))
    return {name: {head: [cells.get(head) for cells in rows] for head in heads}} | found


def _cell(value):
    return ";".join(map(str, value)) if isinstance(value, list) else value
