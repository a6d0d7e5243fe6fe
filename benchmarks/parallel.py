"""Data-parallel functions (`@cu`) beside C with OpenMP, Numba and NumPy: 10,000 to 10,000,000 elements, one core and two.

hotloop returns new arrays, checks every index and gives the same bits on any number of cores; C and Numba write to given
arrays and check nothing. C is gcc -O3 -march=native, with -fopenmp on two cores; for functions of fast=True -ffast-math as
well, and Numba's fastmath. It is kept to vectors as wide as hotloop's, AVX2; where the machine has AVX-512, "C AVX-512" is the
same with them. Numba is parallel=True on two cores. Every peer is checked against NumPy at every size before it is timed.
One core first, then two, each in a process of its own. First calls are in fresh processes, after one of another function.
"""

from __future__ import annotations

import argparse
import ctypes
import dataclasses
import functools
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from benchmarks import measure, peers, sides
from benchmarks.fused import environment
from benchmarks.import_time import probe
from benchmarks.measure import Many, Report, Timing, UnequalError, say
from benchmarks.parallel_cases import CASES, SIZES, Case, Data

Array = np.ndarray[Any, Any]
PACKAGES = ("hotloop", "numpy", "numba")
OWN, OWN_ONE, C, C_ONE, C_WIDER = "hotloop", "hotloop, one core", "C", "C, one core", "C AVX-512"
NUMBA, NUMPY = "Numba", "NumPy"
OWN_NAMED = "hotloop, of a function that calls another @cu function"
PROCESSES = 3  # fresh ones for first calls
SMALL = 100
CORES = {1: "one core", 2: "two cores"}


class Cell(NamedTuple):
    """What one figure is of."""

    title: str
    dtype: str
    size: int


Found = dict[Cell, dict[str, Timing]]


# ------------------------------------------------------------------------------------------------ sides


class Side(NamedTuple):
    """One peer's version of a case: the function, its arguments, whether it returns what it gives, what is set before."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    returns: bool
    before: Callable[[], object] | None = None


def _hotloop(case: Case, data: Data, _: str, *, threads: int) -> Side:
    import hotloop as hl
    from benchmarks import parallel_hotloop

    return Side(getattr(parallel_hotloop, case.own), data.operands, True, functools.partial(hl.set_threads, threads))


def _numpy(case: Case, data: Data, _: str) -> Side | None:
    return Side(case.numpy, (*data.operands, *data.outputs), True) if case.numpy else None


def _numba(case: Case, data: Data, dtype: str, *, threads: int) -> Side:
    from benchmarks import parallel_numba

    function = parallel_numba.compiled(case.name, parallel=threads > 1, fast=case.fast)
    operands = [np.dtype(dtype).type(x) if isinstance(x, float) else x for x in data.operands]
    return Side(function, (*operands, *data.outputs, *data.spares), False)


def _c(case: Case, data: Data, dtype: str, *, threads: int, wider: bool = False) -> Side:
    from benchmarks import parallel_c

    flags = (*(peers.FAST if case.fast else peers.QUIET), *(() if wider else peers.same_width()))
    built = parallel_c.library(dtype, flags, threads > 1)
    kinds = {float: parallel_c.TYPES[dtype][2], int: ctypes.c_long}
    given = (*data.operands, *data.outputs, *data.spares, *data.sizes)
    arguments = tuple(parallel_c.pointer(x) if isinstance(x, np.ndarray) else kinds[type(x)](x) for x in given)
    return Side(getattr(built, case.name), arguments, False)


Make = Callable[[Case, Data, str], Side | None]


def contenders(cores: int) -> dict[str, tuple[str, Make]]:
    """Return what makes the peers' sides for a number of cores, with the package that each needs."""
    many: dict[str, tuple[str, Make]] = {
        OWN: ("hotloop", functools.partial(_hotloop, threads=cores)),
        C: ("numpy", functools.partial(_c, threads=cores)),
        NUMBA: ("numba", functools.partial(_numba, threads=cores)),
        NUMPY: ("numpy", _numpy),
    }
    one: dict[str, tuple[str, Make]] = {
        OWN_ONE: ("hotloop", functools.partial(_hotloop, threads=1)),
        C_ONE: ("numpy", functools.partial(_c, threads=1)),
    }
    wider: dict[str, tuple[str, Make]] = {C_WIDER: ("numpy", functools.partial(_c, threads=cores, wider=True))}
    return many | (one if cores > 1 else {}) | (wider if peers.wider() else {})


