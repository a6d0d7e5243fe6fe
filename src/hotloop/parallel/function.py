"""`cu`: data-parallel functions. Interpreted once for each combination of argument types and place, then machine code."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable, Iterator
from collections.abc import Sequence as Items
from contextlib import contextmanager
from types import FunctionType
from typing import TYPE_CHECKING, Any

import numpy as np

from hotloop import _graph, _runner
from hotloop.compiler import Options
from hotloop.errors import HotloopError, TypeMismatch
from hotloop.frontend.target import chosen_arch
from hotloop.ir.graph import Node, exact_numbers
from hotloop.ir.sweep import Compute
from hotloop.parallel import explain, places
from hotloop.parallel.cache import compile_kept
from hotloop.parallel.cuarray import adopt, cuarray
from hotloop.parallel.forms import Ragged, Records
from hotloop.parallel.interpreter.arguments import Arguments, Leaf, kind_text, kinds_of, pieces
from hotloop.parallel.interpreter.captures import Captures
from hotloop.parallel.interpreter.recorder import ZERO, Site
from hotloop.parallel.interpreter.scope import found_again
from hotloop.parallel.interpreter.statements import Statements
from hotloop.parallel.interpreter.trace import Trace
from hotloop.parallel.interpreter.values import Closure, Number, Sequence, Value, describe
from hotloop.parallel.places import Place as RunPlace
from hotloop.parallel.primitives.lifting import as_ragged
from hotloop.parallel.reading.place import Place
from hotloop.parallel.reading.source import Definition, definition, remember
from hotloop.passes.sweeps.merge import merge

if TYPE_CHECKING:
    from hotloop.ir.sweep import Procedure


class _Failed(Exception):
    """A fault at run time: the function is run again, compiled so as to find out where."""

    def __init__(self, site: int, values: Items[Any]) -> None:
        super().__init__(site)
        self.site = site
        self.values = values


class Interpreted:
    """A function interpreted for one combination of kinds of arguments."""

    def __init__(self, function: cu_function, kinds: tuple[Leaf, ...], diagnose: bool = False) -> None:
        self.trace = Trace(diagnose)
        arguments = Arguments(self.trace)
        self.captures = Captures(arguments)
        interpreter = Statements(self.trace, self.captures, function.strict)
        place = Place(function.__cu__.node, function.__cu__)
        with exact_numbers(), _lines():
            values = {name: arguments.value(kind, name) for kind, name in zip(kinds, function.names, strict=True)}
            by_name = {name: values.pop(name) for name in function.keyword_only}
            result = interpreter.call(function.closure(), list(values.values()), place, by_name)
            self.physical = arguments.physical  # captures among them, after the arguments
            self.tree = _Results(interpreter, place).tree(result)
        self.registers = _registers(self.tree)
        inputs = [node for physical in self.physical for node in (physical.node, *physical.lengths)]
        self.procedure: Procedure = merge(self.trace.procedure(inputs, self.registers))
        self.strings = ", ".join(map(kind_text, kinds))


@contextmanager
def _lines() -> Iterator[None]:
    """Let nodes have the lines that the interpreter reads, not that of the call."""
    try:
        yield
    finally:
        _graph.set_origin(None)


class _Results:
    """Puts what a function returns into registers."""

    def __init__(self, interpreter: Statements, place: Place) -> None:
        self.interpreter = interpreter
        self.place = place

    def tree(self, value: Value) -> Any:
        """Return ("number", register), ("array", registers in structure, shape), ("ragged", ...), ("tuple", trees)."""
        from hotloop.ir.graph import param_node

        trace = self.interpreter.trace
        if isinstance(value, Number):
            register = param_node(value.dtype, ())
            trace.emit(Compute((register,), (value.node,)))
            return ("number", register)
        if isinstance(value, tuple):
            return ("tuple", tuple([self.tree(item) for item in value]))
        if not isinstance(value, Sequence):
            self.place.refuse(TypeMismatch, f"the function returns {describe(value)}; it can return numbers, sequences and tuples of them.")
        memory = self.interpreter.forced(value, self.place).stored
        assert memory is not None
        if memory.offset is not None or (memory.offsets and len(memory.shape) > 1):
            memory = self._copied(value)
        if isinstance(memory.arrays, tuple) and len(memory.shape) > 1:  # tuples have one axis
            memory = as_ragged(trace, memory)
        shape = tuple([param_node(n.dtype, ()) for n in memory.shape]) if len(memory.shape) > 1 else ()
        if shape:
            trace.emit(Compute(shape, memory.shape))
        made = self._arrays(memory.arrays, shape)
        for offsets in reversed(memory.offsets):
            made = ("ragged", made, ("array", offsets, ()))
        return made

    def _copied(self, value: Sequence) -> Any:
        trace = self.interpreter.trace
        fresh = Sequence(value.length, value.element, 0, shape=value.shape)
        memory = self.interpreter.forced(fresh, self.place).stored
        assert memory is not None
        _ = trace, ZERO
        return memory

    def _arrays(self, arrays: Any, shape: tuple[Node, ...]) -> Any:
        if isinstance(arrays, tuple):
            return ("records", tuple([self._arrays(part, shape) for part in arrays]))
        return ("array", arrays, shape)


def _registers(tree: Any) -> list[Node]:
    if tree[0] == "number":
        return [tree[1]]
    if tree[0] == "array":
        return [tree[1], *tree[2]]
    if tree[0] == "ragged":
        return [*_registers(tree[1]), *_registers(tree[2])]
    return [register for part in tree[1] for register in _registers(part)]


def _plan_tree(tree: Any, linked: Any) -> Any:
    """Return the tree of results as the runner builds it."""
    if tree[0] == "number":
        return ("number", linked.scalar_of[tree[1].id])
    if tree[0] == "array":
        return ("array", linked.array_of[tree[1].id], tuple([linked.scalar_of[n.id] for n in tree[2]]) or None)
    if tree[0] == "tuple":
        return ("tuple", tuple([_plan_tree(part, linked) for part in tree[1]]))
    if tree[0] == "ragged":
        return ("python", _ragged, (_plan_tree(tree[1], linked), _plan_tree(tree[2], linked)))
    return ("python", _records, tuple([_plan_tree(part, linked) for part in tree[1]]))


def _ragged(values: cuarray, offsets: cuarray) -> cuarray:
    starts = offsets.form
    assert isinstance(starts, np.ndarray)
    return adopt(Ragged(values.form, starts))


def _records(*fields: cuarray) -> cuarray:
    return adopt(Records(tuple([field.form for field in fields])))


_AS_THEY_ARE = ("bool", "int", "float", "scalar", "array")  # kinds of arguments that compiled code takes without Python


class Compiled:
    """A function compiled for one combination of kinds of arguments, on one place."""

    def __init__(self, function: cu_function, kinds: tuple[Leaf, ...], place: RunPlace, diagnose: bool = False) -> None:
        self.owner = function
        self.kinds = kinds
        self.place = place
        self.diagnose = diagnose
        self.interpreted = interpreted = function.interpreted(kinds, diagnose)
        options = Options(arch=chosen_arch("native"), fast=function.fast)
        self.linked, program = compile_kept(interpreted.procedure, options, function.__cu__.file)
        linked = self.linked
        arguments = tuple([_plan_argument(physical, linked) for physical in interpreted.physical])
        self.function = _runner.ParallelFunction(
            program, arguments, linked.scalars, linked.arrays, linked.ops, _plan_tree(interpreted.tree, linked), cuarray, _fail,
            self._other, place.threads,
        )  # fmt: skip
        captures = interpreted.captures
        self.ways = tuple(captures.ways)
        self.capture_kinds = tuple(captures.leaves)
        self.watched = tuple(captures.watched.values())
        plain = all(kind[0] in _AS_THEY_ARE for kind in kinds)
        self.direct = plain and all(kind[0] in _AS_THEY_ARE for kind in self.capture_kinds)
        self.free = not self.ways and not self.watched  # of everything in Python around the function

    def _other(self, *arguments: Any) -> Any:
        """Take a call whose arguments are of other kinds, or not as they lie in memory."""
        return self.owner.call(arguments[: len(arguments) - len(self.ways)], self.place)

    def is_current(self) -> bool:
        """Whether all functions that were found in Python are still there."""
        return all([found_again(watched.way) is watched.known for watched in self.watched])

    def holds(self) -> bool:
        """Whether all that was found in Python is still there."""
        return all(watched.holds() for watched in self.watched) and self.captured() is not None

    def captured(self) -> list[Any] | None:
        """Return the captured values as they are now, None if one has another kind."""
        found = []
        for way, kind in zip(self.ways, self.capture_kinds, strict=True):
            python = found_again(way)
            if kinds_of([python], ["captured"])[0] != kind:
                return None
            found.extend(pieces(python, kind))
        return found

    def run(self, arguments: Items[Any]) -> Any:
        """Call with arguments of these kinds."""
        given = [piece for python, kind in zip(arguments, self.kinds, strict=True) for piece in pieces(python, kind)]
        try:
            return self.function(*given, *(self.captured() or ()))
        except _Failed as failed:
            error = self._error(failed, arguments)
        raise error

    def _error(self, failed: _Failed, arguments: Items[Any]) -> Exception:
        site: Site = self.interpreted.trace.sites[failed.site]
        if not failed.values and not self.diagnose:
            try:
                Compiled(self.owner, self.kinds, self.place, diagnose=True).run(arguments)
            except HotloopError as error:
                return error
        return site.error(failed.values)


def _plan_argument(physical: Any, linked: Any) -> tuple[Any, ...]:
    if physical.rank < 0:
        return ("number", physical.code, linked.scalar_of[physical.node.id])
    lengths = tuple([linked.scalar_of[n.id] for n in physical.lengths])
    return ("array", physical.code, linked.array_of[physical.node.id], physical.rank, lengths)


def _fail(site: int, values: Items[Any]) -> None:
    raise _Failed(site, values)


class cu_function:
    """A data-parallel function: see `cu`."""

    def __init__(self, function: Callable[..., Any], strict: bool, fast: bool, source: str | None) -> None:
        if source is None:
            remember(function)
        functools.update_wrapper(self, function)
        self.__wrapped_function__ = function
        self.strict = strict
        self.fast = fast
        self._source = source
        self._definition: Definition | None = None
        self._lock = threading.RLock()
        self._compiled: dict[tuple[tuple[Leaf, ...], RunPlace], Compiled] = {}
        self._direct: dict[RunPlace, Compiled] = {}
        del self.__dict__["__wrapped__"]  # what is called is not the Python function

    @property
    def __cu__(self) -> Definition:
        """The function's text; found once."""
        if self._definition is None:
            self._definition = definition(self.__wrapped_function__, self._source)
        return self._definition

    def closure(self) -> Closure:
        """Return what the function is to those that call it."""
        found = self.__cu__
        return Closure(found.node, found, self.__wrapped_function__, found.name)

    @functools.cached_property
    def names(self) -> list[str]:
        """Names of the parameters."""
        return list(inspect.signature(self.__wrapped_function__).parameters)

    @functools.cached_property
    def keyword_only(self) -> list[str]:
        """Names of the parameters that are only bound by name; they come last."""
        found = inspect.signature(self.__wrapped_function__).parameters.values()
        return [parameter.name for parameter in found if parameter.kind is inspect.Parameter.KEYWORD_ONLY]

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def __repr__(self) -> str:
        return f"<cu function {self.__wrapped_function__.__qualname__}>"

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        """Call on the current place, or on `target_place=`."""
        place = places.current()
        direct = self._direct.get(place)
        if direct is None or keywords:
            return self._call(arguments, keywords, place)
        try:
            if direct.free:
                return direct.function(*arguments)
            if direct.is_current():
                return direct.function(*arguments, *[found_again(way) for way in direct.ways])
        except _Failed:
            pass
        return self._call(arguments, keywords, place)

    def _call(self, arguments: Items[Any], keywords: dict[str, Any], place: RunPlace) -> Any:
        if "target_place" in keywords:
            place = places.resolve(keywords.pop("target_place"))
        if keywords or len(arguments) != len(self.names):
            arguments = self._bound(arguments, keywords)
        return self.call(arguments, place)

    def _bound(self, arguments: Items[Any], keywords: dict[str, Any]) -> Items[Any]:
        signature = inspect.signature(self.__wrapped_function__)
        try:
            bound = signature.bind(*arguments, **keywords)
        except TypeError as error:
            raise TypeMismatch(f"{self.__wrapped_function__.__name__}(): {error}.") from None
        bound.apply_defaults()
        return list(bound.arguments.values())

    def call(self, arguments: Items[Any], place: RunPlace) -> Any:
        """Run on a place with positional arguments."""
        place.require()
        if len(arguments) != len(self.names):
            arguments = self._bound(arguments, {})
        if place.interpreted:
            from hotloop.parallel import here

            first = len(arguments) - len(self.keyword_only)
            return here.run(self, arguments[:first], dict(zip(self.keyword_only, arguments[first:], strict=True)))
        compiled = self.compiled(kinds_of(arguments, self.names), place)
        if compiled.direct:
            self._direct[place] = compiled
        return compiled.run(arguments)

    def compiled(self, kinds: tuple[Leaf, ...], place: RunPlace) -> Compiled:
        """Return the function compiled for kinds of arguments on a place."""
        found = self._compiled.get((kinds, place))
        if found is None or not found.holds():
            with self._lock:
                found = self._compiled[kinds, place] = Compiled(self, kinds, place)
        return found

    def interpreted(self, kinds: tuple[Leaf, ...], diagnose: bool = False) -> Interpreted:
        """Return what is to be compiled for kinds of arguments."""
        return Interpreted(self, kinds, diagnose)

    def __gradient__(self, by: Any, value: bool) -> cu_function:
        """Return the function that gives the gradient, see `hl.grad`, or the pair of the value and it."""
        from hotloop.parallel.gradient import gradient_of

        return gradient_of(self, by, value)

    # -- what became of it -------------------------------------------------------------------------

    def graph(self, *arguments: Any) -> str:
        """Return the steps that the function becomes for arguments, as text: what runs, before it is machine code."""
        return explain.graph_text(self._procedure(arguments))

    def source(self, place: RunPlace | str | None = None, *arguments: Any) -> str:
        """Return the program generated for a place and arguments: instructions, with the lines that they come from."""
        if places.resolve(place).interpreted:
            return "".join(self.__cu__.lines)
        return explain.source_text(self._procedure(arguments), self._options())

    def explain(self, *arguments: Any) -> str:
        """Return what is fused, what is in memory, and what is checked, for arguments, as text."""
        return explain.explanation(self._procedure(arguments), self._options())

    def _options(self) -> Options:
        return Options(arch=chosen_arch("native"), fast=self.fast)

    def _procedure(self, arguments: Items[Any]) -> Procedure:
        """Return the procedure for arguments; without any, that of the last call."""
        if arguments or not self.names:
            return self.interpreted(kinds_of(arguments, self.names)).procedure
        if not self._compiled:
            name = self.__wrapped_function__.__name__
            raise TypeMismatch(f"{name}() was not called yet: give arguments of the types that you ask about.")
        return next(reversed(self._compiled.values())).interpreted.procedure


