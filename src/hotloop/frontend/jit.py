"""`jit`: a Python function that runs as machine code, traced anew for each kind of arguments."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar, overload

import numpy as np

from hotloop import _runner
from hotloop._graph import Scalar
from hotloop.compiler import Options
from hotloop.errors import TraceError
from hotloop.frontend.argument import (
    SCALARS,
    IsTraced,
    Row,
    Shaped,
    any_size_key,
    are_small,
    describe,
    instance_key,
    instance_state,
    is_method,
    static_key,
    symbolic,
)  # fmt: skip
from hotloop.frontend.array import Array
from hotloop.frontend.captured import Captured
from hotloop.frontend.reading import Reading
from hotloop.frontend.specialised import Call, Specialised, specialise
from hotloop.frontend.specialised_arrays import SpecialisedArrays, specialise_arrays
from hotloop.frontend.structure import parts
from hotloop.frontend.target import chosen_arch
from hotloop.ir.dim import Dim
from hotloop.ir.graph import user_line

F = TypeVar("F", bound=Callable[..., Any])
Static = str | int | Iterable[str | int]

_KEPT = 256  # specialisations that one function keeps
_KIND = SCALARS.get
_UNKNOWN = (None,)
_TRACEABLE = (int, float, Reading, np.ndarray, np.generic, Scalar, Array, type(None))
_UNSEEN = object()
_INSTANCE, _STATIC, _TRACED = "instance", "static", "traced"

_tracing = threading.RLock()  # one for all: a function may call another one that is not compiled yet


@overload
def jit(func: F, *, fast: bool = ..., checked: bool = ..., static: Static = ...) -> F: ...
@overload
def jit(func: None = ..., *, fast: bool = ..., checked: bool = ..., static: Static = ...) -> Callable[[F], F]: ...
def jit(func: Any = None, *, fast: bool = False, checked: bool = False, static: Static = ()) -> Any:
    """Compile a function: the first call with each kind of arguments traces it, later ones run machine code.

    It returns what the plain function returns, bit for bit for `+ - * / // % **` (int) and sqrt. Python's floats
    are float64 and ints int64: larger ones are refused, results wrap, and beyond 2**53 they are rounded where they
    meet floats or `/`. NumPy's numbers and arrays keep their types. Lists, tuples, dicts and dataclasses of numbers
    and arrays go in and out; arrays arrive as vectors and tensors, and come back as new NumPy arrays. What the
    function changes in its arguments, the caller does not see. A call with traced values becomes part of their program.

    fast: allow algebra that changes rounding. checked: division by zero, overflow, NaN and wrong indices raise
    (else x / 0.0 is inf, and x // 0 of ints is 0). static: names or places of arguments that are known while
    tracing: the function may branch on them, and is compiled for each value.
    Numbers, text and tuples in closures and globals that the function reads, and attributes of `self`, may
    change: it is traced again. The inside of other captured objects is taken as it was at the first call.
    NumPy arrays of more than 16 elements: the function is traced for arrays of any size, becomes loops on several
    threads (see `set_threads`), and serves all calls with such types and axes. Where it looks at lengths, indexes, or has
    checked=True, it is traced for each shape. `out=`: an array, or a tuple of arrays and None, for the results.
    Cost: a call with numbers below 100 ns over the program; one with arrays about a microsecond; one with containers
    or NumPy scalars some microseconds.
    Raises: TruthError for a branch on a traced value, TraceError, RangeError; for a wrong `out` ShapeError, TypeMismatch, NotWritable.
    """
    if func is None:
        return functools.partial(jit, fast=fast, checked=checked, static=static)
    if not callable(func) or isinstance(func, (type, classmethod)):
        hint = " Put @classmethod above @hl.jit." if isinstance(func, classmethod) else ""
        raise TraceError(f"{user_line()}: jit takes a function, not {type(func).__name__} {func!r}.{hint}")
    if inspect.isgeneratorfunction(func) or inspect.iscoroutinefunction(func) or inspect.isasyncgenfunction(func):
        raise TraceError(f"{user_line()}: {func.__name__}() is a generator or coroutine, which cannot be traced. Return a list.")
    return _Jitted(func, Options(fast=fast, checked=checked), static).function


class _Form(NamedTuple):
    """One way to write a call: how many arguments are positional, and which names are given.

    order: where each argument in the function's own order is found in the call; split: how many of them
    are positional. roles: traced, static or instance, of each.
    """

    order: tuple[int | str, ...]
    split: int
    keywords: tuple[str, ...]
    names: tuple[str, ...]
    roles: tuple[str, ...]
    plain: bool  # none is static


class _Jitted:
    """What a jitted function does beside its fast path: choose a specialisation, or make one."""

    def __init__(self, func: Callable[..., Any], options: Options, static: Static) -> None:
        self._func = func
        self._options = options
        self._name = getattr(func, "__name__", repr(func))
        self._method = is_method(func)
        try:
            self._signature: inspect.Signature | None = inspect.signature(func)
        except (ValueError, TypeError):  # some functions written in C
            self._signature = None
        self._static = self._static_names(static)
        self._takes_out = self._signature is not None and not any(
            name == "out" or parameter.kind is inspect.Parameter.VAR_KEYWORD for name, parameter in self._signature.parameters.items()
        )
        self._forms: dict[Any, _Form] = {}
        self._made: dict[Any, Specialised | SpecialisedArrays | None] = {}  # None: shapes must be known
        self._installed: object = None
        self._captured = Captured(func)
        self.function = _runner.Function(None, (), (("d", 0),), True, self._call, self._takes_out)
        functools.update_wrapper(self.function, func)

    def _static_names(self, static: Static) -> frozenset[str]:
        given = [static] if isinstance(static, (str, int)) else list(static)
        known = list(self._signature.parameters) if self._signature else []
        names = set()
        for item in given:
            fits = item in known if isinstance(item, str) else isinstance(item, int) and -len(known) <= item < len(known)
            if not fits:
                raise TraceError(f"{user_line()}: static={item!r} is no argument of {self._name}(). Its arguments are {', '.join(known)}.")
            names.add(item if isinstance(item, str) else known[item])
        return frozenset(names)

    # -- calls ------------------------------------------------------------------------------------

    def _call(self, *args: Any, **kwargs: Any) -> Any:
        """Do what the fast path leaves: other types, keywords, containers, the first call."""
        out = kwargs.pop("out", None) if kwargs and self._takes_out else None
        form = self._forms.get((len(args), *kwargs)) or self._form(args, kwargs)
        captured = self._captured.token()
        leaves: Any = _ordered(form, args, kwargs)
        kinds = tuple(map(_KIND, map(type, leaves))) if form.plain else _UNKNOWN
        if None not in kinds:
            found = self._known((form.split, form.keywords, kinds, captured), form, leaves)
            return self._finish(found, leaves, out, None if kwargs else captured)
        arguments, leaves = leaves, []
        pieces: list[Any] = [form.split, form.keywords, captured]
        try:
            direct = self._describe(form, arguments, pieces, leaves)
        except IsTraced:
            if out is not None:
                raise TraceError(f"{user_line()}: {self._name}() has traced arguments, so there is nothing to write to out= now.") from None
            return self._func(*args, **kwargs)
        sized = any_size_key(pieces)
        if sized is not None:
            sizeless, given = self._of_any_size(sized, form, arguments, leaves, direct)
            if sizeless is not None and not (sizeless.multiplies and are_small(pieces)):
                return self._finish(sizeless, given, out, captured if direct and not kwargs else None)
        return self._finish(self._known(tuple(pieces), form, arguments), leaves, out, captured if direct and not kwargs else None)

    def _finish(self, found: Specialised | SpecialisedArrays, leaves: Sequence[Any], out: Any, captured: Any) -> Any:
        """Run, and let C do it from now on if it can. captured: what the function read when `found` was chosen, None: C cannot."""
        if captured is not None and found.direct and found is not self._installed:
            self._install(found, captured)
        return found(leaves, out)

    def _describe(self, form: _Form, arguments: Sequence[Any], key: list[Any], leaves: list[Any], rows: bool = True) -> bool:
        """Append to key and leaves; tell whether a call in C can take the arguments: Python's numbers, and arrays."""
        single = True
        for argument, name, role in zip(arguments, form.names, form.roles, strict=True):
            before, start = len(leaves), len(key)
            if role == _STATIC:
                key.append(static_key(argument, name))
            elif role == _INSTANCE and _is_instance(argument):
                key.append((type(argument), instance_key(instance_state(argument))))
            else:
                describe(argument, name, key, leaves, rows)
            single = single and len(leaves) == before + 1 and _is_direct(key[start])
        return single

    def _of_any_size(
        self, key: tuple[Any, ...], form: _Form, arguments: Sequence[Any], leaves: list[Any], direct: bool
    ) -> tuple[SpecialisedArrays | None, list[Any]]:
        """Return what runs for arrays of any size, or None, and the leaves that it takes."""
        if any(type(piece) is Row for piece in key):  # there, each number of a list is a leaf
            pieces: list[Any] = [form.split, form.keywords, key[3]]
            leaves = []
            self._describe(form, arguments, pieces, leaves, rows=False)
            key = any_size_key(pieces) or key
        found: Any = self._made.get(key, _UNSEEN)
        if found is _UNSEEN:
            found = self._specialise_arrays(key, form, arguments, direct)
        assert not isinstance(found, Specialised)
        return found, leaves

    def _install(self, found: Specialised | SpecialisedArrays, captured: Any) -> None:
        """Let C run this specialisation for calls with exactly its kinds of arguments."""
        if not _tracing.acquire(blocking=False):
            return  # another thread compiles, which takes long: the next call will do it
        try:
            self._installed = None
            self.function.program = None  # until all is in place, every call comes here
            self.function.guards = self._captured.guards()
            if self._captured.token() == captured:  # or another thread has changed a variable meanwhile
                found.install(self.function)
                self._installed = found
        finally:
            _tracing.release()

    # -- forms and specialisations ----------------------------------------------------------------

    def _form(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Form:
        """Find out, once for each way to write a call, which argument is which."""
        places: tuple[int | str, ...] = (*range(len(args)), *kwargs)
        names: dict[int | str, str] = {place: str(place) for place in places}
        parameters: dict[int | str, str] = dict(names)
        order, count, keywords = places, len(args), tuple(kwargs)
        if self._signature is not None:
            try:
                bound = self._signature.bind(*range(len(args)), **{name: name for name in kwargs})
            except TypeError as error:
                raise TypeError(f"{user_line()}: {self._name}(): {error}") from None
            order = (*bound.args, *bound.kwargs.values())
            count, keywords = len(bound.args), tuple(bound.kwargs)
            for parameter, place in bound.arguments.items():
                kind = self._signature.parameters[parameter].kind
                if kind is inspect.Parameter.VAR_POSITIONAL:
                    names.update({item: f"{parameter}[{i}]" for i, item in enumerate(place)})
                    parameters.update(dict.fromkeys(place, parameter))
                elif kind is inspect.Parameter.VAR_KEYWORD:
                    parameters.update(dict.fromkeys(place.values(), parameter))
                else:
                    names[place] = parameters[place] = parameter
        roles = [_STATIC if parameters[place] in self._static else _TRACED for place in order]
        if self._method and roles and roles[0] == _TRACED and order[0] == 0:
            roles[0] = _INSTANCE
        plain = _STATIC not in roles
        form = _Form(order, count, keywords, tuple([names[place] for place in order]), tuple(roles), plain)
        self._forms[(len(args), *kwargs)] = form
        return form

    def _known(self, key: Any, form: _Form, arguments: Sequence[Any]) -> Specialised:
        """Return what runs for arguments of known shapes."""
        found = self._made.get(key)
        if found is None:
            found = self._specialise(
                key, form, arguments, lambda kept: specialise(self._func, lambda: _symbolic(form, arguments), self._options, kept)
            )
        assert isinstance(found, Specialised)
        return found

    def _specialise_arrays(self, key: Any, form: _Form, arguments: Sequence[Any], direct: bool) -> Any:
        if self._options.checked or chosen_arch(self._options.arch) == "reference":
            return None
        call = self._call if direct and self._takes_out else None
        return self._specialise(
            key, form, arguments,
            lambda kept: specialise_arrays(self._func, lambda dims: _symbolic(form, arguments, dims), self._options, kept, call),
        )  # fmt: skip

    def _specialise(self, key: Any, form: _Form, arguments: Sequence[Any], make: Callable[[object], Any]) -> Any:
        with _tracing:
            if key in self._made:  # by another thread meanwhile
                return self._made[key]
            instances = [a for a, role in zip(arguments, form.roles, strict=True) if role == _INSTANCE and _is_instance(a)]
            states = [instance_state(instance) for instance in instances]
            kept = (self._captured.values, states, arguments if _STATIC in form.roles else None)
            found = make(kept)
            for instance, before in zip(instances, states, strict=True):
                self._compare(instance, before)
            while len(self._made) >= _KEPT:
                del self._made[next(iter(self._made))]
            self._made[key] = found
            return found

    def _compare(self, instance: Any, before: dict[str, Any]) -> None:
        """Refuse methods that change their object: only the trace would do it."""
        after = instance_state(instance)
        changed = [name for name in after if name not in before or after[name] is not before[name]]
        if changed:
            kind = type(instance).__name__
            raise TraceError(
                f"{user_line()}: {self._name}() sets {kind}.{changed[0]} while it is traced, which later calls would not do. "
                "Return the new value instead, or use hl.state with a Target."
            )


def _is_direct(piece: Any) -> bool:
    """Whether a piece of a key stands for one of Python's numbers or an array: NumPy's numbers would let Python's pass."""
    return type(piece) is str or (type(piece) is Shaped and piece.shape != ())


def _is_instance(argument: Any) -> bool:
    """Whether an argument is an object that a method is called on, and not a container of numbers."""
    return not isinstance(argument, _TRACEABLE) and parts(argument) is None


def _ordered(form: _Form, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Sequence[Any]:
    """Return the arguments of a call in the order of the function's own."""
    if not kwargs:
        return args
    return [args[place] if isinstance(place, int) else kwargs[place] for place in form.order]


def _symbolic(form: _Form, arguments: Sequence[Any], dims: dict[int, Dim] | None = None) -> Call:
    inputs: list[Any] = []
    given = []
    for argument, name, role in zip(arguments, form.names, form.roles, strict=True):
        known = role == _STATIC or (role == _INSTANCE and _is_instance(argument))
        given.append(argument if known else symbolic(argument, name, inputs, dims))
    return Call(tuple(given[: form.split]), dict(zip(form.keywords, given[form.split :], strict=True)), inputs)