# ------------------------------------------------------------------------------------------- measuring


def _results(case: Case, data: Data, side: Side, returned: Any) -> tuple[Any, ...]:
    """Return what a side gave as arrays."""
    if side.returns or case.gives == "number":
        given = returned if isinstance(returned, tuple) else (returned,)
    else:
        given = (data.outputs[0][:returned],) if case.gives == "kept" else data.outputs
    return tuple(np.asarray(x) for x in given)


def _check(name: str, case: Case, dtype: str, got: Any, want: Any) -> None:
    """Hold results against NumPy's. Raises: UnequalError."""
    wanted = want if isinstance(want, tuple) else (want,)
    if len(got) != len(wanted):
        raise UnequalError(f"{name}: {len(got)} results, want {len(wanted)}")
    for one, other in zip(got, map(np.asarray, wanted), strict=True):
        if case.ulps and np.dtype(dtype).kind == "f":
            allowed = case.ulps * float(np.finfo(dtype).eps) * float(np.abs(other).max(initial=0.0))
            measure.check_equal(name, one, other, rtol=0, atol=max(allowed, 1e-300))
        elif one.shape != other.shape or np.count_nonzero(one != other) > case.differing * other.size:
            raise UnequalError(f"{name}: {np.count_nonzero(one != other) if one.shape == other.shape else one.shape} differ")


def _checked(name: str, case: Case, data: Data, dtype: str, want: Any, make: Make) -> Side | None:
    # outputs of its own: else the peers that write to given arrays would keep each other's in the caches
    data = dataclasses.replace(data, outputs=tuple(np.full_like(out, -1) for out in data.outputs))
    side = make(case, data, dtype)
    if side:
        if side.before:
            side.before()
        _check(name, case, dtype, _results(case, data, side, side.function(*side.arguments)), want)
    return side


def _many(side: Side) -> Many:
    names = [f"x{k}" for k in range(len(side.arguments))]
    call = f"function({', '.join(names)})"
    return measure.turns(call, {"function": side.function} | dict(zip(names, side.arguments, strict=True)))


def _cell(case: Case, dtype: str, size: int, cores: int, options: argparse.Namespace) -> dict[str, Timing]:
    """Check and time all peers on one case, type and size."""
    data = case.make(size, dtype)
    want = case.wanted(data)
    loops, before = {}, {}
    for label, (package, make) in contenders(cores).items():
        if not (peers.installed(package) and measure.wanted(label, options)):
            continue
        name = f"{case.title}, {dtype}, {size:,}, {label}"
        side = sides.attempt(name, functools.partial(_checked, name, case, data, dtype, want, make))
        if side:
            loops[label] = _many(side)
            if side.before:
                before[label] = side.before
    repeats = options.repeats if size < SIZES[-1] else measure.LEAST_REPEATS
    return measure.interleaved(loops, repeats=repeats, before=before)


def sizes_of(case: Case, options: argparse.Namespace) -> Sequence[int]:
    """Return the sizes to measure a case at: all but the largest if it has to be quick."""
    return [size for size in case.sizes if size < SIZES[-1] or not options.quick]


def measured(cores: int, options: argparse.Namespace) -> Found:
    """Time all cells on so many cores; called in a process of its own."""
    np.seterr(all="ignore")
    found = Found()
    for case in chosen(options):
        for dtype in case.dtypes:
            for size in sizes_of(case, options):
                found[Cell(case.title, dtype, size)] = _cell(case, dtype, size, cores, options)
        say(f"    {case.title}, {CORES[cores]}: measured")
    return found


def chosen(options: argparse.Namespace) -> list[Case]:
    """Return the cases that were asked for by name."""
    return [case for case in CASES if not options.names or case.name in options.names]


# --------------------------------------------------------------------------------- calls and first calls


