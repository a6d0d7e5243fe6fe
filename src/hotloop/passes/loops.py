"""`Loops`: the arrays of a kernel in a program of static shapes, and the loops around its body.

Dimensions that all arrays walk as one become one. Short loops are written out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hotloop.ir.graph import Node, constant
from hotloop.passes.kernel import Kernel, row_major

if TYPE_CHECKING:
    from hotloop.passes.linearize import Builder

LONGEST_APART = 64  # terms of a reduction on one lane that need not be on one line: they are written out
Steps = tuple[int, ...]  # what one step along a dimension adds to the place in each array


@dataclass(frozen=True, slots=True)
class At:
    """Where an iteration is: the place in each array is index[its steps] (a value, if loops run) + moved."""

    index: tuple[int | None, ...]
    moved: tuple[int, ...]

    def step(self, steps: Steps, count: int = 1) -> At:
        """Return the place `count` static steps further."""
        return At(self.index, tuple([place + count * step for place, step in zip(self.moved, steps, strict=True)]))


@dataclass(frozen=True, slots=True)
class Array:
    """An array in memory: its place in bytes, its type, and how it steps along the lanes."""

    place: int
    node: Node
    lane_step: int


class Loops:
    """Writes loops over the arrays of one kernel."""

    written_out: int  # instructions up to which loops are written out
    lanes_run = True  # along a dimension of the kernel, which stays one even if it is short

    def __init__(self, builder: Builder, node: Node, sources: Sequence[int], targets: Sequence[int]) -> None:
        """Take the places of the arrays read (sources), and those of results, -1 for scalars (targets)."""
        self.builder = builder
        self.node = node
        self.kernel: Kernel = node.attr
        kernel, lane = self.kernel, self.kernel.lane
        own = row_major(kernel.shape[: kernel.kept]) if kernel.kept else row_major(kernel.shape)
        own = (*own, *[0] * (len(kernel.shape) - len(own)))
        self.out = len(kernel.streams)
        self.arrays = [
            Array(place + stream.offset * stream.param.dtype.size, stream.param, stream.steps[lane])
            for place, stream in zip(sources, kernel.streams, strict=True)
        ]
        self.results = [Array(place, result.value, own[lane]) for place, result in zip(targets, kernel.results, strict=True)]
        self.steps: list[Steps] = [
            (*[stream.steps[d] for stream in kernel.streams], own[d], 0) for d in range(len(kernel.shape))
        ]  # of each array read, of all results together, and of partial results

    @property
    def start(self) -> At:
        """Where the first iteration is."""
        count = len(self.kernel.streams) + 2
        return At((None,) * count, (0,) * count)

    def number(self, number: int) -> int:
        """Return the value of a number, as an index."""
        return self.builder.use(constant(number, self.builder.index))

    def known(self, index: int | None) -> int:
        """Return the value of an index, 0 where no loop runs."""
        return self.number(0) if index is None else index

    def around(
        self, count: int, steps: Steps, at: At, inside: Callable[[At], Sequence[int]], carried: Sequence[tuple[int, int]] = ()
    ) -> None:
        """Write a loop. carried: (param, init) values beside indices; `inside` gets where it is, and returns what becomes of them."""
        builder, node, dtype = self.builder, self.node, self.builder.index
        groups: dict[tuple[int, int | None], list[int]] = {}
        for k, step in enumerate(steps):
            if step:
                groups.setdefault((step, at.index[k]), []).append(k)
        params = [builder.new_value(None, dtype) for _ in groups]
        inits = [self.known(index) for _, index in groups]
        loop = builder.begin_loop(node, count, [*zip(params, inits, strict=True), *carried])
        index = list(at.index)
        for param, members in zip(params, groups.values(), strict=True):
            for k in members:
                index[k] = param
        given = inside(At(tuple(index), at.moved))
        add = f"add.{dtype.short}.{dtype.short}"
        following = [
            builder.emit(node, add, builder.new_value(None, dtype), (param, self.number(step)), 0)
            for param, (step, _) in zip(params, groups, strict=True)
        ]
        builder.end_loop(node, loop, [*following, *given])

    def each(self, dims: Sequence[tuple[int, Steps]], at: At, cost: int, inside: Callable[[At], None]) -> None:
        """Run through dimensions, outermost first; the inner ones are written out while that is short."""
        if not dims:
            inside(at)
            return
        (count, steps), rest = dims[0], dims[1:]
        written = count * cost
        for length, _ in rest:
            written *= length
        if count == 1 or written <= self.written_out:
            for k in range(count):
                self.each(rest, at.step(steps, k), cost, inside)
            return

        def body(here: At) -> Sequence[int]:
            self.each(rest, here, cost, inside)
            return ()

        self.around(count, steps, at, body)

    def dims(self, first: int, last: int) -> list[tuple[int, Steps]]:
        """Return dimensions first ... last - 1; neighbours that every array walks as one are one."""
        found: list[tuple[int, Steps]] = []
        for d in range(first, last):
            length, steps = self.kernel.shape[d], self.steps[d]
            if length == 1 and not (self.lanes_run and d == self.kernel.lane):
                continue
            if found and found[-1][1] == tuple([length * step for step in steps]):
                found[-1] = found[-1][0] * length, steps
            else:
                found.append((length, steps))
        return found
