"""`link_arrays`: stages over arrays of any size -> machine code, and the plan by which the runner calls it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from hotloop.backends.native.link import link
from hotloop.dtypes import DType
from hotloop.image import Image
from hotloop.ir.dim import Dim
from hotloop.ir.graph import INPUT, Node, Shape, structure
from hotloop.ir.op import Op
from hotloop.ir.program import Program
from hotloop.ir.rewrite import walk
from hotloop.passes.kernel import KERNEL, Kernel, kernel_of_one
from hotloop.passes.linearize import Builder
from hotloop.passes.memory import ALIGN, Memory
from hotloop.passes.price import Prices
from hotloop.passes.sized import Sized, Slots
from hotloop.passes.stages import Stage

PICOSECONDS = 60  # of an addition, by which the caller judges whether threads pay
PICOSECONDS_A_BYTE = 25  # of memory


@dataclass(slots=True, eq=False)
class Linked:
    """Code and data of all kernels, and the plan; the fields are arguments of `_runner.ArrayFunction`."""

    code: bytes
    data: bytes
    stack: int
    arguments: tuple[Any, ...]  # Any: nested tuples, as the runner documents them
    buffers: tuple[Any, ...]
    stages: tuple[Any, ...]
    results: tuple[int, ...]
    combines: tuple[Any, ...]
    programs: list[Program] = field(default_factory=list)


def link_arrays(stages: Sequence[Stage], homes: Sequence[Node], inputs: Sequence[Node], target: str, vector_bytes: int) -> Linked:
    """Write the code of all stages. inputs: the arguments, in order; homes: the arrays that are the results."""
    return _Linker(stages, homes, inputs, target, vector_bytes).linked()


class _Linker:
    def __init__(self, stages: Sequence[Stage], homes: Sequence[Node], inputs: Sequence[Node], target: str, vector_bytes: int) -> None:
        self.given_stages = stages
        self.homes = homes
        self.inputs = inputs
        self.target = target
        self.vector_bytes = vector_bytes
        self.memory = Memory()
        self.code = bytearray()
        self.stack = 0
        self.programs: list[Program] = []
        self.dims: dict[Dim, int] = {}
        self.buffers: list[Any] = []
        self.number: dict[int, int] = {}  # node id -> buffer
        self.argument = {node.id: place for place, node in enumerate(inputs)}
        self.combines: list[Any] = []
        self.combine_of: dict[tuple[Op, DType], int] = {}

    def linked(self) -> Linked:
        """Return code, data and plan."""
        arguments = tuple([
            ("array", node.dtype.code, self._dims(node.shape)) if node.shape else ("number", node.dtype.code)
            for node in self.inputs
        ])  # fmt: skip
        results = [node.id for node in self.homes]
        for place, node in enumerate(self.inputs):
            if node.shape:
                self._buffer(node, ("argument", place))
        for stage in self.given_stages:
            for node in stage.given:
                role = ("result", results.index(node.id)) if node.id in results else ("temporary",)
                self._buffer(node, role)
        self._add_combines()
        stages = tuple([self._stage(stage) for stage in self.given_stages])
        return Linked(
            bytes(self.code), bytes(self.memory.data), self.stack, arguments, tuple(self.buffers), stages,
            tuple([self.number[node.id] for node in self.homes]), tuple(self.combines), self.programs,
        )  # fmt: skip

    def _dims(self, shape: Shape) -> tuple[int, ...]:
        return tuple([self.dims.setdefault(size, len(self.dims)) if isinstance(size, Dim) else -1 for size in shape])

    def _buffer(self, node: Node, role: tuple[Any, ...]) -> None:
        self.number[node.id] = len(self.buffers)
        self.buffers.append((node.dtype.code, self._dims(node.shape), role))

    # -- stages ------------------------------------------------------------------------------------

    def _stage(self, stage: Stage) -> tuple[Any, ...]:
        if stage.kernel is None:
            return ("call", stage.function, tuple([self.number[node.id] for node in stage.operands]), (self.number[stage.given[0].id],))
        kernel: Kernel = stage.kernel.attr
        entry, slots = self._write(stage.kernel)
        arrays, scalars = stage.operands[: len(kernel.streams)], stage.operands[len(kernel.streams) :]
        streams = tuple([
            (self.number[node.id], stream.steps, *places, stream.param.dtype.size)
            for node, stream, places in zip(arrays, kernel.streams, slots.streams, strict=True)
        ])  # fmt: skip
        written = [(node, result) for node, result in zip(stage.given, kernel.results, strict=True) if result.fold is None]
        reduced = [(node, result) for node, result in zip(stage.given, kernel.results, strict=True) if result.fold is not None]
        every = tuple(range(len(kernel.shape)))
        stores = tuple([
            (self.number[node.id], every, *places, node.dtype.size) for (node, _), places in zip(written, slots.stores, strict=True)
        ])  # fmt: skip
        reductions = tuple([
            (self.number[node.id], place, node.dtype.size, self.combine_of[result.fold, node.dtype])
            for (node, result), place in zip(reduced, slots.partials, strict=True) if result.fold is not None
        ])  # fmt: skip
        sources = tuple([
            (place, node.dtype.code, self._source(node)) for node, place in zip(scalars, slots.scalars, strict=True)
        ])  # fmt: skip
        dims = self._dims(kernel.shape)
        return ("kernel", entry, slots.count, slots.block, kernel.kept, dims, streams, stores, reductions, sources, _cost(kernel))

    def _source(self, node: Node) -> tuple[Any, ...]:
        if node.op is INPUT and not node.shape:
            return ("argument", self.argument[node.id])
        if node.id in self.number:
            return ("buffer", self.number[node.id])
        return ("size", self._dims(tuple([node.args[0].shape[axis] for axis in node.attr["axes"]])))

    def _write(self, kernel: Node) -> tuple[int, Slots]:
        """Write a kernel behind what there is; its data grows on the common block."""
        builder = Builder(self.vector_bytes, self.memory)
        slots = Sized(builder, kernel).write()
        program = builder.program()
        self.programs.append(program)
        image = link(program, self.target)
        self.memory.data.extend(bytes(len(image.data) - len(self.memory.data)))
        return self._append(image), slots

    def _append(self, image: Image) -> int:
        """Put code behind what there is and return its entry."""
        self.code.extend(bytes(-len(self.code) % 64))
        entry = len(self.code) + image.entry
        self.code.extend(image.code)
        self.stack = max(self.stack, image.stack)
        return entry

    def _add_combines(self) -> None:
        """Write the kernels that reduce partial results. They come first in the data, so that most are those of an earlier function."""
        for stage in self.given_stages:
            for result in stage.kernel.attr.results if stage.kernel is not None else ():
                dtype = result.value.dtype
                if result.fold is None or (result.fold, dtype) in self.combine_of:
                    continue
                self.memory.data.extend(bytes(-len(self.memory.data) % ALIGN))
                image, slots = _combine(result.fold, dtype, self.target, self.vector_bytes, len(self.memory.data))
                self.memory.data.extend(image.data)
                ((pointer, tail),) = slots.streams
                self.combine_of[result.fold, dtype] = len(self.combines)
                self.combines.append((self._append(image), slots.count, pointer, tail, slots.partials[0]))


@lru_cache(maxsize=256)
def _combine(fold: Op, dtype: DType, target: str, vector_bytes: int, start: int) -> tuple[Image, Slots]:
    """Return the code that reduces partial results, and its data, which begins `start` bytes into the block."""
    memory = Memory()
    memory.data.extend(bytes(start))
    kernel = kernel_of_one(dtype, (1,), (0,), fold=fold)
    builder = Builder(vector_bytes, memory)
    slots = Sized(builder, structure(KERNEL, (), kernel, dtype, ())).write()
    image = link(builder.program(), target)
    return replace(image, data=image.data[start:]), slots


def _cost(kernel: Kernel) -> int:
    """Return about how many picoseconds an element takes."""
    prices = Prices()
    nodes = walk([result.value for result in kernel.results])
    moved = sum(stream.param.dtype.size for stream in kernel.streams)
    moved += sum(result.value.dtype.size for result in kernel.results if result.fold is None)
    return max(1, PICOSECONDS * sum(map(prices.of, nodes)) + PICOSECONDS_A_BYTE * moved)
