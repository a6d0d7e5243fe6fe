"""`Interpreter`: a `@cu` function, read as source, on abstract values: elements, comprehensions and calls."""

from __future__ import annotations

import ast
from collections.abc import Sequence as Items
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, NoReturn, cast

from hotloop.dtypes import int64
from hotloop.errors import BoundsError, HotloopError, ShapeError, SyntaxRefused, TypeMismatch
from hotloop.ir.graph import Node, apply, constant
from hotloop.ir.loop import dependents
from hotloop.ir.op import REGISTRY
from hotloop.parallel.interpreter.bounds import is_inside, is_natural
from hotloop.parallel.interpreter.expressions import Expressions, bool_node
from hotloop.parallel.interpreter.recorder import ONE, TRUE, ZERO, Site
from hotloop.parallel.interpreter.scope import MISSING, Scope, found_again, python_value
from hotloop.parallel.interpreter.values import Builtin, Closure, Number, Sequence, Value, as_type, describe, weak
from hotloop.parallel.primitives.moving import over_shape
from hotloop.parallel.reading.blame import called_from
from hotloop.parallel.reading.place import Place

if TYPE_CHECKING:
    from hotloop.parallel.interpreter.captures import Captures
    from hotloop.parallel.interpreter.trace import Trace

add, sub, lt, ge, or_, and_, select = (REGISTRY[name] for name in ("add", "sub", "lt", "ge", "or", "and", "select"))
DEEPEST = 64  # calls within calls


