"""Timing of several peers side by side in one run, and the tables and verdicts that come of it.

Peers take turns sample by sample, so that a noisy machine disturbs all of them alike; samples are short, so that
most of them lie between two interruptions. A figure is the median of at least seven samples (25 by default), and its
spread is the distance between the quartiles.
"""

from __future__ import annotations

import argparse
import gc
import importlib.metadata
import itertools
import math
import multiprocessing
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np

Many = Callable[[int], object]  # does one thing n times
Key = TypeVar("Key", bound=Hashable)
Result = TypeVar("Result")
Array = np.ndarray[Any, Any]

LEAST_REPEATS = 7


class UnequalError(AssertionError):
    """A peer's result differs from the oracle's: nothing of it is timed."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds for one thing: the median of the samples and how they spread."""

    median: float
    low: float
    high: float
    samples: int

    @property
    def spread(self) -> float:
        """The distance between the quartiles as a part of the median."""
        return (self.high - self.low) / self.median if self.median else 0.0

    @property
    def ns(self) -> float:
        """The median in nanoseconds."""
        return self.median * 1e9

    @property
    def us(self) -> float:
        """The median in microseconds."""
        return self.median * 1e6

    @property
    def ms(self) -> float:
        """The median in milliseconds."""
        return self.median * 1e3


def timing(samples: Sequence[float]) -> Timing:
    """Summarise samples in seconds."""
    if len(samples) == 1:
        return Timing(samples[0], samples[0], samples[0], 1)
    low, median, high = statistics.quantiles(samples, n=4, method="inclusive")
    return Timing(median, low, high, len(samples))


# -------------------------------------------------------------------------------------------- timing


def calls(function: Callable[[], object]) -> Many:
    """Return a loop over a call from Python; the loop itself costs about 5 ns a turn."""

    def run(count: int) -> None:
        for _ in itertools.repeat(None, count):
            function()

    return run


def turns(call: str, names: Mapping[str, object]) -> Many:
    """Return a loop over a call that is given as text, as timeit does it: nothing but the call and the loop is timed.

    `last` in the call is what the call before gave, at first names["last"]; the loop returns the last result.
    """
    source = f"""
def make({", ".join(names)}{"" if "last" in names else ", last=None"}):
    def run(count):
        nonlocal last
        for _ in repeat(None, count):
            last = {call}
        return last
    return run
"""
    place: dict[str, Any] = {"repeat": itertools.repeat}
    exec(source, place)
    many: Many = place["make"](**names)
    return many


def _sample(run: Many, count: int) -> float:
    start = time.perf_counter_ns()
    run(count)
    return (time.perf_counter_ns() - start) * 1e-9


def _count_for(run: Many, sample_s: float) -> int:
    """Find how often to run so that one sample lasts sample_s; the first turn, which may prepare something, is not counted."""
    run(1)
    count = 1
    while True:
        spent = _sample(run, count)
        if spent >= sample_s or count >= 1 << 30:
            return count
        grown = count * sample_s / max(spent, 1e-7) * 1.1
        count = max(2 * count, min(math.ceil(grown), 20 * count))


def interleaved(
    sides: Mapping[Key, Many],
    *,
    repeats: int = 25,
    sample_s: float = 0.001,
    before: Mapping[Key, Callable[[], object]] = MappingProxyType({}),
) -> dict[Key, Timing]:
    """Time each side per turn of its loop, all sides taking turns.

    before: what has to be set for a side, such as a number of threads; then one turn is run that is not timed.
    Cost: about repeats * sample_s seconds a side. The order rotates from one repeat to the next.
    """
    repeats = max(repeats, LEAST_REPEATS)
    counts = {}
    for name, run in sides.items():
        _set(before.get(name), run)
        counts[name] = _count_for(run, sample_s)
    samples: dict[Key, list[float]] = {name: [] for name in sides}
    names = list(sides)
    with _NoCollection():
        for turn in range(repeats):
            shift = turn % max(len(names), 1)
            for name in names[shift:] + names[:shift]:
                _set(before.get(name), sides[name])
                samples[name].append(_sample(sides[name], counts[name]) / counts[name])
    return {name: timing(found) for name, found in samples.items()}


def _set(before: Callable[[], object] | None, run: Many) -> None:
    if before:
        before()
        run(1)


def native_ns(run_many: Many, *, repeats: int = 25, sample_s: float = 0.001) -> Timing:
    """Time a native loop (Target.run_many, or a loop in C) per step: no Python is in the figure."""
    return interleaved({"native": run_many}, repeats=repeats, sample_s=sample_s)["native"]


def isolated(function: Callable[..., Result], environment: Mapping[str, str], *given: object) -> Result:
    """Call a function of a module in a fresh process, with variables that packages read when they are imported."""
    kept = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            return pool.submit(function, *given).result()
    finally:
        for name, value in kept.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


class _NoCollection:
    """Keeps the garbage collector out of a measurement, as timeit does."""

    def __enter__(self) -> None:
        self._was = gc.isenabled()
        gc.disable()

    def __exit__(self, *_: object) -> None:
        if self._was:
            gc.enable()


# ------------------------------------------------------------------------------------------ equality


