"""What statements do: assignments, choices and loops of one function, and tail calls as loops."""

from __future__ import annotations

import ast
from collections.abc import Callable
from collections.abc import Sequence as Items
from functools import lru_cache
from typing import Any

from hotloop.errors import CheckError, SyntaxRefused, TypeMismatch
from hotloop.ir.graph import Body, Node, apply, constant, param_node
from hotloop.ir.loop import build_loop
from hotloop.ir.op import REGISTRY
from hotloop.parallel.interpreter.arithmetic import ARITHMETIC
from hotloop.parallel.interpreter.interpret import Interpreter
from hotloop.parallel.interpreter.recorder import CHEAP, FALSE, ONE, TRUE, ZERO, Site
from hotloop.parallel.interpreter.scope import (
    BROKE,
    CONTINUED,
    FLAGS,
    MISSING,
    RESULT,
    RETURNED,
    Scope,
    always_stops,
    assigned,
    calls_itself,
    loaded,
)  # fmt: skip
from hotloop.parallel.interpreter.values import Closure, Number, Sequence, Value, as_type, describe, leaves, mapped
from hotloop.parallel.primitives import combining, nested
from hotloop.parallel.reading.place import Place

add, and_, or_, invert = (REGISTRY[name] for name in ("add", "and", "or", "invert"))
_NOT, _YES = Number(FALSE), Number(TRUE)


class Retype(Exception):
    """A name has another type after the body of a loop than before it: the body is traced again."""


