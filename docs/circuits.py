"""Write the circuits' values and modes into circuits.md, from the netlists that are played.

python docs/circuits.py            # or --check: exit 1 where the page is not what it would be
"""

import argparse
import sys
from pathlib import Path

from profiler.circuit.device import NETLISTS
from profiler.circuit.portrait import Portrait, portrait
from profiler.definitions import replacing
from profiler.rig.rig import load_rig
from profiler.units import with_prefix

PAGE = Path(__file__).resolve().parent / "circuits.md"
MARK = "<!-- {}: written by circuits.py -->\n"
END = "<!-- end -->\n"


def table(seen: Portrait) -> str:
    """Values and modes of a circuit as the page has them."""
    knobs = ", ".join(f"{name} {value:g}" for name, value in seen.controls.items())
    without = f"; without {', '.join(seen.leave_out)}" if seen.leave_out else ""
    modes = ", ".join(
        with_prefix(mode.seconds, "s") + (f" ({mode.hertz:.3g} Hz)" if mode.hertz else "")
        for mode in seen.modes
    )
    rows = "\n".join(
        f"| {part.kind} | {', '.join(part.nodes)} | {part.value} |" for part in seen.parts
    )
    return (
        f"Time constants at {knobs}{without}, with what they ring at: {modes}.\n\n"
        f"<details><summary>{len(seen.parts)} parts</summary>\n\n"
        f"| part | between | value |\n|---|---|---|\n{rows}\n\n</details>\n"
    )


def written(text: str) -> str:
    """The page with every circuit's part written anew."""
    for name in NETLISTS:
        chain = load_rig(name).chain
        mark = MARK.format(name)
        before, found, rest = text.partition(mark)
        _, closed, after = rest.partition(END)
        if not (found and closed):
            raise SystemExit(f"{PAGE.name}: expected {mark.strip()} and {END.strip()} after it")
        seen = portrait(chain.circuit, chain.controls, chain.leave_out)
        text = f"{before}{mark}{table(seen)}{END}{after}"
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, tell whether it is so")
    old = PAGE.read_text(encoding="utf-8")
    new = written(old)
    if parser.parse_args().check:
        sys.exit(0 if new == old else f"{PAGE.name} is not what the netlists say: run circuits.py")
    with replacing(PAGE) as beside:
        beside.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
