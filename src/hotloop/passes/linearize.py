"""Pass `linearize`: a graph of scalars becomes a Program, and its values get places in memory.

The order is that of creation, which is the order in which the user wrote the operations; what a
loop does not change is computed before it.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from functools import cache
from struct import Struct
from typing import Any

import numpy as np

from hotloop._graph import Numbers, encode
from hotloop.dtypes import COMPUTE, DType, int32, int64
from hotloop.image import Symbol
from hotloop.ir.graph import CONST, INPUT, ITEM, LOOP, PARAM, STATE, Body, Cell, Node, apply, constant
from hotloop.ir.loop import dependents
from hotloop.ir.op import REGISTRY
from hotloop.ir.program import (
    COPY,
    DTYPE_NUMBER,
    IN_MEMORY,
    LOOP_BEGIN,
    LOOP_END,
    LOOP_EXIT,
    STORE,
    WIDE_NUMBER,
    Program,
    overload_numbers,
    overloads,
    wide_name,
)
from hotloop.ops.shape import LANES, pack, take
from hotloop.passes.sweep import SWEEP, Sweep

_FORMATS = {"bool": "?", "int32": "i", "int64": "q", "float32": "f", "float64": "d"}  # of struct, little endian
_PACKED = {dtype: Struct(f"<{_FORMATS[dtype.name]}").pack for dtype in COMPUTE}


class _Memory:
    """The layout of the data: inputs, states, outputs, constants, in that order of arrival."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.symbols: list[Symbol] = []
        self.constants: dict[tuple[DType, bytes], int] = {}

    def place(self, dtype: DType, shape: tuple[int, ...], init: np.ndarray[Any, Any] | None) -> int:
        """Reserve room for an array and return its offset."""
        align = 16 if shape else dtype.size
        self.data.extend(bytes(-len(self.data) % align))
        offset = len(self.data)
        if init is None:
            self.data.extend(bytes(dtype.size * int(np.prod(shape, dtype=np.int64))))
        else:
            self.data.extend(np.ascontiguousarray(init, dtype.numpy).tobytes())
        return offset

    def symbol(self, name: str, kind: str, dtype: DType, shape: tuple[int, ...], init: np.ndarray[Any, Any] | None) -> Symbol:
        """Reserve room under a name."""
        found = Symbol(name, kind, dtype, shape, self.place(dtype, shape, init))
        self.symbols.append(found)
        return found

    def constant(self, value: bool | int | float, dtype: DType) -> int:
        """Return the offset of a pooled constant."""
        key = dtype, _PACKED[dtype](value)
        found = self.constants.get(key)
        if found is None:
            data = self.data
            data.extend(bytes(-len(data) % dtype.size))
            found = self.constants[key] = len(data)
            data.extend(key[1])
        return found


def linearize(
    nodes: Sequence[Node],
    outputs: Sequence[tuple[Node, tuple[int, ...], list[Node]]],
    nexts: Sequence[tuple[Cell, list[Node]]],
    cells: Sequence[tuple[Node, str]],
) -> Program:
    """Turn scalar nodes, in order of id, into a Program.

    outputs: (node as the user has it, its shape, its scalar nodes); nexts: (state, scalar nodes of its
    next value); cells: input and state nodes with their names, in the order of memory.
    """
    builder = _Builder()
    for node, name in cells:
        builder.add_cell(node, name)
    for node, shape, scalars in outputs:
        builder.add_output(node, shape, scalars)
    builder.add_nodes(nodes)
    builder.add_stores(nexts)
    return builder.program()


