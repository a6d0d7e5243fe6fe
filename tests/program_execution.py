"""Programs of scalars executed in Python, with each row's NumPy meaning: for layouts and indices that no machine here has.

It is strict where the emitter may choose: what was computed in a loop is gone after it, and what lies in memory
and is not CHANGING must be the same whenever it is read.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hotloop.dtypes import COMPUTE
from hotloop.ir.fold import evaluate
from hotloop.ir.op import REGISTRY
from hotloop.ir.program import CHANGING, COPY, DTYPE_NUMBER, IN_MEMORY, LOOP_BEGIN, LOOP_END, LOOP_EXIT, RANGE, STORE, Program, overloads

_NAMES = {number: name for name, number in overloads().items()}
_TYPES = [dtype.numpy for dtype in sorted(COMPUTE, key=DTYPE_NUMBER.__getitem__)]


class Machine:
    """A program and its memory.

    index: the type that places in arrays must have. executed: instructions of the last run, moves of loops not counted.
    """

    def __init__(self, program: Program, index: str = "int64") -> None:
        self.program = program
        self.index = np.dtype(index)
        self.memory = bytearray(program.data)
        self.code = [program.code[at : at + 6].tolist() for at in range(0, len(program.code), 6)]
        self.values: dict[int, Any] = {}
        self.scopes: list[set[int]] = [set()]  # what each loop that runs has computed
        self.seen: dict[int, bytes] = {}  # what was read at places
        self.ends = {code[5]: at for at, code in enumerate(self.code) if code[0] == LOOP_END}
        self.executed = 0

    def run(self) -> None:
        """Run once."""
        self.values, self.scopes, self.seen, self.executed = {}, [set()], {}, 0
        self._run(0, len(self.code))

    def view(self, symbol: Any) -> np.ndarray[Any, Any]:
        """Return what a symbol stands for."""
        count = int(np.prod(symbol.shape))
        return np.frombuffer(self.memory, symbol.dtype.numpy, count, symbol.offset if count else 0).reshape(symbol.shape)

    def _run(self, at: int, end: int) -> bool:
        """Run instructions up to `end`, or until a loop is left; return whether it is."""
        while at < end:
            op, result, x, y, z, immediate = self.code[at]
            self.executed += 1
            if op == LOOP_BEGIN:
                self._loop(at, immediate, x)
                at = self.ends[immediate]
            elif op == LOOP_EXIT:
                if not self.use(x):
                    return True
            elif op == STORE:
                self._write(immediate, self.use(x))
            elif op == COPY:
                self.define(result, self.use(x))
            else:
                self._apply(_NAMES[op], result, [use for use in (x, y, z) if use >= 0], immediate)
            at += 1
        return False

    # -- values ------------------------------------------------------------------------------------

    def use(self, value: int) -> Any:
        """Return a value: computed, or as it is in memory."""
        if value in self.values:
            return self.values[value]
        dtype, place, flags = self.program.values[3 * value : 3 * value + 3]
        assert flags & IN_MEMORY, f"v{value} is read where it is not known"
        found = self._read(place, _TYPES[dtype])
        assert self.seen.setdefault(value, found.tobytes()) == found.tobytes(), f"v{value}, at {place}, is another one than before"
        return found

    def define(self, value: int, what: Any) -> None:
        """Set a value in the loop that runs; outputs have a place in memory too."""
        dtype, place, _ = self.program.values[3 * value : 3 * value + 3]
        self.values[value] = np.asarray(what).astype(_TYPES[dtype], copy=False)
        self.scopes[-1].add(value)
        if place >= 0:
            self._write(place, self.values[value])

    def _read(self, place: int, dtype: Any) -> Any:
        assert 0 <= place <= len(self.memory) - np.dtype(dtype).itemsize, f"a read at {place}"
        return np.frombuffer(self.memory, dtype, 1, place)[0]

    def _write(self, place: int, value: Any) -> None:
        assert 0 <= place <= len(self.memory) - value.nbytes, f"a write at {place}"
        self.memory[place : place + value.nbytes] = value.tobytes()

    # -- instructions ------------------------------------------------------------------------------

    def _apply(self, name: str, result: int, uses: list[int], immediate: int) -> None:
        row, *types = name.split(".")
        values = [self.use(use) for use in uses]
        if row in ("get", "put"):
            assert values[-1].dtype == self.index, f"an index of {values[-1].dtype}"
            dtype = next(dtype.numpy for dtype in COMPUTE if dtype.short == types[0])
            place = immediate + int(values[-1]) * np.dtype(dtype).itemsize
            if row == "put":
                self._write(place, values[0])
            else:
                self.define(result, self._read(place, dtype))
            return
        if row in ("point", "peek", "poke"):
            self._point(row, types[0], result, values, immediate)
            return
        assert [value.dtype for value in values] == [d.numpy for t in types for d in COMPUTE if d.short == t], name
        self.define(result, evaluate(REGISTRY[row], [np.asarray(value) for value in values]))

    def _point(self, row: str, short: str, result: int, values: list[Any], immediate: int) -> None:
        """Pointers are offsets in the data here."""
        dtype = next(dtype.numpy for dtype in COMPUTE if dtype.short == short)
        assert values[-1].dtype == self.index, f"a pointer of {values[-1].dtype}"
        if row == "point":
            self.define(result, immediate + int(values[0]) * np.dtype(dtype).itemsize)
        elif row == "peek":
            self.define(result, self._read(int(values[0]) + immediate, dtype))
        else:
            self._write(int(values[1]) + immediate, values[0])

    def _loop(self, begin: int, number: int, condition: int) -> None:
        counter, trips, first, count = self.program.loops[4 * number : 4 * number + 4]
        carries = [self.program.carries[3 * k : 3 * k + 3] for k in range(first, first + count)]
        end = self.ends[number]
        for param, value in [(param, self.use(init)) for param, init, _ in carries]:
            self.define(param, value)
        if counter == RANGE and condition >= 0 and not self.use(condition):
            return
        trip = 0
        while True:
            self.scopes.append(set())
            left = self._run(begin + 1, end)
            following = [] if left else [(param, self.use(result)) for param, _, result in carries]
            for value in self.scopes.pop():
                del self.values[value]
            for value in [v for v in self.seen if self.program.values[3 * v + 2] & CHANGING]:
                del self.seen[value]
            for param, value in following:
                self.define(param, value)
            trip += 1
            self.executed += 1
            if left or (counter >= 0 and trip == trips):
                return
            if counter == RANGE and not self.use(carries[0][0]) < self.use(trips):
                return
