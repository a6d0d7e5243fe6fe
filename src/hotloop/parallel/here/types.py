"""Types in plain Python: sequences as forms, how the types of numbers meet, and results of functions as sequences.

Python's numbers are weak: their type yields to that of NumPy's (NEP 50). The type of a value is a NumPy dtype, `int` or
`float` for Python's, a tuple of types for tuples, and None for anything else, which is never converted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import numpy as np

from hotloop.errors import BoundsError, ShapeError, TypeMismatch
from hotloop.frontend.literals import computed
from hotloop.parallel import places
from hotloop.parallel.cuarray import Pending, cuarray, made
from hotloop.parallel.forms import (
    Array,
    Form,
    Records,
    cut,
    element,
    elements,
    form_length,
    form_of,
    form_of_items,
    form_type,
    in_types,
)  # fmt: skip

Type = Any  # see above
Scalar = (bool, int, float, np.generic)
Definition = TypeVar("Definition", bound=Callable[..., Any])


class NdIndex:
    """All index tuples of an array of a shape, in row-major order; `map` over it gives an array of that shape."""

    __slots__ = ("shape",)

    def __init__(self, *shape: int) -> None:
        self.shape = tuple([max(int(length), 0) for length in shape])

    def __len__(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return elements(self.records(), made)

    def __getitem__(self, place: int) -> Any:
        return made(self.records())[place]

    def records(self) -> Records:
        """Return the tuples as one sequence."""
        return Records(tuple([axis.reshape(-1).astype(np.int64) for axis in np.indices(self.shape)]))

    def __repr__(self) -> str:
        return f"ndindex{self.shape}"


class Filtered(Pending):
    """What `filter` left. Elements keep the places that they had in the order in which floats are combined."""

    place = places.here
    kept = True

    def __init__(self, left: Form, holds: Array) -> None:
        self.left = left
        self.holds = holds  # for each element before: whether it was left
        self.dtype, self.shape = form_type(left), (form_length(left),)

    def form(self) -> Form:
        """Return the elements that were left, one after the other."""
        return self.left

    def wait(self) -> None:
        """Return at once."""


# ------------------------------------------------------------------------------------------ sequences


def is_sequence(x: Any) -> bool:
    """Whether a value is a sequence in the language: a tuple is not, nor is a number."""
    if isinstance(x, (cuarray, list, range, NdIndex)):
        return True
    if isinstance(x, (tuple, str, bytes, dict, set, frozenset, *Scalar)) or callable(x):
        return False
    return hasattr(x, "__len__") and getattr(x, "ndim", 1) > 0


def sequence(x: Any, name: str) -> Form:
    """Return the form of a sequence that `name` was given, in types that programs compute in. Raises: TypeMismatch."""
    if isinstance(x, NdIndex):
        return x.records()
    if not is_sequence(x):
        hint = " Combine sequences with zip(x, y)." if isinstance(x, tuple) else ""
        raise TypeMismatch(f"{name}: a sequence is needed, not {_called(x)}.{hint}")
    return in_types(form_of(x, copy=False), computed)


def _called(x: Any) -> str:
    return "a tuple" if isinstance(x, tuple) else f"the number {x}" if isinstance(x, Scalar) else type(x).__name__


def kept_of(x: Any) -> Array | None:
    """Return for each place whether `filter` left its element; None for a sequence that was not filtered."""
    pending = x.pending if isinstance(x, cuarray) else None
    return pending.holds if isinstance(pending, Filtered) else None


def with_kept(found: cuarray, holds: Array | None) -> cuarray:
    """Return elements as what was left of more of them."""
    return found if holds is None else made(Filtered(found.form, holds))


def numbers(x: Any, name: str) -> Array:
    """Return a sequence of numbers as an array of one dimension. Raises: TypeMismatch."""
    form = sequence(x, name)
    if not isinstance(form, np.ndarray) or form.ndim != 1:
        raise TypeMismatch(f"{name}: a sequence of numbers is needed, not one of tuples or rows.")
    return form


def same_length(name: str, *forms: Form) -> int:
    """Return the length that all forms have. Raises: ShapeError."""
    lengths = [form_length(form) for form in forms]
    if len(set(lengths)) > 1:
        raise ShapeError(f"{name}: sequences of unequal lengths: {' and '.join(map(str, lengths))}.")
    return lengths[0]


def indices_in(i: Any, count: int, name: str) -> Array:
    """Return a sequence of indices into `count` elements, none of them negative. Raises: BoundsError, TypeMismatch.

    Negative indices count from the end.
    """
    given = numbers(i, name)
    if not len(given):
        return np.empty(0, np.int64)
    if given.dtype.kind != "i":
        raise TypeMismatch(f"{name}: indices are integers, not {given.dtype}.")
    wrapped = np.where(given < 0, given + np.int64(count), given)
    wrong = (wrapped < 0) | (wrapped >= count)
    if wrong.any():
        first = int(np.argmax(wrong))
        raise BoundsError(f"{name}: index {given[first]} at place {first} is out of range for {count} elements.")
    return wrapped


def items(form: Form) -> Iterator[Any]:
    """Return an iterator over elements: NumPy scalars, tuples, cuarrays for rows."""
    return elements(form, made)


def item(form: Form, place: int) -> Any:
    """Return the element at a place in range."""
    return element(form, place, made)


def collected(results: Iterable[Any], empty: Form) -> cuarray:
    """Return results of a function as a sequence; without any, `empty`, since the type is not known then."""
    found = list(results)
    return made(in_types(form_of_items(found), _of_results) if found else cut(empty, 0, 0))


def _of_results(array: Array) -> Array:
    # int8 is what NumPy makes of bools where it cannot keep them: True // True
    return array.astype(np.int64) if array.dtype == np.int8 else computed(array)


# ---------------------------------------------------------------------------------------------- types

_SAMPLES: dict[Any, Any] = {int: 0, float: 0.0}  # how np.result_type is told of Python's numbers


def type_of(value: Any) -> Type:
    """Return the type of a value."""
    if isinstance(value, bool):
        return np.dtype(np.bool_)
    if isinstance(value, np.generic):
        return value.dtype
    if isinstance(value, tuple):
        return tuple(map(type_of, value))
    return int if isinstance(value, int) else float if isinstance(value, float) else None


def type_of_elements(form: Form) -> Type:
    """Return the type of the elements of a form."""
    if isinstance(form, Records):
        return tuple(map(type_of_elements, form.fields))
    return form.dtype if isinstance(form, np.ndarray) and form.ndim == 1 else None


def joint(a: Type, b: Type) -> Type:
    """Return the type in which values of two types meet, as NumPy promotes them. Raises: TypeMismatch."""
    if isinstance(a, tuple) and isinstance(b, tuple) and len(a) == len(b):
        return tuple(map(joint, a, b))
    if isinstance(a, tuple) or isinstance(b, tuple):
        raise TypeMismatch(f"values of the types {_shown(a)} and {_shown(b)} cannot be one and the same variable.")
    if a is None or b is None:
        return None
    if a is b or (a in _SAMPLES and b in _SAMPLES):
        return a if a is b else float
    return np.result_type(_SAMPLES.get(a, a), _SAMPLES.get(b, b))


def _shown(kind: Type) -> str:
    if isinstance(kind, tuple):
        return f"({', '.join(map(_shown, kind))})"
    return "a sequence" if kind is None else str(getattr(kind, "__name__", kind))


def converted(value: Any, kind: Type) -> Any:
    """Return a value converted to a type that it was promoted to."""
    if isinstance(kind, tuple):
        return tuple(map(converted, value, kind))
    if kind is None:
        return value
    return kind(value) if isinstance(kind, type) else as_dtype(value, kind)


def as_dtype(value: Any, dtype: np.dtype[Any]) -> Any:
    """Return a number as NumPy's scalar of a type; floats truncate to integers, integers wrap."""
    strong = value if isinstance(value, np.generic) else np.float64(value) if isinstance(value, float) else np.asarray(value)[()]
    return strong.astype(dtype)


def cast_form(form: Form, kind: Type) -> Form:
    """Return a form with its elements converted to a type."""
    if isinstance(kind, tuple) and isinstance(form, Records):
        return Records(tuple(map(cast_form, form.fields, kind)))
    strong = np.result_type(_SAMPLES[kind]) if isinstance(kind, type) else kind
    return form if strong is None or not isinstance(form, np.ndarray) else form.astype(strong, copy=False)


# ------------------------------------------------------------------------------------------ functions


def plain(function: Any, name: str) -> Any:
    """Return a function that was given to `name` as one to call: of a @cu function what Python itself runs.

    Raises: TypeMismatch if it cannot be called.
    """
    if not callable(function):
        raise TypeMismatch(f"{name}: a function is needed, not {_called(function)}.")
    from hotloop.parallel.here.running import rebuilt  # it needs all definitions, this one too

    return rebuilt(function)


def quiet(definition: Definition) -> Definition:
    """Silence NumPy's warnings: integers wrap and floats become infinite or NaN, as in compiled code."""
    return np.errstate(all="ignore")(definition)
