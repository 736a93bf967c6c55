"""`python -m profiler` is the command `ampscope`."""

from profiler.cli import main

if __name__ == "__main__":
    main()