class _Builder:
    def __init__(self) -> None:
        self.memory = _Memory()
        self.places: dict[int, Symbol] = {}
        self.cell_symbols: dict[Cell, Symbol] = {}
        self.code: array[int] = array("i")
        self.values: array[int] = array("i")
        self.loops: array[int] = array("i")
        self.carries: array[int] = array("i")
        self.number = Numbers()  # node id -> value
        self.home = Numbers()  # node id -> place of an output that is stored as it is computed
        self.stores: dict[int, list[int]] = {}  # node id -> further places
        self.early: list[tuple[Node, int]] = []  # outputs that are in memory already: copied first
        self.listed: list[Node] = []
        self.owner: dict[int, int] = {}  # node id -> id of the innermost loop it runs in
        self.inside: dict[int, list[Node]] = {}  # loop id -> its nodes in order
        self.partial: dict[int, int] = {}  # sweep id -> place of its partial sums
        self.streams: dict[int, int] = {}  # array id -> place of the array that sweeps read

    # -- memory ------------------------------------------------------------------------------

    def add_cell(self, node: Node, name: str) -> None:
        cell: Cell = node.attr
        symbol = self.memory.symbol(name, "input" if node.op is INPUT else "state", cell.dtype, cell.shape, cell.init)
        self.places[node.id] = symbol
        self.cell_symbols[cell] = symbol

    def add_output(self, node: Node, shape: tuple[int, ...], scalars: list[Node]) -> None:
        if node.id in self.places:  # an input: read where it is
            return
        if node.op is CONST:
            self.places[node.id] = self.memory.symbol("", "constant", node.dtype, shape, np.asarray(node.attr.value))
            return
        init = np.array([s.attr.value if s.op is CONST else 0 for s in scalars], node.dtype.numpy).reshape(shape)
        symbol = self.memory.symbol("", "output", node.dtype, shape, init)
        self.places[node.id] = symbol
        for i, scalar in enumerate(scalars):
            offset = symbol.offset + i * node.dtype.size
            if scalar.op is CONST:
                continue
            if _in_memory(scalar):
                self.early.append((scalar, offset))
            elif scalar.id in self.home or scalar.op is ITEM:
                self.stores.setdefault(scalar.id, []).append(offset)
            else:
                self.home[scalar.id] = offset

    # -- instructions ------------------------------------------------------------------------

    def new_value(self, node: Node | None, dtype: DType, place: int = -1, flags: int = 0) -> int:
        number = len(self.values) // 3
        self.values.extend((DTYPE_NUMBER[dtype], place, flags))
        if node is not None:
            self.number[node.id] = number
        return number

    def add_nodes(self, nodes: Sequence[Node]) -> None:
        loops = [node for node in nodes if node.op is LOOP]
        if loops:
            nodes = self._assign_loops(nodes, loops)
        for scalar, offset in self.early:
            self.use(scalar)
            self.code.extend((STORE, -1, self.number[scalar.id], -1, -1, offset))
            self.listed.append(scalar)
        self._add(nodes)

    def use(self, node: Node) -> int:
        """Return the value of a node, entering constants and cells on first use."""
        found = self.number.get(node.id)
        return self._load(node) if found is None else found

    def _load(self, node: Node) -> int:
        place = self.memory.constant(node.attr.value, node.dtype) if node.op is CONST else self._place(node)
        return self.new_value(node, node.dtype, place, IN_MEMORY)

    def _place(self, node: Node) -> int:
        """Return where a cell, or an element of a cell or sweep, lies."""
        if node.op in (INPUT, STATE):
            return self.places[node.id].offset
        array = node.args[0]
        base = self.partial[array.id] if array.op is SWEEP else self.places[array.id].offset
        return base + int(node.attr["index"].flat) * node.dtype.size

    def _add(self, nodes: Sequence[Node]) -> None:
        """Append the instructions of nodes in this order; the loop itself is in C (graph.c)."""
        tables = self.number, self.home, self.stores, overload_numbers(), DTYPE_NUMBER
        encode(list(nodes), self, *tables, self.code, self.values, self.listed)

    def _add_stores_of(self, node: Node) -> None:
        for offset in self.stores.get(node.id, ()):
            self.code.extend((STORE, -1, self.number[node.id], -1, -1, offset))
            self.listed.append(node)

    def _add_special(self, node: Node) -> None:
        if node.op is LOOP:
            self._add_loop(node)
        elif node.op is SWEEP:
            self._add_sweep(node)
        elif node.op is pack:
            pass  # the sweep that reads it puts it in memory
        elif node.op is ITEM:
            self.number[node.id] = self.number[node.args[0].attr.params[node.attr].id]
            self._add_stores_of(node)
        elif not _in_memory(node):
            raise AssertionError(f"no target writes {node}")

    # -- loops -------------------------------------------------------------------------------

    def _assign_loops(self, nodes: Sequence[Node], loops: Sequence[Node]) -> list[Node]:
        """Find the innermost loop of each node; what depends on no param stays outside."""
        for loop in loops:  # inner loops come first
            body: Body = loop.attr
            bound = [*body.params, *([body.index] if body.index is not None else [])]
            ends = [*body.results, *([body.condition] if body.condition is not None else [])]
            members = [n for n in dependents(ends, bound) if n.op is not PARAM]
            self.inside[loop.id] = [n for n in members if n.id not in self.owner]
            for node in members:
                self.owner.setdefault(node.id, loop.id)
        return [node for node in nodes if node.id not in self.owner and node.op is not PARAM]

    def _add_loop(self, node: Node) -> None:
        body: Body = node.attr
        params, inits, results = list(body.params), list(node.args[: len(body.params)]), list(body.results)
        members = self.inside[node.id]
        if body.index is not None:
            step = apply(REGISTRY["add"], body.index, constant(1, int32))
            params, inits, results = [*params, body.index], [*inits, constant(0, int32)], [*results, step]
            if step not in members:
                members = [*members, step]
        which = len(self.loops) // 4
        counter = -1 if body.trips is None else self.memory.place(int32, (), None)
        first = len(self.carries) // 3
        self.loops.extend((counter, body.trips or 0, first, len(params)))
        starts = [self.use(init) for init in inits]
        for param, start in zip(params, starts, strict=True):
            self.carries.extend((self.new_value(param, param.dtype), start, -1))
        self.code.extend((LOOP_BEGIN, -1, -1, -1, -1, which))
        self.listed.append(node)
        if body.condition is not None:
            needed = {n.id for n in dependents([body.condition], params)}
            self._add([n for n in members if n.id in needed])
            self.code.extend((LOOP_EXIT, -1, self.use(body.condition), -1, -1, which))
            self.listed.append(node)
            members = [n for n in members if n.id not in needed]
        self._add(members)
        taken: set[int] = set()
        inside = {n.id for n in self.inside[node.id]} | {n.id for n in members}
        for k, result in enumerate(results):
            self.carries[3 * (first + k) + 2] = self._result(result, inside, taken)
        self.code.extend((LOOP_END, -1, -1, -1, -1, which))
        self.listed.append(node)

    def _result(self, result: Node, inside: set[int], taken: set[int]) -> int:
        """Return a value of its own for a loop's result: a copy of what is not computed in this loop, or is taken."""
        value = self.use(result)
        if result.id not in inside or result.op is ITEM or result.id in taken or result.id in self.home:
            copy = self.new_value(None, result.dtype)
            self.code.extend((COPY, copy, value, -1, -1, 0))
            self.listed.append(result)
            return copy
        taken.add(result.id)
        return value

    # -- sweeps ------------------------------------------------------------------------------

    def _add_sweep(self, node: Node) -> None:
        """Write a reduction: blocks of LANES elements, as LANES / width accumulators side by side."""
        made: Sweep = node.attr
        dtype, width, step = node.dtype, made.width, made.width * node.dtype.size
        lanes = _Lanes(self, node, [self._stream(arg) for arg in node.args[: len(made.streams)]])
        whole, groups = made.count // LANES, LANES // width
        zero = self.use(constant(0, int64))
        sums = [lanes.term(zero, s * step) for s in range(groups) if (s + 1) * width <= made.count]
        if whole > 2:
            sums = self._add_blocks(node, lanes, sums, whole - 1)
        elif whole == 2:
            sums = [lanes.add(total, lanes.term(zero, (groups + s) * step)) for s, total in enumerate(sums)]
        for s in range((made.count % LANES) // width if whole else 0):
            sums[s] = lanes.add(sums[s], lanes.term(zero, (whole * groups + s) * step))
        while made.lanes == width and len(sums) > 1:
            half = len(sums) // 2
            sums = [lanes.add(sums[s], sums[s + half]) for s in range(half)]
        self.partial[node.id] = place = self.memory.place(dtype, (made.lanes,), None)
        for s, total in enumerate(sums):
            self.emit(node, f"store.{dtype.short}w", None, (total, zero), place + s * step)

    def _add_blocks(self, node: Node, lanes: _Lanes, sums: list[int], trips: int) -> list[int]:
        block = LANES * node.dtype.size
        which, first = len(self.loops) // 4, len(self.carries) // 3
        self.loops.extend((self.memory.place(int32, (), None), trips, first, len(sums) + 1))
        start = self.use(constant(block, int64))
        params = [self.new_value(None, int64), *[lanes.new() for _ in sums]]
        for param, init in zip(params, [start, *sums], strict=True):
            self.carries.extend((param, init, -1))
        self.code.extend((LOOP_BEGIN, -1, -1, -1, -1, which))
        self.listed.append(node)
        step = LANES // node.attr.width
        results = [lanes.add(param, lanes.term(params[0], s * block // step)) for s, param in enumerate(params[1:])]
        following = self.emit(node, "add.i64.i64", self.new_value(None, int64), (params[0], start), 0)
        for k, result in enumerate([following, *results]):
            self.carries[3 * (first + k) + 2] = result
        self.code.extend((LOOP_END, -1, -1, -1, -1, which))
        self.listed.append(node)
        return params[1:]

    def emit(self, node: Node, name: str, result: int | None, uses: tuple[int, ...], immediate: int) -> int:
        """Append an instruction by the name of its overload and return its result."""
        value = -1 if result is None else result
        self.code.extend((_names()[name], value, *uses, *[-1] * (3 - len(uses)), immediate))
        self.listed.append(node)
        return value

    def _stream(self, array_node: Node) -> int:
        """Return the place of an array, writing scalars that are not side by side already."""
        if array_node.id in self.places and array_node.op in (INPUT, STATE):
            return self.places[array_node.id].offset
        if array_node.id not in self.streams:
            if array_node.op is CONST:
                self.streams[array_node.id] = self.memory.place(array_node.dtype, array_node.shape, array_node.attr.value)
            else:
                self.streams[array_node.id] = self._packed(array_node)
        return self.streams[array_node.id]

    def _packed(self, node: Node) -> int:
        items, size = node.args, node.dtype.size
        if all(_in_memory(item) for item in items):
            places = [self._place(item) for item in items]
            if places == list(range(places[0], places[0] + len(items) * size, size)):
                return places[0]
        init = np.array([item.attr.value if item.op is CONST else 0 for item in items], node.dtype.numpy)
        base = self.memory.place(node.dtype, (len(items),), init)
        for i, item in enumerate(items):
            if item.op is not CONST:
                self.code.extend((STORE, -1, self.use(item), -1, -1, base + i * size))
                self.listed.append(node)
        return base

    # -- the end -----------------------------------------------------------------------------

    def add_stores(self, nexts: Sequence[tuple[Cell, list[Node]]]) -> None:
        """Write states last; values that are old states themselves are taken out before any is written."""
        planned = []
        for cell, scalars in nexts:
            symbol = self.cell_symbols[cell]
            for i, scalar in enumerate(scalars):
                value = self.use(scalar)
                if _in_memory(scalar):
                    copy = self.new_value(None, scalar.dtype)
                    self.code.extend((COPY, copy, value, -1, -1, 0))
                    self.listed.append(scalar)
                    value = copy
                planned.append((scalar, value, symbol.offset + i * cell.dtype.size))
        for scalar, value, offset in planned:
            self.code.extend((STORE, -1, value, -1, -1, offset))
            self.listed.append(scalar)

    def program(self) -> Program:
        return Program(
            self.code, self.values, self.loops, self.carries, self.memory.data, self.memory.symbols, self.places, self.listed
        )


class _Lanes:
    """Writes the body of one sweep on vectors of lanes."""

    def __init__(self, builder: _Builder, node: Node, bases: list[int]) -> None:
        self.builder = builder
        self.node = node
        made: Sweep = node.attr
        self.bases = {param.id: base for param, base in zip(made.streams, bases, strict=True)}
        self.constants = {arg.id: self._splat(arg) for arg in node.args[len(bases) :]}
        self.body = [n for n in dependents([made.result], made.streams) if n.id not in self.bases]

    def new(self) -> int:
        """Return a new vector value."""
        number = len(self.builder.values) // 3
        self.builder.values.extend((WIDE_NUMBER[self.node.dtype], -1, 0))
        return number

    def _splat(self, scalar: Node) -> int:
        value = self.builder.use(scalar)
        return self.builder.emit(self.node, f"splat.{scalar.dtype.short}w", self.new(), (value,), 0)

    def term(self, index: int, offset: int) -> int:
        """Return the body at the elements from `offset` bytes beyond `index`."""
        short = self.node.dtype.short
        found = dict(self.constants)
        for param, base in self.bases.items():
            found[param] = self.builder.emit(self.node, f"load.{short}w", self.new(), (index,), base + offset)
        for node in self.body:
            uses = tuple(found[arg.id] for arg in node.args)
            found[node.id] = self.builder.emit(self.node, wide_name(node.op, node.dtype), self.new(), uses, 0)
        return found[self.node.attr.result.id]

    def add(self, x: int, y: int) -> int:
        """Return the lane-wise sum."""
        return self.builder.emit(self.node, wide_name(REGISTRY["add"], self.node.dtype), self.new(), (x, y), 0)


def _in_memory(node: Node) -> bool:
    """Whether a scalar node is a place in memory: a cell, or an element of one or of a sweep."""
    return node.op in (INPUT, STATE) or (bool(node.args) and node.op is take and node.args[0].op in (INPUT, STATE, SWEEP))


@cache
def _names() -> dict[str, int]:
    return overloads()