class Statements(Interpreter):
    """Runs functions statement by statement."""

    def run(self, function: Closure, scope: Scope) -> Value:
        """Return what the statements of a function return."""
        node: ast.FunctionDef = function.node
        _check_kind(node, function)
        scope.values[RETURNED] = _NOT
        body = node.body
        if calls_itself(node) and self._is_own(node, scope):
            body = _as_loop(node)
        self.execute(body, scope)
        result = scope.values.get(RESULT)
        returned = scope.values[RETURNED].node
        if result is None or (returned is not TRUE and not always_stops(body)):
            Place(node, function.module).refuse(
                SyntaxRefused, f"{function.name}() must return a value on every path." if result is not None else
                f"{function.name}() returns nothing."
            )  # fmt: skip
        return result

    def _is_own(self, node: ast.FunctionDef, scope: Scope) -> bool:
        """Whether the function's name means itself within it, and all such calls are tail calls."""
        if node.name in {argument.arg for argument in node.args.args} or node.name in assigned(node.body):
            return False
        return _only_tail_calls(node)

    # -- statements --------------------------------------------------------------------------------

    def execute(self, statements: list[ast.stmt], scope: Scope) -> None:
        """Run statements; after one that may have stopped, the rest runs where it has not."""
        for number, statement in enumerate(statements):
            rest = statements[number + 1 :]
            if isinstance(statement, ast.If):
                if self._if(statement, rest, scope):
                    return
            else:
                self._execute(statement, scope)
            stopped = self._stopped(scope)
            if stopped is TRUE:
                return
            if stopped is not FALSE:
                if rest:
                    self._branch(apply(invert, stopped), rest, [], scope, statement)
                return

    def _execute(self, statement: ast.stmt, scope: Scope) -> None:
        method = getattr(self, f"_do_{type(statement).__name__}", None)
        if method is None:
            name = type(statement).__name__
            hint = _HINTS.get(name, "It has an effect that a computation cannot have.")
            Place(statement, scope.definition).refuse(SyntaxRefused, f"`{name.lower()}` cannot be compiled. {hint}")
        method(statement, scope)

    def _stopped(self, scope: Scope) -> Node:
        stopped = FALSE
        for name in (RETURNED, BROKE, CONTINUED):
            flag = scope.values.get(name)
            if flag is not None:
                stopped = apply(or_, stopped, flag.node)
        return stopped

    def _do_Return(self, node: ast.Return, scope: Scope) -> None:
        if node.value is None:
            Place(node, scope.definition).refuse(SyntaxRefused, "a function returns a value.")
        scope.values[RESULT] = self.evaluate(node.value, scope)
        scope.values[RETURNED] = _YES

    def _do_Assign(self, node: ast.Assign, scope: Scope) -> None:
        value = self.evaluate(node.value, scope)
        for target in node.targets:
            self.bind(target, value, scope)

    def _do_AnnAssign(self, node: ast.AnnAssign, scope: Scope) -> None:
        if node.value is not None:
            self.bind(node.target, self.evaluate(node.value, scope), scope)

    def _do_AugAssign(self, node: ast.AugAssign, scope: Scope) -> None:
        if not isinstance(node.target, ast.Name):
            self._refuse_target(node.target, scope)
        name = ARITHMETIC.get(type(node.op))
        if name is None:
            self._refuse_syntax(node, scope)
        read = ast.copy_location(ast.Name(node.target.id, ast.Load()), node.target)
        x, y = self.evaluate(read, scope), self.evaluate(node.value, scope)
        scope.values[node.target.id] = self.operate(name, x, y, node, scope, (read, node.value))

    def _do_Expr(self, node: ast.Expr, scope: Scope) -> None:
        if isinstance(node.value, ast.Constant) and (isinstance(node.value.value, str) or node.value.value is ...):
            return
        Place(node, scope.definition).refuse(SyntaxRefused, "this computes something that nothing uses. Assign it, or return it.")

    def _do_Pass(self, node: ast.Pass, scope: Scope) -> None:
        pass

    def _do_Break(self, node: ast.Break, scope: Scope) -> None:
        scope.values[BROKE] = _YES

    def _do_Continue(self, node: ast.Continue, scope: Scope) -> None:
        scope.values[CONTINUED] = _YES

    def _do_FunctionDef(self, node: ast.FunctionDef, scope: Scope) -> None:
        closure = Closure(node, scope.definition, scope.copy(), node.name)
        closure.variables.values[node.name] = closure
        scope.values[node.name] = closure

    def _do_Assert(self, node: ast.Assert, scope: Scope) -> None:
        holds = self.condition(node.test, scope)
        place = Place(node.test, scope.definition)
        told = str(node.msg.value) if isinstance(node.msg, ast.Constant) else "the assertion does not hold"

        def error(_: Items[Any]) -> Exception:
            return place.error(CheckError, f"{told.rstrip('.')}.")

        self.trace.fault(apply(invert, holds), Site(error))

    # -- choices -----------------------------------------------------------------------------------

    def _if(self, node: ast.If, rest: list[ast.stmt], scope: Scope) -> bool:
        """Run an `if`; returns whether `rest` was run in one of its sides, since the other one stops."""
        condition = self.condition(node.test, scope)
        then, otherwise = node.body, node.orelse
        absorbs = bool(rest) and (always_stops(then) or always_stops(otherwise))
        if absorbs:
            then = then if always_stops(then) else [*then, *rest]
            otherwise = otherwise if always_stops(otherwise) else [*otherwise, *rest]
        if condition.is_const:
            taken = then if condition.attr.value else otherwise
            self.execute(taken, scope)
            return absorbs
        self._branch(condition, then, otherwise, scope, node)
        return absorbs

    def _branch(self, condition: Node, then: list[ast.stmt], otherwise: list[ast.stmt], scope: Scope, node: ast.AST) -> None:
        names = list(dict.fromkeys([*assigned(then), *assigned(otherwise)]))
        for flag in (BROKE, CONTINUED):
            if flag in names:
                scope.values.setdefault(flag, _NOT)

        def side(statements: list[ast.stmt]) -> Callable[[], Value]:
            def run() -> Value:
                inner = scope.copy()
                self.execute(statements, inner)
                return tuple([inner.values.get(name, _outside(scope, name)) for name in names])

            return run

        found = self.trace.choose(condition, side(then), side(otherwise), self._merger(names, node, scope))
        scope.values.update({name: value for name, value in zip(names, found, strict=True) if value is not None or name not in FLAGS})

    def _merger(self, names: list[str], node: ast.AST, scope: Scope) -> Any:
        """Return how two sides are merged: names that cannot be, since their types differ, are defined on no side."""
        place = Place(node, scope.definition)

        def merge(a: Value, b: Value) -> tuple[Value, Value, Value]:
            triples = []
            for name, x, y in zip(names, a, b, strict=True):
                if name in FLAGS and (x is None or y is None):
                    triples.append(self._merge(x, y, place) if (x is not None or y is not None) else (None, None, None))
                elif x is None or y is None:
                    triples.append((None, None, None))
                else:
                    triples.append(self._merge(x, y, place))
            return tuple(t[0] for t in triples), tuple(t[1] for t in triples), tuple(t[2] for t in triples)

        def general(a: Value, b: Value) -> tuple[Value, Value, Value]:
            is_ours = isinstance(a, tuple) and isinstance(b, tuple) and len(a) == len(names) == len(b)
            return merge(a, b) if is_ours else self._merge(a, b, place)

        return general

    # -- loops -------------------------------------------------------------------------------------

    def _do_While(self, node: ast.While, scope: Scope) -> None:
        if node.orelse:
            Place(node.orelse[0], scope.definition).refuse(SyntaxRefused, "`else` of a loop cannot be compiled.")
        self._repeat(node, scope, lambda inner: self.condition(node.test, inner), lambda inner: self.execute(node.body, inner))

    def _do_For(self, node: ast.For, scope: Scope) -> None:
        if node.orelse:
            Place(node.orelse[0], scope.definition).refuse(SyntaxRefused, "`else` of a loop cannot be compiled.")
        source = self.evaluate(node.iter, scope)
        if isinstance(source, tuple):
            self._for_each_item(node, source, scope)
            return
        sequence = self.whole(self.sequence(source, node.iter, scope))
        if not self.trace.depth and sequence.stored is None and self.trace.cost(sequence) > CHEAP:
            sequence = self.trace.force(sequence)
        counter = f"<counter {node.lineno} {node.col_offset}>"
        scope.values[counter] = Number(ZERO)

        def test(inner: Scope) -> Node:
            return apply(REGISTRY["lt"], inner.values[counter].node, sequence.length)

        def step(inner: Scope) -> None:
            place = inner.values[counter].node
            self.trace.below[place.id] = sequence.length
            self.bind(node.target, self.trace.element(sequence, place), inner)
            self.execute(node.body, inner)
            inner.values[counter] = Number(apply(add, place, ONE))

        self._repeat(node, scope, test, step, [counter])
        del scope.values[counter]

    def _for_each_item(self, node: ast.For, items: tuple[Value, ...], scope: Scope) -> None:
        for item in items:
            self.bind(node.target, item, scope)
            self.execute(node.body, scope)
            scope.values.pop(CONTINUED, None)
            if self._stopped(scope) is not FALSE:
                Place(node, scope.definition).refuse(SyntaxRefused, "a loop over a tuple cannot be left early. Loop over a sequence.")

    def _repeat(
        self, node: ast.While | ast.For, scope: Scope, test: Callable[[Scope], Node], step: Callable[[Scope], None],
        counters: Items[str] = (),
    ) -> None:  # fmt: skip
        """Run a loop: what its body assigns, and was defined before or is read elsewhere, is carried."""
        inside = [*assigned(node.body), *(assigned([node]) if isinstance(node, ast.For) else [])]
        names = [name for name in dict.fromkeys([*inside, *counters]) if name not in (BROKE, CONTINUED)]
        elsewhere = _read_elsewhere(scope.definition.node, node)
        names = [name for name in names if name in scope.values or name in elsewhere or name in FLAGS or name in counters]
        leaves_early = BROKE in inside or RETURNED in inside
        if not self.trace.depth:
            self._force_dear(node, scope)
        outer_flags = {flag: scope.values.get(flag) for flag in (BROKE, CONTINUED)}
        if leaves_early:
            names.append(BROKE)
            scope.values[BROKE] = _NOT

        def holds(inner: Scope) -> Node:
            going = TRUE
            for flag in (BROKE, RETURNED):
                if flag in names:
                    going = apply(and_, going, apply(invert, inner.values[flag].node))
            with self.trace.guarded(going) if self.trace.depth else self.trace.guarded_top():
                return apply(and_, going, test(inner))

        def body(inner: Scope) -> None:
            inner.values[CONTINUED] = _NOT
            step(inner)

        outline = {name: _outside(scope, name) for name in names}
        while True:
            try:
                self._carry(scope, outline, holds, body, node)
                break
            except Retype as changed:
                outline = changed.args[0]
        for flag, value in outer_flags.items():
            if value is None:
                scope.values.pop(flag, None)
            else:
                scope.values[flag] = value

    def _force_dear(self, node: ast.AST, scope: Scope) -> None:
        """Put into memory what a loop would compute again at each trip."""
        for name in loaded(node):
            value = scope.values.get(name)
            if not isinstance(value, Sequence) or value.depth or value.stored is not None or value.keep is not None:
                continue
            if self.trace.cost(value) > 2:
                scope.values[name] = self.forced(value)

    def forced(self, sequence: Sequence, place: Place | None = None) -> Sequence:
        """Return a sequence in memory, nested ones too."""
        return nested.forced(self, sequence, place)

    def compacted(self, sequence: Sequence) -> Sequence:
        """Return what `filter` left as a sequence in memory."""
        return combining.compacted(self, sequence)

    def _carry(
        self, scope: Scope, outline: dict[str, Value], holds: Callable[[Scope], Node], body: Callable[[Scope], None], node: ast.AST
    ) -> None:  # fmt: skip
        known = {name: value for name, value in outline.items() if value is not None}
        inits = tuple(_start(scope, name, like) for name, like in known.items())
        likes = tuple(known.values())
        place = Place(node, scope.definition)
        numbers_only = all(isinstance(leaf, Number) for leaf in leaves(likes))
        if self.trace.depth and not numbers_only:
            self._refuse_carried(known, place)
        after: dict[str, Value] = {}

        def finish(inner: Scope) -> Value:
            for name in outline:
                after[name] = inner.values.get(name)
            self._settled(outline, after, place)
            return tuple(after[name] for name in known)

        if self.trace.depth:
            final = self._carry_numbers(scope, inits, likes, known, holds, body, finish, node)
        else:
            final = self._carry_steps(scope, inits, likes, known, holds, body, finish)
        scope.values.update(zip(known, final, strict=True))

    def _settled(self, outline: dict[str, Value], after: dict[str, Value], place: Place) -> None:
        """Raise Retype if what is carried has other types after the body."""
        changed = dict(outline)
        again = False
        for name, before in outline.items():
            value = after[name]
            if value is None:
                continue
            joint = value if before is None else self._merge(before, value, place)[0]
            self._refuse_other_elements(name, before, value, place)
            if before is None or not _same_types(before, joint):
                changed[name], again = joint, True
        if again:
            raise Retype(changed)

    def _refuse_other_elements(self, name: str, before: Value, after: Value, place: Place) -> None:
        """Refuse a sequence whose elements have another type after the body of a loop: it lies in memory as it was before."""
        pairs = zip(leaves(before), leaves(after), strict=True) if before is not None else ()
        for x, y in pairs:
            if not (isinstance(x, Sequence) and isinstance(y, Sequence)) or x is y:
                continue
            old, new = (leaves(self.trace.innermost(sequence)[0]) for sequence in (x, y))
            if [leaf.dtype for leaf in old] != [leaf.dtype for leaf in new]:
                wanted = next(leaf.dtype.name for leaf, other in zip(new, old, strict=True) if leaf.dtype is not other.dtype)
                place.refuse(
                    TypeMismatch, f"{name} has elements of another type after the body of this loop ({describe(tuple(new))}) than before "
                    f"it ({describe(tuple(old))}). Convert them before: {name} = [{wanted}(a) for a in {name}], or in the body."
                )  # fmt: skip

    def _refuse_carried(self, known: dict[str, Value], place: Place) -> None:
        for name, value in known.items():
            if not all(isinstance(leaf, Number) for leaf in leaves(value)):
                place.refuse(
                    TypeMismatch, f"{name} is {describe(value)}; loops inside of maps and comprehensions carry numbers and tuples of them."
                )

    def _carry_numbers(
        self, scope: Scope, inits: Value, likes: Value, known: dict[str, Value], holds: Callable[[Scope], Node],
        body: Callable[[Scope], None], finish: Callable[[Scope], Value], node: ast.AST,
    ) -> Value:  # fmt: skip
        def bound(params: Items[Node]) -> Scope:
            inner = scope.copy()
            inner.values.update(zip(known, _numbers(likes, params), strict=True))
            return inner

        def step(params: Items[Node]) -> list[Node]:
            inner = bound(params)
            body(inner)
            return _nodes(finish(inner), likes)

        found = self.trace.loop(_nodes(inits, likes), lambda params: holds(bound(params)), step, isinstance(node, ast.For))
        return _numbers(likes, found)

    def _carry_steps(
        self, scope: Scope, inits: Value, likes: Value, known: dict[str, Value], holds: Callable[[Scope], Node],
        body: Callable[[Scope], None], finish: Callable[[Scope], Value],
    ) -> Value:  # fmt: skip
        trace = self.trace
        joint = self._registers(likes)
        inner = scope.copy()
        inner.values.update(zip(known, joint, strict=True))
        with trace.block() as head:
            condition = holds(inner)
        with trace.block() as steps:
            body(inner)
            ends = finish(inner)
            scalar = not head and not steps and all(isinstance(leaf, Number) for leaf in leaves(likes))
            if not scalar:
                trace.settle(ends, likes, joint)
        if scalar:
            params = tuple(leaf.node for leaf in leaves(joint))
            found = build_loop(_nodes(inits, likes), Body(params, tuple(_nodes(ends, likes)), None, None, condition))
            return _numbers(likes, found)
        trace.settle(inits, likes, joint)
        trace.while_steps(condition, head, steps)
        return joint

    def _registers(self, likes: Value) -> Value:
        """Return new registers for what a loop carries."""

        def register(like: Any) -> Value:
            if isinstance(like, Number):
                return Number(param_node(like.dtype, ()), like.weak)
            if not isinstance(like, Sequence):
                return like
            mine = self.trace.registers_for(like)
            return self.trace.stored(mine.arrays, mine.shape, mine.offsets, mine.offset)

        return mapped(register, likes)


