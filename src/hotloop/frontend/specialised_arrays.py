"""`SpecialisedArrays`: a function traced once and compiled for arrays of any size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hotloop.compiler import Options, compile_arrays
from hotloop.errors import HotloopError, InternalError
from hotloop.frontend.results import Constant
from hotloop.frontend.specialised import Call, Traced, refuse_large, trace
from hotloop.frontend.target import chosen_arch
from hotloop.ir.dim import Dim, NeedsSize
from hotloop.ir.graph import INPUT, STATE, Node, reachable
from hotloop.ops.shape import matmul

if TYPE_CHECKING:
    from hotloop import _runner


class SpecialisedArrays:
    """A function compiled for kinds of arguments: types, axes, and which lengths are equal or 1.

    direct: whether arguments and results are those of the compiled function itself, so that C can call it.
    multiplies: whether it calls NumPy for products of matrices.
    call: what the compiled function calls with arguments that it does not take, if it is direct.
    Raises: NeedsSize for what only a program for known shapes can do.
    """

    def __init__(self, traced: Traced, options: Options, kept: object, call: Callable[..., Any] | None) -> None:
        self._results = traced.results
        self._kept = kept  # what the key of this specialisation identifies by address
        self._inputs = traced.call.inputs
        self._ints = any(not node.shape and node.dtype.is_int for node in self._inputs)
        self.multiplies = any(node.op is matmul and node.shape for node in _needed(traced.results.nodes))
        places = {node.id: place for place, node in enumerate(self._inputs)}
        computed = {node.id: node for node in traced.results.nodes if node.id not in places}
        order = {number: place for place, number in enumerate(computed)}
        # of each leaf: the number of the input that it is, and that of the computed one
        self._taken = [None if isinstance(leaf, Constant) else places.get(leaf.id) for leaf in traced.results.leaves]
        self._made = [None if isinstance(leaf, Constant) else order.get(leaf.id) for leaf in traced.results.leaves]
        # whether the traced leaves are what is computed, one after the other
        self._in_order = bool(computed) and [node.id for node in traced.results.nodes] == list(computed)
        self.direct = call is not None and self._in_order and (traced.results.bare or traced.results.plain)
        self._single = traced.results.bare and len(computed) == 1
        self.compiled = None
        self._function: _runner.ArrayFunction | None = None
        if computed:
            again = call if self.direct and call is not None else self._refuse
            self.compiled = compile_arrays(list(computed.values()), self._inputs, options, again, self._single, traced.seconds)
            self._function = self.compiled.function

    def install(self, function: _runner.Function) -> None:
        """Let C run this for calls with such arguments, whatever their sizes."""
        assert self._function is not None
        function.specialise_arrays(self._function)

    def __call__(self, leaves: Sequence[Any], out: Any = None) -> Any:  # Any: what the user's function returns
        """Run with the leaves of the arguments and return the result in the function's containers, in `out` if given."""
        if self._ints:
            refuse_large(leaves, self._inputs)
        if self._in_order and out is None:
            return self._results.of(self._run(leaves, ()))
        given = [None] * len(self._made) if out is None else self._results.given(out, self._sizes(leaves))
        # before anything is written: what is written may be an argument
        taken = [None if place is None else _copy(leaves[place]) for place in self._taken]
        made = self._run(leaves, given)
        found: list[Any] = []
        for place, (leaf, own) in enumerate(zip(self._results.leaves, taken, strict=True)):
            number = self._made[place]
            if isinstance(leaf, Constant):
                found.append(leaf.give())
            elif number is None:
                found.append(own)
            else:
                found.append(made[number] if self._made.index(number) == place else _copy(made[number]))
        return self._results.into(given, found)

    def _run(self, leaves: Sequence[Any], given: Sequence[Any]) -> Sequence[Any]:
        """Return what the compiled function computes: each once, in the array given for its first leaf, if there is one."""
        if self._function is None:
            return ()
        if any(target is not None for target in given):
            count = len({number for number in self._made if number is not None})
            targets = tuple([given[self._made.index(number)] for number in range(count)])
            found = self._function(*leaves, out=targets[0] if self._single else targets)
        else:
            found = self._function(*leaves)
        return (found,) if self._single else found

    def _sizes(self, leaves: Sequence[Any]) -> list[tuple[Any, int]]:
        arrays = [(node.shape, leaf.shape) for node, leaf in zip(self._inputs, leaves, strict=True) if node.shape]
        return [pair for symbolic, known in arrays for pair in zip(symbolic, known, strict=True)]

    def _refuse(self, *leaves: Any, **keywords: Any) -> Any:
        raise InternalError(f"arguments {leaves!r} do not fit the function that was chosen for them.")


def _copy(leaf: Any) -> Any:
    return np.array(leaf, order="C") if isinstance(leaf, np.ndarray) else leaf


def specialise_arrays(
    function: Callable[..., Any], make_call: Callable[[dict[int, Dim]], Call], options: Options, kept: object,
    call: Callable[..., Any] | None,
) -> SpecialisedArrays | None:  # fmt: skip
    """Trace a function for arrays of any size and compile it; None where it needs the sizes.

    Also None where the trace fails: the trace with sizes fails too, and its messages have numbers.
    """
    dims: dict[int, Dim] = {}
    try:
        traced = trace(function, lambda: make_call(dims))
        if traced.checked or any(dim.asked for dim in dims.values()) or _has_cells(traced):
            return None
        return SpecialisedArrays(traced, Options(arch=chosen_arch(options.arch), fast=options.fast), kept, call)
    except InternalError:
        raise
    except (NeedsSize, HotloopError):
        return None
    except Exception:  # of the user's function, or of NumPy's in place of NeedsSize
        if any(dim.asked for dim in dims.values()):
            return None
        raise


def _has_cells(traced: Traced) -> bool:
    """Whether inputs or states of other programs are used, which keep their values."""
    own = {node.id for node in traced.call.inputs}
    return any(node.op is STATE or (node.op is INPUT and node.id not in own) for node in _needed(traced.results.nodes))


def _needed(nodes: Sequence[Node]) -> Sequence[Node]:
    return reachable(nodes) if nodes else ()


__all__ = ["SpecialisedArrays", "specialise_arrays"]
