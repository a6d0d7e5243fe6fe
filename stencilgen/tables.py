"""Assembles a library of what was learnt: the arrays of `hotloop.stencils.format.Library`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hotloop.stencils.format import COLUMNS, RELATIVE, Library
from stencilgen.forms import Form
from stencilgen.learn import IMMEDIATE, OFFSET, Variant, classes_of
from stencilgen.reading import Items, Job, Patch
from stencilgen.rows import aliases
from stencilgen.source import Spec, register_class
from stencilgen.target import Passing, Target


def assemble(
    target: Target,
    digest: str,
    rows: Sequence[tuple[str, bool, list[Spec]]],
    basics: Sequence[Spec],
    jobs: dict[str, Job],
    items: Items,
    compiled_by: dict[str, object],
) -> Library:
    """Put everything that was learnt into one library."""
    tables = Tables(target)
    names, overloads, called = {}, [], []
    more = {name: specs for name, _, specs in rows}
    for name, commutative, specs in rows:
        memory = next((s for s in specs if s.memory), None)
        made = [s for s in specs if s is not memory and s.name in jobs and jobs[s.name].variants is not None]
        far = [s for s in more.get(f"{name}#far", ()) if jobs[s.name].variants is not None]
        if far and (not made or all(s.fixed for s in far)):  # both must take their operands from the same registers
            made = [s for s in made if s.fixed] or far
        assert made, f"{target.name}: no stencil for {name}"
        chosen = min(made, key=lambda s: (s.fixed, len(jobs[s.name].codes[0][jobs[s.name].plans[0].base][0])))
        if chosen.fixed:
            called.append(name)
        usable = memory is not None and not chosen.fixed and jobs[memory.name].variants is not None
        second = tables.add(jobs[memory.name]) if usable and memory is not None else -1
        names[name] = len(overloads)
        overloads.append((tables.add(jobs[chosen.name]), second, int(commutative)))
    for spec in basics:
        job = jobs[spec.name] if jobs[spec.name].variants is not None else jobs.get(f"{spec.name}#far", jobs[spec.name])
        assert job.variants is not None, f"{target.name}: no stencil for {spec.name}"
        names[spec.name] = len(overloads)
        overloads.append((tables.add(job), -1, 0))
    names |= {alias: names[name] for alias, name in aliases(target).items()}
    tables.join_far({overloads[row][0]: overloads[names[f"{name}#far"]][0] for name, row in names.items() if f"{name}#far" in names})
    tables.add_items(items)
    passing = isinstance(target.shell, Passing)
    meta = compiled_by | {
        "target": target.name, "digest": digest, "about": target.about, "names": {n: r for n, r in names.items() if not n.endswith("#far")},
        "vectors": target.vectors, "integers": target.integers, "wide": target.wide, "scratch_vectors": target.scratch_vectors,
        "enter": tables.item_numbers[("function", "enter")] if passing else -1, "called": called,
        "saved_vectors": sum(1 << r for r in target.saved_vectors), "saved_integers": sum(1 << r for r in target.saved_integers),
        "kept_integers": sum(1 << r for r in target.kept_integers), "index": target.index, "fma": target.fma, "small": target.small,
        "classes": _groups(target.vector_classes) + _groups(target.integer_classes), "in_integers": list(target.in_integers),
        # places for 64-bit values, where no registers hold them
        "file": 0 if passing or "f64" in target.shell.vectors else 8 * (target.vectors + target.scratch_vectors),
        "entry_stack": 64 if passing else target.shell.entry_stack,
    }  # fmt: skip
    return tables.library(meta, overloads)


def _groups(classes: tuple[tuple[int, ...], ...]) -> list[int]:
    """Return the number of the group of each of 16 registers."""
    return [next((g for g, group in enumerate(classes) if r in group), 0) for r in range(16)]


class Tables:
    """The arrays of a Library while they grow."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.stencils: list[tuple[int, ...]] = []
        self.variants: list[tuple[int, ...]] = []
        self.fields: list[tuple[int, int]] = []
        self.xors: list[tuple[int, int]] = []
        self.known_xors: dict[tuple[tuple[int, int], ...], int] = {}
        self.patches: list[Patch] = []
        self.forms: dict[Form, int] = {}
        self.items: list[tuple[int, ...]] = []
        self.item_numbers: dict[object, int] = {}
        self.code = bytearray()
        self.used: list[object] = []

    def add(self, job: Job) -> int:
        """Add a learned stencil and return its row."""
        spec = job.spec
        assert job.variants is not None
        first = len(self.variants)
        operands = [operand for operand, _ in spec.operands()]
        for variant in job.variants:
            start = len(self.fields)
            for o in range(len(operands)):
                self.fields.extend(self._xors(variant.fields.get((o, r), ())) for r in range(16))
            numbers = [self._bits(variant.numbers.get(kind)) for kind in (OFFSET, IMMEDIATE)]
            self.variants.append((self._code(variant.code), len(variant.code), *self._patches(variant.patches), start, *numbers))
        reach, step = _reach(job.variants)
        machine = max(_machine_instructions(self.target, variant.code) for variant in job.variants)
        self.stencils.append(
            (*self._row(spec, operands, first, any(v.early for v in job.variants)), -1, reach, step, int(spec.fixed), machine)
        )
        return len(self.stencils) - 1

    def join_far(self, pairs: dict[int, int]) -> None:
        """Say which stencils take the place of others where displacements are long."""
        column, early = COLUMNS.index("far"), COLUMNS.index("early")
        for near, far in pairs.items():
            row = list(self.stencils[near])
            row[column] = far
            row[early] |= self.stencils[far][early]
            self.stencils[near] = tuple(row)

    def _bits(self, changes: dict[int, tuple[tuple[int, int], ...]] | None) -> int:
        """Add the fields of the bits of a number; return the first, or -1."""
        if changes is None:
            return -1
        start = len(self.fields)
        self.fields.extend(self._xors(changes.get(bit, ())) for bit in range(32))
        return start

    def _row(self, spec: Spec, operands: list[int], first: int, early: bool) -> tuple[int, ...]:
        count = len(spec.sources)
        classes = [register_class(self.target, s) for s in spec.sources] + [0] * (3 - count)
        fixed = [i if spec.fixed else -1 for i in range(count)] + [-1] * (3 - count)
        lost = [r for r in range(self.target.vectors) if spec.wide or r not in self.target.saved_vectors]
        clobbered_v = sum(1 << r for r in lost) if spec.fixed else 0
        clobbered_i = sum(1 << r for r in range(self.target.integers) if r not in self.target.saved_integers) if spec.fixed else 0
        fields = operands + [-1] * (4 - len(operands))
        radix = [len(groups) for groups in classes_of(self.target, spec)]
        radix += [1] * (4 - len(radix))
        dst = register_class(self.target, spec.dst) if spec.dst else 0
        row = (
            dst, 0 if spec.fixed and dst else -1, count, *classes, *fixed, 0 if spec.tied else -1,
            int(spec.memory is not None), int(early), clobbered_v, clobbered_i, first, len(operands), *fields, *radix,
        )  # fmt: skip
        assert len(row) == COLUMNS.index("far")
        return row

    def _xors(self, bytes_: tuple[tuple[int, int], ...]) -> tuple[int, int]:
        if bytes_ not in self.known_xors:
            self.known_xors[bytes_] = len(self.xors)
            self.xors.extend(bytes_)
        return self.known_xors[bytes_], len(bytes_)

    def _code(self, data: bytes) -> int:
        self.code += data
        return len(self.code) - len(data)

    def _patches(self, patches: tuple[Patch, ...]) -> tuple[int, int]:
        self.patches.extend(patches)
        self.used.extend(item for _, kind, item, _, _ in patches if kind == RELATIVE)
        return len(self.patches) - len(patches), len(patches)

    def add_items(self, items: Items) -> None:
        """Add all items that stencils need, and what those need."""
        wanted: list[object] = [*([("function", "enter")] if isinstance(self.target.shell, Passing) else []), *self.used]
        while wanted:
            key = wanted.pop(0)
            if key in self.item_numbers:
                continue
            data, align, patches, _ = items.found[key]
            self.item_numbers[key] = len(self.items)
            while len(self.code) % align:
                self.code.append(0)
            self.items.append((self._code(data), len(data), align, *self._patches(patches), self._stack(items, key, ())))
            wanted.extend(item for _, kind, item, _, _ in patches if kind == RELATIVE)

    def _stack(self, items: Items, key: object, callers: tuple[object, ...]) -> int:
        """Return the bytes of stack that a function takes with all that it calls."""
        _, _, patches, own = items.found[key]
        called = [item for _, kind, item, _, _ in patches if kind == RELATIVE and item not in (*callers, key)]
        address = 8 if isinstance(self.target.shell, Passing) else 0  # elsewhere the function itself stores it, if it must
        return own + address + max((self._stack(items, item, (*callers, key)) for item in called), default=0)

    def library(self, meta: dict[str, object], overloads: list[tuple[int, int, int]]) -> Library:
        """Return the finished library."""
        patches = [
            (at, kind + 4 * self.forms.setdefault(form, len(self.forms)), self.item_numbers.get(item, 0), add)
            for at, kind, item, add, form in self.patches
        ]
        forms = [(form.size, form.bits, form.bias, *[_signed(mask) for mask in form.masks()]) for form in self.forms]

        def table(rows: list[tuple[int, ...]], width: int) -> np.ndarray:  # type: ignore[type-arg]
            return np.array(rows, np.int32).reshape(-1, width)

        return Library(
            meta, table(self.stencils, len(COLUMNS)), table(self.variants, 7), table(self.fields, 2), table(self.xors, 2),
            table(patches, 4), table(self.items, 6), table(overloads, 3), table(forms, 35), bytes(self.code),
        )  # fmt: skip


def _signed(mask: int) -> int:
    return mask - (mask >> 31 << 32)


def _reach(variants: list[Variant]) -> tuple[int, int]:
    """Return the largest displacement that every variant takes, and what it must be divisible by."""
    found = [variant.numbers[OFFSET] for variant in variants if OFFSET in variant.numbers]
    if not found:
        return 0x7FFFFFFF, 1
    common = set.intersection(*[set(bits) for bits in found])
    low = min(common)
    high = low
    while high + 1 in common:
        high += 1
    return min((2 << high) - 1, 0x7FFFFFFF), 1 << low


def _machine_instructions(target: Target, code: bytes) -> int:
    """Return how many instructions a stencil has; 0 where their length is not easily known."""
    if isinstance(target.shell, Passing):
        return 0
    if not target.triple.startswith("thumb"):
        return len(code) // 4
    count = at = 0
    while at < len(code):
        at += 4 if code[at + 1] >> 3 in (0b11101, 0b11110, 0b11111) else 2  # Arm v7-M ARM A5.1
        count += 1
    return count
