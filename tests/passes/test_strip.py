"""Sweeps written on vectors of lanes: the bits of the reference and of the code that takes elements one by one."""

from __future__ import annotations

import numpy as np
import pytest
from tests.plan_execution import Machine
from tests.procedures import PROCEDURES, assert_bits, expected, sizes

from hotloop.backends.native.parallel import link_parallel
from hotloop.ir.sweep import Sweep
from hotloop.passes.sweeps.effects import tasks
from hotloop.passes.sweeps.strip import strips
from hotloop.passes.sweeps.versions import Versions
from hotloop.runtime import local
from hotloop.stencils.library import available, library

TARGETS = [name for name in available() if name.startswith("x86") and local.executes(name)]


def kinds_of(name: str) -> list[bool]:
    return [strips(task) for step in PROCEDURES[name][0].steps if isinstance(step, Sweep) for task in tasks(step)]


KINDS = {name: kinds_of(name) for name in PROCEDURES}
STRIPPED = [name for name in PROCEDURES if any(KINDS[name])]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", STRIPPED)
def test_lanes_have_the_bits_of_the_reference(name: str, target: str) -> None:
    procedure, make = PROCEDURES[name]
    linked = link_parallel(procedure, target, library(target).meta["wide"])
    for size in sizes(name):
        for got, want in zip(Machine(linked).call(procedure, make(size)), expected(name, size), strict=True):
            assert_bits(got, want)


def test_what_runs_on_lanes() -> None:
    names = ("map", "shift", "gather", "folds", "filter", "dot", "while in lanes", "concat", "reverse", "divided", "counts", "rows read")
    for each in [each for each in PROCEDURES if each.startswith(names)]:
        assert all(KINDS[each]), each
    assert not all(KINDS["scatter"])


def versions_of(name: str, number: int = 0) -> list[int]:
    """Return how many streams each version of a sweep's body reads."""
    sweeps = [step for step in PROCEDURES[name][0].steps if isinstance(step, Sweep)]
    sweep = sweeps[number]
    index = sweep.index if sweep.inner is None else sweep.inner.index
    made = Versions([effect.value for effect in sweep.effects if hasattr(effect, "value")], index)
    return [len(version.reads) for version in made.fast()]


def test_what_lies_inside_settles_choices() -> None:
    """Streams decide the comparisons of a shift, so one version is left; of joined arrays each has its own."""
    assert versions_of("shift float64") == [3]
    assert versions_of("concat") == [1, 1]
    assert versions_of("map float64") == [2]


@pytest.mark.parametrize("target", TARGETS)
def test_nothing_outside_of_arrays_is_read_or_written(target: str) -> None:
    """Arrays end where memory ends: the page behind them, and that before, cannot be touched."""
    import mmap

    page = mmap.PAGESIZE
    for name in ("shift float32", "gather float64 by int64", "map float64", "filter float64", "concat", "reverse", "gather bool by int32"):
        procedure, make = PROCEDURES[name]
        linked = link_parallel(procedure, target, library(target).meta["wide"])
        for size in (1, 7, 32, 33, 100):
            machine, guarded = Machine(linked), []
            for argument in make(size):
                argument = np.asarray(argument)
                if not argument.ndim:
                    guarded.append(argument)
                    continue
                memory = mmap.mmap(-1, 3 * page)
                whole = np.frombuffer(memory, np.uint8)
                start = 2 * page - argument.nbytes if size % 2 else page
                whole[start : start + argument.nbytes] = argument.view(np.uint8).reshape(-1)
                protect(whole.ctypes.data, page)
                protect(whole.ctypes.data + 2 * page, page)
                guarded.append(whole[start : start + argument.nbytes].view(argument.dtype))
            for got, want in zip(machine.call(procedure, guarded), expected(name, size), strict=True):
                assert_bits(got, want)


def protect(address: int, size: int) -> None:
    """Let nothing read or write pages."""
    import ctypes

    assert ctypes.CDLL(None, use_errno=True).mprotect(ctypes.c_void_p(address), ctypes.c_size_t(size), 0) == 0
