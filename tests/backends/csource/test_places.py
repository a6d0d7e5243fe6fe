"""What the bytes of a program are in C: names, arrays between operations, constants, fields that are read as one array."""

from __future__ import annotations

from array import array

import numpy as np
import pytest

from hotloop.backends.csource.places import Access, Places, declaration, unique
from hotloop.dtypes import DType, float32, int32, int64
from hotloop.errors import TargetError
from hotloop.image import Symbol
from hotloop.ir.program import Program


class Blocked(Program):
    """A program that knows what was reserved at once."""

    __slots__ = ("blocks",)


def program(size: int, *symbols: Symbol, blocks: tuple[tuple[int, int, int], ...] = ()) -> Program:
    empty = array("i")
    found = Blocked(empty, empty, empty, empty, bytearray(np.arange(size // 4, dtype=np.float32).tobytes()), list(symbols))
    found.blocks = list(blocks)
    return found


def scalar(name: str, offset: int, kind: str = "input", dtype: DType = float32) -> Symbol:
    return Symbol(name, kind, dtype, (), offset)


def test_names_become_identifiers_that_differ() -> None:
    taken: set[str] = set()
    found = [unique(name, taken) for name in ("x y", "x_y", "3d", "while", "hl_x", "°")]
    assert found == ["x_y", "x_y_2", "x_3d", "x_while", "x_hl_x", "value"]


def test_outputs_are_numbered_and_constants_by_themselves() -> None:
    symbols = [scalar("a", 0), scalar("", 4, "output"), scalar("", 8, "constant"), scalar("", 12, "output")]
    places = Places(program(16, *symbols), [], [], [])
    assert [area.name for area in places.areas] == ["a", "out0", "constant0", "out1"]
    assert places.read(12, float32) == "self->out1"


def test_what_no_one_writes_is_a_literal() -> None:
    places = Places(program(16, scalar("a", 0)), [], [], [])
    assert places.read(8, float32) == "2.0f"


def test_arrays_that_are_only_read_are_tables() -> None:
    places = Places(program(64, scalar("a", 0), blocks=((0, 4, 4), (32, 16, 32))), [], [], [Access(32, float32, False)])
    (table,) = places.work
    assert (table.written, table.name, places.place(36, float32, "v1")) == (False, "table", "table[v1 + 1]")
    assert table.values(float32).tolist() == [8.0, 9.0, 10.0, 11.0]


def test_arrays_of_two_types_are_unions() -> None:
    accesses = [Access(32, float32, True), Access(32, int64, True)]
    places = Places(program(64, scalar("a", 0), blocks=((32, 16, 32),)), [(40, int32)], [], accesses)
    (work,) = places.work
    assert declaration(work) == "union { uint32_t bits[4]; float as_f32[4]; int64_t as_i64[2]; int32_t as_i32[4]; } work"
    assert places.read(40, int32) == "self->work.as_i32[2]"


def test_without_knowing_blocks_all_between_two_fields_is_one_array() -> None:
    symbols = [scalar("a", 0), scalar("", 60, "output")]
    places = Places(program(64, *symbols), [], [(12, float32)], [Access(32, float32, True)])
    (work,) = places.work
    assert (work.start, work.size) == (0, 64)
    assert places.place(12, float32) == "self->work[3]"


def test_fields_that_are_read_as_one_array_are_one_array() -> None:
    symbols = [scalar(name, 4 * k) for k, name in enumerate("abcd")]
    places = Places(program(16, *symbols, blocks=((0, 4, 4), (4, 12, 4))), [], [], [Access(4, float32, False)])
    assert [declaration(area) for area in places.areas] == ["float a", "float b_c_d[3]"]
    assert places.read(8, float32) == "self->b_c_d[1]"
    assert places.place(4, float32, "v0") == "self->b_c_d[v0]"


def test_a_scalar_read_by_an_index_is_refused_where_nothing_tells_how_far() -> None:
    with pytest.raises(TargetError, match=r"a is read as part of an array with others.*Make them one array"):
        Places(program(16, scalar("a", 0)), [], [], [Access(0, float32, False)])
