"""`Lanes`: writes the body of a kernel on vectors of lanes, a slice of elements at a time.

A slice is as many elements as one vector register has lanes of 4 bytes, or of 8 where the body has
nothing narrower. A value of the body at a slice is one register, or two where its lanes are wider.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hotloop.dtypes import DType, bool_
from hotloop.ir.graph import CONST, PARAM, Node
from hotloop.ir.loop import dependents
from hotloop.ir.op import Op, wide_short
from hotloop.ir.program import IN_MEMORY, WIDE_NUMBER, overloads, wide_name
from hotloop.ir.rewrite import walk
from hotloop.ops import arith
from hotloop.ops.shape import identity
from hotloop.passes.kernel import Kernel, Result
from hotloop.passes.wide import MASKS, form_of

if TYPE_CHECKING:
    from hotloop.passes.linearize import Builder


class Wide(NamedTuple):
    """A value at the elements of a slice: bytes of a lane, and the registers one after the other."""

    lane: int
    parts: tuple[int, ...]


class Factors(NamedTuple):
    """A product that is not multiplied yet: it may be added by one fused multiply-add."""

    x: Wide
    y: Wide


class LaneStep(NamedTuple):
    """One operation of the body, looked up: it is written at every slice.

    overloads: one, or for a result with wider lanes those of the lower and the upper half. joins: two
    operands' lanes make one result's. masks: whether an operand is a bool a lane. immediate: of its instructions.
    """

    id: int
    args: tuple[int, ...]
    overloads: tuple[int, ...]
    dtype: int
    lane: int
    joins: bool
    masks: tuple[bool, ...]
    immediate: int = 0


Read = Callable[[int], Wide]  # stream number -> its elements at the slice
LONGEST_BLOCK = 64  # instructions up to which a trip of a loop takes more slices
_PADDING = ((-1, -1, -1), (-1, -1), (-1,), ())


def factors_of(kernel: Kernel, result: Result) -> tuple[Node, Node] | None:
    """Return the factors of a result that is a sum of products, if they may be contracted."""
    x = result.value
    if not kernel.contract or result.fold is not arith.add or x.op is not arith.mul or not x.dtype.is_float:
        return None
    return x.args[0], x.args[1]


class Lanes:
    """Writes the body of one kernel."""

    def __init__(
        self, builder: Builder, node: Node, vector_bytes: int, kernel: Kernel | None = None, narrowest: int | None = None,
        registers: int = 1,
    ) -> None:  # fmt: skip
        """Look all operations up.

        kernel: in place of the node's. narrowest: bytes of a lane that there is outside of the body too.
        registers: that a slice of the narrowest lanes takes.
        """
        self.builder = builder
        self.node = node
        self.kernel: Kernel = node.attr if kernel is None else kernel
        self.vector_bytes = vector_bytes
        self.values = [result.value for result in self.kernel.results]
        self.factors = [factors_of(self.kernel, result) for result in self.kernel.results]
        ends = [end for value, pair in zip(self.values, self.factors, strict=True) for end in pair or (value,)]
        nodes = walk(ends)
        params = [stream.param for stream in self.kernel.streams]
        sizes = [n.dtype.size for n in (*nodes, *params) if n.dtype is not bool_]
        self.narrowest = min([*sizes, narrowest] if narrowest else sizes, default=4)
        self.slice = registers * vector_bytes // self.narrowest  # elements
        self.number = {param.id: k for k, param in enumerate(params)}
        body = [n for n in dependents(ends, params) if n.op is not PARAM]
        inside = {n.id for n in body} | set(self.number)
        self.outside = [n for n in nodes if n.id not in inside]  # the same at every element
        self.fixed: dict[int, Wide] = {}
        self.lane_of = {n.id: self.lane(n.dtype) for n in (*params, *self.outside)}
        self.steps = [self.step(n) for n in body]
        self.operations = sum(len(self.parts_of(n.dtype)) for n in (*body, *params)) + len(self.values)
        self.together = max(1, min(4, LONGEST_BLOCK // self.operations))  # slices of one trip: they hide each other's latency
        self.folds = [(result.fold, result.value.dtype) for result in self.kernel.results if result.fold is not None]

    def lane(self, dtype: DType) -> int:
        """Return the bytes of a lane of a type; masks are as narrow as anything in the body."""
        return self.narrowest if dtype is bool_ else dtype.size

    def parts_of(self, dtype: DType) -> range:
        """Return the registers of a value of a type, by number."""
        return range(self.slice * self.lane(dtype) // self.vector_bytes)

    def step(self, node: Node) -> LaneStep:
        """Look an operation up; those that it uses have been."""
        form = form_of(node)
        assert form is not None, f"no wide stencil for {node}"
        args = tuple([arg.id for arg in node.args])
        lane = form.size or self.lane_of[args[0]]
        self.lane_of[node.id] = lane
        names = form.names
        if len(names) == 1 and not form.joins:
            names = (wide_name(node.op, [wide_short(arg.dtype, lane) for arg in node.args]),)
        if self.kernel.contract and f"fast.{names[0]}" in overloads():
            names = (f"fast.{names[0]}",)
        chosen = tuple([overloads()[name] for name in names])
        dtype = WIDE_NUMBER[wide_short(node.dtype, lane)]
        return LaneStep(node.id, args, chosen, dtype, lane, form.joins, tuple([arg.dtype is bool_ for arg in node.args]))

    # -- values ----------------------------------------------------------------------------------

    def emit(self, name: str, short: str, uses: tuple[int, ...], immediate: int = 0) -> int:
        """Append an instruction with a wide result, of the type called `short`."""
        return self.put(overloads()[name], WIDE_NUMBER[short], uses, immediate)

    def put(self, overload: int, dtype: int, uses: tuple[int, ...], immediate: int = 0) -> int:
        """Append an instruction by the number of its overload and that of its result's type."""
        builder = self.builder
        value = len(builder.values) // 3
        builder.values.extend((dtype, -1, 0))
        builder.code.extend((overload, value, *uses, *_PADDING[len(uses)], immediate))
        builder.listed.append(self.node)
        return value

    def constant(self, value: bool | float, dtype: DType) -> Wide:
        """Return a number at every lane: vectors in memory."""
        lane = self.lane(dtype)
        element = np.array(-1 if value else 0, f"i{lane}") if dtype is bool_ else np.array(value, dtype.numpy)
        place = self.builder.memory.vector(element.tobytes() * (self.vector_bytes // lane))
        found = self.builder.new_wide(wide_short(dtype, lane), place, IN_MEMORY)
        return Wide(lane, (found,) * len(self.parts_of(dtype)))

    def splat(self, scalar: int, dtype: DType) -> Wide:
        """Return a scalar value at every lane."""
        lane = self.lane(dtype)
        short = wide_short(dtype, lane)
        return Wide(lane, (self.emit(f"splat.{short}", short, (scalar,)),) * len(self.parts_of(dtype)))

    def prepare(self, scalars: Mapping[int, int]) -> None:
        """Write what does not depend on streams, once: scalars are the values of scalar params by id."""
        for node in self.outside:
            if node.op is PARAM:
                self.fixed[node.id] = self.splat(scalars[node.id], node.dtype)
            elif node.op is CONST:
                self.fixed[node.id] = self.constant(node.attr.value, node.dtype)
            else:
                self.write(self.step(node), self.fixed)

    def results(self, read: Read) -> list[Wide | Factors]:
        """Write the body at one slice; return the values of the results."""
        found = dict(self.fixed)
        for step in self.steps:
            for arg in step.args:
                if arg not in found:
                    found[arg] = read(self.number[arg])
            self.write(step, found)

        def end(node: Node) -> Wide:
            return found[node.id] if node.id in found else read(self.number[node.id])

        return [
            end(value) if factors is None else Factors(end(factors[0]), end(factors[1]))
            for value, factors in zip(self.values, self.factors, strict=True)
        ]

    # -- operations --------------------------------------------------------------------------------

    def write(self, step: LaneStep, found: dict[int, Wide]) -> None:
        """Write one operation on what is found."""
        operands = [found[arg] for arg in step.args]
        if step.joins:
            columns = zip(operands[0].parts[::2], operands[0].parts[1::2], strict=True)
        elif len(step.overloads) == 2:
            parts = tuple([self.put(overload, step.dtype, (part,)) for part in operands[0].parts for overload in step.overloads])
            found[step.id] = Wide(step.lane, parts)
            return
        else:
            if True in step.masks:
                operands = [self.with_lanes(x, step.lane) if mask else x for x, mask in zip(operands, step.masks, strict=True)]
            columns = zip(*[operand.parts for operand in operands], strict=True)
        overload, dtype = step.overloads[0], step.dtype
        found[step.id] = Wide(step.lane, tuple([self.put(overload, dtype, column, step.immediate) for column in columns]))

    def each(self, op: Op, types: Sequence[DType], short: str, lane: int, operands: Sequence[Wide]) -> Wide:
        """Append a row on all registers of its operands."""
        name = wide_name(op, [wide_short(dtype, lane) for dtype in types])
        columns = zip(*[operand.parts for operand in operands], strict=True)
        return Wide(lane, tuple([self.emit(name, short, column) for column in columns]))

    def with_lanes(self, mask: Wide, lane: int) -> Wide:
        """Return a mask with lanes of another width."""
        if mask.lane == lane:
            return mask
        if lane > mask.lane:
            parts = [self.emit(f"widen_{half}.b32w", MASKS[8], (part,)) for part in mask.parts for half in ("low", "high")]
        else:
            pairs = zip(mask.parts[::2], mask.parts[1::2], strict=True)
            parts = [self.emit("narrow.b64w.b64w", MASKS[4], pair) for pair in pairs]
        return Wide(lane, tuple(parts))

    def plain(self, value: Wide | Factors, dtype: DType) -> Wide:
        """Return a value that is multiplied, if it is a product."""
        if isinstance(value, Wide):
            return value
        return self.each(arith.mul, (dtype, dtype), wide_short(dtype, value.x.lane), value.x.lane, value)

    def combine(self, op: Op, dtype: DType, x: Wide, y: Wide | Factors) -> Wide:
        """Return a binary row lane by lane; factors are added by multiply-adds."""
        if isinstance(y, Factors):
            return self.each(arith.fma, (dtype,) * 3, wide_short(dtype, x.lane), x.lane, (*y, x))
        y = self.with_lanes(y, x.lane) if dtype is bool_ else y
        return self.each(op, (dtype, dtype), wide_short(dtype, x.lane), x.lane, (x, y))

    def carry(self, carried: Sequence[Wide], shorts: Sequence[str]) -> tuple[list[tuple[int, int]], list[Wide]]:
        """Return (param, init) of each register that a loop carries, and the params as values again."""
        pairs: list[tuple[int, int]] = []
        wides = []
        for wide, short in zip(carried, shorts, strict=True):
            params = [self.builder.new_wide(short) for _ in wide.parts]
            pairs += zip(params, wide.parts, strict=True)
            wides.append(Wide(wide.lane, tuple(params)))
        return pairs, wides

    # -- reductions --------------------------------------------------------------------------------

    def term(self, value: Wide | Factors, dtype: DType) -> Wide | Factors:
        """Return a value as reductions take it: all masks with the same lanes."""
        return self.with_lanes(self.plain(value, dtype), self.narrowest) if dtype is bool_ else value

    def joined(self, sums: Sequence[Wide], terms: Sequence[Wide | Factors]) -> list[Wide]:
        """Combine what the reductions have so far with further terms, one of each."""
        return [self.combine(fold, dtype, x, y) for (fold, dtype), x, y in zip(self.folds, sums, terms, strict=True)]

    def grouped(self, flat: Sequence[Wide]) -> list[list[Wide]]:
        """Return values of all reductions, slice after slice, as one list a slice."""
        count = len(self.folds)
        return [list(flat[start : start + count]) for start in range(0, len(flat), count)]

    def room(self, fold: Op, dtype: DType) -> list[int]:
        """Return places in memory for one slice of partial results, filled with what changes nothing."""
        value = self.identity(fold, dtype)
        places = [self.builder.memory.room(self.vector_bytes) for _ in value.parts]
        self.keep(places, value)
        return places

    def keep(self, places: Sequence[int], value: Wide) -> None:
        """Store a value at places in memory."""
        for place, part in zip(places, value.parts, strict=True):
            self.builder.store(self.node, part, place)

    def kept(self, places: Sequence[int], dtype: DType, zero: int) -> Wide:
        """Load what `keep` stored, by instructions, since what is there changes; zero: the value of an index of 0."""
        lane = self.lane(dtype)
        short = wide_short(dtype, lane)
        return Wide(lane, tuple([self.emit(f"load.i{8 * lane}w", short, (zero,), place) for place in places]))

    def identity(self, op: Op, dtype: DType) -> Wide:
        """Return what changes nothing when it is combined, at every lane."""
        return self.constant(identity(op, dtype), dtype)

    def only_first(self, value: Wide, count: int, op: Op, dtype: DType) -> Wide:
        """Return `value` with its lanes from `count` on replaced by the identity of `op`."""
        mask = (np.arange(self.slice) < count).astype(f"i{value.lane}") * -1
        bits = mask.tobytes()
        places = [self.builder.memory.vector(bits[start : start + self.vector_bytes]) for start in range(0, len(bits), self.vector_bytes)]
        masks = Wide(value.lane, tuple([self.builder.new_wide(MASKS[value.lane], place, IN_MEMORY) for place in places]))
        return self.choose(masks, value, op, dtype)

    def choose(self, mask: Wide, value: Wide, op: Op, dtype: DType) -> Wide:
        """Return `value` where the mask holds, else the identity of `op`."""
        short = wide_short(dtype, value.lane)
        other = self.with_lanes(self.identity(op, dtype), value.lane) if dtype is bool_ else self.identity(op, dtype)
        name = f"select.{MASKS[value.lane]}.{short}.{short}"
        mask = self.with_lanes(mask, value.lane)
        return Wide(value.lane, tuple([self.emit(name, short, uses) for uses in zip(mask.parts, value.parts, other.parts, strict=True)]))

    def halve(self, slices: Sequence[Wide], op: Op, dtype: DType) -> int:
        """Combine upper into lower halves until one scalar is left, and return its value."""
        slices = list(slices)
        while len(slices) > 1:
            half = 1 << (len(slices) - 1).bit_length() - 1
            upper = slices[half:]
            slices = [self.combine(op, dtype, slices[k], upper[k]) if k < len(upper) else slices[k] for k in range(half)]
        lane, parts = slices[0]
        while len(parts) > 1:
            half = len(parts) // 2
            parts = self.combine(op, dtype, Wide(lane, parts[:half]), Wide(lane, parts[half:])).parts
        name = f"fold_{op.name}.{wide_short(dtype, lane)}"
        return self.builder.emit(self.node, name, self.builder.new_value(None, dtype), parts, 0)
