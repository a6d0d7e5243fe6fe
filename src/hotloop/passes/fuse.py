"""Pass `fuse`: operations on arrays become kernels, loops that compute as much as they can in one pass.

Element-wise operations and whole reductions of one shape that do not wait for each other share a
kernel: producers and consumers, several outputs, several reductions. A value that several kernels need
is computed again where that is cheaper than to write and to read it. What remains, and arrays that are
too small to be worth a loop, is left to `unroll`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from hotloop import _graph
from hotloop.dtypes import DType
from hotloop.ir.graph import CONST, INPUT, LOOP, PARAM, STATE, Node, Shape
from hotloop.ir.loop import dependents, rebuild
from hotloop.ir.op import REGISTRY, Op
from hotloop.ir.rewrite import ends, rebuild_loop, variables, walk
from hotloop.ops.algebra import absorbs
from hotloop.ops.shape import CHUNK, FOLDS, broadcast, matmul, pack, reshape, take, transpose
from hotloop.passes.body import BodyWriter, Space, copied
from hotloop.passes.kernel import row_major, size, view
from hotloop.passes.nest import LONGEST_WRITTEN
from hotloop.passes.price import Prices
from hotloop.passes.wide import foldable, form_of

SHORTEST = 24  # places; below, straight scalar code is faster (benchmarks/dot.py),
SHORT = 6  # unless a kernel gives what is read (benchmarks/control.py: the steps of MPC have ten)
CHEAP = 3  # additions; a value that costs more is written for other kernels, not computed again
PACKED = 3  # instructions for a scalar that is stored to be read in a vector: the load waits for the store
LARGEST_PRODUCT = 64  # multiplications that are written out on one lane: two matrices 4x4
SPARSE = 0.25  # share of non-zeros of a structural constant up to which scalar code is faster

_MOVEMENTS = (broadcast, transpose, reshape, take)
_Key = tuple[Shape, int, object]  # shape, level, and what keeps a reduction apart: its axes, or its node


@dataclass(slots=True, eq=False)
class _Group:
    """What will be one kernel: the space it iterates, and the nodes that it gives, from users to operands."""

    space: Space
    nodes: list[Node] = field(default_factory=list)


def fuse(outputs: Sequence[Node], sizes_known: bool = True, contract: bool = False, one_lane: bool = False) -> list[Node]:
    """Return `outputs` with kernels in place of the arrays they compute.

    sizes_known: shapes are numbers, and kernels are loops inside of a program; else lengths may be Dims,
    and kernels are functions over arrays of any size. contract: sums of products may be fused multiply-adds.
    one_lane: the target has no vectors of lanes; kernels can hold every row then, and walk arrays in any order.
    """
    nodes = walk(outputs)
    if not any(node.shape for node in nodes):
        return list(outputs)
    bound: set[int] = set()
    for node in nodes:
        if node.op is PARAM or any(arg.id in bound for arg in node.args):
            bound.add(node.id)  # in the body of a loop, which is fused by itself
    return _Fuser([node for node in nodes if node.id not in bound], outputs, _Setting(sizes_known, contract, one_lane), {}).fused()


@dataclass(frozen=True, slots=True)
class _Setting:
    sizes_known: bool
    contract: bool
    one_lane: bool


class _Fuser:
    """Fuses the nodes of a program, or of one body of a loop.

    nodes: operands before users; what they use beside each other is read as it is, or as `fresh` has it.
    """

    def __init__(self, nodes: list[Node], outputs: Sequence[Node], setting: _Setting, fresh: Mapping[int, Node]) -> None:
        self.nodes = nodes
        self.outputs = outputs
        self.setting = setting
        self.sizes_known = setting.sizes_known
        self.prices = Prices()
        self.taken = {node.args[0].id for node in nodes if node.op is take}
        self.maps: set[int] = set()  # element-wise nodes
        self.folds: dict[int, Op] = {}  # reductions: by which row
        self.level: dict[int, int] = {}  # of kernels: how many others come before
        self.ready: dict[int, int] = {}  # level from which on a node can be read
        self.cost: dict[int, int] = {}  # price of an element-wise node and of what is fused into it
        self.flat: set[int] = set()  # element-wise nodes that read only arrays of their own order
        self.written: set[int] = set()  # element-wise nodes that become arrays in memory
        self.wanted: dict[int, set[_Key]] = {}  # element-wise node -> kernels that compute it
        self.groups: dict[_Key, _Group] = {}
        self.fresh = dict(fresh)

    def fused(self) -> list[Node]:
        """Return the outputs on kernels."""
        for node in self.nodes:
            for arg in node.args:
                self.ready.setdefault(arg.id, 0)  # from outside of the body
            self._classify(node)
        for output in self.outputs:
            self._need(output)
        for node in reversed(self.nodes):
            self._plan(node)
        return self._build()

    # -- what can be in kernels ----------------------------------------------------------------

    def _classify(self, node: Node) -> None:
        if self._is_map(node):
            self.maps.add(node.id)
            self._set_level(node, node.shape)
            below = sum(self.cost.get(arg.id, 0) for arg in node.args if arg.shape == node.shape)
            self.cost[node.id] = self.prices.unit(node.op) + below
            if all(self._is_flat(arg, node.shape) for arg in node.args):
                self.flat.add(node.id)
            return
        fold = self._fold_of(node)
        if fold is None:
            self.ready[node.id] = max([self.ready[arg.id] for arg in node.args], default=0)
            return
        self.folds[node.id] = fold
        apart = {arg.id for arg in node.args if self._is_apart(arg, node)}
        self._set_level(node, None if node.op is matmul and node.shape else node.args[0].shape, apart)

    def _is_apart(self, arg: Node, fold: Node) -> bool:
        """Whether a reduction cannot compute its operand itself: lanes along rows, and lines, need elements without gaps."""
        if not self.sizes_known or arg.id not in self.maps or arg.id in self.flat or fold.op is matmul:
            return False
        axes: tuple[int, ...] = fold.attr["axes"]
        if self.setting.one_lane and len(axes) == 1 < len(arg.shape):
            return False
        return axes[-1] == len(arg.shape) - 1

    def _set_level(self, node: Node, shape: Shape | None, apart: Collection[int] = ()) -> None:
        """Say how many kernels come before; operands of `shape` that are not `apart` are computed in the same one."""
        inside = {arg.id for arg in node.args if arg.id in self.maps and arg.shape == shape and arg.id not in apart}
        levels = [self.level[arg.id] if arg.id in inside else self.ready[arg.id] for arg in node.args]
        self.level[node.id] = max(levels)
        self.ready[node.id] = max(levels) + 1

    def _is_map(self, node: Node) -> bool:
        if not node.shape or not node.op.types.overloads or node.op.c is None:
            return False
        if not self.setting.one_lane and form_of(node) is None:
            return False
        if not self.sizes_known:
            return True
        least = SHORT if any(map(self._is_given, node.args)) else SHORTEST
        return size(node.shape) >= least and not any(map(_mostly_zeros, node.args))

    def _is_given(self, node: Node) -> bool:
        """Whether a kernel gives an array, so that scalar code would have to read its elements from memory."""
        base = _moved(node)
        return bool(base.shape) and (base.id in self.maps or base.id in self.folds)

    def _fold_of(self, node: Node) -> Op | None:
        """Return the row that a reduction repeats, if a kernel can do it."""
        if node.op is matmul:
            return self._fold_of_product(node)
        name = FOLDS.get(node.op)
        if name is None or not self._foldable(name, node.dtype):
            return None
        if not self.sizes_known:
            return REGISTRY[name]
        shape, axes = node.args[0].shape, node.attr["axes"]
        along_rows = axes == tuple(range(len(shape) - len(axes), len(shape)))
        terms = size(tuple([shape[axis] for axis in axes]))
        along_columns = len(shape) - 1 not in axes and shape[-1] >= 4 and (terms <= LONGEST_WRITTEN or (len(axes) == 1 and terms <= CHUNK))
        return REGISTRY[name] if size(shape) >= SHORTEST and (along_rows or along_columns or self.setting.one_lane) else None

    def _foldable(self, name: str, dtype: DType) -> bool:
        """Whether a kernel can reduce by a row."""
        return self.setting.one_lane or foldable(name, dtype)

    def _fold_of_product(self, node: Node) -> Op | None:
        x, y = node.args
        if not self._foldable("add", node.dtype):
            return None
        if not self.sizes_known:
            return None if node.shape else REGISTRY["add"]  # others are NumPy's
        work = size(node.shape) * x.shape[-1]
        if work < SHORTEST or any(map(_mostly_zeros, node.args)):
            return None
        inner = x.shape[-1]
        # lanes run along the columns of the result, along its rows if those of x lie side by side, or along the inner axis
        columns = len(y.shape) > 1 and y.shape[-1] >= 3
        rows = len(x.shape) > 1 and x.shape[-2] >= 3 and (x.is_const or view(x, x.shape).steps[-2] == 1)
        possible = self.setting.one_lane or inner >= 8 or ((columns or rows) and inner <= CHUNK)
        return REGISTRY["add"] if possible and self._pays(node, work, columns or rows) else None

    def _pays(self, node: Node, work: int, across: bool) -> bool:
        """Whether a product is faster as a kernel: instructions of both are estimated for 8 lanes (benchmarks/control.py).

        On one lane none is faster: a kernel is smaller.
        """
        if work > 1000:
            return True
        left = _density(node.args[0]) * _density(node.args[1])  # of the products, after structural zeros vanish
        if self.setting.one_lane:
            return work * left > LARGEST_PRODUCT
        lanes = node.shape[-1] if across and node.shape else node.args[0].shape[-1]
        vectors = work // lanes * -(-lanes // 8)
        packed = sum(size(arg.shape) for arg in node.args if not self._is_in_memory(arg))
        taken = size(node.shape) if node.id in self.taken else 0
        return 4 * vectors + PACKED * packed + 2 * taken < 2 * work * left

    def _is_in_memory(self, node: Node) -> bool:
        return self._is_given(node) or _moved(node).op in (CONST, INPUT, STATE, PARAM)

    def _is_flat(self, arg: Node, shape: Shape) -> bool:
        if not arg.shape:
            return True
        if arg.id in self.maps:
            return arg.shape == shape and arg.id in self.flat
        if not self.sizes_known:
            return True
        found = view(arg, shape)
        return not found.base.shape or found.steps == row_major(shape)

    # -- who computes what ---------------------------------------------------------------------

    def _need(self, node: Node) -> None:
        """Have a node in memory, or as a scalar: an operand of what is no kernel."""
        while node.op in _MOVEMENTS and node.id not in self.maps:
            node = node.args[0]
        if node.id in self.maps:
            self.written.add(node.id)

    def _plan(self, node: Node) -> None:
        if node.id in self.maps:
            self._plan_map(node)
        elif node.id in self.folds:
            self._plan_fold(node)
        else:
            for arg in node.args:
                self._need(arg)

    def _plan_map(self, node: Node) -> None:
        # whole reductions need flat companions: all dimensions are one
        own: _Key = (node.shape, self.level[node.id], None if node.id in self.flat or not self.sizes_known else "gaps")
        keys = self.wanted.get(node.id, set())
        if len(keys) > 1 and self.cost[node.id] > CHEAP:
            self.written.add(node.id)
        if node.id in self.written:
            keys = {own}
            self._group(own, Space(node.shape, tuple(range(len(node.shape))), len(node.shape))).nodes.append(node)
        self.wanted[node.id] = keys
        for arg in node.args:
            self._want(arg, node.shape, keys)

    def _plan_fold(self, node: Node) -> None:
        level, shape = self.level[node.id], node.args[0].shape
        if node.op is matmul and node.shape:
            for arg in node.args:
                self._need(arg)
            self._group((shape, level, node.id), Space.of_product(node)).nodes.append(node)
            return
        axes = tuple(range(len(shape))) if node.op is matmul else node.attr["axes"]
        kept = tuple([axis for axis in range(len(shape)) if axis not in axes])
        key: _Key = (shape, level, axes if kept else None)
        space = Space(shape, (*kept, *axes), len(kept) if kept else len(shape))
        group = self._group(key, space)
        group.nodes.append(node)
        for arg in node.args:
            if self._is_apart(arg, node):
                self.written.add(arg.id)
            self._want(arg, shape, {key})

    def _want(self, arg: Node, shape: Shape, keys: set[_Key]) -> None:
        if arg.id in self.maps and arg.shape == shape:
            self.wanted.setdefault(arg.id, set()).update(keys)
        else:
            self._need(arg)

    def _group(self, key: _Key, space: Space) -> _Group:
        return self.groups.setdefault(key, _Group(space))

    # -- the new graph -------------------------------------------------------------------------

    def _build(self) -> list[Node]:
        """Make all nodes anew in order of levels: first what is read, then the kernels that read it."""
        inside = self.maps | set(self.folds)
        rest = sorted([node for node in self.nodes if node.id not in inside], key=lambda node: (self.ready[node.id], node.id))
        place = 0
        try:
            for key in sorted(self.groups, key=lambda key: (key[1], self.groups[key].nodes[-1].id)):
                while place < len(rest) and self.ready[rest[place].id] <= key[1]:
                    self._rebuild(rest[place])
                    place += 1
                self._build_group(key)
            for node in rest[place:]:
                self._rebuild(node)
        finally:
            _graph.set_origin(None)
        return [self._given(self.fresh.get(output.id, output)) for output in self.outputs]

    def _given(self, output: Node) -> Node:
        """Return an output; a view of an array in memory is copied by a kernel."""
        if not self.sizes_known or output.op not in _MOVEMENTS or not output.shape or size(output.shape) < SHORTEST:
            return output
        found = view(output, output.shape)
        return output if found.base is output or not found.base.shape else copied(found, output.shape)

    def _rebuild(self, node: Node) -> None:
        args = [self.fresh.get(arg.id, arg) for arg in node.args]
        if node.op is LOOP:
            self.fresh[node.id] = self._fused_loop(node, args)
        elif any(arg.id in self.fresh for arg in node.args):
            _graph.set_origin(node)
            self.fresh[node.id] = rebuild(node, args)

    def _fused_loop(self, loop: Node, args: Sequence[Node]) -> Node:
        """Return a loop on other operands, with its body fused."""
        results = ends(loop.attr)
        members = [node for node in dependents(results, variables(loop.attr)) if node.op is not PARAM]
        fresh = _Fuser(members, results, self.setting, self.fresh).fused()
        known = {old.id: new for old, new in zip((*loop.args, *results), (*args, *fresh), strict=True)}
        return rebuild_loop(loop, known)

    def _build_group(self, key: _Key) -> None:
        group = self.groups[key]
        setting = self.setting

        def inside(node: Node) -> bool:
            return key in self.wanted.get(node.id, ())

        writer = BodyWriter(group.space, setting.sizes_known, setting.contract, setting.one_lane, inside)
        for node in reversed(group.nodes):
            writer.add(node, self.folds.get(node.id))
        self.fresh.update(writer.results(self.fresh))


def _moved(node: Node) -> Node:
    """Return the array that an array is a view of."""
    while node.op in _MOVEMENTS and node.shape:
        node = node.args[0]
    return node


def _mostly_zeros(node: Node) -> bool:
    """Whether scalar code is faster because it leaves out the structural zeros of a constant."""
    return _density(node) <= SPARSE


def _density(node: Node) -> float:
    """Return which part of an array is not structural zeros."""
    while node.op in (transpose, reshape):
        node = node.args[0]
    if node.op is pack:
        return sum(not absorbs(item) for item in node.args) / len(node.args)
    if not (node.is_const and node.shape and node.attr.structural):
        return 1.0
    return float((node.attr.value != 0).mean())
