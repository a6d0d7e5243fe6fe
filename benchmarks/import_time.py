"""How long `import hotloop` takes beyond NumPy's own import, beside the peers', each in a fresh process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

from benchmarks import measure, peers
from benchmarks.measure import Report, say

PACKAGES = ("hotloop", "copapy", "casadi", "numba", "jax")

PROBE = """
import sys, time
start = time.perf_counter()
import numpy
middle = time.perf_counter()
import {package}
print(middle - start, time.perf_counter() - middle)
"""


def probe(package: str) -> tuple[float, float]:
    """Return the seconds that importing NumPy, and then the package, takes in a fresh process."""
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}  # else each import compiles
    command = [sys.executable, "-c", PROBE.format(package=package)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    numpy_s, package_s = map(float, done.stdout.split())
    return numpy_s, package_s


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return how many targets were missed."""
    measure.arguments(__doc__, argv)
    report = Report("import: seconds beyond NumPy's import, fresh processes, warm disk")
    report.open(("numpy", *PACKAGES))
    chosen = [package for package in PACKAGES if peers.installed(package)]
    for package in peers.missing(PACKAGES):
        say(f"    {package} is not installed: left out")
    samples: dict[str, list[float]] = {"numpy": [], **{package: [] for package in chosen}}
    for turn in range(measure.LEAST_REPEATS + 1):
        for package in chosen:
            numpy_s, package_s = probe(package)
            if turn:  # the first turn warms the disk
                samples["numpy"].append(numpy_s)
                samples[package].append(package_s)
    found = {package: measure.timing(taken) for package, taken in samples.items() if taken}
    rows = [[package, one.ms, f"{100 * one.spread:.0f} %"] for package, one in found.items()]
    say("\n" + measure.table(["import", "ms", "spread"], rows))
    if "hotloop" in found:
        report.at_most("import hotloop beyond NumPy", found["hotloop"].ms, 80, " ms")
    return report.close()


if __name__ == "__main__":
    sys.exit(main() > 0)