def _numbers(likes: Value, nodes: Items[Node]) -> Value:
    found = iter(nodes)
    return mapped(lambda like: Number(next(found), like.weak), likes)


def _nodes(values: Value, likes: Value) -> list[Node]:
    pairs = zip(leaves(values), leaves(likes), strict=True)
    return [constant(0, like.dtype, structural=False) if leaf is None else as_type(leaf, like.dtype) for leaf, like in pairs]


def _start(scope: Scope, name: str, like: Value) -> Value:
    value = _outside(scope, name)
    return mapped(lambda _: None, like) if value is None else value


def _outside(scope: Scope, name: str) -> Value:
    found = scope.values.get(name, MISSING) if name in FLAGS else scope.find(name)
    return None if found is MISSING else found


def _same_types(a: Value, b: Value) -> bool:
    pairs = list(zip(leaves(a), leaves(b), strict=True))
    return all((x.dtype, x.weak) == (y.dtype, y.weak) for x, y in pairs if isinstance(x, Number))


@lru_cache(maxsize=1024)
def _read_elsewhere(function: ast.AST, loop: ast.AST) -> frozenset[str]:
    """Return names that a function reads outside of a loop in it."""
    inside = set(map(id, ast.walk(loop)))
    names = (n for n in ast.walk(function) if isinstance(n, ast.Name) and id(n) not in inside)
    return frozenset(n.id for n in names if isinstance(n.ctx, ast.Load))


