"""Learns register fields: which bytes of a stencil change, and how, when an operand's register changes.

In every instruction set a register number is a field of fixed bits, so for registers that are
encoded alike the code is base ^ f0[r0] ^ f1[r1] ^ ...: each operand contributes its own bytes.
That is measured by compiling a handful of register choices and checked on others; a stencil for
which it does not hold is refused, and the operation becomes a call of a helper.
"""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass

from stencilgen.source import VECTOR, Spec, register_class
from stencilgen.target import Target

Choice = tuple[int, ...]  # one register per operand of Spec.operands()


@dataclass(frozen=True, slots=True)
class Plan:
    """The register choices to compile for one class of each operand.

    base: the choice all else is measured against
    pairs: (operand, difference) -> two choices that differ in that operand only, by these bits of the
        register's number for vectors; for integers the difference is from the base's register
    checks: choices whose code is predicted and compared
    overlaps: choices with the result in an operand's register; a wrong prediction there means early clobber
    """

    base: Choice
    registers: tuple[tuple[int, ...], ...]
    pairs: dict[tuple[int, int], tuple[Choice, Choice]]
    checks: tuple[Choice, ...]
    overlaps: tuple[Choice, ...]

    def choices(self) -> set[Choice]:
        """Return every register choice to compile."""
        pairs = set(itertools.chain.from_iterable(self.pairs.values()))
        return {self.base, *pairs, *self.checks, *self.overlaps}


def classes_of(target: Target, spec: Spec) -> list[tuple[tuple[int, ...], ...]]:
    """Return the register classes of each operand that can be chosen; only moves reach the scratch registers."""
    moves = spec.name.startswith(("move", "load", "store", "fill", "spill"))
    vectors = tuple(tuple(r for r in group if moves or r < target.vectors) for group in target.vector_classes)
    integers = target.integer_classes if moves else tuple(g for g in target.integer_classes if g[0] < target.integers)
    return [vectors if register_class(short) == VECTOR else integers for _, short in spec.operands()]


def plans(target: Target, spec: Spec) -> list[Plan]:
    """Return one plan per combination of classes, in the order of variants (last operand fastest)."""
    kinds = [register_class(short) for _, short in spec.operands()]
    return [_plan(spec, registers, kinds) for registers in itertools.product(*classes_of(target, spec))]


def _plan(spec: Spec, registers: tuple[tuple[int, ...], ...], kinds: list[int]) -> Plan:
    base = _distinct(registers, kinds, {})
    pairs = {}
    for operand, choices in enumerate(registers):
        for register, start in _steps(choices, base[operand], kinds[operand]):
            others = _distinct(registers, kinds, {operand: register}, avoid=start)
            pairs[operand, register ^ start] = (others, _replace(others, operand, start))
    chance = random.Random(spec.name)
    checks = tuple(_random(registers, kinds, chance) for _ in range(3)) if registers else ()
    overlaps = ()
    if spec.dst is not None and not spec.tied and not spec.fixed:
        same = [k for k in range(1, len(registers)) if kinds[k] == kinds[0] and registers[k] == registers[0]]
        overlaps = tuple(_replace(base, 0, base[k]) for k in same)
    elif spec.tied:
        same = [k for k in range(1, len(registers)) if kinds[k] == kinds[0] and registers[k] == registers[0]]
        overlaps = tuple(_replace(base, k, base[0]) for k in same)
    return Plan(base, registers, pairs, checks, overlaps)


def _steps(choices: tuple[int, ...], base: int, kind: int) -> list[tuple[int, int]]:
    """Return pairs of registers to compare: one per bit for vectors, whose numbers are the machine's."""
    if kind != VECTOR:
        return [(register, base) for register in choices if register != base]
    starts = [next((r for r in choices if r ^ bit in choices), None) for bit in (1, 2, 4)]
    return [(start ^ bit, start) for bit, start in zip((1, 2, 4), starts, strict=True) if start is not None]


def _replace(choice: Choice, operand: int, register: int) -> Choice:
    return (*choice[:operand], register, *choice[operand + 1 :])


def _distinct(
    registers: tuple[tuple[int, ...], ...], kinds: list[int], given: dict[int, int], avoid: int | None = None
) -> Choice:
    """Choose registers such that no two operands of one kind share one, as far as classes allow."""
    chosen: dict[int, int] = dict(given)
    for operand, choices in enumerate(registers):
        if operand not in chosen:
            taken = {r for o, r in chosen.items() if kinds[o] == kinds[operand]}
            free = [r for r in choices if r not in taken and r != avoid] or [r for r in choices if r not in taken] or list(choices)
            chosen[operand] = free[min(operand, len(free) - 1)]
    return tuple(chosen[o] for o in range(len(registers)))


def _random(registers: tuple[tuple[int, ...], ...], kinds: list[int], chance: random.Random) -> Choice:
    chosen: list[int] = []
    for operand, choices in enumerate(registers):
        taken = {chosen[o] for o in range(operand) if kinds[o] == kinds[operand]}
        chosen.append(chance.choice([r for r in choices if r not in taken] or list(choices)))
    return tuple(chosen)


Code = tuple[bytes, tuple[tuple[int, int, object, int], ...]]  # bytes and patches (position, kind, item, addend)


@dataclass(frozen=True, slots=True)
class Variant:
    """A stencil for one class of each operand: base code, its patches, its register fields."""

    code: bytes
    patches: tuple[tuple[int, int, object, int], ...]
    fields: dict[tuple[int, int], tuple[tuple[int, int], ...]]  # (operand, register) -> (position, byte)...
    early: bool


def learn(plan: Plan, codes: dict[Choice, Code]) -> Variant | None:
    """Return the variant that explains all compiled codes, or None where fields do not."""
    base, patches = codes[plan.base]
    steps: dict[tuple[int, int], dict[int, int]] = {}
    for key, (with_, without) in plan.pairs.items():
        a, b = codes[with_], codes[without]
        if len(a[0]) != len(base) or len(b[0]) != len(base) or a[1] != patches or b[1] != patches:
            return None
        steps[key] = {i: x ^ y for i, (x, y) in enumerate(zip(a[0], b[0], strict=True)) if x != y}
    fields = {
        (operand, register): _joined(steps, operand, register ^ plan.base[operand])
        for operand, registers in enumerate(plan.registers)
        for register in registers
    }
    variant = Variant(base, patches, fields, early=False)
    if any(predict(plan, variant, choice) != codes[choice] for choice in plan.checks):
        return None
    early = any(predict(plan, variant, choice) != codes[choice] for choice in plan.overlaps)
    return Variant(base, patches, fields, early)


def _joined(steps: dict[tuple[int, int], dict[int, int]], operand: int, difference: int) -> tuple[tuple[int, int], ...]:
    """Return the bytes that change for a difference in register number: measured, or bit by bit."""
    parts = [difference] if (operand, difference) in steps else [bit for bit in (1, 2, 4) if difference & bit]
    total: dict[int, int] = {}
    for part in parts if difference else []:
        for position, byte in steps[operand, part].items():
            total[position] = total.get(position, 0) ^ byte
    return tuple(sorted((position, byte) for position, byte in total.items() if byte))


def predict(plan: Plan, variant: Variant, choice: Choice) -> Code:
    """Return the code that the fields give for a choice of registers."""
    code = bytearray(variant.code)
    for operand, register in enumerate(choice):
        for position, byte in variant.fields.get((operand, register), ()):
            code[position] ^= byte
    return bytes(code), variant.patches
