"""`Adjoints`: the derivatives of registers while the steps of one region are undone, and the steps that add to them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hotloop.dtypes import int64
from hotloop.ir.graph import Node, apply, param_node
from hotloop.ir.op import REGISTRY
from hotloop.ir.sweep import Alias, Allocate, Compute, Copy, Fault, Filter, Sort, SortBy, Step, Store, Sweep, at
from hotloop.ops.shape import length_of
from hotloop.passes.adjoint.loops import ONE, zero
from hotloop.passes.adjoint.regions import Item, register_like

add, ne = REGISTRY["add"], REGISTRY["ne"]


class Lengths:
    """How long arrays are: of those of equal length, one and the same node."""

    def __init__(self, parent: Lengths | None = None) -> None:
        self.of: dict[int, Node] = dict(parent.of) if parent else {}
        self.same: dict[int, Node] = dict(parent.same) if parent else {}

    def note(self, items: Iterable[Item]) -> None:
        """Learn from the steps of a region, all of which have run."""
        for item in items:
            match item:
                case Allocate():
                    self.of[item.array.id] = item.length
                case Copy():
                    self.of[item.array.id] = self.length(item.source)
                case Sort():
                    made = [node for node in (*item.sorted, item.order) if node is not None]
                    self.of.update({node.id: self.length(item.keys[0]) for node in made})
                case SortBy():
                    self.of[item.order.id] = item.length
                case Sweep():
                    filters = [effect for effect in item.effects if isinstance(effect, Filter)]
                    self.of.update({array.id: effect.kept for effect in filters for array in effect.arrays})
                case Fault() if item.condition.op is ne:
                    self.equal(*item.condition.args)

    def equal(self, x: Node, y: Node) -> None:
        """Learn that two lengths are equal."""
        x, y = self.first(x), self.first(y)
        if x is not y:
            self.same[max(x, y, key=lambda node: node.id).id] = min(x, y, key=lambda node: node.id)

    def first(self, node: Node) -> Node:
        """Return the node that stands for all that are equal to one."""
        while node.id in self.same:
            node = self.same[node.id]
        return node

    def length(self, array: Node) -> Node:
        """Return the length of an array."""
        return self.first(self.of.get(array.id) or length_of(array, (0,)))

    def is_length(self, count: Node, array: Node) -> bool:
        """Whether an array is known to have `count` elements."""
        found = self.first(count)
        return found is self.length(array) or found is self.first(length_of(array, (0,)))


class Indices:
    """Indices of sweeps: one for each count, so that sweeps can be merged."""

    def __init__(self) -> None:
        self._of: dict[int, Node] = {}

    def note(self, sweeps: Iterable[Sweep]) -> None:
        """Use the indices that sweeps have."""
        for sweep in sweeps:
            self._of.setdefault(sweep.count.id, sweep.index)

    def of(self, count: Node) -> Node:
        """Return the index for a count."""
        return self._of.setdefault(count.id, param_node(int64, ()))


@dataclass(slots=True)
class Held:
    """The register of an array's derivative. owned: nothing else names its memory, so that it may be changed."""

    register: Node
    owned: bool


