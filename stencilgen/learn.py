"""Learns register fields: which bytes of a stencil change, and how, when an operand's register changes.

In every instruction set a register number is a field of fixed bits, so for registers that are
encoded alike the code is base ^ f0[r0] ^ f1[r1] ^ ...: each operand contributes its own bytes.
That is measured by compiling a handful of register choices and checked on others; a stencil for
which it does not hold is refused, and the operation becomes a call of a helper.
"""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, field, replace
from functools import cache

from stencilgen.forms import Form
from stencilgen.pinning import FAR, NEAR, NUMBER
from stencilgen.source import HOLE_IMMEDIATE, HOLE_OFFSET, VECTOR, Spec, register_class
from stencilgen.target import Pinning, Target

CHECKS = 2  # random choices of registers for which the prediction is compared with the compiler's code

Choice = tuple[int | str, ...]  # one register per operand of Spec.operands(); then perhaps a kind of number and its value
OFFSET, IMMEDIATE = "offset", "immediate"


@dataclass(frozen=True, slots=True)
class Plan:
    """The register choices to compile for one class of each operand.

    base: the choice all else is measured against
    pairs: (operand, difference) -> two choices that differ in that operand only, by these bits of the
        register's number for vectors; for integers the difference is from the base's register
    checks: choices whose code is predicted and compared
    overlaps: choices with the result in an operand's register; a wrong prediction there means early clobber
    swaps: the operand that may change places with the one after it without changing the result, or -1
    numbers: (kind, value, the value that all others are measured against) of displacements and immediates to compile
    """

    base: Choice
    registers: tuple[tuple[int, ...], ...]
    pairs: dict[tuple[int, int], tuple[Choice, Choice]]
    checks: tuple[Choice, ...]
    overlaps: tuple[Choice, ...]
    swaps: int
    numbers: tuple[tuple[str, int, int], ...] = ()

    def choices(self) -> set[Choice]:
        """Return every choice to compile."""
        pairs = set(itertools.chain.from_iterable(self.pairs.values()))
        return {self.base, *pairs, *self.checks, *self.overlaps, *[(*self.base, kind, value) for kind, value, _ in self.numbers]}


def classes_of(target: Target, spec: Spec) -> list[tuple[tuple[int, ...], ...]]:
    """Return the register classes of each operand that can be chosen; only moves reach the scratch registers."""
    vectors = tuple(tuple(r for r in group if spec.moves or r < target.vectors) for group in target.vector_classes)
    integers = target.integer_classes if spec.moves else tuple(g for g in target.integer_classes if g[0] < target.integers)
    return [vectors if register_class(target, short) == VECTOR else integers for _, short in spec.operands()]


def plans(target: Target, spec: Spec) -> list[Plan]:
    """Return one plan per combination of classes, in the order of variants (last operand fastest)."""
    kinds = tuple(register_class(target, short) for _, short in spec.operands())
    first = len(kinds) - len(spec.sources)
    ordered = first if spec.commutative and not spec.fixed else -1
    pinned = isinstance(target.shell, Pinning)
    numbers = _numbers(spec) if pinned else ()
    made = [_plan(spec, _Shape(registers, kinds, ordered), every=pinned) for registers in itertools.product(*classes_of(target, spec))]
    return [replace(plan, numbers=numbers) for plan in made]


