"""The files of an export: what they say, how large they are, and what they refuse."""

from __future__ import annotations

import re
import subprocess
from array import array
from pathlib import Path

import numpy as np
import pytest
from tests.backends.csource.building import STRICT, ZIG, Exported, Pair, compiled, one_lane

import hotloop as hl
from hotloop.backends.csource import c_source
from hotloop.backends.csource.headers import definitions
from hotloop.backends.csource.literals import literal
from hotloop.dtypes import bool_, float32, float64, int32, int64
from hotloop.errors import NameConflict, TargetError
from hotloop.image import Symbol
from hotloop.ir.program import DTYPE_NUMBER, IN_MEMORY, LOOP_BEGIN, LOOP_END, RANGE, STORE, WIDE_NUMBER, Program, overloads


def simple() -> Pair:
    gain = hl.value(0.1, name="gain")
    total = hl.state([1.0, 2.0], name="total")
    total.next = total * gain
    return Pair([hl.sin(total[0]) + gain])


def test_the_header_tells_types_shapes_and_first_values() -> None:
    text = simple().files("filter")["filter.h"]
    assert "float gain; /* float32, initially 0.1 */" in text
    assert "float total[2]; /* float32, shape (2,), initially 1.0, 2.0 */" in text
    assert "float out0; /* float32 */" in text
    assert "void filter_step(filter_t *self);" in text


def test_the_step_names_the_lines_of_the_user() -> None:
    text = simple().files("filter")["filter.c"]
    assert re.search(r"/\* test_source\.py:\d+ \*/\n    const float v0 = ", text)


def test_only_what_is_called_is_exported() -> None:
    text = simple().files("filter")["filter_math.h"]
    assert "hl_sin_f32" in text
    for word in ("hl_exp_f32", "_f64", "HL_LANES", "__attribute__", "memcpy", "vector_size", '#include "'):
        assert word not in text
    assert text.count("\n") < 330


def test_programs_without_functions_have_none() -> None:
    text = Pair([hl.value(1.0) + 2.0]).files("plain")["plain_math.h"]
    assert "hl_" not in text
    assert "FP_CONTRACT OFF" in text


def test_functions_come_after_what_they_call() -> None:
    text = definitions(["hl_pow_f64 hl_hypot_f32 hl_floordiv_f64 hl_op_mod_i64"], fast=False)
    known: set[str] = set()
    for part in text.split("\n\n"):
        found = re.findall(r"^static inline \w+ (\w+)\(", part, re.MULTILINE)
        called = set(re.findall(r"\b(hl_\w+)\(", part)) - set(found)
        if found:
            assert called <= known | set(re.findall(r"#define (\w+)", text)), found
        known |= set(found)


def test_the_example_compiles_and_runs(tmp_path: Path) -> None:
    for file, text in simple().files("filter").items():
        (tmp_path / file).write_text(text)
    subprocess.run([*ZIG, *STRICT, "-o", "filter", "filter.c", "filter_example.c"], cwd=tmp_path, check=True)
    assert subprocess.run([tmp_path / "filter"], check=False).returncode == 0


def test_compilers_that_change_results_are_refused(tmp_path: Path) -> None:
    for file, text in simple().files("filter").items():
        (tmp_path / file).write_text(text)
    done = subprocess.run([*ZIG, "-ffast-math", "-c", "filter.c"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "compile without -ffast-math" in done.stderr


def test_fast_leaves_the_multiply_add_in_software_out() -> None:
    x = hl.value(0.1)
    pair = Pair([hl.fma(x, x, -0.01)])
    strict, fast = pair.files("strict"), pair.files("fast", fast=True)
    assert "hl_fma_one_f32" in strict["strict_math.h"]
    assert "hl_fma_one_f32" not in fast["fast_math.h"]
    library = compiled({"strict": strict, "fast": fast}, ("-O2", "-U__FMA__"))
    pair.check(library, "strict")
    exported = Exported(pair.program, "fast", library)
    exported.step()
    (found,) = [exported.view(symbol) for symbol in pair.program.symbols if symbol.kind == "output"]
    y = np.float32(0.1)
    assert found == y * y - np.float32(0.01)


def test_names_that_c_cannot_have_are_refused() -> None:
    with pytest.raises(NameConflict, match=r"'my-filter' cannot begin names in C"):
        simple().files("my-filter")


def test_programs_on_vectors_are_refused() -> None:
    program = one_lane([(hl.value(1.0) + 2.0).node])
    program.values[0] = WIDE_NUMBER["f32w"]
    with pytest.raises(TargetError, match=r"linearize with vector_bytes=0"):
        c_source(program, "wide")


def test_literals() -> None:
    assert [literal(x, float32) for x in (0.5, -2.0, -0.0, np.float32(0.1))] == ["0.5f", "(-2.0f)", "(-0.0f)", "0x1.99999ap-4f"]
    assert [literal(x, float64) for x in (3.0, 0.1, np.inf, -np.inf)] == ["3.0", "0x1.999999999999ap-4", "HL_INF_F64", "(-HL_INF_F64)"]
    assert [literal(x, int32) for x in (7, -7, -(2**31))] == ["7", "(-7)", "INT32_MIN"]
    assert [literal(x, int64) for x in (7, 2**40, -(2**63))] == ["7", "INT64_C(1099511627776)", "INT64_MIN"]
    assert [literal(x, bool_) for x in (True, False)] == ["true", "false"]


def test_loops_over_a_range_run_while_the_first_value_is_below_the_limit() -> None:
    symbols = [Symbol("limit", "input", int64, (), 16), Symbol("", "output", int64, (), 24), Symbol("wanted", "input", bool_, (), 32)]
    add, long, flag = overloads()["add.i64.i64"], DTYPE_NUMBER[int64], DTYPE_NUMBER[bool_]
    code = [LOOP_BEGIN, -1, 5, -1, -1, 0, add, 4, 3, 1, -1, 0, LOOP_END, -1, 2, -1, -1, 0, STORE, -1, 3, -1, -1, 24]
    values = [long, 0, IN_MEMORY, long, 8, IN_MEMORY, long, 16, IN_MEMORY, long, -1, 0, long, -1, 0, flag, 32, IN_MEMORY]
    data = bytearray(np.array([0, 1, 0, 0, 0], np.int64).tobytes())
    program = Program(array("i", code), array("i", values), array("i", [RANGE, 2, 0, 1]), array("i", [3, 0, 4]), data, symbols)
    exported = Exported(program, "ranged", compiled({"ranged": c_source(program, "ranged")}, ("-O1",)))
    limit, out, wanted = (exported.view(symbol) for symbol in symbols)
    for given in ((5, True, 5), (0, True, 1), (5, False, 0)):
        limit[...], wanted[...] = given[:2]
        exported.step()
        assert out == given[2]
