from pathlib import Path

import profiler.circuit


def pytest_collection_finish():
    """Forget compiled circuits that are older than any of their parts.

    numba looks at the file of a function, not at those of the functions it calls.
    """
    package = Path(profiler.circuit.__file__).parent
    changed = max(source.stat().st_mtime for source in package.glob("*.py"))
    for compiled in (package / "__pycache__").glob("*.nb[ic]"):
        if compiled.stat().st_mtime < changed:
            compiled.unlink(missing_ok=True)
