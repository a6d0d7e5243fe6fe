"""Types of `hotloop._runner` (runner/python.c): programs in this process and their fast calls."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from typing_extensions import Buffer

_Slot = tuple[str, int] | tuple[str, int, int | tuple[int, ...]]

# The plan of an ArrayFunction. Dims are numbers of run-time lengths, -1 is the length 1; offsets are in the data block.
_Dims = tuple[int, ...]
_Argument = tuple[str, str] | tuple[str, str, _Dims]  # ("number", kind), "nd" is NumPy's float64; ("array", type, dims)
_Role = tuple[str] | tuple[str, int]  # ("argument", i), ("result", i), ("temporary",)
_Buffer = tuple[str, _Dims, _Role]
_Stream = tuple[int, tuple[int, ...], int, int, int]  # buffer, axes, pointer and tail offset, itemsize
_Reduction = tuple[int, int, int, int]  # buffer, result offset, itemsize, combine
_Scalar = tuple[int, str, tuple[str, int | _Dims]]  # offset, kind, ("argument", i) or ("buffer", i) or ("size", dims)
_Streams = tuple[_Stream, ...]
# "kernel", entry, count offset, block, kept, dims, streams, stores, reductions, scalars, picoseconds for an element
_Kernel = tuple[str, int, int, int, int, _Dims, _Streams, _Streams, tuple[_Reduction, ...], tuple[_Scalar, ...], int]
_Call = tuple[str, Callable[..., Any], tuple[int, ...], tuple[int, ...]]  # "call", callable, inputs, outputs
_Combine = tuple[int, int, int, int, int]  # entry, count, pointer, tail and result offset

# The plan of a ParallelFunction. Registers are numbers: of scalars, or of arrays of one dimension. Slots are offsets in the data block.
_Parameter = tuple[str, str, int] | tuple[str, str, int, int, tuple[int, ...]]  # see ParallelFunction
_Input = tuple[int, str, int]  # slot, kind, scalar
_Output = tuple[int, int]  # slot, scalar
_Base = tuple[int, int, int]  # slots of address and length (-1: none), array
_Running = tuple[int, int, int, int]  # slot, slot of the right operand, scalars to start from and to end in (-1: none)
_Position = tuple[int, int, tuple[tuple[int, int], ...]]  # slot, scalar for how many were kept, (array, slot of its address)
# "kernel", mode, entries, slots of low and high, scalar that counts, inputs, bases, states, flags, position of a filter, elements of a
# chunk, picoseconds for an element. Modes: "each" (any order), "ordered", "fold", "scan", "filter"; runner/parallel.h tells what each does.
_Entries = tuple[int, int, int, int, int]  # run, begin, combine, total run, total begin; -1: none
_Sweep = tuple[
    str, str, _Entries, int, int, int, tuple[_Input, ...], tuple[_Base, ...], tuple[_Running, ...], tuple[_Output, ...], _Position | None,
    int, int,
]  # fmt: skip
_Compute = tuple[str, int, tuple[_Output, ...], tuple[_Base, ...], tuple[_Output, ...]]  # "compute", entry, inputs, bases, outputs
# "allocate", array, length; "copy", array, source; "release", array; "length", scalar, array
_Simple = tuple[str, int] | tuple[str, int, int]
_Slice = tuple[str, int, int, int, int]  # "slice", array, source, start, length
_Jump = tuple[str, int] | tuple[str, int, int]  # "jump", op; "unless", condition, op
_Alias = tuple[str, tuple[int, ...], tuple[int, ...]]  # "alias", arrays, sources
_Fault = tuple[str, int, int, tuple[int, ...]]  # "fault", condition, number, scalars
_Sort = tuple[str, tuple[int, ...], tuple[bool, ...], tuple[int, ...], int]  # "sort", keys, descending, arrays, array for the order or -1
# "sort_by", entry, slots of two places and of whether the first is less, inputs, bases, length, array for the order
_SortBy = tuple[str, int, int, int, int, tuple[_Input, ...], tuple[_Base, ...], int, int]
_Python = tuple[str, Callable[..., Any], tuple[int, ...], tuple[int, ...]]  # "call", callable, arrays, arrays that it returns a tuple of
_Op = _Sweep | _Compute | _Simple | _Slice | _Jump | _Alias | _Fault | _Sort | _SortBy | _Python | tuple[Any, ...]  # Any: made in parts
_Tree = tuple[Any, ...]  # Any: trees contain trees

class Program:
    """One loaded image; its buffer is the data region, live and writable."""

    def __new__(
        cls, code: Buffer, data: Buffer, entry: int, patches: Buffer = b"", *, stack: int = 0, long_running: bool = False
    ) -> Program: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...
    def run(self) -> None: ...
    def run_many(self, count: int, /) -> None: ...
    @property
    def code_size(self) -> int: ...
    @property
    def data_size(self) -> int: ...
    @property
    def code_address(self) -> int: ...
    @property
    def data_address(self) -> int: ...
    @property
    def long_running(self) -> bool: ...

class Function:
    """A call that writes its arguments, runs a program and returns Python numbers or arrays."""

    program: Program | None
    fallback: Callable[..., Any]
    @property
    def arrays(self) -> ArrayFunction | None: ...
    guards: tuple[tuple[Any, Any, Any], ...]

    def __new__(
        cls, program: Program | None, inputs: Iterable[_Slot], outputs: Iterable[_Slot], single: bool, fallback: Callable[..., Any],
        takes_out: bool = False,
    ) -> Function: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...
    def __get__(self, instance: object, owner: type | None = None, /) -> Callable[..., Any]: ...
    def specialise(self, program: Program | None, inputs: Iterable[_Slot], outputs: Iterable[_Slot], single: bool, /) -> None: ...
    def specialise_arrays(self, array_function: ArrayFunction, /) -> None: ...

class ArrayFunction:
    """A call that runs kernels over NumPy arrays, on several threads; results are new arrays or those of `out`."""

    def __new__(
        cls, program: Program, arguments: tuple[_Argument, ...], buffers: tuple[_Buffer, ...], stages: tuple[_Kernel | _Call, ...],
        results: tuple[int, ...], single: bool, fallback: Callable[..., Any], combines: tuple[_Combine, ...] = (),
    ) -> ArrayFunction: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...
    @property
    def program(self) -> Program: ...
    @property
    def fallback(self) -> Callable[..., Any]: ...

class ParallelFunction:
    """A call that runs ops on registers, from kernels over arrays on several threads to jumps; its results are new.

    scalars, arrays: a kind of ?iqfd for each register. arguments: ("number", kind, scalar), "nd" is NumPy's float64, or ("array", kind,
    array, rank, scalars for lengths). result: ("number", scalar), ("array", array, scalars of its shape or None), ("tuple", parts) or
    ("python", callable, parts). wrap: what arrays of results are given to, or None; if it is a class, its instances are arguments as well,
    through their attribute `_data`, and where that is one of its __slots__, results are made without a call of it. fail(number, values)
    raises what a fault stands for. Other arguments go to `fallback`. threads: most that work on a call; 0: all.
    """

    def __new__(
        cls, program: Program, arguments: tuple[_Parameter, ...], scalars: str, arrays: str, code: tuple[_Op, ...], result: _Tree,
        wrap: Callable[[np.ndarray[Any, Any]], Any] | None, fail: Callable[[int, list[Any]], Any], fallback: Callable[..., Any],
        threads: int = 0,
    ) -> ParallelFunction: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...
    @property
    def program(self) -> Program: ...
    @property
    def fallback(self) -> Callable[..., Any]: ...
    @property
    def threads(self) -> int: ...

def parallel_progress() -> tuple[int, int]: ...
def read(program: Program, kind: str, offset: int, count: int = ..., /) -> Any: ...
def write(program: Program, kind: str, offset: int, source: float | Sequence[float], /) -> None: ...
def pack(source: object, /) -> np.ndarray[Any, Any] | None: ...
def cpu_features() -> str: ...
def message(status: int, /) -> str: ...
def get_threads() -> int: ...
def set_threads(count: int, /) -> None: ...
def limits() -> tuple[int, int, int]: ...