def _numbers(spec: Spec) -> tuple[tuple[str, int, int], ...]:
    """Return the numbers to compile: each bit flipped, and some at random."""
    chance, found = random.Random(spec.name), []
    if spec.memory or HOLE_OFFSET in spec.text:
        base, bits = (FAR, 32) if spec.far else (NEAR, 15)
        found += [(OFFSET, base ^ 1 << bit, base) for bit in range(bits)]
        found += [
            (OFFSET, (chance.randrange(1 << 31) & ~7 if spec.far else 8 * chance.randrange(32, NEAR // 8)), base) for _ in range(CHECKS)
        ]
    if HOLE_IMMEDIATE in spec.text:
        found += [(IMMEDIATE, NUMBER ^ 1 << bit, NUMBER) for bit in range(31)]
        found += [(IMMEDIATE, chance.randrange(1 << 31), NUMBER) for _ in range(CHECKS)]
    return tuple(found)


@dataclass(frozen=True, slots=True)
class _Shape:
    """The classes of all operands, and which operand must be in a lower register than the one after it, or -1.

    Compilers may swap the operands of a sum; with the lower register first they always do it in one way.
    """

    registers: tuple[tuple[int, ...], ...]
    kinds: tuple[int, ...]
    ordered: int

    def allows(self, choice: Choice) -> bool:
        taken = list(zip(self.kinds, choice, strict=True))
        k = self.ordered
        swapped = k >= 0 and self.registers[k] == self.registers[k + 1] and choice[k] > choice[k + 1]
        return len(set(taken)) == len(taken) and not swapped


def _plan(spec: Spec, shape: _Shape, every: bool) -> Plan:
    """Choose; every: check each register of the result, as pinned stencils need, where it may serve as a temporary."""
    base, pairs, overlaps = _choices(shape, tied=spec.tied, fixed=spec.fixed, result=spec.dst is not None)
    chance = random.Random(spec.name)
    checks = tuple(_random(shape, chance) for _ in range(CHECKS)) if shape.registers else ()
    if every:
        checks += tuple(_random(shape, chance, (0, r)) for registers in shape.registers[:1] for r in registers)
    return Plan(base, shape.registers, pairs, checks, overlaps, shape.ordered)


@cache
def _choices(
    shape: _Shape, *, tied: bool, fixed: bool, result: bool
) -> tuple[Choice, dict[tuple[int, int], tuple[Choice, Choice]], tuple[Choice, ...]]:
    """Return base, pairs and overlaps of a Plan; they depend on the classes alone."""
    every = list(itertools.product(*shape.registers))
    every = [choice for choice in every if shape.allows(choice)] or every  # the scratch register moved to itself
    # as far apart as can be: then most registers that differ by one bit are free
    base = max(every, key=lambda choice: _distance(shape, choice))
    allowed = set(every)
    pairs = {}
    for operand, choices in enumerate(shape.registers):
        for difference in _differences(choices, base[operand], shape.kinds[operand]):
            starts = [base, *(c for c in every if shape.kinds[operand] == VECTOR or c[operand] == base[operand])]
            pairs[operand, difference] = next(
                (_replace(choice, operand, choice[operand] ^ difference), choice)
                for choice in starts if _replace(choice, operand, choice[operand] ^ difference) in allowed
            )  # fmt: skip
    kinds, registers = shape.kinds, shape.registers
    overlaps: tuple[Choice, ...] = ()
    if result and not fixed:
        same = [k for k in range(1, len(registers)) if kinds[k] == kinds[0] and registers[k] == registers[0]]
        overlaps = tuple(_replace(base, k, base[0]) if tied else _replace(base, 0, base[k]) for k in same)
        if kinds[0] != VECTOR and not tied:  # measured register by register: some results may serve as a temporary, others not
            others = {k: [r for j, r in enumerate(base) if j not in (0, k) and kinds[j] == kinds[0]] for k in same}
            overlaps += tuple(_replace(_replace(base, 0, r), k, r) for k in same for r in registers[0] if r not in others[k])
    return base, pairs, overlaps


def _distance(shape: _Shape, choice: Choice) -> int:
    """Return how many bits the registers of a choice differ in, at least 2 each as far as possible."""
    alike = itertools.combinations([(k, g, r) for k, g, r in zip(shape.kinds, shape.registers, choice, strict=True)], 2)
    return sum(min((a[2] ^ b[2]).bit_count(), 2) for a, b in alike if a[:2] == b[:2])


def _differences(choices: tuple[int, ...], base: int, kind: int) -> list[int]:
    """Return the differences in register number to measure: the bits for vectors, whose numbers are the machine's."""
    if kind != VECTOR:
        return [register ^ base for register in choices if register != base]
    return [bit for bit in (1, 2, 4, 8) if any(r ^ bit in choices for r in choices)]


def _replace(choice: Choice, operand: int, register: int) -> Choice:
    return (*choice[:operand], register, *choice[operand + 1 :])


def _random(shape: _Shape, chance: random.Random, given: tuple[int, int] | None = None) -> Choice:
    """Return a choice by chance; given: an operand, and its register."""
    chosen: list[int] = []
    for operand, choices in enumerate(shape.registers):
        if given is not None and given[0] == operand:
            chosen.append(given[1])
            continue
        taken = {chosen[o] for o in range(operand) if shape.kinds[o] == shape.kinds[operand]}
        taken |= {given[1]} if given is not None and shape.kinds[given[0]] == shape.kinds[operand] else set()
        chosen.append(chance.choice([r for r in choices if r not in taken] or list(choices)))
    return tuple(chosen)


Code = tuple[bytes, tuple[tuple[int, int, object, int, Form], ...]]  # bytes and patches (position, kind, item, addend, how)


@dataclass(frozen=True, slots=True)
class Variant:
    """A stencil for one class of each operand: base code, its patches, its register fields."""

    code: bytes
    patches: tuple[tuple[int, int, object, int, Form], ...]
    fields: dict[tuple[int, int], tuple[tuple[int, int], ...]]  # (operand, register) -> (position, byte)...
    early: bool
    numbers: dict[str, dict[int, tuple[tuple[int, int], ...]]] = field(default_factory=dict)  # kind -> bit -> (position, byte)...


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
    if any(codes[choice] not in _predictions(plan, variant, choice) for choice in plan.checks):
        return None
    early = any(codes[choice] not in _predictions(plan, variant, choice) for choice in plan.overlaps)
    learnt = _learn_numbers(plan, codes)
    return None if learnt is None else Variant(learnt[0], patches, fields, early, learnt[1])


def _learn_numbers(plan: Plan, codes: dict[Choice, Code]) -> tuple[bytes, dict[str, dict[int, tuple[tuple[int, int], ...]]]] | None:
    """Return the code for numbers that are zero, and what each bit changes; bits that do not fit are left out."""
    code, patches = codes[plan.base]
    found: dict[str, dict[int, tuple[tuple[int, int], ...]]] = {}
    for kind, value, base in plan.numbers:
        other = codes[*plan.base, kind, value]
        bit = (value ^ base).bit_length() - 1
        if value ^ base == 1 << bit and len(other[0]) == len(code) and other[1] == patches:
            found.setdefault(kind, {})[bit] = tuple((i, x ^ y) for i, (x, y) in enumerate(zip(code, other[0], strict=True)) if x != y)
    for kind, value, base in plan.numbers:
        bits = [bit for bit in range(32) if (value ^ base) >> bit & 1]
        known = len(bits) > 1 and all(bit in found.get(kind, {}) for bit in bits)
        if known and (_flipped(code, found[kind], bits), patches) != codes[*plan.base, kind, value]:
            return None
    for kind, base in {kind: base for kind, _, base in plan.numbers}.items():
        bits = [bit for bit in range(32) if base >> bit & 1]
        if not all(bit in found.get(kind, {}) for bit in bits):
            return None
        code = _flipped(code, found[kind], bits)
    return code, found


def _flipped(code: bytes, changes: dict[int, tuple[tuple[int, int], ...]], bits: list[int]) -> bytes:
    data = bytearray(code)
    for bit in bits:
        for position, byte in changes[bit]:
            data[position] ^= byte
    return bytes(data)


def _predictions(plan: Plan, variant: Variant, choice: Choice) -> list[Code]:
    """Return the codes that serve for a choice: also that with operands swapped, where it is the same."""
    found, k = [predict(plan, variant, choice)], plan.swaps
    if k >= 0 and plan.registers[k] == plan.registers[k + 1]:
        found.append(predict(plan, variant, (*choice[:k], choice[k + 1], choice[k], *choice[k + 2 :])))
    return found


def _joined(steps: dict[tuple[int, int], dict[int, int]], operand: int, difference: int) -> tuple[tuple[int, int], ...]:
    """Return the bytes that change for a difference in register number: measured, or bit by bit."""
    parts = [difference] if (operand, difference) in steps else [bit for bit in (1, 2, 4, 8) if difference & bit]
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
