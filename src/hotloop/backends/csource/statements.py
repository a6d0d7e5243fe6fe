"""`Statements`: the instructions of a program as C statements, one a line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np

from hotloop.backends.csource.literals import C_TYPES
from hotloop.backends.csource.places import Access, Places
from hotloop.dtypes import COMPUTE, DType
from hotloop.errors import TargetError
from hotloop.ir.graph import source_line
from hotloop.ir.op import REGISTRY
from hotloop.ir.program import COPY, IN_MEMORY, LOOP_BEGIN, LOOP_END, LOOP_EXIT, OUTPUT, RANGE, STORE, Program, overloads

# Sums, differences and products of integers wrap: C promises that for unsigned numbers only.
_WRAPS = re.compile(r"\{x\} [-+*] \{y\}|-\{x\}")
_HEXADECIMAL = re.compile(r"\b(0x[01][.\da-f]*p[-+]\d+)(f?)\b")
_UNSIGNED = {"i32": "uint32_t", "i64": "uint64_t"}


@dataclass(frozen=True, slots=True)
class _Form:
    """C of one overload: its text, or the type of the elements that it reads (get) or writes (put) by an index."""

    text: str = ""
    get: DType | None = None
    put: DType | None = None


@cache
def _forms() -> dict[int, _Form]:
    """Return the C of every overload on scalars, by its number."""
    numbers = overloads()
    found: dict[int, _Form] = {}
    for op in REGISTRY.values():
        for types, result in op.types.overloads if op.c is not None else ():
            text = op.c_text(types)
            if types[-1].is_int and _WRAPS.fullmatch(text):
                unsigned = re.sub(r"({[xyz]})", rf"({_UNSIGNED[result.short]})\1", text)
                text = f"({result_type(result)})({unsigned})"
            found[numbers[".".join((op.name, *[dtype.short for dtype in types]))]] = _Form(text.replace("{t}", types[-1].short))
    for dtype in COMPUTE:
        found[numbers[f"get.{dtype.short}"]] = _Form(get=dtype)
        found[numbers[f"put.{dtype.short}"]] = _Form(put=dtype)
    return found


def result_type(dtype: DType) -> str:
    """Return the C type of a value."""
    return C_TYPES[dtype.short]


@dataclass(frozen=True, slots=True)
class _Loop:
    """A loop: the positions of its begin and end, its counter and trips, (param, init, result) of what it carries."""

    begin: int
    end: int
    counter: int
    trips: int
    carries: tuple[tuple[int, int, int], ...]


class Statements:
    """The step of a program, in C."""

    def __init__(self, program: Program) -> None:
        self.program = program
        code = program.code
        self.code = [tuple(code[i : i + 6]) for i in range(0, len(code), 6)]
        self.dtypes = [self._dtype(number) for number in program.values[::3]]
        self.loops = self._find_loops()
        self.begins = {loop.begin: loop for loop in self.loops.values()}
        self.blocks, self.paths = self._find_blocks()
        self.users = self._find_users()
        self.names: dict[int, str] = {}
        self.hoisted = self._find_hoisted()
        self.places = Places(program, self._reads(), self._stores(), self._accesses())

    def lines(self) -> list[str]:
        """Return the body of the step."""
        found: list[str] = []
        where = ""
        depth = 1
        for at, (op, *_) in enumerate(self.code):
            made = list(self._statement(at))
            if not made:
                continue
            line = source_line(self.program.nodes[at]) if at < len(self.program.nodes) else ""
            if line and line != where and op != LOOP_END:
                found += [*([""] if depth == 1 and found else []), f"{'    ' * depth}/* {line} */"]
                where = line
            for text in made:
                depth -= text.startswith("}")
                found.append(f"{'    ' * depth}{text}")
                depth += text.endswith("{")
        return found

    # -- facts -----------------------------------------------------------------------------------

    def _dtype(self, number: int) -> DType:
        if number >= len(COMPUTE):
            raise TargetError("C source is made of programs for one lane: linearize with vector_bytes=0.")
        return COMPUTE[number]

    def _find_loops(self) -> dict[int, _Loop]:
        info, carries = self.program.loops, self.program.carries
        begins = {entry[5]: at for at, entry in enumerate(self.code) if entry[0] == LOOP_BEGIN}
        ends = {entry[5]: at for at, entry in enumerate(self.code) if entry[0] == LOOP_END}
        found = {}
        for which, begin in begins.items():
            counter, trips, first, count = info[4 * which : 4 * which + 4]
            carried = [tuple(carries[3 * c : 3 * c + 3]) for c in range(first, first + count)]
            found[which] = _Loop(begin, ends[which], counter, trips, tuple([(p, i, r) for p, i, r in carried]))
        return found

    def _find_blocks(self) -> tuple[list[int], dict[int, tuple[int, ...]]]:
        """Return the loop around each instruction (-1: none), and the loops around each loop and itself, outermost first."""
        blocks: list[int] = []
        paths: dict[int, tuple[int, ...]] = {-1: ()}
        stack: list[int] = []
        for op, *_, which in self.code:
            if op == LOOP_END:
                stack.pop()
            blocks.append(stack[-1] if stack else -1)
            if op == LOOP_BEGIN:
                stack.append(which)
                paths[which] = tuple(stack)
        return blocks, paths

    def _find_users(self) -> dict[int, list[int]]:
        """Return the loops in which each value is used, by value; what a loop carries to itself alone is not used."""
        users: dict[int, list[int]] = {}
        waiting: dict[int, list[tuple[int, int]]] = {}  # param -> (value, loop) used if it is
        for at, (op, _, *uses, which) in enumerate(self.code):
            for use in uses:
                if use >= 0:
                    users.setdefault(use, []).append(self.blocks[at])
            if op == LOOP_BEGIN:
                loop = self.loops[which]
                if loop.counter == RANGE:
                    users.setdefault(loop.trips, []).append(which)
                    users.setdefault(loop.carries[0][0], []).append(which)
                for param, init, result in loop.carries:
                    waiting.setdefault(param, []).extend(((init, self.blocks[at]), (result, which)))
        ready = [param for param in waiting if param in users]
        while ready:
            for value, block in waiting.pop(ready.pop(), ()):
                users.setdefault(value, []).append(block)
                if value in waiting:
                    ready.append(value)
        return users

    def _find_hoisted(self) -> dict[int, list[int]]:
        """Return values that are used outside the loop that computes them, by the position that they are declared before."""
        found: dict[int, list[int]] = {}
        for at, (op, dst, *_) in enumerate(self.code):
            if op in (LOOP_BEGIN, LOOP_END) or dst < 0:
                continue
            path = self.paths[self.blocks[at]]
            common = min([_shared(path, self.paths[block]) for block in self.users.get(dst, ())], default=len(path))
            if common < len(path):
                found.setdefault(self.loops[path[common]].begin, []).append(dst)
        return found

    def _reads(self) -> Iterator[tuple[int, DType]]:
        computed = {dst for _, dst, *_ in self.code}
        for value in self.users:
            home, flags = self.program.values[3 * value + 1 : 3 * value + 3]
            if value not in computed and flags & IN_MEMORY:
                yield home, self.dtypes[value]

    def _stores(self) -> Iterator[tuple[int, DType]]:
        for op, _, x, _, _, place in self.code:
            if op == STORE:
                yield place, self.dtypes[x]

    def _accesses(self) -> Iterator[Access]:
        forms = _forms()
        for op, *_, place in self.code:
            form = forms.get(op)
            if form is not None and (dtype := form.get or form.put):
                yield Access(place, dtype, form.put is not None)

    # -- statements ------------------------------------------------------------------------------

    def _statement(self, at: int) -> Iterator[str]:
        op, dst, x, y, z, extra = self.code[at]
        if op == LOOP_BEGIN:
            yield from self._begin(self.loops[extra], x)
        elif op == LOOP_END:
            yield from self._end(self.loops[extra])
        elif op == LOOP_EXIT:
            assert self.blocks[at] == extra, "only the innermost loop can be left"
            yield f"if (!{self.value(x)}) {{"
            yield "break;"
            yield "}"
        elif op == STORE:
            yield f"{self.places.place(extra, self.dtypes[x])} = {self.value(x)};"
        elif op == COPY:
            yield from self._define(dst, self.value(x))
        else:
            yield from self._operation(op, dst, (x, y, z), extra)

    def _operation(self, op: int, dst: int, uses: tuple[int, int, int], extra: int) -> Iterator[str]:
        form = _forms().get(op)
        if form is None:
            name = {number: name for name, number in overloads().items()}[op]
            raise TargetError(f"C source has no {name}: it is made of programs for one lane (vector_bytes=0).")
        if form.put is not None:
            yield f"{self.places.place(extra, form.put, self.value(uses[1]))} = {self.value(uses[0])};"
        elif form.get is not None:
            yield from self._define(dst, self.places.place(extra, form.get, self.value(uses[0])))
        else:
            operands = [self.value(use) for use in uses if use >= 0]
            text = form.text.format(**dict(zip("xyz", operands, strict=False)))
            yield from self._define(dst, re.sub(r"\(uint64_t\)(\d+)\b", r"UINT64_C(\1)", re.sub(r"\(uint32_t\)(\d+)\b", r"\1u", text)))

    def _define(self, dst: int, text: str) -> Iterator[str]:
        home, flags = self.program.values[3 * dst + 1 : 3 * dst + 3]
        stored = flags & OUTPUT
        used = dst in self.users
        note = _decimals(text)
        if used and dst in self.names:  # declared before a loop
            yield f"{self.names[dst]} = {text};{note}"
        elif used:
            yield f"const {result_type(self.dtypes[dst])} {self._name(dst)} = {text};{note}"
        if stored:
            place = self.places.place(home, self.dtypes[dst])
            yield f"{place} = {self.names[dst]};" if used else f"{place} = {text};{note}"

    def _begin(self, loop: _Loop, condition: int) -> Iterator[str]:
        for value in self.hoisted.get(loop.begin, ()):
            dtype = self.dtypes[value]
            yield f"{result_type(dtype)} {self._name(value)} = {'false' if dtype.short == 'b' else '0'};"
        for param, init, _ in loop.carries:
            if param in self.users:
                text = self.value(init)
                yield f"{result_type(self.dtypes[param])} {self._name(param)} = {text};"
        if loop.counter == RANGE:
            if condition >= 0:
                yield f"if ({self.value(condition)}) {{"
            yield "do {"
        elif loop.counter >= 0:
            counter = f"i{self.code[loop.begin][5]}"
            yield f"for (int32_t {counter} = 0; {counter} < {loop.trips}; {counter}++) {{"
        else:
            yield "for (;;) {"

    def _end(self, loop: _Loop) -> Iterator[str]:
        for param, _, result in loop.carries:  # results are values of their own, so the order is free
            if param in self.users and param != result:
                yield f"{self.names[param]} = {self.value(result)};"
        if loop.counter != RANGE:
            yield "}"
            return
        yield f"}} while ({self.value(loop.carries[0][0])} < {self.value(loop.trips)});"
        if self.code[loop.begin][2] >= 0:
            yield "}"

    def _name(self, value: int) -> str:
        self.names[value] = name = f"v{len(self.names)}"
        return name

    def value(self, value: int) -> str:
        """Return C for a value: a variable, a field or a constant."""
        if value in self.names:
            return self.names[value]
        home = self.program.values[3 * value + 1]
        assert home >= 0, f"value {value} is used before it is computed"
        return self.places.read(home, self.dtypes[value])


def _decimals(text: str) -> str:
    """Return a comment that tells the constants of a statement as people write them."""
    found = dict.fromkeys(_HEXADECIMAL.findall(text))
    shown = [str(np.float32(float.fromhex(digits))) if single else repr(float.fromhex(digits)) for digits, single in found]
    return f" /* {', '.join(shown)} */" if shown else ""


def _shared(path: tuple[int, ...], other: tuple[int, ...]) -> int:
    """Return how many loops two places share, outermost first."""
    count = 0
    while count < min(len(path), len(other)) and path[count] == other[count]:
        count += 1
    return count