class Interpreter(Expressions):
    """Evaluates expressions, and calls functions. `statements.py` adds what statements do."""

    def __init__(self, trace: Trace, captures: Captures, strict: bool = False) -> None:
        super().__init__(trace, captures, strict)
        self.stack: list[tuple[Any, Any]] = []  # definitions of the functions that are being called
        trace.in_memory, trace.whole = self.forced, self.whole

    # -- sequences ---------------------------------------------------------------------------------

    def _Subscript(self, node: ast.Subscript, scope: Scope) -> Value:
        value = self.evaluate(node.value, scope)
        place = Place(node, scope.definition)
        if isinstance(value, tuple):
            return self._item(value, node.slice, scope, place)
        if not isinstance(value, Sequence):
            place.refuse(TypeMismatch, f"{describe(value)} has no elements.")
        if isinstance(node.slice, ast.Slice):
            return self._slice(value, node.slice, scope, place)
        for index in node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]:
            if not isinstance(value, Sequence):
                place.refuse(TypeMismatch, f"{describe(value)} has no elements: there are more indices than dimensions.")
            found = self.evaluate(index, scope)
            items = found if isinstance(found, tuple) else (found,)
            for item in items:
                value = self.at(value, self.number(item, index, scope), place)
        return value

    def _item(self, value: tuple[Value, ...], index: ast.expr, scope: Scope, place: Place) -> Value:
        if isinstance(index, ast.Slice):
            bounds = [None if part is None else self.evaluate(part, scope) for part in (index.lower, index.upper, index.step)]
            if all(part is None or part.node.is_const for part in bounds):
                return value[slice(*[None if part is None else int(part.node.attr.value) for part in bounds])]
            place.refuse(TypeMismatch, "a tuple is indexed by constants, since its elements have types of their own.")
        found = self.number(self.evaluate(index, scope), index, scope)
        if not found.node.is_const or found.dtype.is_float:
            place.refuse(TypeMismatch, "a tuple is indexed by constants, since its elements have types of their own.")
        number = int(found.node.attr.value)
        if not -len(value) <= number < len(value):
            place.refuse(BoundsError, f"a tuple of {len(value)} elements has none at {number}.")
        return value[number]

    def at(self, sequence: Sequence, index: Number, place: Place) -> Value:
        """Return the element at an index of the user's, which may be negative or wrong."""
        if index.dtype.is_float:
            place.refuse(TypeMismatch, f"an index is an integer, not {index!r}. Convert first: int64(i).")
        sequence = self.whole(sequence)
        return self.trace.element(sequence, self.checked(as_type(index, int64), sequence.length, place))

    def checked(self, index: Node, length: Node, place: Place) -> Node:
        """Return the place that an index means, which may be negative; if it is out of range there is a fault."""
        limit = self.trace.below.get(index.id)
        if limit is length:
            return index
        if is_inside(self.trace, index, length):
            return index
        if (place_of_range := self._in_range(index, length, place)) is not None:
            return place_of_range
        wrapped = index if limit is not None else apply(select, apply(lt, index, ZERO), apply(add, index, length), index)
        wrong = apply(or_, apply(lt, wrapped, ZERO), apply(ge, wrapped, length))

        self.trace.fault(wrong, _out_of_range(place), (index, length))
        return wrapped  # where it is wrong `at` gives 0 and reads nothing

    def _in_range(self, index: Node, length: Node, place: Place) -> Node | None:
        """Return where an index of a loop over first, first + 1, ... reads, if the loop may be checked as a whole."""
        trace = self.trace
        frame = trace.frames[-1] if trace.frames else None
        if frame is None or frame.counter is None or trace.guard is not TRUE or trace.diagnose or index.op is not add:
            return None
        if frame.counter not in index.args:
            return None
        first = index.args[1] if index.args[0] is frame.counter else index.args[0]
        if first.id > frame.counter.id:
            return None
        trace.sites.append(_out_of_range(place))
        frame.ranges.append((first, length))
        frame.range_site = len(trace.sites) - 1
        return index if is_natural(trace, first) else apply(select, apply(lt, index, ZERO), apply(add, index, length), index)

    def whole(self, sequence: Sequence) -> Sequence:
        """Return a sequence whose every place counts: what `filter` left is put in memory."""
        if sequence.keep is None:
            return sequence
        return self.compacted(sequence)

    def compacted(self, sequence: Sequence) -> Sequence:
        """Return what `filter` left as a sequence in memory."""
        raise NotImplementedError

    def forced(self, sequence: Sequence, place: Place | None = None) -> Sequence:
        """Return a sequence in memory, nested ones too."""
        raise NotImplementedError

    def _slice(self, sequence: Sequence, node: ast.Slice, scope: Scope, place: Place) -> Sequence:
        sequence = self.whole(sequence)
        length = sequence.length
        step = 1
        if node.step is not None:
            found = self.number(self.evaluate(node.step, scope), node.step, scope)
            if not found.node.is_const or found.dtype.is_float or found.node.attr.value == 0:
                place.refuse(TypeMismatch, "the step of a slice is an int constant other than 0.")
            step = int(found.node.attr.value)
        low, high = (self._bound(part, length, scope, step, first) for part, first in ((node.lower, True), (node.upper, False)))
        span = apply(sub, high, low) if step > 0 else apply(sub, low, high)
        count = apply(REGISTRY["floordiv"], apply(add, span, constant(abs(step) - 1, int64)), constant(abs(step), int64))
        count = apply(REGISTRY["maximum"], count, ZERO)

        def element(i: Node) -> Value:
            return self.trace.element(sequence, apply(add, low, apply(REGISTRY["mul"], i, constant(step, int64))))

        return Sequence(count, element, self.trace.depth)

    def _bound(self, node: ast.expr | None, length: Node, scope: Scope, step: int, first: bool) -> Node:
        """Return where a slice starts or ends, clamped as Python does."""
        least, most = (ZERO, length) if step > 0 else (constant(-1, int64), apply(sub, length, ONE))
        if node is None:
            return least if first == (step > 0) else most
        index = as_type(self.number(self.evaluate(node, scope), node, scope), int64)
        wrapped = apply(select, apply(lt, index, ZERO), apply(add, index, length), index)
        return apply(REGISTRY["minimum"], apply(REGISTRY["maximum"], wrapped, least), most)

    # -- comprehensions ----------------------------------------------------------------------------

    def _ListComp(self, node: ast.ListComp | ast.GeneratorExp, scope: Scope) -> Value:
        first, *others = node.generators
        if others:
            return self._product(node, scope)
        source = self.sequence(self.evaluate(first.iter, scope), first.iter, scope)
        around = scope.copy()

        def bound(place: Node) -> Scope:
            inner = Scope(scope.definition, around, scope.outer)
            self.bind(first.target, self.trace.element(source, place), inner)
            return inner

        def keep(place: Node) -> Node:
            inner = bound(place)
            holds = bool_node(True) if source.keep is None else source.keep(place)
            for test in first.ifs:
                with self.trace.guarded(holds):
                    holds = apply(and_, holds, self.condition(test, inner))
            return holds

        if source.shape is not None and not first.ifs:

            def element(places: Value) -> Value:
                inner = Scope(scope.definition, around, scope.outer)
                self.bind(first.target, places, inner)
                return self.evaluate(node.elt, inner)

            return over_shape(self, source.shape, element)
        made = Sequence(source.length, lambda place: self.evaluate(node.elt, bound(place)), self.trace.depth)
        made.keep = keep if first.ifs or source.keep is not None else None
        return made

    _GeneratorExp = _ListComp

    def _product(self, node: ast.ListComp | ast.GeneratorExp, scope: Scope) -> Sequence:
        """Several generators: places of a sequence as long as the product of theirs."""
        sources = []
        for generator in node.generators:
            if generator.ifs:
                Place(generator.ifs[0], scope.definition).refuse(
                    SyntaxRefused, "`if` beside several `for` cannot be compiled. Filter the sequence before, or after."
                )
            try:
                sources.append(self.whole(self.sequence(self.evaluate(generator.iter, scope), generator.iter, scope)))
            except HotloopError as error:
                error.add_note("The sequences of several `for` in one comprehension must not depend on one another.")
                raise
        lengths = [source.length for source in sources]
        total = lengths[0]
        for length in lengths[1:]:
            total = apply(REGISTRY["mul"], total, length)
        around = scope.copy()

        def element(place: Node) -> Value:
            inner = Scope(scope.definition, around, scope.outer)
            left, places = place, []
            for length in reversed(lengths[1:]):
                places.append(apply(REGISTRY["mod"], left, length))
                left = apply(REGISTRY["floordiv"], left, length)
            for generator, source, i in zip(node.generators, sources, [left, *reversed(places)], strict=True):
                self.bind(generator.target, self.trace.element(source, i), inner)
            return self.evaluate(node.elt, inner)

        def rows(number: int, inner: Scope) -> Sequence:
            generator, source = node.generators[number], sources[number]

            def item(place: Node) -> Value:
                deeper = Scope(scope.definition, inner, scope.outer)
                self.bind(generator.target, self.trace.element(source, place), deeper)
                return rows(number + 1, deeper) if number + 1 < len(sources) else self.evaluate(node.elt, deeper)

            return Sequence(source.length, item, self.trace.depth)

        return Sequence(total, element, self.trace.depth, nested=rows(0, around))

    def sequence(self, value: Value, node: ast.AST, scope: Scope) -> Sequence:
        """Return a value that must be a sequence; a tuple of sequences is not one."""
        if isinstance(value, Sequence):
            return value
        hint = " Combine sequences with zip(x, y)." if isinstance(value, tuple) else ""
        return Place(node, scope.definition).refuse(TypeMismatch, f"a sequence is needed here, not {describe(value)}.{hint}")

    def bind(self, target: ast.expr, value: Value, scope: Scope) -> None:
        """Assign a value to a name, or its parts to a tuple of targets."""
        if isinstance(target, ast.Name):
            scope.values[target.id] = value
            return
        if not isinstance(target, (ast.Tuple, ast.List)):
            self._refuse_target(target, scope)
        items = self._parts(value, len(target.elts), target, scope)
        for part, item in zip(target.elts, items, strict=True):
            self.bind(part, item, scope)

    def _parts(self, value: Value, count: int, target: ast.expr, scope: Scope) -> Items[Value]:
        if not isinstance(value, tuple):
            Place(target, scope.definition).refuse(TypeMismatch, f"{describe(value)} cannot be unpacked into {count} names.")
        if len(value) != count:
            Place(target, scope.definition).refuse(ShapeError, f"a tuple of {len(value)} cannot be unpacked into {count} names.")
        return cast("Items[Value]", value)

    def _refuse_target(self, target: ast.expr, scope: Scope) -> NoReturn:
        place = Place(target, scope.definition)
        if isinstance(target, ast.Subscript):
            place.refuse(
                SyntaxRefused, "an element cannot be assigned: sequences do not change. Use scatter(values, places, x), or "
                "update(x, [(place, value)]), or make all elements anew: [... for i in indices(x)]."
            )  # fmt: skip
        place.refuse(SyntaxRefused, "this cannot be assigned; names and tuples of names can.")

    # -- calls -------------------------------------------------------------------------------------

    def _Lambda(self, node: ast.Lambda, scope: Scope) -> Closure:
        return Closure(node, scope.definition, scope.copy(), "lambda")

    def _Attribute(self, node: ast.Attribute, scope: Scope) -> Value:
        place = Place(node, scope.definition)
        if isinstance(node.value, (ast.Name, ast.Attribute)):
            module = self._module(node.value, scope)
            if module is not None:
                found = getattr(module, node.attr, MISSING)
                if found is MISSING:
                    place.refuse(TypeMismatch, f"module {module.__name__} has no attribute {node.attr}.")
                return self.captures.value(found, ("global", vars(module), node.attr), f"{module.__name__}.{node.attr}", place)
        value = self.evaluate(node.value, scope)
        if isinstance(value, Sequence):
            shape = self._shape(value)
            lengths = tuple([Number(length, weak=True) for length in shape])
            size = shape[0]
            for length in shape[1:]:
                size = apply(REGISTRY["mul"], size, length)
            known: dict[str, Value] = {"size": Number(size, weak=True), "shape": lengths, "ndim": weak(len(shape))}
            if node.attr in known:
                return known[node.attr]
        return place.refuse(TypeMismatch, f"{describe(value)} has no attribute {node.attr} here. Use a primitive: {node.attr}(x).")

    def _shape(self, sequence: Sequence) -> tuple[Node, ...]:
        """Return the lengths of all axes of a sequence; of rows of different lengths only how many there are."""
        if sequence.shape is not None:
            return sequence.shape
        if sequence.stored is not None:
            return sequence.stored.shape
        index = self.trace.counter(sequence.length)
        with self.trace.body():
            row = sequence.element(index)
        if not isinstance(row, Sequence) or dependents([row.length], [index]):
            return (sequence.length,)
        return (sequence.length, *self._shape(row))

    def _module(self, node: ast.expr, scope: Scope) -> ModuleType | None:
        """Return the module that an expression names, if it names one."""
        if isinstance(node, ast.Name):
            if scope.find(node.id) is not MISSING:
                return None
            found, _ = python_value(scope.outer, node.id)
        elif isinstance(node, ast.Attribute):
            found = getattr(self._module(node.value, scope), node.attr, None)
        else:
            return None
        return found if isinstance(found, ModuleType) else None

    def _Call(self, node: ast.Call, scope: Scope) -> Value:
        place = Place(node, scope.definition)
        function = self.evaluate(node.func, scope)
        arguments: list[Value] = []
        for argument in node.args:
            if isinstance(argument, ast.Starred):
                unpacked = self.evaluate(argument.value, scope)
                if not isinstance(unpacked, tuple):
                    place.refuse(SyntaxRefused, "only tuples can be unpacked into arguments.")
                arguments.extend(unpacked)
            else:
                arguments.append(self.evaluate(argument, scope))
        if any(keyword.arg is None for keyword in node.keywords):
            place.refuse(SyntaxRefused, "**keywords cannot be compiled.")
        keywords = {str(keyword.arg): self.evaluate(keyword.value, scope) for keyword in node.keywords}
        return self.call(function, arguments, place, keywords)

    def call(self, function: Value, arguments: Items[Value], place: Place, keywords: dict[str, Value] | None = None) -> Value:
        """Return the result of calling a value."""
        if isinstance(function, Builtin):
            return self._call_builtin(function, arguments, place, keywords or {})
        if not isinstance(function, Closure):
            place.refuse(TypeMismatch, f"{describe(function)} cannot be called.")
        if len(self.stack) >= DEEPEST:
            place.refuse(SyntaxRefused, f"calls are nested more than {DEEPEST} deep.")
        recursive = [name for node, name in self.stack if node is function.node]
        if recursive:
            place.refuse(
                SyntaxRefused, f"{function.name} calls itself, and something is still to be done after the call. Only tail calls can be "
                "compiled (`return f(...)`, where nothing follows), since there is no stack of unknown depth: carry what is "
                "computed so far in an argument, or write a loop."
            )  # fmt: skip
        scope = self._scope(function, arguments, keywords or {}, place)
        self.stack.append((function.node, function.name))
        try:
            if isinstance(function.node, ast.Lambda):
                return self.evaluate(function.node.body, scope)
            return self.run(function, scope)
        except HotloopError as error:
            if place.definition is not function.module or function.module.node is not place.definition.node:
                error.add_note(called_from(function.name, place.origin))
            raise
        finally:
            self.stack.pop()

    def _call_builtin(self, function: Builtin, arguments: Items[Value], place: Place, keywords: dict[str, Value]) -> Value:
        try:
            return function.rule(self, place, *arguments, **keywords)
        except TypeError as error:
            if isinstance(error, HotloopError) or "argument" not in str(error) or error.__traceback__.tb_next is not None:  # type: ignore[union-attr]
                raise
            told = str(error).partition("() ")[2] or str(error)
            place.refuse(TypeMismatch, f"{function.name}() {told}.")

    def _scope(self, function: Closure, arguments: Items[Value], keywords: dict[str, Value], place: Place) -> Scope:
        """Return the variables of a call: parameters bound to arguments."""
        node: ast.FunctionDef | ast.Lambda = function.node
        spec = node.args
        if spec.vararg or spec.kwarg:
            Place(node, function.module).refuse(SyntaxRefused, "*args and **keywords cannot be compiled. Name the parameters.")
        names = [argument.arg for argument in (*spec.posonlyargs, *spec.args)]
        parent = function.variables
        scope = Scope(function.module, parent if isinstance(parent, Scope) else None, _outer(parent))
        if len(arguments) > len(names):
            place.refuse(TypeMismatch, f"{function.name}() takes {len(names)} arguments, not {len(arguments)}.")
        scope.values.update(zip(names, arguments, strict=False))
        only = [argument.arg for argument in spec.kwonlyargs]
        for name, value in keywords.items():
            if name in scope.values or name not in (*names, *only):
                place.refuse(TypeMismatch, f"{function.name}() has no parameter {name} left.")
            scope.values[name] = value
        if isinstance(parent, FunctionType):
            self._python_defaults(parent, names, scope, place)
        defaults = [*zip(reversed(names), reversed(spec.defaults), strict=False), *zip(only, spec.kw_defaults, strict=True)]
        for name, default in defaults:
            if name not in scope.values and default is not None:
                scope.values[name] = self.evaluate(default, Scope(function.module, scope.parent, scope.outer))
        missing = [name for name in (*names, *only) if name not in scope.values]
        if missing:
            place.refuse(TypeMismatch, f"{function.name}() needs an argument for {', '.join(missing)}.")
        return scope

    def _python_defaults(self, function: FunctionType, names: list[str], scope: Scope, place: Place) -> None:
        """Bind parameters that got no argument to what Python evaluated for them when it defined the function."""
        values = function.__defaults__ or ()
        optional = reversed(names[-len(values) :] if values else [])
        found: dict[str, tuple[Any, ...]] = {name: ("default", function, -k - 1) for k, name in enumerate(optional)}
        found.update({name: ("keyword default", function, name) for name in function.__kwdefaults__ or ()})
        for name, way in found.items():
            if name not in scope.values:
                scope.values[name] = self.captures.value(found_again(way), way, f"the default of {name}", place)

    def run(self, function: Closure, scope: Scope) -> Value:
        """Return what the statements of a function return."""
        raise NotImplementedError

    def apply(self, function: Value, place: Place, *arguments: Value) -> Value:
        """Return the result of a function that was given to a primitive."""
        return self.call(function, arguments, place)


def _out_of_range(place: Place) -> Site:
    def error(values: Items[Any]) -> Exception:
        known = f"{values[0]} is out of range for {values[1]} elements" if len(values) == 2 else "out of range"
        return place.error(BoundsError, f"index {known}.")

    return Site(error)


def _outer(parent: Any) -> FunctionType | None:
    return parent.outer if isinstance(parent, Scope) else parent