def calls(options: argparse.Namespace) -> dict[str, Timing]:
    """Time a call with three small arrays; called in a process of its own."""
    random = np.random.default_rng(1)
    x, y, z = (random.random(SMALL) for _ in range(3))
    out = np.empty(SMALL)
    data = Data((x, y, z), (out,), (), (SMALL,))
    case = Case("three", "x y + z", lambda n, dtype: data, lambda x, y, z, out: np.add(np.multiply(x, y, out=out), z, out=out), ulps=2)
    loops: dict[str, Many] = {}
    for label, (package, make) in contenders(1).items():
        if peers.installed(package) and label != C_WIDER:
            side = sides.attempt(label, functools.partial(_checked, label, case, data, "float64", x * y + z, make))
            loops |= {label: _many(side)} if side else {}
            if label == OWN:
                named = dataclasses.replace(case, name="three_named")
                loops[OWN_NAMED] = _many(_checked(OWN_NAMED, named, data, "float64", x * y + z, make))
    return measure.interleaved(loops, repeats=options.repeats)


def _narrowed(data: Data) -> tuple[Any, ...]:
    """Return operands of other types: float32 for float64, and where there is none int32 for int64."""
    arrays = [x for x in data.operands if isinstance(x, np.ndarray)]
    floats = any(x.dtype.kind == "f" for x in arrays)
    into = {"d": np.float32} if floats else {"l": np.int32, "i": np.int64}
    return tuple(x.astype(into.get(x.dtype.char, x.dtype)) if isinstance(x, np.ndarray) else x for x in data.operands)


Firsts = dict[str, tuple[float, float | None]]


def _timed(function: Callable[..., Any], arguments: Sequence[Any]) -> float:
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def firsts(package: str, titles: Sequence[str]) -> Firsts:
    """Return seconds of the first call of each case, and of the first with other types; in a process of its own.

    The first of all, titled "", is the first call in the process: it imports the compiler.
    """
    found = Firsts()
    make: Make = functools.partial(_hotloop, threads=2) if package == "hotloop" else functools.partial(_numba, threads=2)
    three = tuple(np.ones(SMALL) for _ in range(3))
    warm = make(Case("three", "", CASES[0].make), Data(three, (np.ones(SMALL),)), "float64")
    assert warm
    found[""] = _timed(warm.function, warm.arguments), None
    seen = set()
    for case in CASES:
        if case.title in titles and case.own not in seen:
            seen.add(case.own)
            data = case.make(SMALL, case.dtypes[0])
            side = make(case, data, case.dtypes[0])
            assert side
            first = _timed(side.function, side.arguments)
            has_types = side.returns and any(isinstance(x, np.ndarray) for x in data.operands)
            found[case.title] = first, _timed(side.function, _narrowed(data)) if has_types else None
    return found


def first_calls(options: argparse.Namespace) -> dict[str, dict[str, tuple[Timing, Timing | None]]]:
    """Time first calls without the cache on disk, from it, and of Numba, each in fresh processes."""
    titles = [case.title for case in chosen(options)]
    found = {}
    with tempfile.TemporaryDirectory(prefix="hotloop-bench-") as folder:
        kept = environment(2) | {"HOTLOOP_CACHE_DIR": folder}
        measure.isolated(firsts, kept, "hotloop", titles)  # fills the cache
        for label, package, variables in (
            (OWN, "hotloop", environment(2) | {"HOTLOOP_CACHE": "0"}),
            ("from disk", "hotloop", kept),
            (NUMBA, "numba", environment(2)),
        ):
            if peers.installed(package):
                some = titles[:1] if package == "numba" and options.quick else titles
                taken = [measure.isolated(firsts, variables, package, some) for _ in range(1 if package == "numba" else PROCESSES)]
                found[label] = {title: _of_processes([one[title] for one in taken]) for title in taken[0]}
    return found


def _of_processes(samples: Sequence[tuple[float, float | None]]) -> tuple[Timing, Timing | None]:
    again = [second for _, second in samples if second is not None]
    return measure.timing([first for first, _ in samples]), measure.timing(again) if again else None


# ------------------------------------------------------------------------------------------- reporting


def _ratio(row: Mapping[str, Timing], own: str, other: str) -> float | None:
    return row[own].median / row[other].median if own in row and other in row else None


def _table(found: Found, cores: int) -> str:
    """Lay out all cells: microseconds of every peer, hotloop's spread, and ratios."""
    labels = [label for label in contenders(cores) if any(label in row for row in found.values())]
    beside = [label for label in (C, C_WIDER, NUMBA, NUMPY) if label in labels]
    rows = []
    for (title, dtype, size), row in found.items():
        times = [row[label].us if label in row else None for label in labels]
        spread = sides.percent(row[OWN]) if OWN in row else "-"
        gains = [_ratio(row, OWN_ONE, OWN), _ratio(row, C_ONE, C)] if cores > 1 else []
        rows.append([title, dtype, f"{size:.0e}", *times, spread, *[_ratio(row, OWN, label) for label in beside], *gains])
    gained = ["2 cores: hotloop", "C"] if cores > 1 else []
    return measure.table(["", "", "n", *labels, "spread", *[f"/{label}" for label in beside], *gained], rows)


