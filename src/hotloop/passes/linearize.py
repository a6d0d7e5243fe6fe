"""Pass `linearize`: a graph of scalars becomes a Program, and its values get places in memory.

The order is that of creation, which is the order in which the user wrote the operations; what a
loop does not change is computed before it.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hotloop._graph import Numbers, encode
from hotloop.dtypes import DType, int32, int64
from hotloop.image import Symbol
from hotloop.ir.graph import CONST, INPUT, ITEM, LOOP, PARAM, STATE, Body, Cell, Node, apply, constant, convert, structure
from hotloop.ir.loop import dependents
from hotloop.ir.op import REGISTRY
from hotloop.ir.program import (
    CHANGING,
    COPY,
    DTYPE_NUMBER,
    IN_MEMORY,
    LOOP_BEGIN,
    LOOP_END,
    LOOP_EXIT,
    RANGE,
    STORE,
    WIDE_NUMBER,
    Program,
    overload_numbers,
    overloads,
)
from hotloop.ir.rewrite import ends, variables
from hotloop.ops.shape import pack, take
from hotloop.passes.kernel import KERNEL, RESULT, Kernel, Result, kernel_of_one, size
from hotloop.passes.layout import sorted_by_size
from hotloop.passes.memory import Memory
from hotloop.passes.nest import Nest, copy_array
from hotloop.passes.one_lane import OneLane
from hotloop.passes.record import ROOM, UPDATE
from hotloop.passes.unroll import LOOKUP

if TYPE_CHECKING:
    from hotloop.passes.sweeps.frame import Frame


def linearize(
    nodes: Sequence[Node],
    outputs: Sequence[tuple[Node, tuple[int, ...], list[Node]]],
    nexts: Sequence[tuple[Cell, list[Node]]],
    cells: Sequence[tuple[Node, str]],
    vector_bytes: int,
    index: DType = int64,
    near: bool = False,
    pointers: bool = False,
) -> Program:
    """Turn scalar nodes, in order of id, into a Program.

    outputs: (node as the user has it, its shape, its scalar nodes); nexts: (state, scalar nodes of its
    next value); cells: input and state nodes with their names, in the order of memory. In place of the
    scalars of an array in memory there is one node, the array. vector_bytes: of the target's registers, 0 if
    it has no vectors of lanes. index: the type of places in arrays. near: scalars lie before arrays, and those
    by size, for targets whose loads reach only so far; `layout.with_spills` makes room for spilled values before them.
    pointers: several elements of one array are read by "point" and "peek", which need no more than small displacements.
    """
    builder = Builder(vector_bytes, index=index)
    builder.pointers = pointers
    for node, name in cells:
        builder.add_cell(node, name)
    for node, shape, scalars in outputs:
        builder.add_output(node, shape, scalars)
    builder.kept.update(scalar.id for _, scalars in nexts for scalar in scalars)
    builder.add_nodes(nodes)
    builder.add_stores(nexts)
    return sorted_by_size(builder.program(), builder.memory) if near else builder.program()


class Builder:
    """A Program while it is written."""

    def __init__(
        self, vector_bytes: int, memory: Memory | None = None, frame: Frame | None = None, index: DType = int64
    ) -> None:  # fmt: skip
        """Begin a program. frame: where params that no loop binds are found: registers of a Procedure."""
        self.vector_bytes = vector_bytes
        self.index = index
        self.pointers = False  # whether kernels on one lane may use "point", "peek" and "poke"
        self.memory = memory or (frame.memory if frame is not None else Memory() if vector_bytes else Memory(align=8, room=0))
        self.frame = frame
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
        self.late: list[tuple[Node, int]] = []  # outputs that kernels put in memory elsewhere: copied last
        self.copies: list[tuple[Node, int]] = []  # outputs that are whole arrays elsewhere
        self.kept: set[int] = set()  # arrays that are read after the last kernel
        self.listed: list[Node] = []
        self.depth = 0  # of the user's loops around what is written
        self.owner: dict[int, int] = {}  # node id -> id of the innermost loop it runs in
        self.inside: dict[int, list[Node]] = {}  # loop id -> its nodes in order
        self.results: dict[int, dict[int, Node]] = {}  # kernel id -> its results that are used, by number
        self.dying: dict[int, list[Node]] = {}  # kernel id -> arrays that it is the last to read
        self.free: list[tuple[int, int]] = []  # (bytes, place) of arrays that are dead
        self.arrays: dict[int, int] = {}  # array id -> its place, of arrays that kernels read or write
        self.rooms: dict[object, int] = {}  # places of partial results, which kernels use one after the other
        self.counters: list[int] = []  # places of counters that no loop uses now

    # -- memory ------------------------------------------------------------------------------

    def add_cell(self, node: Node, name: str) -> None:
        """Give an input or a state its place."""
        cell: Cell = node.attr
        symbol = self.memory.symbol(name, "input" if node.op is INPUT else "state", cell.dtype, cell.shape, cell.init)
        self.places[node.id] = symbol
        self.cell_symbols[cell] = symbol

    def add_output(self, node: Node, shape: tuple[int, ...], scalars: list[Node]) -> None:
        """Give an output its place, and have its scalars stored there."""
        if node.id in self.places:  # an input: read where it is
            return
        if node.op is CONST:
            self.places[node.id] = self.memory.symbol("", "constant", node.dtype, shape, np.asarray(node.attr.value))
            return
        if len(scalars) == 1 and scalars[0].shape:
            self.places[node.id] = symbol = self.memory.symbol("", "output", node.dtype, shape, None, written=True)
            if scalars[0].op is RESULT and scalars[0].id not in self.places:
                self.places[scalars[0].id] = symbol  # the kernel writes it there
            else:
                self.copies.append((scalars[0], symbol.offset))
                self.kept.add(scalars[0].id)
            return
        init = np.array([s.attr.value if s.op is CONST else 0 for s in scalars], node.dtype.numpy).reshape(shape)
        symbol = self.memory.symbol("", "output", node.dtype, shape, init)
        self.places[node.id] = symbol
        for i, scalar in enumerate(scalars):
            offset = symbol.offset + i * node.dtype.size
            if scalar.op is CONST:
                continue
            if _in_memory(scalar):
                given = scalar.op is take and scalar.args[0].op in (RESULT, ITEM)
                (self.late if given else self.early).append((scalar, offset))
            elif scalar.id in self.home or scalar.op in (ITEM, RESULT):
                self.stores.setdefault(scalar.id, []).append(offset)
            else:
                self.home[scalar.id] = offset

    # -- instructions ------------------------------------------------------------------------

    def new_value(self, node: Node | None, dtype: DType, place: int = -1, flags: int = 0) -> int:
        """Return a new value: that of a node, or one between."""
        number = len(self.values) // 3
        self.values.extend((DTYPE_NUMBER[dtype], place, flags))
        if node is not None:
            self.number[node.id] = number
        return number

    def add_nodes(self, nodes: Sequence[Node]) -> None:
        """Append the instructions of the program, and copies to outputs."""
        loops = [node for node in nodes if node.op is LOOP]
        for node in nodes:
            if node.op is RESULT:
                self.results.setdefault(node.args[0].id, {})[node.attr] = node
        self._find_dying(nodes)
        if loops:
            nodes = self.assign_loops(nodes, loops)
        for scalar, offset in self.early:
            self.store(scalar, self.use(scalar), offset)
        self.add(nodes)
        for scalar, offset in self.late:
            self.store(scalar, self.use(scalar), offset)
        for source, offset in self.copies:
            self._copy(source, self._stream(source), offset)

    def _find_dying(self, nodes: Sequence[Node]) -> None:
        """Find the last reader of each array that only kernels read: then its place is free for another."""
        last: dict[int, tuple[Node, Node | None]] = {}
        for node in nodes:
            carried = node.attr.results if node.op is LOOP else ()
            for arg in (*node.args, *carried):
                if arg.op is RESULT and arg.shape:
                    last[arg.id] = arg, (node if node.op is KERNEL and last.get(arg.id, (arg, node))[1] is not None else None)
        for result, reader in last.values():
            if reader is not None:
                self.dying.setdefault(reader.id, []).append(result)

    def use(self, node: Node) -> int:
        """Return the value of a node, entering constants and cells on first use."""
        found = self.number.get(node.id)
        return self._load(node) if found is None else found

    def _load(self, node: Node) -> int:
        place = self.memory.constant(node.attr.value, node.dtype) if node.op is CONST else self._place(node)
        return self.new_value(node, node.dtype, place, IN_MEMORY | (CHANGING if self.depth and node.op is take else 0))

    def _place(self, node: Node) -> int:
        """Return where a cell, a register, or an element of an array in memory, lies."""
        if node.op is PARAM and self.frame is not None:
            return self.frame.scalar(node)
        if node.op in (INPUT, STATE):
            return self.places[node.id].offset
        return self._base(node.args[0]) + int(node.attr["index"].flat) * node.dtype.size

    def _base(self, array: Node) -> int:
        """Return where an array in memory lies."""
        return self.places[array.id].offset if array.id in self.places else self.arrays[array.id]

    def add(self, nodes: Sequence[Node]) -> None:
        """Append the instructions of nodes in this order; the loop itself is in C (graph.c)."""
        tables = self.number, self.home, self.stores, overload_numbers(), DTYPE_NUMBER
        encode(list(nodes), self, *tables, self.code, self.values, self.listed)

    def _add_stores_of(self, node: Node) -> None:
        for offset in self.stores.get(node.id, ()):
            self.store(node, self.number[node.id], offset)

    def _add_output_of(self, node: Node) -> None:
        """Store what was computed by no row where it is an output."""
        home = self.home.get(node.id)
        if home is not None:
            self.store(node, self.number[node.id], home)
        self._add_stores_of(node)

    def _add_special(self, node: Node) -> None:
        if node.op is LOOP:
            self._add_loop(node)
        elif node.op is KERNEL:
            self._add_kernel(node)
        elif node.op is RESULT:
            self._add_stores_of(node)
        elif node.op is LOOKUP:
            array, place = node.args
            name, index = f"get.{node.dtype.short}", self._index(place)
            self.number[node.id] = self.emit(node, name, self.new_value(None, node.dtype), (index,), self._stream(array))
            self._add_output_of(node)
        elif node.op is UPDATE:
            self._add_update(node)
        elif self.frame is not None and self.frame.add(self, node):
            pass
        elif node.op is pack:
            pass  # the kernel that reads it puts it in memory
        elif node.op is ITEM and node.shape:
            self.arrays[node.id] = self.arrays[node.args[0].attr.params[node.attr].id]
        elif node.op is ITEM:
            self.number[node.id] = self.number[node.args[0].attr.params[node.attr].id]
            self._add_stores_of(node)
        elif not _in_memory(node):
            raise AssertionError(f"no target writes {node}")

    def _index(self, place: Node) -> int:
        """Return the value of a place in an array, as targets take it."""
        fitting = convert(place, self.index)
        if fitting is not place and fitting.id not in self.number and fitting.op is not CONST:
            self.add([fitting])
        return self.use(fitting)

    def _add_update(self, node: Node) -> None:
        """Put a scalar into an array that a loop carries."""
        array, place, value = node.args
        self.arrays[node.id] = base = self._base(array)
        self.emit(node, f"put.{array.dtype.short}", None, (self.use(value), self._index(place)), base)

    # -- loops -------------------------------------------------------------------------------

    def assign_loops(self, nodes: Sequence[Node], loops: Sequence[Node]) -> list[Node]:
        """Find the innermost loop of each node; what depends on no param stays outside."""
        for loop in loops:  # inner loops come first
            body: Body = loop.attr
            members = [n for n in dependents(ends(body), variables(body)) if n.op is not PARAM]
            self.inside[loop.id] = [n for n in members if n.id not in self.owner]
            for node in members:
                self.owner.setdefault(node.id, loop.id)
        return [node for node in nodes if node.id not in self.owner and node.op is not PARAM]

    def _add_loop(self, node: Node) -> None:
        body: Body = node.attr
        carried = list(zip(body.params, node.args, body.results, strict=False))
        arrays = [triple for triple in carried if triple[0].shape]
        params, inits, results = [[triple[k] for triple in carried if not triple[0].shape] for k in range(3)]
        for param, init, _ in arrays:
            self.arrays[param.id] = place = self.memory.place(param.dtype, param.shape, None, written=True)
            if init.op is not ROOM:
                self._copy(init, self._stream(init), place)
        for capture in node.args[len(body.params) :]:
            if capture.op is pack:  # what the body looks up in is written before the loop
                self._stream(capture)
        members = self.inside[node.id]
        if body.index is not None:
            step = apply(REGISTRY["add"], body.index, constant(1, int32))
            params, inits, results = [*params, body.index], [*inits, constant(0, int32)], [*results, step]
            if step not in members:
                members = [*members, step]
        counter = -1 if body.trips is None else self._counter()
        starts = [self.use(init) for init in inits]
        pairs = [(self.new_value(param, param.dtype), start) for param, start in zip(params, starts, strict=True)]
        which = self._open_loop(node, counter, body.trips or 0, -1, pairs)
        self.depth += 1
        if body.condition is not None:
            needed = {n.id for n in dependents([body.condition], [*params, *[param for param, _, _ in arrays]])}
            self.add([n for n in members if n.id in needed])
            self.leave_unless(node, which, self.use(body.condition))
            members = [n for n in members if n.id not in needed]
        self.add(members)
        self._carry(arrays)
        taken: set[int] = set()
        inside = {n.id for n in self.inside[node.id]} | {n.id for n in members}
        given = [self._result(result, inside, taken) for result in results]
        self.depth -= 1
        self.end_loop(node, which, given)

    def _carry(self, arrays: Sequence[tuple[Node, Node, Node]]) -> None:
        """Copy the arrays that a loop carries on; those that are carried arrays themselves are taken out first."""
        own = {param.id for param, _, _ in arrays}
        sources = []
        for _, _, result in arrays:
            place = self._stream(result)
            if result.id in own and len(arrays) > 1:
                saved = self.memory.place(result.dtype, result.shape, None, written=True)
                self._copy(result, place, saved)
                place = saved
            sources.append(place)
        for (param, _, result), place in zip(arrays, sources, strict=True):
            if result is not param and place != self.arrays[param.id]:
                self._copy(result, place, self.arrays[param.id])

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

    # -- kernels -----------------------------------------------------------------------------

    def _add_kernel(self, node: Node) -> None:
        """Write a kernel; its scalar results are values, its arrays get places."""
        kernel: Kernel = node.attr
        count = len(kernel.streams)
        results = self.results[node.id]
        sources = [self._stream(arg) for arg in node.args[:count]]
        scalars = [self.use(arg) for arg in node.args[count:]]
        targets = [self._target(results.get(k), result) for k, result in enumerate(kernel.results)]
        for k, value in enumerate(self._nest(node, sources, scalars, targets).write()):
            if value >= 0 and k in results:
                self.number[results[k].id] = value
        for dead in self.dying.get(node.id, ()):
            if not self.depth and dead.id in self.arrays and dead.id not in self.kept:
                self.free.append((dead.dtype.size * math.prod(dead.shape), self.arrays[dead.id]))

    def _nest(self, node: Node, sources: Sequence[int], scalars: Sequence[int], targets: Sequence[int]) -> Nest | OneLane:
        return (Nest if self.vector_bytes else OneLane)(self, node, sources, scalars, targets)

    def _copy(self, array: Node, source: int, target: int) -> None:
        """Copy an array from one place to another."""
        if self.vector_bytes:
            copy_array(self, array, source, target)
            return
        node = structure(KERNEL, [], kernel_of_one(array.dtype, (size(array.shape),), (1,)), array.dtype, ())
        OneLane(self, node, [source], [], [target]).write()

    def _target(self, result: Node | None, made: Result) -> int:
        """Return the place of a result of a kernel, -1 for a scalar."""
        if not made.shape:
            return -1
        if result is not None and result.id in self.places:
            return self.places[result.id].offset
        place = self._room(made)
        if result is not None:
            self.arrays[result.id] = place
        return place

    def _room(self, made: Result) -> int:
        """Return a place for an array that is no output: that of a dead one if there is one of its size."""
        wanted = made.value.dtype.size * math.prod(made.shape)
        for k, (free, place) in enumerate(self.free):
            if free == wanted and not self.depth:
                del self.free[k]
                return place
        return self.memory.place(made.value.dtype, made.shape, None, written=True)

    def new_wide(self, short: str, place: int = -1, flags: int = 0) -> int:
        """Return a new value that is a vector of lanes."""
        number = len(self.values) // 3
        self.values.extend((WIDE_NUMBER[short], place, flags))
        return number

    def emit(self, node: Node, name: str, result: int | None, uses: tuple[int, ...], immediate: int) -> int:
        """Append an instruction by the name of its overload and return its result."""
        value = -1 if result is None else result
        self.code.extend((overloads()[name], value, *uses, *[-1] * (3 - len(uses)), immediate))
        self.listed.append(node)
        return value

    def store(self, node: Node, value: int, place: int) -> None:
        """Append the store of a value at a fixed place."""
        self.code.extend((STORE, -1, value, -1, -1, place))
        self.listed.append(node)

    def begin_loop(self, node: Node, trips: int, carried: Sequence[tuple[int, int]]) -> int:
        """Open a loop of fixed trips; carried: (param, init) values. Returns its number, for `end_loop`."""
        return self._open_loop(node, self._counter(), trips, -1, carried)

    def begin_while(self, node: Node, carried: Sequence[tuple[int, int]]) -> int:
        """Open a loop that `leave_unless` ends; carried: (param, init) values."""
        return self._open_loop(node, -1, 0, -1, carried)

    def leave_unless(self, node: Node, which: int, condition: int) -> None:
        """Leave the innermost loop, whose number is `which`, if a value is false."""
        self.code.extend((LOOP_EXIT, -1, condition, -1, -1, which))
        self.listed.append(node)

    def begin_range(self, node: Node, limit: int, condition: int, carried: Sequence[tuple[int, int]]) -> int:
        """Open a loop that runs while the first carried value is below `limit`, not at all if `condition` is a false value."""
        return self._open_loop(node, RANGE, limit, condition, carried)

    def _counter(self) -> int:
        return self.counters.pop() if self.counters else self.memory.place(int32, (), None)

    def _open_loop(self, node: Node, counter: int, trips: int, condition: int, carried: Sequence[tuple[int, int]]) -> int:
        which = len(self.loops) // 4
        self.loops.extend((counter, trips, len(self.carries) // 3, len(carried)))
        for param, init in carried:
            self.carries.extend((param, init, -1))
        self.code.extend((LOOP_BEGIN, -1, condition, -1, -1, which))
        self.listed.append(node)
        return which

    def end_loop(self, node: Node, which: int, results: Sequence[int], limit: int = -1) -> None:
        """Close a loop; results are the values that are carried on, limit that of a range."""
        first = self.loops[4 * which + 2]
        for k, result in enumerate(results):
            self.carries[3 * (first + k) + 2] = result
        self.code.extend((LOOP_END, -1, limit, -1, -1, which))
        self.listed.append(node)
        if self.loops[4 * which] >= 0:
            self.counters.append(self.loops[4 * which])

    def _stream(self, array: Node) -> int:
        """Return the place of an array that a kernel reads, writing scalars that are not side by side already."""
        if array.id not in self.places and array.id not in self.arrays:
            constants = array.op is CONST
            self.arrays[array.id] = self.memory.place(array.dtype, array.shape, array.attr.value) if constants else self._packed(array)
        return self._base(array)

    def _packed(self, node: Node) -> int:
        items, step = node.args, node.dtype.size
        if not self.depth and all(_in_memory(item) for item in items):
            places = [self._place(item) for item in items]
            if places == list(range(places[0], places[0] + len(items) * step, step)):
                self.memory.join(places[0], places[-1] + step)
                return places[0]
        init = np.array([item.attr.value if item.op is CONST else 0 for item in items], node.dtype.numpy)
        base = self.memory.place(node.dtype, (len(items),), init)
        for i, item in enumerate(items):
            if item.op is not CONST:
                self.code.extend((STORE, -1, self.use(item), -1, -1, base + i * step))
                self.listed.append(node)
        return base

    # -- the end -----------------------------------------------------------------------------

    def add_stores(self, nexts: Sequence[tuple[Cell, list[Node]]]) -> None:
        """Write states last; values that are old states themselves are taken out before any is written."""
        planned = []
        copies = []
        for cell, scalars in nexts:
            symbol = self.cell_symbols[cell]
            if len(scalars) == 1 and scalars[0].shape:
                copies.append((scalars[0], self._saved(scalars[0]), symbol.offset))
                continue
            for i, scalar in enumerate(scalars):
                value = self.use(scalar)
                if _in_memory(scalar):
                    copy = self.new_value(None, scalar.dtype)
                    self.code.extend((COPY, copy, value, -1, -1, 0))
                    self.listed.append(scalar)
                    value = copy
                planned.append((scalar, value, symbol.offset + i * cell.dtype.size))
        for scalar, value, offset in planned:
            self.store(scalar, value, offset)
        for source, place, offset in copies:
            self._copy(source, place, offset)

    def _saved(self, array: Node) -> int:
        """Return the place of an array, or of a copy if it is a state, which may be written before it is read."""
        place = self._stream(array)
        if array.op is not STATE:
            return place
        saved = self.memory.place(array.dtype, array.shape, None)
        self._copy(array, place, saved)
        return saved

    def program(self) -> Program:
        """Return what was written."""
        return Program(
            self.code, self.values, self.loops, self.carries, self.memory.data, self.memory.symbols, self.places, self.listed,
            blocks=sorted(self.memory.blocks),
        )


def _in_memory(node: Node) -> bool:
    """Whether a scalar node is a place in memory: a cell, or an element of an array in memory."""
    return node.op in (INPUT, STATE) or node.op is take
