"""`Frame`: where the data of a program holds registers while its code runs."""

from __future__ import annotations

from hotloop.dtypes import DType, int64
from hotloop.ir.graph import Node
from hotloop.ir.program import IN_MEMORY
from hotloop.ir.sweep import AT
from hotloop.ops.shape import length
from hotloop.passes.linearize import Builder
from hotloop.passes.memory import Memory

LENGTH = 8  # offset in the descriptor of an array; its address comes first
DESCRIPTOR = 32  # bytes: address, length, zero to read and a place to write where there is no element


class Frame:
    """Places of scalar registers and descriptors of array registers, each made when it is first asked for.

    scalars, arrays: the registers that were asked for since the last `begin`, by id.
    """

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self.low = memory.place(int64, (), None)
        self.high = memory.place(int64, (), None)
        self.scalars: dict[int, Node] = {}
        self.arrays: dict[int, Node] = {}
        self._scalars: dict[int, int] = {}
        self._arrays: dict[int, int] = {}
        self._rooms: dict[object, int] = {}

    def begin(self) -> None:
        """Forget which registers were asked for."""
        self.scalars, self.arrays = {}, {}

    def scalar(self, register: Node) -> int:
        """Return the place of a scalar register."""
        self.scalars[register.id] = register
        if register.id not in self._scalars:
            self._scalars[register.id] = self.place(register.dtype)
        return self._scalars[register.id]

    def array(self, register: Node) -> int:
        """Return the place of the descriptor of an array register."""
        self.arrays[register.id] = register
        return self.pointer(register)

    def pointer(self, register: Node) -> int:
        """Return the place of a descriptor whose address another part of the plan sets."""
        if register.id not in self._arrays:
            self._arrays[register.id] = self.memory.room(DESCRIPTOR)
        return self._arrays[register.id]

    def add(self, builder: Builder, node: Node) -> bool:
        """Write a node that reads an array register; tell whether it is one."""
        if node.op is AT:
            array, place = node.args
            name, uses = f"geta.{node.dtype.short}", (builder.use(place),)
            builder.number[node.id] = builder.emit(node, name, builder.new_value(None, node.dtype), uses, self.array(array))
        elif node.op is length:
            builder.new_value(node, int64, self.array(node.args[0]) + LENGTH, IN_MEMORY)
        else:
            return False
        return True

    def room(self, key: object, size: int) -> int:
        """Reserve aligned bytes that functions share, and return their place."""
        if key not in self._rooms:
            self._rooms[key] = self.memory.room(size)
        return self._rooms[key]

    def place(self, dtype: DType) -> int:
        """Reserve 8 bytes for a scalar."""
        data = self.memory.data
        data.extend(bytes(-len(data) % 8 + 8))
        return len(data) - 8
