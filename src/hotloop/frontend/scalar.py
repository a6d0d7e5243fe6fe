"""`value`: a traced scalar. Every operation on it adds a node to the graph instead of computing."""

from __future__ import annotations

from typing import Any

import numpy as np

from hotloop import _graph
from hotloop._graph import Scalar, apply_scalars, wrap
from hotloop.dtypes import DType, as_dtype, check_range, float64, int32, int64
from hotloop.errors import TruthError, TypeMismatch
from hotloop.frontend.methods import Methods
from hotloop.frontend.power import power
from hotloop.ir.graph import Node, Number, apply, constant, convert, default_dtype, input_node, source_line, user_line
from hotloop.ir.op import Op
from hotloop.ops import arith

_NUMBERS = (bool, int, float, np.bool_, np.integer, np.floating)


class value(Scalar, Methods):
    """A traced scalar: `value(0.25)` is an input that the host can write between runs.

    source: a Python or NumPy number, the initial value. dtype: a DType or its name; by default a
    Python float is float32, an int int32, and NumPy scalars keep their type.
    name: shown in listings and reports, unique in a program.
    Every call makes a distinct input; it is never folded into the program.
    Raises: TypeMismatch for anything but a number, RangeError if it does not fit.
    """

    __slots__ = ()
    __array_priority__ = 1000  # NumPy arrays and scalars leave mixed operations to us
    __array_ufunc__ = None

    def __init__(self, source: Number, dtype: Any = None, name: str | None = None) -> None:
        if not isinstance(source, _NUMBERS):
            raise TypeMismatch(
                f"{user_line()}: value() takes a number, not {type(source).__name__} {source!r}. "
                "A traced value is used as it is; lists go to vector() or tensor()."
            )
        kind = _dtype_of(source) if dtype is None else as_dtype(dtype)
        check_range(source if isinstance(source, (int, float)) else source.item(), kind, name or "the initial value")
        self.node = input_node(np.asarray(source), kind, name)

    @property
    def dtype(self) -> DType:
        """Element type."""
        return self.node.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """Always ()."""
        return ()

    @property
    def ndim(self) -> int:
        """Always 0."""
        return 0

    @property
    def name(self) -> str | None:
        """The name given to an input."""
        return getattr(self.node.attr, "name", None)

    def __repr__(self) -> str:
        return f"value({self.node.op}: {self.node.dtype}, {source_line(self.node)})"

    def astype(self, dtype: Any) -> value:
        """Convert to `dtype`; float to int truncates and saturates, NaN gives 0."""
        return wrap(convert(self.node, as_dtype(dtype)))

    def _apply(self, op: Op, *others: Any) -> Any:  # Any: numbers, traced values, lists
        found = apply_scalars(op, self, *others)
        if found is not None:
            return found
        nodes = [node for node in map(operand, others) if node is not None]
        if len(nodes) != len(others):
            from hotloop.frontend.array import elementwise

            return elementwise(op, self, *others)
        return wrap(apply(op, self.node, *nodes))

    # -- operators beside those in C -----------------------------------------------------------

    def __pow__(self, other: Any, modulus: None = None) -> Any:
        """Return self ** other: an int stays an int for a constant int, see `power.power`."""
        if modulus is not None:
            return NotImplemented
        exponent = operand(other)
        return _array_power(self, other) if exponent is None else wrap(power(self.node, exponent))

    def __rpow__(self, other: Any) -> Any:
        base = operand(other)
        return _array_power(other, self) if base is None else wrap(power(base, self.node))

    def __divmod__(self, other: Any) -> tuple[Any, Any]:
        return self // other, self % other

    def __rdivmod__(self, other: Any) -> tuple[Any, Any]:
        return other // self, other % self

    def __pos__(self) -> value:
        return self.astype(int32) if self.dtype.kind == "bool" else self

    def __round__(self, digits: int | None = None) -> value:
        """Round half to even, as an int; with `digits`, x scaled by 10**digits, rounded, and scaled back."""
        if not self.dtype.is_float:
            return self
        if digits is None:
            return self._whole(arith.round_)
        scale = 10.0 ** abs(digits)
        scaled, back = (arith.mul, arith.div) if digits > 0 else (arith.div, arith.mul)
        rounded = apply(arith.round_, apply(scaled, self.node, scale) if digits else self.node)
        return wrap(apply(back, rounded, scale) if digits else rounded)

    def __floor__(self) -> value:
        return self._whole(arith.floor)

    def __ceil__(self) -> value:
        return self._whole(arith.ceil)

    def __trunc__(self) -> value:
        return self._whole(arith.trunc)

    def _whole(self, op: Op) -> value:
        """Round to an int: int32 for float32, int64 for float64, saturating; NaN gives 0."""
        if not self.dtype.is_float:
            return self
        return wrap(convert(apply(op, self.node), int64 if self.dtype is float64 else int32))

    # -- a traced value has no truth ---------------------------------------------------------

    def __bool__(self) -> bool:
        raise TruthError(
            f"{user_line()}: cannot branch on a traced value ({describe(self.node)}). "
            "`if`, `while`, `and`, `or`, `not`, `in`, `min`, `max`, `sorted` and `assert` need a number now. "
            "Use hl.iif(cond, a, b), hl.minimum, hl.maximum, & | ~, or hl.while_loop."
        )

    def __float__(self) -> float:
        raise TruthError(
            f"{user_line()}: float() and math functions need a number, but this value is traced ({describe(self.node)}). "
            "Use x.astype('float32'), or hl.sin and such instead of math.sin."
        )

    def __int__(self) -> int:
        raise TruthError(
            f"{user_line()}: int() needs a number, but this value is traced ({describe(self.node)}). "
            "Use x.astype('int32'), hl.floor, hl.round or hl.trunc."
        )

    def __index__(self) -> int:
        raise TruthError(
            f"{user_line()}: range() and indices need a number, but this value is traced ({describe(self.node)}). "
            "Use hl.loop for a loop, hl.iif for a choice."
        )

    def __iter__(self) -> Any:
        raise TypeMismatch(f"{user_line()}: a traced scalar cannot be iterated ({describe(self.node)}).")


def _array_power(base: Any, exponent: Any) -> Any:  # Any: a scalar and a list or array
    from hotloop.frontend.array import combine_powers

    return combine_powers(base, exponent)


def _dtype_of(source: Any) -> DType:
    return as_dtype(source.dtype) if isinstance(source, np.generic) else default_dtype(source)


def describe(node: Node) -> str:
    """Return a short text for error messages: the expression one level deep and its line."""
    symbol = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}.get(node.op.operator or "")

    def short(arg: Node) -> str:
        if arg.is_const:
            return repr(arg.attr.value)
        return getattr(arg.attr, "name", None) or f"{arg.op}:{arg.dtype}"

    if symbol and len(node.args) == 2:
        return f"{short(node.args[0])} {symbol} {short(node.args[1])}"
    return f"{node.op}: {node.dtype} of {source_line(node)}"


def operand(source: Any) -> Node | Number | None:
    """Return what `apply` takes for a scalar operand, or None for anything that is not scalar."""
    if isinstance(source, value):
        return source.node
    if isinstance(source, np.generic) and isinstance(source, _NUMBERS):
        return constant(source)
    if isinstance(source, (bool, int, float)):
        return source
    if isinstance(source, np.ndarray) and source.shape == () and source.dtype != object:
        return constant(source[()])
    return None


_graph.set_value_type(value, operand)