def _check_kind(node: ast.AST, function: Closure) -> None:
    if isinstance(node, ast.AsyncFunctionDef):
        Place(node, function.module).refuse(SyntaxRefused, "an async function cannot be compiled.")


# ------------------------------------------------------------------------------------------- tail calls


@lru_cache(maxsize=1024)
def _only_tail_calls(node: ast.FunctionDef) -> bool:
    """Whether every call of a function of its own name is all that a return statement returns, outside of loops."""
    own = [n for n in ast.walk(node) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id == node.name]
    tails: list[ast.expr] = []
    for statement in ast.walk(node):
        if isinstance(statement, ast.Return) and statement.value is not None:
            tails.extend(_tails(statement.value))
    within = {id(n) for outer in ast.walk(node) if isinstance(outer, (ast.While, ast.For)) for n in ast.walk(outer)}
    tail_ids = {id(tail) for tail in tails}
    return all(id(call) in tail_ids and id(call) not in within and not call.keywords for call in own)


def _tails(value: ast.expr) -> list[ast.expr]:
    return [*_tails(value.body), *_tails(value.orelse)] if isinstance(value, ast.IfExp) else [value]


class _Tail(ast.NodeTransformer):
    """Turns tail calls into assignments to the parameters and `continue`."""

    def __init__(self, node: ast.FunctionDef) -> None:
        self.name = node.name
        self.names = [argument.arg for argument in node.args.args]

    def visit_Return(self, node: ast.Return) -> Any:
        made = self._made(node.value, node)
        return made

    def _made(self, value: ast.expr | None, node: ast.AST) -> list[ast.stmt]:
        if isinstance(value, ast.IfExp) and any(self._is_own(tail) for tail in _tails(value)):
            return [ast.copy_location(ast.If(value.test, self._made(value.body, node), self._made(value.orelse, node)), node)]
        if value is None or not self._is_own(value):
            return [ast.copy_location(ast.Return(value), node)]
        assert isinstance(value, ast.Call)
        targets = [ast.copy_location(ast.Name(name, ast.Store()), value) for name in self.names]
        target = ast.copy_location(ast.Tuple(list(targets), ast.Store()), value)
        given = ast.copy_location(ast.Tuple(value.args, ast.Load()), value)
        return [ast.copy_location(ast.Assign([target], given), value), ast.copy_location(ast.Continue(), node)]

    def _is_own(self, value: ast.expr) -> bool:
        return isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == self.name

    def _skip(self, node: Any) -> Any:
        return node

    visit_FunctionDef = visit_Lambda = visit_ListComp = visit_GeneratorExp = _skip


@lru_cache(maxsize=1024)
def _as_loop(node: ast.FunctionDef) -> list[ast.stmt]:
    """Return the body of a function with tail calls of itself as an endless loop that `return` leaves."""
    import copy

    transform = _Tail(node)
    body: list[ast.stmt] = []
    for statement in copy.deepcopy(node.body):
        made = transform.visit(statement)
        body.extend(made if isinstance(made, list) else [made])
    always = ast.copy_location(ast.Constant(True), node)
    return [ast.copy_location(ast.While(always, body, []), node)]


_HINTS = {
    "With": "Choose the place where you call the function.",
    "AsyncWith": "Choose the place where you call the function.",
    "Try": "Nothing raises here; test for what may go wrong.",
    "Raise": "Use assert, or test the result where you call the function.",
    "Import": "Import at the head of the module.",
    "ImportFrom": "Import at the head of the module.",
    "Global": "Return what has changed.",
    "Nonlocal": "Return what has changed.",
    "Delete": "Names go when nothing uses them.",
    "Match": "Write if and elif.",
    "ClassDef": "Use tuples.",
}
