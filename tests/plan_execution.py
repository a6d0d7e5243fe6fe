"""Plans of `_runner.ParallelFunction` executed step by step in Python, with machine code for the kernels.

What it does is what runner/parallel.c is to do; chunks of folds and scans can be run in any order.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from hotloop import _runner
from hotloop.backends.native.parallel import LinkedParallel
from hotloop.ir.sweep import Procedure

KINDS = {"?": np.bool_, "i": np.int32, "q": np.int64, "f": np.float32, "d": np.float64}


class Failed(Exception):
    """A fault of the plan."""


class Machine:
    """Registers, data and code of one plan; `pieces`: how kernels of mode "each" are cut."""

    def __init__(self, linked: LinkedParallel, pieces: int = 3) -> None:
        self.linked = linked
        self.pieces = pieces
        self.data = np.zeros(len(linked.data) + 64, np.uint8)
        self.data[: len(linked.data)] = np.frombuffer(linked.data, np.uint8)
        self.programs: dict[int, _runner.Program] = {}
        self.scalars: list[Any] = [KINDS[kind](0) for kind in linked.scalars]
        self.arrays = [np.zeros(0, KINDS[kind]) for kind in linked.arrays]
        self.nothing = np.zeros(64, np.uint8)
        self.released: set[int] = set()
        self.low = self.high = 0

    def call(self, procedure: Procedure, arguments: Sequence[Any]) -> list[Any]:
        """Run the whole plan on arguments of the procedure that was linked."""
        for node, argument in zip(procedure.inputs, arguments, strict=True):
            if node.shape:
                self.arrays[self.linked.array_of[node.id]] = np.ascontiguousarray(argument, node.dtype.numpy)
            else:
                self.scalars[self.linked.scalar_of[node.id]] = node.dtype.numpy.type(argument)
        pc = 0
        while pc < len(self.linked.ops):
            name, *operands = self.linked.ops[pc]
            target = getattr(self, f"do_{name}")(*operands)
            pc = pc + 1 if target is None else target
        return [
            self.arrays[self.linked.array_of[node.id]] if node.shape else self.scalars[self.linked.scalar_of[node.id]]
            for node in procedure.results
        ]  # fmt: skip

    # -- data ------------------------------------------------------------------------------------

    def put(self, slot: int, value: Any) -> None:
        bits = np.frombuffer(np.asarray(value).tobytes(), np.uint8)
        self.data[slot : slot + len(bits)] = bits

    def get(self, slot: int, kind: str) -> Any:
        return np.frombuffer(self.data.tobytes(), KINDS[kind], 1, slot)[0]

    def run(self, entry: int, low: int | None = None, high: int = 0) -> None:
        if low is not None:
            self.put(self.low, np.int64(low))
            self.put(self.high, np.int64(high))
        if entry not in self.programs:
            self.programs[entry] = _runner.Program(self.linked.code, bytes(self.data), entry, stack=self.linked.stack)
        program = self.programs[entry]
        memory = np.frombuffer(program, np.uint8)
        memory[: len(self.data)] = self.data[: len(memory)]
        program.run()
        self.data[: len(memory)] = memory[: len(self.data)]

    def bind(self, scalars: Sequence[Any], bases: Sequence[Any]) -> None:
        for slot, kind, register in scalars:
            assert self.linked.scalars[register] == kind
            self.put(slot, self.scalars[register])
        for pointer, count, register in bases:
            assert register not in self.released, "an array is used after its release"
            array = self.arrays[register]
            self.put(pointer, np.int64(array.ctypes.data if array.size else self.nothing.ctypes.data))
            if count >= 0:
                self.put(count, np.int64(array.size))

    # -- steps -----------------------------------------------------------------------------------

    def do_compute(self, entry: int, inputs: Any, bases: Any, outputs: Any) -> None:
        self.bind([(slot, self.linked.scalars[register], register) for slot, register in inputs], bases)
        self.run(entry)
        values = [self.get(slot, self.linked.scalars[register]) for slot, register in outputs]
        for (_, register), value in zip(outputs, values, strict=True):
            self.scalars[register] = value

    def make(self, register: int, array: np.ndarray) -> None:
        self.arrays[register] = array
        self.released.discard(register)

    def do_allocate(self, register: int, count: int) -> None:
        array = np.empty(max(0, int(self.scalars[count])), KINDS[self.linked.arrays[register]])
        array.view(np.uint8)[:] = 0x55
        self.make(register, array)

    def do_copy(self, register: int, source: int) -> None:
        assert source not in self.released
        self.make(register, self.arrays[source].copy())

    def do_alias(self, registers: Sequence[int], sources: Sequence[int]) -> None:
        assert not self.released & set(sources)
        for register, array in zip(registers, [self.arrays[source] for source in sources], strict=True):
            self.make(register, array)

    def do_release(self, register: int) -> None:
        self.arrays[register] = np.zeros(0, KINDS[self.linked.arrays[register]])
        self.released.add(register)

    def do_length(self, register: int, array: int) -> None:
        assert array not in self.released
        self.scalars[register] = np.int64(self.arrays[array].size)

    def do_jump(self, pc: int) -> int:
        return pc

    def do_unless(self, register: int, pc: int) -> int | None:
        return None if self.scalars[register] else pc

    def do_fault(self, register: int, number: int, values: Sequence[int]) -> None:
        if self.scalars[register]:
            raise Failed(number, [self.scalars[value].item() for value in values])

    def do_sort(self, keys: Any, descending: Any, ordered: Any, order: int) -> None:
        assert len(keys) == 1
        assert not descending[0]
        places = np.argsort(self.arrays[keys[0]], kind="stable")
        for register in ordered:
            if register >= 0:
                self.make(register, self.arrays[keys[0]][places])
        if order >= 0:
            self.make(order, places)

    def do_sort_by(self, entry: int, first: int, second: int, less: int, scalars: Any, bases: Any, count: int, order: int) -> None:
        self.bind(scalars, bases)
        found: list[int] = []
        for place in range(int(self.scalars[count])):
            at = len(found)
            while at:
                self.put(first, np.int64(place))
                self.put(second, np.int64(found[at - 1]))
                self.run(entry)
                if not self.get(less, "?"):
                    break
                at -= 1
            found.insert(at, place)
        self.make(order, np.array(found, np.int64))

    # -- kernels ---------------------------------------------------------------------------------

    def do_kernel(
        self, mode: str, entries: Any, low: int, high: int, count: int, scalars: Any, bases: Any, states: Any, flags: Any, position: Any,
        chunk: int, cost: int,
    ) -> None:  # fmt: skip
        assert cost > 0
        self.low, self.high, self.states = low, high, states
        n = max(0, int(self.scalars[count]))
        self.bind(scalars, bases)
        for slot, _ in flags:
            self.put(slot, np.bool_(False))
        getattr(self, f"mode_{mode}")(entries, n, chunk, position)
        for slot, register in flags:
            self.scalars[register] = self.get(slot, "?")

    def kind(self, state: Any) -> str:
        return self.linked.scalars[state[2] if state[2] >= 0 else state[3]]

    def current(self) -> list[Any]:
        return [self.get(state[0], self.kind(state)) for state in self.states]

    def inits(self) -> list[Any] | None:
        given = [state[2] >= 0 for state in self.states]
        assert all(given) or not any(given)
        return [self.scalars[state[2]] for state in self.states] if given and all(given) else None

    def put_states(self, values: Sequence[Any], other: bool = False) -> None:
        for state, value in zip(self.states, values, strict=True):
            self.put(state[1 if other else 0], value)

    def joined(self, entry: int, left: Sequence[Any], right: Sequence[Any]) -> list[Any]:
        self.put_states(left)
        self.put_states(right, other=True)
        self.run(entry)
        return self.current()

    def folded(self, run: int, begin: int, first: int, end: int) -> list[Any]:
        if begin >= 0:
            self.run(begin, first, first + 1)
            first += 1
        self.run(run, first, end)
        return self.current()

    def finish(self, values: Sequence[Any]) -> None:
        for state, value in zip(self.states, values, strict=True):
            if state[3] >= 0:
                self.scalars[state[3]] = value

    def mode_each(self, entries: Any, n: int, chunk: int, position: Any) -> None:
        bounds = sorted({0, n, *[n * k // self.pieces for k in range(self.pieces)]})
        for first, end in reversed(list(pairwise(bounds))):
            self.run(entries[0], first, end)

    def mode_ordered(self, entries: Any, n: int, chunk: int, position: Any) -> None:
        if n:
            self.run(entries[0], 0, n)

    def mode_fold(self, entries: Any, n: int, chunk: int, position: Any) -> None:
        run, begin, combine = entries[:3]
        total = self.inits()
        if n == 0 and total is None:
            if begin < 0:
                self.run(run, 0, 0)
                total = self.current()
            else:
                total = [KINDS[self.kind(state)](0) for state in self.states]
        chunks = [(start, min(n, start + chunk)) for start in range(0, n, chunk)]
        partials = {start: self.folded(run, begin, start, end) for start, end in reversed(chunks)}
        for start, _ in chunks:
            total = partials[start] if total is None else self.joined(combine, total, partials[start])
        self.finish(total or [])

    def mode_scan(self, entries: Any, n: int, chunk: int, position: Any) -> None:
        run, begin, combine, total_run, total_begin = entries
        before = self.inits()
        for first in range(0, n, chunk):
            end = min(n, first + chunk)
            total = self.folded(total_run, total_begin, first, end)
            if before is None:
                self.run(begin, first, first + 1)
                self.run(run, first + 1, end)
            else:
                self.put_states(before)
                self.run(run, first, end)
            self.finish(self.current())
            before = total if before is None else self.joined(combine, before, total)

    def mode_filter(self, entries: Any, n: int, chunk: int, position: Any) -> None:
        slot, kept, arrays = position
        made = [np.empty(n + 1, KINDS[self.linked.arrays[register]]) for register, _ in arrays]
        for array, (_, pointer) in zip(made, arrays, strict=True):
            self.put(pointer, np.int64(array.ctypes.data))
        self.put(slot, np.int64(0))
        for first in range(0, n, chunk):
            self.run(entries[0], first, min(n, first + chunk))
        count = int(self.get(slot, "q"))
        self.scalars[kept] = np.int64(count)
        for array, (register, _) in zip(made, arrays, strict=True):
            self.make(register, array[:count].copy())
