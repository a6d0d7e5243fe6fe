"""Pass `stages`: a graph of arrays of any size becomes kernels in order, and calls of NumPy.

What `fuse` leaves is turned into kernels too: scalars computed from results, views that are results, and
the operands of matrix products, which are NumPy's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hotloop.ir.dim import NeedsSize
from hotloop.ir.graph import CONST, INPUT, Node, Shape, param_node, structure
from hotloop.ir.loop import substitute
from hotloop.ir.rewrite import walk
from hotloop.ops.shape import length, matmul, place
from hotloop.passes.fuse import fuse
from hotloop.passes.kernel import KERNEL, RESULT, Kernel, Result, Stream, axes_view
from hotloop.passes.wide import form_of


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """One step: a kernel with the arrays it gives, or a call of NumPy that writes one array.

    operands: arrays in memory (inputs of the program, or given by earlier stages), then scalars.
    """

    operands: tuple[Node, ...]
    given: tuple[Node, ...]
    kernel: Node | None = None
    function: Callable[..., Any] | None = None  # Any: NumPy arrays


def stages(outputs: Sequence[Node], contract: bool = False) -> tuple[list[Stage], list[Node]]:
    """Return the steps that compute `outputs`, and for each output the array in memory that holds it.

    contract: sums of products may be fused multiply-adds.
    Raises: NeedsSize for what cannot be done without sizes.
    """
    return _Stages(fuse(outputs, sizes_known=False, contract=contract)).made()


class _Stages:
    def __init__(self, outputs: Sequence[Node]) -> None:
        self.outputs = outputs
        self.stages: list[Stage] = []
        self.home: dict[int, Node] = {}  # node id -> the array in memory, or scalar, that it is
        self.results: dict[int, dict[int, Node]] = {}

    def made(self) -> tuple[list[Stage], list[Node]]:
        nodes = walk(self.outputs)
        for node in nodes:
            if node.op is RESULT:
                self.results.setdefault(node.args[0].id, {})[node.attr] = node
        for node in nodes:
            if node.op is KERNEL:
                self._add_kernel(node)
            elif node.op is matmul:
                self._add_product(node)
            elif node.op is place:
                self._add_places(node)
        return self.stages, [self._array(output) for output in self.outputs]

    # -- operands ----------------------------------------------------------------------------------

    def _array(self, node: Node) -> Node:
        """Return the array in memory that holds `node`, adding a stage that writes it if there is none."""
        found = self.home.get(node.id)
        if found is None:
            if (node.op is INPUT and node.shape) or node.op is RESULT:
                return node
            found = self.home[node.id] = self._copied(node) if node.shape else self._computed(node)
        return found

    def _scalar(self, node: Node) -> Node:
        """Return what a kernel takes for a scalar: an argument, a length, or an array of one element."""
        return node if node.op in (INPUT, length) else self._array(node)

    def _copied(self, node: Node) -> Node:
        found = axes_view(node, node.shape)
        if found.base is node:
            raise NeedsSize(f"{node.op} needs sizes")
        if not found.base.shape:
            param = param_node(node.dtype, ())
            return self._kernel(node.shape, (), (param,), Result(param, None, node.shape), (self._scalar(found.base),))
        param = param_node(node.dtype, ())
        stream = Stream(param, found.steps, 0)
        return self._kernel(node.shape, (stream,), (), Result(param, None, node.shape), (self._array(found.base),))

    def _computed(self, node: Node) -> Node:
        """Return an array of one element that holds a scalar expression."""
        leaves = [leaf for leaf in _leaves(node) if leaf.op is not CONST]
        params = [param_node(leaf.dtype, ()) for leaf in leaves]
        (value,) = substitute([node], {leaf.id: param for leaf, param in zip(leaves, params, strict=True)})
        return self._kernel((), (), tuple(params), Result(value, None, ()), tuple([self._scalar(leaf) for leaf in leaves]))

    def _kernel(
        self, shape: Shape, streams: tuple[Stream, ...], params: tuple[Node, ...], result: Result, operands: tuple[Node, ...]
    ) -> Node:  # fmt: skip
        kernel = structure(KERNEL, operands, Kernel(shape, len(shape), 0, streams, params, (result,)), result.value.dtype, ())
        given = structure(RESULT, (kernel,), 0, result.value.dtype, shape)
        _check(kernel)
        self.stages.append(Stage(operands, (given,), kernel=kernel))
        return given

    # -- stages ------------------------------------------------------------------------------------

    def _add_kernel(self, node: Node) -> None:
        kernel: Kernel = node.attr
        _check(node)
        count = len(kernel.streams)
        operands = (*[self._array(arg) for arg in node.args[:count]], *[self._scalar(arg) for arg in node.args[count:]])
        known = self.results.get(node.id, {})
        given = [known.get(k) or structure(RESULT, (node,), k, r.value.dtype, r.shape) for k, r in enumerate(kernel.results)]
        self.stages.append(Stage(operands, tuple(given), kernel=node))

    def _add_product(self, node: Node) -> None:
        if not node.dtype.is_float:
            raise NeedsSize("products of integers have no BLAS")
        moved = [_transposed(arg) for arg in node.args]
        operands = [self._array(base) for base, _ in moved]
        axes = [order for _, order in moved]

        def multiply(x: Any, y: Any, out: Any) -> None:  # Any: NumPy arrays
            np.matmul(x.transpose(axes[0]), y.transpose(axes[1]), out=out)

        self._call(node, multiply, operands)

    def _add_places(self, node: Node) -> None:
        axes = node.attr["axes"]

        def number(x: Any, out: Any) -> None:  # Any: NumPy arrays
            lengths = [n if k in axes else 1 for k, n in enumerate(out.shape)]
            out[...] = np.arange(int(np.prod(lengths))).reshape(lengths)

        self._call(node, number, [self._array(node.args[0])])

    def _call(self, node: Node, function: Callable[..., Any], operands: Sequence[Node]) -> None:
        given = structure(RESULT, (node,), 0, node.dtype, node.shape)
        self.home[node.id] = given
        self.stages.append(Stage(tuple(operands), (given,), function=function))


def _transposed(node: Node) -> tuple[Node, tuple[int, ...]]:
    """Return an array and the order of its axes in which `node` sees it."""
    found = axes_view(node, node.shape)
    if -1 in found.steps or len(found.base.shape) != len(node.shape):
        return node, tuple(range(len(node.shape)))
    return found.base, found.steps


def _leaves(node: Node) -> list[Node]:
    """Return what a scalar expression is made of that is no scalar operation."""
    found, stack, seen = [], [node], {node.id}
    while stack:
        here = stack.pop()
        if here.op.types.overloads and form_of(here) is not None:
            fresh = [arg for arg in here.args if arg.id not in seen]
            seen.update(arg.id for arg in fresh)
            stack.extend(fresh)
        elif here.op in (INPUT, CONST, RESULT, length):
            found.append(here)
        else:
            raise NeedsSize(f"{here.op} needs sizes")
    return found


def _check(node: Node) -> None:
    """Raise NeedsSize unless the lengths that a kernel walks are Dims or 1, and its operands are arrays or scalars."""
    for size in node.attr.shape:
        if type(size) is int and size != 1:
            raise NeedsSize(f"a length of {size} beside run-time lengths")