def check_equal(name: str, got: object, want: object, *, rtol: float, atol: float) -> float:
    """Return the largest error of got as a part of what is allowed; refuse one above 1.

    Raises: UnequalError when a shape differs, a result is not finite, or |got - want| > atol + rtol |want|.
    """
    found, wanted = np.asarray(got, np.float64), np.asarray(want, np.float64)
    if found.shape != wanted.shape:
        raise UnequalError(f"{name}: shape {found.shape}, want {wanted.shape}")
    error = np.abs(found - wanted) / (atol + rtol * np.abs(wanted))
    worst = float(error.max(initial=0.0))
    if not worst <= 1.0:
        place = int(np.argmax(np.where(np.isnan(error), np.inf, error)))
        pair = f"{found.flat[place]:.9g}, want {wanted.flat[place]:.9g}"
        raise UnequalError(f"{name}: result {place} is {pair} (rtol {rtol:g}, atol {atol:g})")
    return worst


def ulps(got: object, want: object) -> int:
    """Return the largest distance in units in the last place of float32."""
    a, b = (np.asarray(x, np.float32).view(np.int32).astype(np.int64) for x in (got, want))
    a, b = (np.where(x < 0, -(x & 0x7FFFFFFF), x) for x in (a, b))
    return int(np.abs(a - b).max(initial=0))


# -------------------------------------------------------------------------------------------- report


@dataclass(slots=True)
class Report:
    """What one benchmark prints: its title, tables, and each target as met or missed."""

    title: str
    verdicts: list[tuple[str, float, str, float, str]] = field(default_factory=list)

    def open(self, peers: Iterable[str]) -> None:
        """Print the title and the line of machine and versions."""
        say(f"\n=== {self.title}\n{machine(peers)}")

    def at_most(self, text: str, measured: float, limit: float, unit: str = "") -> None:
        """Hold a measured figure against a target from above."""
        self.verdicts.append((text, measured, "<=", limit, unit))

    def at_least(self, text: str, measured: float, limit: float, unit: str = "") -> None:
        """Hold a measured figure against a target from below."""
        self.verdicts.append((text, measured, ">=", limit, unit))

    def worst(self, text: str, ratios: Mapping[str, float], limit: float) -> None:
        """Hold the worst of several ratios, by what they are of, against one target; tell how many meet it."""
        if ratios:
            place = max(ratios, key=lambda place: ratios[place])
            met = sum(ratio <= limit for ratio in ratios.values())
            self.at_most(f"{text}; worst at {place}, {met} of {len(ratios)} met", ratios[place], limit, "x")

    def close(self) -> int:
        """Print the targets and return how many were missed."""
        missed = 0
        rows = []
        for text, measured, sense, limit, unit in self.verdicts:
            met = measured <= limit if sense == "<=" else measured >= limit
            missed += not met
            rows.append(["met" if met else "MISSED", text, f"{figure(measured)}{unit}", f"{sense} {limit:g}{unit}"])
        if rows:
            say("\n" + table(["", "target", "measured", "wanted"], rows))
        return missed


def figure(number: float | None) -> str:
    """Format a figure to three digits; None is a dash."""
    if number is None or math.isnan(number):
        return "-"
    if number >= 1000 or number == 0:
        return f"{number:,.0f}"
    return f"{number:.{max(0, 2 - math.floor(math.log10(abs(number))))}f}"


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Lay out rows under heads: text to the left, numbers to the right."""
    cells = [[figure(cell) if isinstance(cell, float) or cell is None else str(cell) for cell in row] for row in rows]
    columns = list(zip(*[list(heads), *cells], strict=True))
    widths = [max(map(len, column)) for column in columns]
    right = [all(cell[:1].isdigit() or cell in ("-", "") for cell in column[1:]) for column in columns]
    lines = [list(heads), ["-" * width for width in widths], *cells]
    return "\n".join(
        "  ".join(c.rjust(w) if r else c.ljust(w) for c, w, r in zip(line, widths, right, strict=True)).rstrip() for line in lines
    )


def say(text: str = "") -> None:
    """Print a line of the report at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def arguments(doc: str | None, argv: Sequence[str] | None = None, *, names: Sequence[str] = ()) -> argparse.Namespace:
    """Parse the options that all benchmarks share: --quick, --repeats, and names to choose from."""
    parser = argparse.ArgumentParser(description=(doc or "").split("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer sizes and shorter samples")
    parser.add_argument("--repeats", type=int, default=25, help="samples of each figure, at least 7")
    parser.add_argument("--peers", default="", help="comma-separated peers; all that are installed by default")
    if names:
        parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(names)}; all by default")
    options = parser.parse_args(argv)
    unknown = [name for name in getattr(options, "names", []) if name not in names]
    if unknown:
        parser.error(f"no such program: {', '.join(unknown)} (of {', '.join(names)})")
    return options


def wanted(label: str, options: argparse.Namespace) -> bool:
    """Tell whether --peers names this one, by the beginning of its label; without --peers all are wanted."""
    names = [name.strip().lower() for name in options.peers.split(",") if name.strip()]
    return not names or any(label.lower().startswith(name) for name in names)


def machine(packages: Iterable[str]) -> str:
    """Return one line: processor, cores, load, Python and the versions of the packages."""
    versions = [f"{name} {version}" for name in packages if (version := _version(name))]
    load = os.getloadavg()[0]
    python = f"Python {platform.python_version()}"
    return f"{_processor()}, {os.cpu_count()} cores, load {load:.1f}; {platform.system()}; {python}, {', '.join(versions)}"


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "" if package != "hotloop" else "checkout"


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    facts = dict(line.split(":", 1) for line in lines if ":" in line)
    found = {key.strip(): value.strip() for key, value in facts.items()}
    name = found.get("model name", platform.processor() or platform.machine())
    return f"{name} (family {found['cpu family']}, model {found['model']})" if "cpu family" in found else name
