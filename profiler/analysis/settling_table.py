"""What `ampscope settle` measured as a table: a row a burst, then a row a pump.

Conventions
-----------
A column is a key of the record, and the way to it joined by dots: `settling_ms.-40`,
`recovering.constants.1.tau_ms`. What was not reached, or is not measured by that kind of burst, is
empty. Units are in the keys.
"""

import csv
import io

from profiler.analysis.settling import SettlingAnalysis


def settling_csv(analysis: SettlingAnalysis) -> str:
    """The table as comma-separated values, with a line of heads."""
    rows = [
        {"kind": kind} | dict(_cells(record.model_dump(mode="json")))
        for kind, records in (("burst", analysis.bursts), ("pump", analysis.recoveries))
        for record in records
    ]
    heads = list(dict.fromkeys(head for row in rows for head in row))
    keys = list(dict.fromkeys(head.split(".")[0] for head in heads))
    heads.sort(key=lambda head: keys.index(head.split(".")[0]))  # what belongs together, together
    text = io.StringIO()
    writer = csv.DictWriter(text, heads, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _cells(node, way=()):
    """Single values of a record, each with the keys that lead to it."""
    children = {}
    if isinstance(node, dict):
        children = node
    elif isinstance(node, list):
        children = {str(number): value for number, value in enumerate(node, start=1)}
    else:
        yield ".".join(way), node
    for key, value in children.items():
        yield from _cells(value, (*way, key))
