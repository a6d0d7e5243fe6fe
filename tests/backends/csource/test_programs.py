"""Whole programs as C source: loops, states, arrays, random programs, the examples and the benchmarks, beside the native target."""

from __future__ import annotations

import contextlib
import importlib
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from benchmarks import sides
from benchmarks.programs import ALL
from tests import array_programs
from tests.backends.csource.building import Pair, compiled, objects
from tests.passes.test_random_arrays import outputs_of

import hotloop as hl

UNDEFINED = ("-O1", "-fsanitize=undefined", "-fno-sanitize-recover=all", "-fsanitize-trap=all")
CORTEX_M4 = ("-target", "thumb-freestanding-eabihf", "-mcpu=cortex_m4+vfp4d16sp", "-O2")


def flat(results: Any) -> list[Any]:
    return [x for item in results for x in (item if isinstance(item, (tuple, list)) else [item])]


def loops() -> dict[str, list[Any]]:
    """Programs of loops: carried values that change places, nested loops, loops of no fixed length, tables."""
    a, b, c, n = hl.value(1.0), hl.value(2.0), hl.value(3), hl.value(27)
    found: dict[str, list[Any]] = {
        "swapped": flat([hl.loop(5, lambda x, y, m: (y, x + 1.0, m + 2), a, b, c), hl.loop(3, lambda x, y: (y, x), a, b)]),
        "constant": flat([hl.loop(4, lambda x, y: (a + 0.0 * x, x), a, b)]),
        "unused": [hl.loop(4, lambda x, y, z: (x * 0.5, y + z, y), a, b, b)[0]],
        "nested": [hl.loop(3, lambda x: hl.loop(3, lambda y: hl.loop(2, lambda z: z * 1.01 + x, y) - x * 0.1, x), a)],
        "index": [hl.loop(10, lambda i, s: s + i * i, hl.value(0), index=True)],
        "while": flat([hl.while_loop(lambda v, k: v != 1, lambda v, k: (hl.iif(v % 2 == 0, v // 2, 3 * v + 1), k + 1), n, hl.value(0))]),
        "table": [hl.loop(6, lambda i, s: s + hl.vector([0.1, 0.2, 0.5, -0.0, 3.0, 1e-9])[i], a, index=True)],
    }  # fmt: skip
    found["while_in_loop"] = [
        hl.loop(3, lambda x: hl.while_loop(lambda y: y < 9.0, lambda y: y * 1.5 + hl.sin(x), x * 0.5 + 0.2), a),
        hl.while_loop(lambda y: y < 40.0, lambda y: hl.loop(3, lambda z: z * 1.1 + 0.1, y), b),
    ]
    return found


def states() -> dict[str, list[Any]]:
    """Programs with states, also ones that exchange their values, and with values of every type."""
    a, b = hl.state(1.0), hl.state(2.0)
    a.next = b
    b.next = a + b
    v = hl.state([1.0, 2.0, 3.0])
    v.next = v * 0.5 + v[0]
    count = hl.state(0, dtype="int64")
    count.next = count * 6364136223846793005 + 1442695040888963407
    flag = hl.state(True)
    flag.next = ~flag
    k = hl.value(-(2**31), name="default")
    return {
        "exchanged": [a + 0.0, b + 0.0, v * 1.0],
        "types": [count >> 33, flag & True, hl.iif(flag, 1.5, -2.5), k - 1, -k, abs(k), k * k, k // -1, k % 7, hl.value(5, name="x y") + 0],
        "constants": [hl.vector([1.0, np.inf, -np.inf, np.nan]), a * np.inf + np.nan, hl.value(0.1) * 0.1, count + (2**63 - 1)],
    }


def random_body(seed: int) -> list[Any]:
    chance = np.random.default_rng(seed)
    values = [hl.value(float(x)) for x in chance.normal(size=6)]
    rows = [lambda a, b: a * b, lambda a, b: a + b, lambda a, b: a - b, hl.minimum, lambda a, b: hl.sin(a) + b, hl.atan2]

    def body(*carried: Any) -> Any:
        pool = [*carried, *values[:3]]
        for _ in range(30):
            row = rows[int(chance.integers(len(rows)))]
            pool.append(row(pool[int(chance.integers(len(pool)))], pool[int(chance.integers(len(pool)))]) * 0.5)
        return tuple(pool[-len(carried) :])

    return list(hl.loop(7, body, *values))


def random_arrays(seed: int) -> list[Any]:
    """A random program of arrays."""
    chance = np.random.default_rng(seed)
    base = tuple(int(n) for n in chance.choice([1, 2, 3, 7, 8, 24, 33, 100], chance.integers(1, 3)))
    shapes = [base[int(chance.integers(len(base))) :] for _ in range(3)]
    inputs = tuple((str(chance.choice(array_programs.TYPES)), shape, int(chance.integers(12))) for shape in shapes)
    names = chance.choice(array_programs.NAMES, chance.integers(2, 9))
    steps = tuple((str(name), *[int(x) for x in chance.integers(0, 12, 2)], int(chance.integers(64))) for name in names)
    return outputs_of(array_programs.Recipe(inputs, steps, int(chance.integers(2**14))))


def example(name: str, function: str = "main") -> list[Any]:
    """What an example compiles."""

    found: list[Any] = []

    def compile_(self: Any, *values: Any, **_: Any) -> None:
        found.extend(flat(values))
        raise KeyboardInterrupt("the rest of the example is not wanted")

    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
        patch.setattr(hl.Target, "compile", compile_)
        getattr(importlib.import_module(f"examples.{name}"), function)()
    return [x for x in found if hasattr(x, "node")]


def benchmark(name: str, form: str) -> list[Any]:
    program = ALL[name]
    if form == "arrays":
        functions = ("concat", "sin", "cos", "sqrt", "atan2", "tanh", "minimum", "maximum")
        space = types.SimpleNamespace(array=sides._hotloop_tensor, convolve=None, **{word: getattr(hl, word) for word in functions})
        groups = {key: sides.hotloop_input(np.array(group, np.float32), key) for key, group in program.groups(program.flat).items()}
        return list(program.arrays(space, **groups))
    values = [hl.value(float(x)) for x in program.flat]
    outputs = program.step(sides._hotloop_space(form == "looped"), **program.groups(values))
    return [y for y in outputs if isinstance(y, hl.value)]


def check(programs: dict[str, Callable[[], list[Any]] | list[Any]], flags: tuple[str, ...], steps: int = 4) -> None:
    pairs = {f"program_{name}": Pair(made() if callable(made) else made) for name, made in programs.items()}
    library = compiled({name: pair.files(name) for name, pair in pairs.items()}, flags)
    for name, pair in pairs.items():
        pair.check(library, name, steps)


@pytest.mark.parametrize("flags", [("-O0",), ("-O3",), UNDEFINED], ids=["O0", "O3", "undefined"])
def test_loops_and_states(flags: tuple[str, ...]) -> None:
    check(loops() | states(), flags)


def test_random_loops() -> None:
    check({str(seed): random_body(seed) for seed in range(12)}, ("-O1",))


@pytest.mark.parametrize("flags", [("-O2",), UNDEFINED], ids=["O2", "undefined"])
def test_random_programs_of_arrays(flags: tuple[str, ...]) -> None:
    made = {str(seed): random_arrays(seed) for seed in range(12)}
    check({seed: outputs for seed, outputs in made.items() if outputs}, flags, 2)


EXAMPLES = ["inverse_kinematics", "pid_plant", "kalman", "attitude", "biquad", "fm_demodulator", "mpc"]


def test_examples() -> None:
    made = {name: example(name) for name in EXAMPLES}
    made |= {name: example("copapy_program", name) for name in ("balance", "shoulder", "spread")}
    check(made, ("-O2",))


@pytest.mark.parametrize("form", ["scalars", "looped", "arrays"])
def test_benchmarks(form: str) -> None:
    names = [name for name, program in ALL.items() if form != "arrays" or program.arrays]
    check({name: benchmark(name, form) for name in names}, ("-O1",))


def test_programs_compile_without_a_warning_for_a_microcontroller() -> None:
    programs = loops() | states() | {"mpc": example("mpc"), "network": benchmark("network", "arrays")}
    objects({f"p_{name}": Pair(outputs).files(f"p_{name}") for name, outputs in programs.items()}, CORTEX_M4)
