"""Run benchmarks by name, all of them by default: `python -m benchmarks dot call`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from benchmarks import NAMES
from benchmarks.measure import say


def main(argv: Sequence[str]) -> int:
    """Run the named benchmarks with the options that remain; return how many targets were missed."""
    chosen = [name for name in argv if name in NAMES]
    options = [word for word in argv if word not in NAMES]
    missed = sum(int(importlib.import_module(f"benchmarks.{name}").main(options)) for name in chosen or NAMES)
    say(f"\n{missed} targets missed")
    return missed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]) > 0)