def _rows(found: Found, title: str) -> list[tuple[str, int, dict[str, Timing]]]:
    return [(cell.dtype, cell.size, row) for cell, row in found.items() if cell.title == title]


def _judge(report: Report, found: Found, cores: int, options: argparse.Namespace) -> None:
    """Hold the worst size and type of each case against the targets."""
    limits = {C: 1.15, NUMBA: 1.0}
    for case in chosen(options):
        rows = _rows(found, case.title)
        for other, limit in (limits | ({NUMPY: 1.0} if case.sorts else {})).items():
            ratios = {f"{dtype} {size:.0e}": ratio for dtype, size, row in rows if (ratio := _ratio(row, OWN, other))}
            report.worst(f"{case.title}, {CORES[cores]}: beside {other}", ratios, limit)
        if cores > 1 and case.computes:
            for dtype, size, row in rows:
                gained = _ratio(row, OWN_ONE, OWN)
                if gained and size == min(SIZES[1], max(case.sizes)):
                    report.at_least(f"{case.title}, {dtype}, {size:.0e}: faster by the second core", gained, 1.7, "x")


def _report_calls(report: Report, options: argparse.Namespace) -> None:
    found = measure.isolated(calls, environment(1) | {"HOTLOOP_CACHE": "0"}, options)
    rows = [[label, one.ns, sides.percent(one)] for label, one in found.items()]
    say(f"\na call with three arrays of {SMALL} elements\n" + measure.table(["", "ns", "spread"], rows))
    if OWN in found:
        report.at_most("a call with three small arrays", found[OWN].us, 2.0, " us")
        report.at_most("the same of a function that calls another", found[OWN_NAMED].us, 2.0, " us")


def _report_firsts(report: Report, options: argparse.Namespace) -> None:
    found = first_calls(options)
    own = found.get(OWN, {})
    rows = []
    for title in own:
        times = [found[label][title][0].ms if label in found and title in found[label] else None for label in (OWN, "from disk", NUMBA)]
        again = [seconds.ms if (seconds := found[label][title][1]) else None for label in (OWN, "from disk")]
        rows.append([title or "the first in the process", *times, *again])
    heads = ["ms to the first result", OWN, "from disk", NUMBA, "other types", "from disk"]
    say("\n" + measure.table(heads, rows))
    report.worst("first call, ms of 20", {title or "the first": first.ms / 20 for title, (first, _) in own.items()}, 1.0)
    report.worst("other types, ms of 2", {title: again.ms / 2 for title, (_, again) in own.items() if again}, 1.0)


def _report_imports(report: Report) -> None:
    modules = ("hotloop", "hotloop.parallel", "hotloop.parallel.function")
    found = {}
    for module in modules:
        taken = [probe(module)[1] for _ in range(measure.LEAST_REPEATS + 1)][1:]  # the first turn warms the disk
        found[module] = measure.timing(taken)
    rows = [[name, one.ms, sides.percent(one)] for name, one in found.items()]
    say("\n" + measure.table(["import, beyond NumPy's", "ms", "spread"], rows))
    report.at_most("import hotloop.parallel.function, where cu is", found[modules[-1]].ms, 80, " ms")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return how many targets were missed."""
    options = measure.arguments(__doc__, argv, names=tuple(dict.fromkeys(case.name for case in CASES)))
    report = Report("parallel: data-parallel functions")
    report.open(PACKAGES)
    for package in peers.missing(PACKAGES):
        say(f"    {package} is not installed: left out")
    if options.quick:
        options.repeats = measure.LEAST_REPEATS
    for cores in CORES:
        kept_off = environment(cores) | {"HOTLOOP_CACHE": "0"}
        found = measure.isolated(measured, kept_off, cores, options)
        say(f"\nmicroseconds, {CORES[cores]} (load {os.getloadavg()[0]:.1f} after)\n" + _table(found, cores))
        _judge(report, found, cores, options)
    _report_calls(report, options)
    _report_firsts(report, options)
    _report_imports(report)
    return report.close()


if __name__ == "__main__":
    sys.exit(main() > 0)
