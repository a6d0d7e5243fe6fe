"""The C text of stencils that stand between two marks in a function whose variables are pinned to registers.

Every register of the machine is an output of the first mark, or destroyed by it, and every register
that must keep its value is an input of the second: what the compiler writes between them is the stencil.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from stencilgen.source import C_TYPES, HOLE_IMMEDIATE, HOLE_OFFSET, MEMORY_TYPES, Spec, is_wide
from stencilgen.target import Pinning, Target

# What other displacements and numbers are measured against: with a bit flipped they are no special cases.
NEAR, FAR, NUMBER = 704, 0x5A5A5A5A, 0x3C3C3C3C

PRELUDE = """#include "elementary.h"
#include "scalar.h"
#if HL_WIDE
#include "wide.h"
#include "access.h"
#endif
static inline __attribute__((always_inline)) int64_t hl_word_i64(double x) { return (int64_t)hl_op_word_f64(x); }
static inline __attribute__((always_inline)) double hl_real_i64(int64_t x) { return hl_op_real_f64((uint64_t)x); }
"""


def shell_of(target: Target) -> Pinning:
    """Return what is particular to targets of this kind."""
    assert isinstance(target.shell, Pinning)
    return target.shell


def prelude(target: Target) -> str:
    """Return what precedes every stencil."""
    shell = shell_of(target)
    high, low = "((n) >> 12 & 0xfffff) ^ ((n) & 2048 ? 0xfffff : 0)", "(((n) & 4095) ^ 2048) - 2048"
    far = f'__extension__({{ long far_; __asm__("{_escaped(shell.constant)}" : "=r"(far_) : "i"(n), "i"({high}), "i"({low})); far_; }})'
    return f"{PRELUDE}#if HL_LANES == 1\n{shell.prelude}#endif\n#define HL_FAR(n) {far}\nvoid TARGET(void);\n"


def function(target: Target, symbol: str, spec: Spec, registers: dict[int, int], offset: int = 0, immediate: int = NUMBER) -> str:
    """Return a C function `symbol` that has the stencil for `registers` (operand number -> register) between its marks."""
    shell = shell_of(target)
    frame = _Frame(target, spec, registers)
    place = f"HL_FAR({offset or FAR})" if spec.far else str(offset or NEAR)
    if spec.assembly:
        body = f'__asm__ volatile("{_escaped(getattr(shell, spec.assembly))}");'
    else:
        body = frame.statements().replace(HOLE_OFFSET, f"(long){place}").replace(HOLE_IMMEDIATE, f"HL_FAR({immediate})")
    first, second = (f".4byte {mark:#x}" for mark in shell.marks)
    jump, operands = "", list(frame.kept)
    if spec.branch:
        jump = f"{_escaped(shell.branches[spec.branch])}\\n "
        operands = frame.compared + operands
    given = ", ".join(f'"{constraint}"({name})' for constraint, name in operands)
    taken = ", ".join(f'"={constraint}"({name})' for constraint, name in frame.outputs)
    lost = ", ".join([f'"{name}"' for name in [*frame.destroyed, "memory"]])
    return (
        f'void {symbol}(void) {{ {frame.declarations} __asm__ volatile("{first}" : {taken} :: {lost}); {body} '
        f'__asm__ volatile("{jump}{second}" :: {given} : "memory"); __builtin_unreachable(); }}\n'
    )


def _escaped(asm: str) -> str:
    return asm.replace("\n", "\\n")


class _Frame:
    """Variables of one stencil, and what its marks take and give."""

    def __init__(self, target: Target, spec: Spec, registers: dict[int, int]) -> None:
        self.target, self.spec, self.registers = target, spec, registers
        self.shell = shell_of(target)
        self.lines: list[str] = []
        self.outputs: list[tuple[str, str]] = []  # (constraint, variable)
        self.kept: list[tuple[str, str]] = []
        self.compared: list[tuple[str, str]] = []
        sources = [(short, registers[k]) for k, short in enumerate(spec.sources, 1)]
        self.variables = {(short, n): f"x{k}" for k, (short, n) in enumerate(sources)}
        self.result = None if spec.dst is None else (spec.dst, registers[1] if spec.tied else registers.get(0, 0))
        self._declare("ctx", self.shell.ctx, "char *", "r", output=True, kept=True)
        used = {self._place(*operand) for operand in self.variables}
        into = self._place(*self.result) if self.result else None
        for operand, name in self.variables.items():
            place = self._place(*operand)
            if place is not None:
                self._declare(
                    name, place, self._kind(operand[0]), self._constraint(operand[0]), True, place != into and not self._lost(*operand)
                )
        if into is not None and self.result:
            self._declare("r", into, self._kind(self.result[0]), self._constraint(self.result[0]), output=False, kept=True)
        self.destroyed = [*self.shell.free, *self._upper_halves([*self.variables, *([self.result] if self.result else [])])]
        self._keep_others(used | {into})
        self.declarations = " ".join(self.lines)

    def _keep_others(self, used: set[str | None]) -> None:
        """Keep every register that no operand is in; what a helper destroys, and the result's, is destroyed."""
        into = self._place(*self.result) if self.result else None
        taken = {self._number(name) for name in used if name}
        pinned = "f32w" if self.spec.wide else self.shell.pinned  # a stencil on lanes keeps whole vectors, and its helper none
        saved = () if self.spec.wide else self.target.saved_vectors
        for n, name in enumerate(self.shell.vectors.get(pinned, ())):
            if n not in taken and name not in taken:
                self._other(f"v{n}", name, C_TYPES[pinned], self.shell.constraint, n, self.target.vectors, saved)
        for n, name in enumerate(self.shell.integers):
            if name not in taken:
                # temporaries are the same for all choices of operands if the scratch register is none
                count = self.target.integers + (not self.spec.fixed)
                self._other(f"i{n}", name, "long", "r", n, count, self.target.saved_integers)
        if into is not None and into not in [self._place(*operand) for operand in self.variables]:
            self.destroyed.append(into)

    def _other(self, variable: str, name: str, kind: str, constraint: str, n: int, count: int, saved: Sequence[int]) -> None:
        if n >= count or (self.spec.fixed and n not in saved):
            self.destroyed.append(name)
        else:
            self._declare(variable, name, kind, constraint, output=True, kept=True)

    def _upper_halves(self, operands: Sequence[tuple[str, int]]) -> list[str]:
        """Return what shares a register with operands and is no value: s1, s3, ... on ARM, which a compiler could use before the mark."""
        return [f"s{2 * n + 1}" for n in sorted({n for short, n in operands if short == "f32" and self._constraint(short) == "t"})]

    def _number(self, name: str) -> int | str:
        """Return the number of a vector register, the name of another."""
        return next((names.index(name) for names in self.shell.vectors.values() if name in names), name)

    def _lost(self, short: str, n: int) -> bool:
        saved = self.target.saved_vectors if self.target.is_vector(short) else self.target.saved_integers
        return self.spec.fixed and (n not in saved or is_wide(short))

    def _declare(self, name: str, place: str, kind: str, constraint: str, output: bool, kept: bool) -> None:
        asm_kind = "double" if kind == "int64_t" and constraint != "r" else kind
        self.lines.append(f'register {asm_kind} {name} __asm__("{place}");')
        if output:
            self.outputs.append((constraint, name))
        if kept:
            self.kept.append((constraint, name))

    def _place(self, short: str, n: int) -> str | None:
        """Return the register that a value of a type is in, None for a place in memory."""
        if not self.target.is_vector(short):
            return self.shell.integers[n]
        return self.shell.vectors[short][n] if short in self.shell.vectors else None

    def _kind(self, short: str) -> str:
        """Return the type of a pinned variable: a whole register, where values are narrower."""
        return "long" if self.target.index == "i64" and not self.target.is_vector(short) else C_TYPES[short]

    def _constraint(self, short: str) -> str:
        if not self.target.is_vector(short):
            return "r"
        return "t" if self.shell.constraint == "w" and self.shell.vectors[short][1] == "s2" else self.shell.constraint

    def _read(self, short: str, n: int) -> str:
        kind = C_TYPES[short]
        if self._place(short, n) is None:
            return f"(*({kind} *)(ctx + {8 * n}))"
        name = self.variables[short, n]
        if self._kind(short) != kind:
            return f"(({kind}){name})"
        return f"hl_word_i64({name})" if kind == "int64_t" and self.target.is_vector(short) else name

    def statements(self) -> str:
        """Return the operation itself, which leaves its result in r or in memory."""
        spec = self.spec
        values = [self._read(short, self.registers[k]) for k, short in enumerate(spec.sources, 1)]
        if spec.memory:
            values.append(f"(({C_TYPES[spec.memory]})*({MEMORY_TYPES[spec.memory]} *)(ctx + {HOLE_OFFSET}))")
        short = spec.sources[-1] if spec.sources else (spec.memory or spec.dst or "i32")
        text = spec.text.format(**dict(zip("xyz", values, strict=False)), t=short)
        if spec.branch:
            return self._condition(text, values)
        if spec.dst is None or self.result is None:
            return text
        kind = C_TYPES[spec.dst]
        if self._place(*self.result) is None:
            return f"{kind} result = {text}; *({kind} *)(ctx + {8 * self.result[1]}) = result;"
        if self._kind(spec.dst) != kind:
            return f"r = (long)({kind})({text});" if self.shell.extends else f"r = (long)(u{kind})({text});"
        return f"r = hl_real_i64({text});" if kind == "int64_t" and self.target.is_vector(spec.dst) else f"r = {text};"

    def _condition(self, text: str, values: Sequence[str]) -> str:
        if self.spec.branch == "less":
            self.compared = [("r", value) for value in values]
            return ""
        if self.spec.branch == "always":
            return ""
        self.compared = [("r", "condition")]
        return f"int32_t condition = {text};"


def called(_: Target, __: Spec) -> str:
    """Return the attributes of a helper: it is a plain C function."""
    return ""


def between(target: Target, code: bytes) -> tuple[int, int] | None:
    """Return where the stencil stands in a function, or None if the compiler put part of it elsewhere."""
    first, second = (mark.to_bytes(4, "little") for mark in shell_of(target).marks)
    start = code.find(first) + 4
    end = len(code) - 4
    if start < 4 or not code.endswith(second) or code.count(first) != 1 or re.search(re.escape(second), code[:end]):
        return None
    return start, end
