"""Random data-parallel programs as text, with arguments for them: what all places must agree on.

Every expression is made for a type, so that what plain Python decides by values (`1 if c else 0.5`) never differs from
what the compiler decides by types. Run for long by `python -m tests.parallel_sessions --help`.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hotloop import cuarray
from hotloop.parallel.cuarray import adopt
from hotloop.parallel.forms import Ragged, Records

SCALARS = ("bool", "int32", "int64", "float32", "float64")
INTS, FLOATS = ("int32", "int64"), ("float32", "float64")
NUMBERS = (*INTS, *FLOATS)
Type = Any  # a name of SCALARS; ("tuple", types); ("seq", element, name of the length); ("rows", element)


@dataclass
class Variable:
    """Something that a program can name. depth: how many functions over elements are around it."""

    name: str
    type: Type


@dataclass
class Program:
    """The text of a function `program`, and arguments for it."""

    text: str
    arguments: tuple[Any, ...]
    types: tuple[Type, ...]  # of the results; None where it is not known


def seq(element: Type, length: str) -> Type:
    return "seq", element, length


@dataclass
class Generator:
    """Makes one program from a seed."""

    chance: random.Random
    exact: bool  # whether floats are small integers, of which sums have no rounding errors
    lines: list[str] = field(default_factory=list)
    variables: list[Variable] = field(default_factory=list)
    made: int = 0
    depth: int = 0  # of functions over elements
    indent: int = 1
    budget: int = 60
    flat: bool = False  # whether functions over elements hold no other sequences, since these are long

    # -- names -----------------------------------------------------------------------------------------------------

    def fresh(self, letter: str) -> str:
        self.made += 1
        return f"{letter}{self.made}"

    def pick(self, fits: Callable[[Type], bool]) -> Variable | None:
        found = [variable for variable in self.variables if fits(variable.type)]
        return self.chance.choice(found[-6:] + found[:2]) if found else None

    def one(self, *choices: Any) -> Any:
        return self.chance.choice(choices)

    def often(self, percent: int) -> bool:
        return self.chance.random() * 100 < percent

    # -- scalars ---------------------------------------------------------------------------------------------------

    def literal(self, dtype: str) -> str:
        if dtype == "bool":
            return self.one("True", "False")
        if dtype in INTS:
            return str(self.one(0, 1, 2, 3, 5, 7, -1, -2, 100))
        return self.one("0.0", "1.0", "2.0", "-1.0", "3.0") if self.exact else self.one("0.0", "0.5", "1.25", "-2.0", "1e3", "0.1", "-0.0")

    def strong_literal(self, dtype: str) -> str:
        text = self.literal(dtype)
        return text if dtype == "bool" else f"{dtype}({text})"

    def scalar(self, dtype: str, size: int) -> str:
        """Return an expression of a strong type."""
        self.budget -= 1
        if size <= 0 or self.budget < 0:
            return self.leaf(dtype)
        ways = [self.arithmetic, self.arithmetic, self.choice, self.leaf_of_size, self.element, self.converted, self.function]
        if self.depth < (1 if self.flat else 3):
            ways += [self.reduction, self.reduction]
        if dtype == "bool":
            ways = [self.comparison, self.comparison, self.logic, self.leaf_of_size, self.choice, self.element]
            ways += [] if self.flat and self.depth else [self.question]
        return self.chance.choice(ways)(dtype, size)

    def leaf_of_size(self, dtype: str, size: int) -> str:
        known = self.pick(lambda kind: kind == dtype)
        return known.name if known else self.leaf(dtype)

    def leaf(self, dtype: str) -> str:
        """Return a number of a type from variables of any type, or a literal."""
        known = self.pick(lambda kind: kind == dtype)
        if known is not None and self.often(70):
            return known.name
        parts = self.pick(lambda kind: kind[0] == "tuple" and dtype in kind[1])
        if parts is not None and self.often(50):
            return f"{parts.name}[{parts.type[1].index(dtype)}]"
        known = self.pick(lambda kind: kind in NUMBERS if dtype == "bool" else kind in SCALARS and self.converts(kind, dtype))
        if known is None or self.often(15):
            return self.strong_literal(dtype)
        if dtype == "bool":
            return f"({known.name} {self.one('<', '>', '==', '!=')} {self.literal(known.type)})"
        return known.name if known.type == dtype else f"{dtype}({known.name})"

    def converts(self, source: str, target: str) -> bool:
        return source == target or (target != "bool" and not (source in FLOATS and target in INTS))

    def converted(self, dtype: str, size: int) -> str:
        source = self.one(*[kind for kind in SCALARS if self.converts(kind, dtype)])
        return f"{dtype}({self.scalar(source, size - 1)})"

    def arithmetic(self, dtype: str, size: int) -> str:
        x = self.scalar(dtype, size - 1)
        others = [kind for kind in NUMBERS if str(np.result_type(kind, dtype)) == dtype]
        weak = dtype if self.often(60) or dtype in INTS else "int64"
        y = self.scalar(self.one(*others), size - 1) if self.often(75) else self.literal(weak)
        if dtype in INTS:
            sign = self.one("+", "-", "*", "+", "-", "*", "//", "%", "&", "|", "^")
        else:
            sign = self.one("+", "-", "*") if self.exact else self.one("+", "-", "*", "+", "-", "*", "/", "//", "%")
        if sign in ("/", "//", "%") and y in ("0", "0.0", "-0.0"):  # which is refused
            y = self.strong_literal(dtype)
        x, y = (y, x) if self.often(30) and sign not in ("/", "//", "%") else (x, y)
        return f"({x} {sign} {y})"

    def function(self, dtype: str, size: int) -> str:
        x = self.scalar(dtype, size - 1)
        if dtype in INTS:
            name = self.one("abs", "minimum", "maximum", "neg", "where", "power")
        else:
            inexact = [] if self.exact else ["sqrt", "exp", "log", "sin", "power"]
            name = self.one("abs", "minimum", "maximum", "neg", "where", "floor", *inexact)
        if name == "neg":
            return f"(-{x})"
        if name == "power":
            return f"({x} ** {self.one(0, 1, 2, 3)})"
        if name == "where":
            return f"where({self.scalar('bool', size - 1)}, {x}, {self.scalar(dtype, size - 1)})"
        if name in ("minimum", "maximum"):
            name = self.one(name, name[:3])
            return f"{name}({x}, {self.scalar(dtype, size - 1)})"
        return f"{name}({x})"

    def choice(self, dtype: str, size: int) -> str:
        return f"({self.scalar(dtype, size - 1)} if {self.scalar('bool', size - 1)} else {self.scalar(dtype, size - 1)})"

    def comparison(self, dtype: str, size: int) -> str:
        x, y = (self.scalar(self.one(*NUMBERS), size - 1) for _ in range(2))
        sign = ["<", "<=", ">", ">=", "==", "!="]
        if self.often(15):
            return f"({x} {self.one(*sign)} {y} {self.one(*sign)} {self.scalar(self.one(*NUMBERS), size - 1)})"
        return f"({x} {self.one(*sign)} {y if self.often(70) else self.literal('int64')})"

    def logic(self, dtype: str, size: int) -> str:
        if self.often(20):
            return f"(not {self.scalar('bool', size - 1)})"
        return f"({self.scalar('bool', size - 1)} {self.one('and', 'or', '&', '|', '^')} {self.scalar('bool', size - 1)})"

    def question(self, dtype: str, size: int) -> str:
        x = self.sequence(self.one(*SCALARS), size - 1)[0]
        if self.often(30):
            return f"({x}[{self.scalar('int64', 0)} % 3] == 0 if len({x}) > 2 else False)" if x.isidentifier() else f"any({x})"
        return f"{self.one('any', 'all')}({x})"

    def element(self, dtype: str, size: int) -> str:
        known = self.pick(lambda kind: kind[0] == "seq" and kind[1] == dtype)
        if known is None:
            return self.scalar(dtype, size - 1)
        index = self.scalar(self.one(*INTS), size - 2)
        return self.one(
            f"{known.name}[{index} % len({known.name})]",
            f"{known.name}[minimum(maximum({index}, -len({known.name})), len({known.name}) - 1)]",
            f"({known.name}[{index}] if 0 <= {index} < len({known.name}) else {self.strong_literal(dtype)})",
            f"({known.name}[-1] if len({known.name}) > 0 else {self.strong_literal(dtype)})",
        )  # fmt: skip

    def reduction(self, dtype: str, size: int) -> str:
        way = self.one("sum", "reduce", "reduce", "min", "prod", "len", "count", "last")
        if way == "len" or way == "count":
            x, kind = self.any_sequence(size - 1)
            if way == "len" or self.depth > 1:
                return f"{dtype}(len({x}))"
            return f"{dtype}(count({self.lambda_of([kind], 'bool', size - 2)}, {x}))"
        x, _ = self.sequence(dtype, size - 1)
        if way == "sum":
            return f"sum({x})" if self.often(70) else f"sum({x}, {self.scalar(dtype, 0)})"
        if way == "min":
            return f"{self.one('min', 'max')}(concatenate({x}, replicate({self.scalar(dtype, 0)}, 1)))" if self.often(70) else f"max({x})"
        if way == "last":
            return f"({x})[len({x}) - 1]" if len(x) < 60 else f"sum({x})"
        return f"reduce({self.operator(dtype, size - 2)}, {x}, {self.scalar(dtype, size - 2)})"

    def operator(self, dtype: str, size: int) -> str:
        known = ["op_add", "op_mul", "minimum", "maximum", "lambda a, b: a + b", "lambda a, b: min(a, b)"]
        if self.often(60):
            return self.chance.choice(known if not self.exact or dtype in INTS else [k for k in known if "mul" not in k])
        if self.exact and dtype in FLOATS:
            return self.one("lambda a, b: a if a > b else b", "lambda a, b: b", "lambda a, b: a")
        return self.lambda_of([dtype, dtype], dtype, size)

    # -- functions -------------------------------------------------------------------------------------------------

    def lambda_of(self, parameters: list[Type], result: Type, size: int) -> str:
        names = [self.fresh("p") for _ in parameters]
        before = len(self.variables)
        self.variables += [Variable(name, kind) for name, kind in zip(names, parameters, strict=True)]
        self.depth += 1
        body = self.value(result, size)
        self.depth -= 1
        del self.variables[before:]
        return f"(lambda {', '.join(names)}: {body})"

    def value(self, kind: Type, size: int) -> str:
        if kind in SCALARS:
            return self.scalar(kind, size)
        if kind[0] == "tuple":
            known = self.pick(lambda other: other == kind)
            if known is not None and self.often(40):
                return known.name
            return "(" + ", ".join(self.value(part, size - 1) for part in kind[1]) + ")"
        return self.sequence(kind[1], size)[0]

    def some_type(self) -> Type:
        if self.often(75):
            return self.one(*SCALARS)
        return "tuple", tuple(self.one(*SCALARS) for _ in range(self.one(2, 2, 3)))

    # -- sequences -------------------------------------------------------------------------------------------------

    def any_sequence(self, size: int) -> tuple[str, Type]:
        known = self.pick(lambda kind: kind[0] == "seq")
        if known is not None and (size <= 0 or self.often(40)):
            return known.name, known.type[1]
        kind = self.some_type()
        return self.sequence(kind, size)[0], kind

    def sequence(self, kind: Type, size: int) -> tuple[str, str]:
        """Return an expression for a sequence of elements of a type, and the name of its length."""
        self.budget -= 1
        known = self.pick(lambda other: other[0] == "seq" and other[1] == kind)
        if size <= 0 or self.budget < 0:
            if known is not None:
                return known.name, known.type[2]
            return self.made_sequence(kind)
        if known is not None and self.often(25):
            return known.name, known.type[2]
        ways = [self.mapped, self.mapped, self.mapped, self.moved, self.moved, self.moved, self.filtered, self.sliced]
        if self.depth == 0:
            ways += [self.scanned, self.scanned, self.ordered, self.scattered]
        elif self.often(15):
            ways = [self.scanned]
        return self.chance.choice(ways)(kind, size)

    def made_sequence(self, kind: Type) -> tuple[str, str]:
        source = self.pick(lambda other: other[0] == "seq")
        if source is None or self.often(20):
            return f"replicate({self.value(kind, 0)}, {self.one(0, 1, 3, 5)})", self.fresh("n")
        return f"[{self.value(kind, 0)} for {self.fresh('u')} in {source.name}]", source.type[2]

    def mapped(self, kind: Type, size: int) -> tuple[str, str]:
        count = self.one(1, 1, 1, 2, 2, 3)
        x, inner = self.any_sequence(size - 1)
        first = self.pick(lambda other: other[0] == "seq")
        if count > 1 and first is not None:
            others = [v for v in self.variables if v.type[0] == "seq" and v.type[2] == first.type[2]]
            chosen = [self.chance.choice(others) for _ in range(count)]
            return self.zipped(kind, [v.name for v in chosen], [v.type[1] for v in chosen], first.type[2], size)
        way = self.one("map", "comprehension", "enumerate", "def")
        if way == "map":
            return f"map({self.lambda_of([inner], kind, size - 1)}, {x})", self.fresh("n")
        if way == "enumerate":
            name, place = self.fresh("e"), self.fresh("k")
            return f"[{self.within({name: inner, place: 'int64'}, kind, size - 1)} for {place}, {name} in enumerate({x})]", self.fresh("n")
        if isinstance(inner, tuple) and self.often(60):
            names = [self.fresh("e") for _ in inner[1]]
            body = self.within(dict(zip(names, inner[1], strict=True)), kind, size - 1)
            return f"[{body} for {', '.join(names)} in {x}]", self.fresh("n")
        name = self.fresh("e")
        return f"[{self.within({name: inner}, kind, size - 1)} for {name} in {x}]", self.fresh("n")

    def within(self, names: dict[str, Type], kind: Type, size: int) -> str:
        before = len(self.variables)
        self.variables += [Variable(name, given) for name, given in names.items()]
        self.depth += 1
        body = self.value(kind, size)
        self.depth -= 1
        del self.variables[before:]
        return body

    def zipped(self, kind: Type, names: list[str], kinds: list[Type], length: str, size: int) -> tuple[str, str]:
        if self.often(40):
            return f"map({self.lambda_of(kinds, kind, size - 1)}, {', '.join(names)})", length
        targets = [self.fresh("e") for _ in names]
        body = self.within(dict(zip(targets, kinds, strict=True)), kind, size - 1)
        return f"[{body} for {', '.join(targets)} in zip({', '.join(names)})]", length

    def moved(self, kind: Type, size: int) -> tuple[str, str]:
        x, length = self.sequence(kind, size - 1)
        way = self.one(
            "shift", "rotate", "reversed", "take", "drop", "gather", "evens", "odds", "interleave", "concatenate", "both", "rotate", "pick"
        )
        n = self.scalar(self.one(*INTS), 0) if self.often(40) else str(self.one(0, 1, 2, -1, -2, 5))
        if way == "shift":
            return f"shift({x}, {n}, {self.value(kind, size - 2)})", length
        if way in ("rotate", "take", "drop"):
            return f"{way}({x}, {n})", length if way == "rotate" else self.fresh("n")
        if way in ("evens", "odds", "reversed"):
            return f"{way}({x})", length if way == "reversed" else self.fresh("n")
        if way == "gather":
            return self.gathered(kind, x, size)
        if way == "interleave":
            return f"interleave({x}, {x})", self.fresh("n")
        if way == "pick" and isinstance(kind, str):
            return f"unzip(zip({x}, indices({x})))[0]", length
        return f"concatenate({x}, {self.sequence(kind, size - 1)[0]})", self.fresh("n")

    def gathered(self, kind: Type, x: str, size: int) -> tuple[str, str]:
        if not x.isidentifier():
            known = self.pick(lambda other: other[0] == "seq" and other[1] == kind)
            if known is None:
                return f"reversed({x})", self.fresh("n")
            x = known.name
        i, length = self.sequence(self.one(*INTS), size - 1)
        if self.often(10):
            return f"gather({x}, {i})", length
        k = self.fresh("k")
        return f"gather({x}, [{k} % len({x}) for {k} in {i}])", length

    def filtered(self, kind: Type, size: int) -> tuple[str, str]:
        if self.often(50):
            x, _ = self.sequence(kind, size - 1)
            return f"filter({self.lambda_of([kind], 'bool', size - 2)}, {x})", self.fresh("n")
        x, inner = self.any_sequence(size - 1)
        name = self.fresh("e")
        body = self.within({name: inner}, kind, size - 1)
        return f"[{body} for {name} in {x} if {self.within({name: inner}, 'bool', size - 2)}]", self.fresh("n")

    def sliced(self, kind: Type, size: int) -> tuple[str, str]:
        x, _ = self.sequence(kind, size - 1)
        low, high = (self.one("", "1", "2", "-1", "-3", "100", self.scalar("int64", 0)) for _ in range(2))
        return f"{x if x.isidentifier() else f'({x})'}[{low}:{high}{self.one('', '', ':2', ':-1', ':-3', ':3')}]", self.fresh("n")

    def scanned(self, kind: Type, size: int) -> tuple[str, str]:
        if kind == "bool" or isinstance(kind, tuple):
            return self.moved(kind, size)
        x, length = self.sequence(kind, size - 1)
        name = self.one("scan", "rscan", "exclusive_scan", "exclusive_rscan")
        start = f"{self.scalar(kind, 0)}, " if "exclusive" in name else ""
        return f"{name}({self.operator(kind, size - 2)}, {start}{x})", length

    def ordered(self, kind: Type, size: int) -> tuple[str, str]:
        x, length = self.sequence(kind, size - 1)
        if isinstance(kind, tuple):
            part = self.chance.randrange(len(kind[1]))
            return self.one(f"sort({x})", f"sort(lambda a, b: a[{part}] > b[{part}], {x})"), length
        known = self.pick(lambda other: other[0] == "seq" and other[1] == kind)
        ways = [f"sort({x})", f"sort(cmp_gt, {x})", f"sort(lambda a, b: a < b, {x})"]
        if not kind.startswith("float"):
            ways.append(f"sort(lambda a, b: (a & 3) < (b & 3), {x})" if kind != "bool" else f"sort(cmp_lt, {x})")
        if known is not None:
            ways.append(f"gather({known.name}, argsort({known.name}))")
            ways.append(f"sort_by_key({known.name}, {known.name})[1]")
            ways.append(f"permute({known.name}, argsort({known.name}))")
        return self.chance.choice(ways), self.fresh("n")

    def scattered(self, kind: Type, size: int) -> tuple[str, str]:
        x = self.pick(lambda other: other[0] == "seq" and other[1] == kind)
        if x is None:
            return self.moved(kind, size)
        i, _ = self.sequence("int64", size - 1)
        k = self.fresh("k")
        places = f"[{k} % maximum(len({x.name}), 1) for {k} in {i}]" if self.often(90) else i
        values = f"[{self.within({k: 'int64'}, kind, size - 2)} for {k} in {i}]"
        if self.often(30) and kind in NUMBERS:
            return f"scatter_reduce({self.operator(kind, size - 2)}, {values}, {places}, {x.name})", x.type[2]
        if self.often(20):
            return f"update({x.name}, zip({places}, {values}))", x.type[2]
        return f"scatter({values}, {places}, {x.name})", x.type[2]

    # -- rows ------------------------------------------------------------------------------------------------------

    def of_rows(self, size: int) -> str | None:
        """Return an expression over the rows of an argument: a sequence of numbers or rows."""
        known = self.pick(lambda kind: kind[0] == "rows")
        if known is None:
            return None
        row, dtype, result = self.fresh("r"), known.type[1], self.one(*SCALARS)
        if self.often(60) and not self.flat:
            return f"[{self.within({row: seq(dtype, self.fresh('n'))}, result, size)} for {row} in {known.name}]"
        e = self.fresh("e")
        before = len(self.variables)
        self.variables += [Variable(row, seq(dtype, self.fresh("n"))), Variable(e, dtype)]
        self.depth += 2
        body = self.scalar(result, size - 1)
        self.depth -= 2
        del self.variables[before:]
        return f"[[{body} for {e} in {row}] for {row} in {known.name}]"

    # -- statements ------------------------------------------------------------------------------------------------

    def line(self, text: str) -> None:
        self.lines.append("    " * self.indent + text)

    def statement(self, size: int) -> None:
        way = self.one("let", "let", "let", "let", "tuple", "if", "if", "for", "while", "augmented", "def")
        getattr(self, f"do_{way}")(size)

    def do_let(self, size: int) -> None:
        if self.often(35):
            kind: Type = self.some_type()
            text, made = self.value(kind, size), kind
        else:
            kind = self.some_type()
            text, length = self.sequence(kind, size)
            made = seq(kind, length)
        name = self.fresh("v")
        self.line(f"{name} = {text}")
        self.variables.append(Variable(name, made))

    def do_tuple(self, size: int) -> None:
        kinds = [self.one(*SCALARS) for _ in range(2)]
        names = [self.fresh("v") for _ in kinds]
        self.line(f"{', '.join(names)} = {', '.join(self.scalar(kind, size - 1) for kind in kinds)}")
        self.variables += [Variable(name, kind) for name, kind in zip(names, kinds, strict=True)]

    def do_augmented(self, size: int) -> None:
        known = self.pick(lambda kind: kind in NUMBERS)
        if known is not None and known.name.startswith("v"):
            self.line(f"{known.name} {self.one('+', '-', '*')}= {self.scalar(known.type, size - 1)}")

    def assignable(self) -> list[Variable]:
        return [v for v in self.variables if v.name.startswith("v") and v.type[0] != "rows"]

    def reassign(self, size: int) -> None:
        known = self.assignable()
        if not known:
            self.line("pass")
            return
        variable = self.chance.choice(known[-4:])
        if variable.type in SCALARS or variable.type[0] == "tuple":
            self.line(f"{variable.name} = {self.value(variable.type, size)}")
            return
        text, length = self.sequence(variable.type[1], size)
        self.line(f"{variable.name} = {text}")
        fresh = self.fresh("n")
        if length != variable.type[2]:  # from now on nothing is known of its length
            variable.type = seq(variable.type[1], fresh)

    def block(self, size: int) -> None:
        """Write statements whose new variables are not seen outside."""
        self.indent += 1
        before = len(self.variables)
        for _ in range(self.one(1, 1, 2)):
            self.reassign(size) if self.often(80) else self.do_let(size)
        del self.variables[before:]
        self.indent -= 1

    def do_if(self, size: int) -> None:
        self.line(f"if {self.scalar('bool', size - 1)}:")
        self.block(size - 1)
        if self.often(60):
            self.line("else:")
            self.block(size - 1)

    def do_for(self, size: int) -> None:
        if not self.assignable():
            return
        name = self.fresh("e")
        x = self.pick(lambda kind: kind[0] == "seq" and kind[1] in SCALARS)
        if x is None or self.often(50):
            header, kind = f"range({self.one(0, 1, 2, 3)})", "int64"
        else:
            header, kind = f"take({x.name}, {self.one(1, 2, 3)})", x.type[1]
        self.line(f"for {name} in {header}:")
        for variable in self.assignable():  # a loop may change lengths at each trip
            if variable.type[0] == "seq":
                variable.type = seq(variable.type[1], self.fresh("n"))
        self.variables.append(Variable(name, kind))
        self.block(size - 1)
        if self.often(30):
            self.indent += 1
            self.line(f"if {self.scalar('bool', size - 2)}:")
            self.line(f"    {self.one('break', 'continue')}")
            self.reassign(size - 2)
            self.indent -= 1
        self.variables = [variable for variable in self.variables if variable.name != name]
        for variable in self.assignable():
            if variable.type[0] == "seq":
                variable.type = seq(variable.type[1], self.fresh("n"))

    def do_while(self, size: int) -> None:
        if not self.assignable():
            return
        name = self.fresh("w")
        self.line(f"{name} = 0")
        for variable in self.assignable():
            if variable.type[0] == "seq":
                variable.type = seq(variable.type[1], self.fresh("n"))
        self.line(f"while {name} < {self.one(0, 2, 3)} and {self.scalar('bool', size - 2)}:")
        self.line(f"    {name} += 1")
        self.block(size - 1)
        for variable in self.assignable():
            if variable.type[0] == "seq":
                variable.type = seq(variable.type[1], self.fresh("n"))

    def do_def(self, size: int) -> None:
        """Write a function of numbers with statements, and map it."""
        x = self.pick(lambda kind: kind[0] == "seq" and kind[1] in NUMBERS)
        if x is None:
            return
        name, parameter, result = self.fresh("f"), self.fresh("p"), self.one(*NUMBERS)
        before, kept = len(self.variables), list(self.variables)
        self.line(f"def {name}({parameter}):")
        self.variables = [*self.variables, Variable(parameter, x.type[1])]
        self.depth += 1
        self.indent += 1
        local = self.fresh("t")
        self.line(f"{local} = {self.scalar(result, size - 1)}")
        self.variables.append(Variable(local, result))
        if self.often(50):
            self.line(f"if {self.scalar('bool', size - 1)}:")
            self.line(f"    return {self.scalar(result, size - 1)}")
        if self.often(60):
            count = self.fresh("e")
            self.line(f"for {count} in range({self.one(0, 1, 3)}):")
            self.variables.append(Variable(count, "int64"))
            self.line(f"    {local} = {self.scalar(result, size - 1)}")
            if self.often(50):
                self.line(f"    if {self.scalar('bool', size - 2)}:")
                self.line(f"        {self.one('break', 'continue', f'return {local}')}")
                self.line(f"    {local} = {self.scalar(result, size - 2)}")
            self.variables.pop()
        self.line(f"return {local}")
        self.indent -= 1
        self.depth -= 1
        self.variables = kept
        assert len(kept) == before
        made = self.fresh("v")
        self.line(f"{made} = map({name}, {x.name})")
        self.variables.append(Variable(made, seq(result, x.type[2])))

    # -- arguments -------------------------------------------------------------------------------------------------

    def numbers(self, dtype: str, count: int) -> np.ndarray:
        draw = np.random.default_rng(self.chance.getrandbits(32))
        if dtype == "bool":
            return draw.random(count) < 0.5
        if dtype in INTS:
            low, high = (-9, 10) if self.exact or self.often(60) else (np.iinfo(dtype).min, np.iinfo(dtype).max)
            return draw.integers(low, high, count, dtype)
        if self.exact:
            return draw.integers(-9, 10, count).astype(dtype)
        made = draw.normal(size=count).astype(dtype)
        if count and self.often(30):
            with np.errstate(all="ignore"):
                made[draw.integers(0, count, 2)] = np.array(SPECIAL, dtype)[draw.integers(0, len(SPECIAL), 2)]
        return made

    def argument(self, lengths: dict[str, int]) -> tuple[str, Any, Type]:
        name, way = self.fresh("v"), self.chance.random()
        if way < 0.25:
            dtype = self.one(*SCALARS)
            return name, self.numbers(dtype, 1)[0], dtype
        length = self.one(*lengths)
        count = lengths[length]
        if way < 0.75:
            dtype = self.one(*SCALARS)
            made = self.numbers(dtype, count)
            return name, self.one(made, cuarray(made)), seq(dtype, length)
        if way < 0.85:
            kinds = tuple(self.one(*SCALARS) for _ in range(2))
            return name, _records([self.numbers(kind, count) for kind in kinds]), seq(("tuple", kinds), length)
        dtype = self.one(*NUMBERS)
        if way < 0.92:
            return name, self.numbers(dtype, count * 3).reshape(count, 3), ("rows", dtype)
        return name, _ragged(self.numbers(dtype, count), self.chance), ("rows", dtype)

    def program(self) -> Program:
        sizes = self.one((0, 1, 2), (3, 5), (1, 33), (5, 40), (7, 31), (0, 4), (4, 65), (9, 32))
        if self.often(10):
            sizes, self.flat = self.one((2, 300), (1000, 5), (9, 40000)), True
        lengths = {"n": sizes[0], "m": sizes[-1]}
        names, arguments = [], []
        for _ in range(self.one(2, 3, 3, 4)):
            name, value, kind = self.argument(lengths)
            names.append(name)
            arguments.append(value)
            self.variables.append(Variable(name, kind))
        for _ in range(self.one(1, 2, 2, 3, 4, 5)):
            self.budget = self.one(10, 16, 24, 40)
            self.statement(self.one(2, 2, 3, 3, 4, 5))
        chosen = [v for v in self.variables[len(names) :] if v.type[0] != "rows"][-4:] or [self.variables[0]]
        results, types = [v.name for v in chosen], [v.type for v in chosen]
        self.budget = 12
        rows = self.of_rows(3) if any(v.type[0] == "rows" for v in self.variables) else None
        if rows:
            results.append(rows)
            types.append(None)
        self.line(f"return {', '.join(results)}")
        text = "\n".join([f"def program({', '.join(names)}):", *self.lines]) + "\n"
        return Program(text, tuple(arguments), tuple(types))


SPECIAL = (np.nan, np.inf, -np.inf, -0.0, 0.0, 1e-320, 1e-40, 3e38, 1.0, 0.5)


def _records(columns: list[np.ndarray]) -> cuarray:
    return adopt(Records(tuple(columns)))


def _ragged(values: np.ndarray, chance: random.Random) -> cuarray:
    cuts = sorted(chance.randint(0, len(values)) for _ in range(chance.randint(0, 6)))
    return adopt(Ragged(values, np.array([0, *cuts, len(values)], np.int64)))


def random_program(seed: int) -> Program:
    """Return the program of a seed."""
    chance = random.Random(seed)
    return Generator(chance, exact=chance.random() < 0.4).program()
