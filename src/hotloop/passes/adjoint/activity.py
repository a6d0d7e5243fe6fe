"""What a derivative passes through: registers that depend on the variables, and that the result depends on, both as floats."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from hotloop.ir.graph import ITEM, LOOP, PARAM, Node
from hotloop.ir.rewrite import walk
from hotloop.ir.sweep import AT, Compute, Copy, Effect, Filter, Fold, Reduce, Scan, Scatter, Sort, Store, Sweep
from hotloop.passes.adjoint.regions import Choice, Item, Loop


@dataclass(slots=True)
class Bodies:
    """Which loop binds a param: the loop and the number of the param."""

    of: dict[int, tuple[Node, int]] = field(default_factory=dict)

    @classmethod
    def within(cls, nodes: Iterable[Node]) -> Bodies:
        """Return those of all loops among nodes."""
        return cls({param.id: (loop, k) for loop in nodes if loop.op is LOOP for k, param in enumerate(loop.attr.params)})


def flowing(ends: Sequence[Node], sources: set[int]) -> set[int]:
    """Return the ids of nodes that depend, as floats, on registers whose ids are `sources`; bodies of loops are entered."""
    nodes = [node for node in walk(ends) if node.dtype.is_float]
    bodies = Bodies.within(walk(ends))
    found: set[int] = set()
    before = -1
    while before != len(found):
        before = len(found)
        found.update(node.id for node in nodes if node.id not in found and _flows(node, found, sources, bodies))
    return found


def _flows(node: Node, found: set[int], sources: set[int], bodies: Bodies) -> bool:
    op = node.op
    if op is PARAM:
        if node.id in bodies.of:
            return any(source.id in found for source in _carried(*bodies.of[node.id]))
        return node.id in sources
    if op is AT:
        return node.args[0].id in sources
    if op is ITEM:
        return any(source.id in found for source in _carried(node.args[0], node.attr))
    return op is not LOOP and any(arg.id in found for arg in node.args)


def _carried(loop: Node, k: int) -> tuple[Node, Node]:
    """Return where a carried variable of a loop comes from: before the loop, and from its body."""
    return loop.args[k], loop.attr.results[k]


def behind(ends: Sequence[Node]) -> dict[int, Node]:
    """Return all nodes that `ends` depend on as floats, by id; bodies of loops are entered."""
    bodies = Bodies.within(walk(ends))
    stack = [end for end in ends if end.dtype.is_float]
    found = {node.id: node for node in stack}
    while stack:
        for arg in _sources(stack.pop(), bodies):
            if arg.dtype.is_float and not arg.shape and arg.id not in found:
                found[arg.id] = arg
                stack.append(arg)
    return found


def _sources(node: Node, bodies: Bodies) -> Sequence[Node]:
    if node.op is AT or node.op is LOOP:
        return ()
    if node.op is ITEM:
        return _carried(node.args[0], node.attr)
    if node.op is PARAM:
        return _carried(*bodies.of[node.id]) if node.id in bodies.of else ()
    return node.args


def leaves(ends: Sequence[Node]) -> set[int]:
    """Return the ids of the registers that `ends` depend on as floats, arrays among them."""
    return {node.args[0].id if node.op is AT else node.id for node in behind(ends).values() if node.op in (AT, PARAM)}


class Activity:
    """The registers between the variables and a result."""

    def __init__(self, items: Sequence[Item], variables: Iterable[Node], result: Node) -> None:
        self.varied = {node.id for node in variables}
        self.useful = {result.id}
        self._forward(items)
        self._backward(items)

    def __contains__(self, node: Node) -> bool:
        """Whether a register has a derivative that matters."""
        return node.id in self.varied and node.id in self.useful

    # -- forward ---------------------------------------------------------------------------------------

    def _forward(self, items: Sequence[Item]) -> None:
        for item in items:
            match item:
                case Loop():
                    self._forward_loop(item)
                case Choice():
                    self._forward(item.then)
                    self._forward(item.otherwise)
                    pairs = zip(item.outs, zip(item.first, item.second, strict=True), strict=True)
                    self.varied.update(out.id for out, given in pairs if any(self._varies(node) for node in given))
                case Sweep():
                    self._forward_sweep(item)
                case Compute():
                    found = flowing(item.values, self.varied)
                    computed = zip(item.registers, item.values, strict=True)
                    self.varied.update(register.id for register, value in computed if value.id in found)
                case Copy() if item.source.id in self.varied:
                    self.varied.add(item.array.id)
                case Sort():
                    ordered = zip(item.keys, item.sorted, strict=True)
                    self.varied.update(made.id for key, made in ordered if made is not None and key.id in self.varied)

    def _varies(self, node: Node) -> bool:
        return node.id in self.varied

    def _forward_loop(self, loop: Loop) -> None:
        before = -1
        while before != len(self.varied):
            before = len(self.varied)
            sources = zip(loop.params, loop.inits, loop.nexts, strict=True)
            self.varied.update(param.id for param, *given in sources if param.dtype.is_float and any(map(self._varies, given)))
            self._forward(loop.head)
            self._forward(loop.body)

    def _forward_sweep(self, sweep: Sweep) -> None:
        ends = [node for effect in sweep.effects for node in (*effect_sources(effect), *_operator_ends(effect))]
        found = flowing(ends, self.varied)
        for effect in sweep.effects:
            targets = effect_targets(effect)
            mixed = isinstance(effect, (Reduce, Scan)) or (isinstance(effect, Scatter) and effect.operator is not None)
            sources = effect_sources(effect)
            if mixed:
                captured = any(node.id in found for node in _operator_ends(effect))
                if captured or any(source.id in found for source in sources):
                    self.varied.update(target.id for target in targets if target.dtype.is_float)
            else:
                pairs = zip(targets, sources, strict=True)
                self.varied.update(target.id for target, source in pairs if source.id in found and target.dtype.is_float)

    # -- backward --------------------------------------------------------------------------------------

    def _backward(self, items: Sequence[Item]) -> None:
        for item in reversed(items):
            match item:
                case Loop():
                    self._backward_loop(item)
                case Choice():
                    for out, *given in zip(item.outs, item.first, item.second, strict=True):
                        self.useful.update(node.id for node in given if out.id in self.useful)
                    self._backward(item.then)
                    self._backward(item.otherwise)
                case Sweep():
                    self.useful |= leaves([node for effect in item.effects for node in self._wanted(effect)])
                case Compute():
                    pairs = zip(item.registers, item.values, strict=True)
                    self.useful |= leaves([value for register, value in pairs if register.id in self.useful])
                case Copy() if item.array.id in self.useful:
                    self.useful.add(item.source.id)
                case Sort():
                    ordered = zip(item.keys, item.sorted, strict=True)
                    self.useful.update(key.id for key, made in ordered if made is not None and made.id in self.useful)

    def _wanted(self, effect: Effect) -> list[Node]:
        """Return the graphs of an effect that matter."""
        targets, sources = effect_targets(effect), effect_sources(effect)
        if isinstance(effect, (Reduce, Scan, Scatter)) and effect.operator is not None:
            wanted = any(target.id in self.useful for target in targets)
            return [*sources, *effect.operator.combined] if wanted else []
        return [source for target, source in zip(targets, sources, strict=True) if target.id in self.useful]

    def _backward_loop(self, loop: Loop) -> None:
        before = -1
        while before != len(self.useful):
            before = len(self.useful)
            self._backward(loop.head)
            for param, *given in zip(loop.params, loop.inits, loop.nexts, strict=True):
                if param.id in self.useful:
                    self.useful.update(node.id for node in given)
            self._backward(loop.body)


def effect_targets(effect: Effect) -> tuple[Node, ...]:
    """Return the registers that take values of an effect."""
    match effect:
        case Store():
            return (effect.array,)
        case Fold():
            return (effect.into,)
        case Reduce():
            return effect.into
        case Filter() | Scan() | Scatter():
            return effect.arrays


def effect_sources(effect: Effect) -> list[Node]:
    """Return the values that an effect takes for each element, and its inits."""
    match effect:
        case Store() | Fold():
            return [effect.value]
        case Reduce() | Scan():
            return [*effect.values, *(effect.inits or ())]
        case Filter() | Scatter():
            return list(effect.values)


def _operator_ends(effect: Effect) -> Sequence[Node]:
    return effect.operator.combined if isinstance(effect, (Reduce, Scan, Scatter)) and effect.operator is not None else ()


__all__ = ["Activity", "Bodies", "behind", "effect_sources", "effect_targets", "flowing", "leaves"]