class Adjoints:
    """Derivatives by the registers of a region. What is set outside of it is added to accumulators that outlast the region.

    beside: another region, of which at most one of both runs; they have accumulators in common.
    """

    def __init__(
        self, own: set[int] | None, lengths: Lengths, indices: Indices, parent: Adjoints | None = None, beside: Adjoints | None = None
    ) -> None:
        self.own = own  # None: everything
        self.lengths = lengths
        self.indices = indices
        self.parent = parent
        self.steps: list[Step] = []
        self._scalars: dict[int, Node] = {}
        self._outside: dict[int, Node] = {}  # what is to be added to accumulators of scalars
        self._registers: dict[int, Node] = {} if beside is None else beside._registers  # noqa: SLF001 - its own kind
        self._arrays: dict[int, Held] = {}
        self._accumulators: dict[int, Node] = {} if beside is None else beside._accumulators  # noqa: SLF001

    def is_own(self, register: Node) -> bool:
        """Whether the derivative by a register is this region's."""
        return self.own is None or register.id in self.own

    def _accumulator(self, register: Node) -> Node:
        assert self.parent is not None, "everything is the first region's own"
        if not self.parent.is_own(register):
            return self.parent._accumulator(register)  # noqa: SLF001 - its own kind
        found = self._accumulators.get(register.id)
        if found is None:
            found = self._accumulators[register.id] = register_like(register)
            self._registers[register.id] = register
        return found

    # -- scalars -----------------------------------------------------------------------------------

    def add(self, register: Node, part: Node) -> None:
        """Add to the derivative by a scalar register. The part is a constant, or in a register that nothing changes."""
        if register.is_const:
            return
        known = self._scalars if self.is_own(register) else self._outside
        self._registers[register.id] = register
        before = known.get(register.id)
        known[register.id] = part if before is None else apply(add, before, part)

    def take(self, register: Node) -> Node | None:
        """Return the derivative by a scalar register of this region, which is set here, and forget it."""
        return self._scalars.pop(register.id, None)

    # -- arrays ------------------------------------------------------------------------------------

    def add_array(self, array: Node, part: Node, owned: bool) -> None:
        """Add to the derivative by a whole array. owned: nothing else will use the part."""
        if self.is_own(array) and array.id not in self._arrays:
            self._arrays[array.id] = Held(part, owned)
            return
        total, covers = self.begin(array, True)
        assert not covers, "it is there"
        count = self.lengths.length(array)
        index = self.indices.of(count)
        self.steps.append(Sweep(count, index, (Store(total, index, apply(add, at(total, index), at(part, index))),)))

    def take_array(self, array: Node) -> Held | None:
        """Return the derivative by an array of this region, which is made here, and forget it."""
        return self._arrays.pop(array.id, None)

    def current(self, array: Node) -> Node | None:
        """Return the register of the derivative by an array, to be read; None if it is zero."""
        if not self.is_own(array):
            return self._accumulator(array)
        held = self._arrays.get(array.id)
        return None if held is None else held.register

    def begin(self, array: Node, covers: bool) -> tuple[Node, bool]:
        """Return the register of a derivative that may be changed, and whether all of its elements are still to be set.

        covers: all of them will be set, if there are none.
        """
        if not self.is_own(array):
            return self._accumulator(array), False
        held = self._arrays.get(array.id)
        if held is None:
            register, length = register_like(array), self.lengths.length(array)
            self._arrays[array.id] = Held(register, True)
            self.steps.append(Allocate(register, length))
            if not covers:
                index = self.indices.of(length)
                self.steps.append(Sweep(length, index, (Store(register, index, zero(array)),)))
            return register, covers
        if not held.owned:
            copy = register_like(array)
            self.steps.append(Copy(copy, held.register))
            held = self._arrays[array.id] = Held(copy, True)
        return held.register, False

    def add_at(self, array: Node, place: Node, part: Node) -> None:
        """Add to the derivative by one element of an array; place and part are as in `add`."""
        total, _ = self.begin(array, False)
        index = self.indices.of(ONE)
        self.steps.append(Sweep(ONE, index, (Store(total, place, apply(add, at(total, place), part)),)))

    # -- regions -----------------------------------------------------------------------------------

    def finish(self) -> None:
        """Bring what has been found for registers outside of the region into their accumulators."""
        for number, part in self._outside.items():
            total = self._accumulator(self._registers[number])
            self.steps.append(Compute((total,), (apply(add, total, part),)))
        self._outside.clear()

    def enter(self, region: Adjoints) -> None:
        """Let accumulators of a region within this one hold the derivatives by registers of this one, from here on."""
        for number, total in region._accumulators.items():
            register = region._registers[number]
            if register.shape:
                held, _ = self.begin(register, False)
                self.steps.append(Alias((total,), (held,)))
                self._arrays[number] = Held(total, True)
            else:
                self.steps.append(Compute((total,), (self._scalars.get(number, zero(register)),)))
                self._scalars[number] = total


def in_registers(values: Sequence[Node], steps: list[Step]) -> list[Node]:
    """Return values that later changes of registers do not change: constants, and new registers, which steps set."""
    fresh = {value.id: param_node(value.dtype, ()) for value in values if not value.is_const}
    known = {value.id: value for value in values}
    if fresh:
        steps.append(Compute(tuple(fresh.values()), tuple([known[number] for number in fresh])))
    return [fresh.get(value.id, value) for value in values]


__all__ = ["Adjoints", "Held", "Indices", "Lengths", "in_registers"]