def cu(function: Callable[..., Any] | None = None, *, strict: bool = False, fast: bool = False, source: str | None = None) -> Any:
    """Make a data-parallel function of a Python function.

    The function is read as source, compiled for the types of its arguments at its first call with them, and run on the
    current place (`places`). It may call the primitives of `hotloop.parallel`, and other `@cu` functions.
    strict: refuse operations on numbers of different types. fast: bits may differ for speed. source: the function's text,
    where Python keeps none.

    Cost: about 10 ms for the first call, 1 us for later ones. Raises: SourceNotFound at the first call; then TypeMismatch
    and SyntaxRefused for what cannot be compiled, ShapeError and BoundsError for what goes wrong in a call.
    """
    if function is None:
        return functools.partial(cu, strict=strict, fast=fast, source=source)
    if isinstance(function, cu_function):
        return function
    return cu_function(function, strict, fast, source)


_functions: dict[Any, cu_function] = {}  # of Python functions that were arguments


def as_function(python: Any) -> Any:
    """Return the @cu function that a function given as an argument is. Lambdas made anew at each call are one and the same."""
    if not isinstance(python, FunctionType):
        return python
    key: Any = python
    if python.__closure__ is None and not python.__defaults__ and not python.__kwdefaults__:
        key = python.__code__, id(python.__globals__)
    found = _functions.get(key)
    if found is None:
        while len(_functions) >= _MOST_FUNCTIONS:
            del _functions[next(iter(_functions))]
        found = _functions[key] = cu(python)
    return found


_MOST_FUNCTIONS = 1024
__all__ = ["as_function", "cu", "cu_function"]
