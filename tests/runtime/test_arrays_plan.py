"""Plans of `_runner.ArrayFunction` that are wrong: refused with a reason, and no call of one reaches outside its memory."""

import contextlib
import platform

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.array_kernels import fallback

from hotloop import _runner
from hotloop.errors import HotloopError, ImageError, TypeMismatch

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the kernels of this file are x86-64 code")

RETURNS = _runner.Program(b"\xc3" * 64, bytes(256), 0)  # any entry is a kernel that does nothing
DIMS = (0, 1)

ARGUMENTS = ("array", "f", DIMS), ("array", "d", (1, -1)), ("number", "d")
BUFFERS = (
    ("f", DIMS, ("argument", 0)), ("d", (1, -1), ("argument", 1)), ("f", DIMS, ("temporary",)), ("f", DIMS, ("result", 0)),
    ("l", (0,), ("result", 1)), ("f", DIMS, ("temporary",)), ("d", (), ("temporary",)),
)  # fmt: skip
MAP = ("kernel", 1, 0, 8, 2, DIMS, ((0, (0, 1), 8, 16, 4), (1, (-1, 0), 24, 32, 8)), ((2, (0, 1), 40, 48, 4),), (),
       ((56, "f", ("argument", 2)), (64, "q", ("size", (0, 1)))), 1000)  # fmt: skip
REDUCTION = ("kernel", 2, 0, 32, 1, DIMS, ((2, (0, 1), 8, 16, 4),), ((5, (0, 1), 24, 32, 4),), ((4, 72, 8, 0),), (), 1000)
WHOLE = ("kernel", 2, 0, 32, 0, (1,), ((1, (0,), 8, 16, 8),), (), ((6, 72, 8, 0),), (), 1000)
CALL = ("call", lambda *_, **__: None, (2, 5), (3,))
PLAN = ARGUMENTS, BUFFERS, (MAP, REDUCTION, CALL, WHOLE), (3, 4), False, fallback, ((3, 80, 88, 96, 104),)


def changed(tree, path, leaf):
    """A nested tuple with one part replaced."""
    if not path:
        return leaf
    return (*tree[: path[0]], changed(tree[path[0]], path[1:], leaf), *tree[path[0] + 1 :])


def paths(tree, before=()):
    """The way to each part of a nested tuple."""
    for i, part in enumerate(tree):
        yield (*before, i)
        if isinstance(part, tuple):
            yield from paths(part, (*before, i))


def call(plan):
    function = _runner.ArrayFunction(RETURNS, *plan)
    for shape in [(3, 5), (0, 3), (3, 0), (1, 1), (2, 33000)]:
        function(np.ones(shape, "f"), np.ones((shape[1], 1)), 2.0)
    function(np.ones((3, 5), "f")[::-1], np.ones((5, 1)), 2.0, out=(np.ones((5, 3), "f").T, None))


def test_the_plan_itself_is_right():
    call(PLAN)
    function = _runner.ArrayFunction(RETURNS, *PLAN)
    assert function(np.ones((3, 5), "f"), np.ones((5, 1)), 2.0)[1].shape == (3,)
    assert function.program is RETURNS
    assert function.fallback is fallback


STAGES = 2
WRONG = {
    "an offset in the data block must be an int from 0 to 248, not 249": ((STAGES, 0, 2), 249),
    "an offset in the data block must be an int from 0 to 248, not -1": ((STAGES, 0, 6, 0, 2), -1),
    "an offset in the data block must be an int from 0 to 248, not 1267650600228229401496703205376": ((STAGES, 0, 7, 0, 3), 1 << 100),
    "an offset in the data block must be an int from 0 to 252, not 253": ((STAGES, 0, 9, 0, 0), 253),
    "an offset in the data block must be an int from 0 to 248, not 'a'": ((STAGES, 1, 8, 0, 1), "a"),
    "an offset in the data block must be an int from 0 to 248, not 250": ((6, 0, 1), 250),
    "an entry must be an int from 0 to 63, not 64": ((STAGES, 0, 1), 64),
    "an entry must be an int from 0 to 63, not -1": ((6, 0, 0), -1),
    "a block must be an int from 1 to 4096, not 0": ((STAGES, 0, 3), 0),
    "a block must be a power of two: 12": ((STAGES, 0, 3), 12),
    "the number of kept dimensions must be an int from 2 to 2, not 1": ((STAGES, 0, 4), 1),
    "the number of kept dimensions must be an int from 0 to 2, not 3": ((STAGES, 1, 4), 3),
    "the result of a reduction must have the kept dimensions": ((STAGES, 1, 4), 2),
    "the number of a buffer must be an int from 0 to 6, not 7": ((STAGES, 0, 6, 0, 0), 7),
    "an axis must be an int from -1 to 1, not 2": ((STAGES, 0, 6, 0, 1), (0, 2)),
    "an axis is walked by a dimension of another length": ((STAGES, 0, 6, 0, 1), (1, 0)),
    "each axis must be walked once": ((STAGES, 0, 6, 0, 1), (0, -1)),
    "a stream needs an axis for each dimension": ((STAGES, 0, 6, 0, 1), (0,)),
    "the itemsize of a stream must be an int from 4 to 4, not 8": ((STAGES, 0, 6, 0, 4), 8),
    "the itemsize of a reduction must be an int from 8 to 8, not 4": ((STAGES, 1, 8, 0, 2), 4),
    "the number of a combine must be an int from 0 to 0, not 1": ((STAGES, 1, 8, 0, 3), 1),
    "buffer 5 is read before it is written": ((STAGES, 0, 6, 0, 0), 5),
    "buffer 0 is an argument, or written twice": ((STAGES, 0, 7, 0, 0), 0),
    "buffer 2 is an argument, or written twice": ((STAGES, 1, 7, 0, 0), 2),
    "a Dim must be an int from -1 to 63, not 64": ((1, 2, 1), (64, 1)),
    "no argument has Dim 5": ((STAGES, 0, 9, 1, 2, 1), (5,)),
    "at most 8 dimensions are possible": ((STAGES, 0, 5), (0,) * 9),
    "what is written must have all dimensions": ((STAGES, 0), (*MAP[:4], 3, (0, 1, 1), (), ((2, (0, 1, -1), 40, 48, 4),), *MAP[8:])),
    "the buffer is not what its argument is": ((1, 1, 1), (1, 1)),
    "the number of an argument or result must be an int from 0 to 2, not 3": ((1, 0, 2, 1), 3),
    "expected .'argument', i., .'result', i. or .'temporary',.: 'x'": ((1, 0, 2), "x"),
    "expected .'argument', i., .'buffer', i. or .'size', dims.": ((STAGES, 0, 9, 0, 2), ("other", 0)),
    "the source of a scalar must be one number: .'argument', 0.": ((STAGES, 0, 9, 0, 2, 1), 0),
    "the source of a scalar must be one number: .'buffer', 1.": ((STAGES, 0, 9, 0, 2), ("buffer", 1)),
    "no integer can be made from a float": ((STAGES, 0, 9, 0, 1), "i"),
    "no scalar has this kind": ((STAGES, 0, 9, 0, 1), "B"),
    "no number has this kind: 'B'": ((0, 2, 1), "B"),
    "expected .'number', kind. or .'array', type, dims.: 3": ((0, 0), 3),
    "expected .'kernel', .... or .'call', ....: 'kernel'": ((STAGES, 0), "kernel"),
    "what is called must be callable": ((STAGES, 2, 1), 3),
    "a call needs an output": ((STAGES, 2, 3), ()),
    "results must be buffers of that role": ((3,), (2, 4)),
    "a result is never written": ((STAGES,), (MAP, REDUCTION)),
    "a buffer is not the result that it says": ((3,), (4, 3)),
    "too many buffers": ((1,), BUFFERS[:1] * 1025),
}  # fmt: skip


@pytest.mark.parametrize("message", WRONG)
def test_a_wrong_plan_is_refused_with_a_reason(message):
    with pytest.raises(ImageError, match=message):
        call(changed(PLAN, *WRONG[message]))


@pytest.mark.parametrize(
    ("path", "leaf", "error", "message"),
    [
        ((0,), [], TypeError, "arguments must be a tuple of at most 65536 items, not list"),
        ((1,), ((0,),) * 65537, TypeError, "buffers must be a tuple of at most 65536 items"),
        ((STAGES, 0, 6), None, TypeError, "streams must be a tuple .* not NoneType"),
        ((STAGES, 0), ("kernel",), TypeError, r"kernel\(\) takes exactly 11 arguments \(1 given\)"),
        ((1, 0, 0), "x", TypeMismatch, "'x' is not a kind of element"),
        ((0, 2, 1), "nn", TypeMismatch, "'n' is not a kind of element"),
        ((4,), True, ValueError, "a single result needs exactly one output"),
        ((5,), 3, TypeError, "fallback must be callable"),
        ((6,), 3, TypeError, "must be tuple, not int"),
    ],
)
def test_what_is_no_plan_is_refused(path, leaf, error, message):
    with pytest.raises(error, match=message):
        call(changed(PLAN, path, leaf))


def test_a_program_is_needed():
    with pytest.raises(TypeError, match="expected a Program, not int"):
        _runner.ArrayFunction(3, *PLAN)


PARTS = list(paths(PLAN))
RUBBISH = st.one_of(
    st.integers(-2, 9), st.integers(),
    st.sampled_from([None, "f", "d", "l", "?", "argument", "result", "temporary", 1.5, (), (0,), (1, 0)]),
    st.sampled_from(PARTS).map(lambda path: part_of(PLAN, path)),
)  # fmt: skip


def part_of(tree, path):
    for i in path:
        tree = tree[i]
    return tree


@settings(max_examples=400)
@given(st.lists(st.tuples(st.sampled_from(PARTS), RUBBISH), min_size=1, max_size=3))
def test_a_plan_of_rubbish_is_refused_or_runs(changes):
    plan = PLAN
    for path, leaf in changes:
        with contextlib.suppress(IndexError, TypeError):
            plan = changed(plan, path, leaf)
    if len(plan) == len(PLAN) and plan[5] is not fallback:
        return
    with contextlib.suppress(TypeError, ValueError, OverflowError, HotloopError):
        call(plan)


def test_lengths_whose_product_is_too_large_are_refused_or_fall_back():
    stage = ("kernel", 0, 0, 8, 2, DIMS, ((0, (0, -1), 8, 16, 1), (1, (-1, 0), 24, 32, 1)), ((2, (0, 1), 40, 48, 1),), (), (), 1000)
    buffers = ("?", (0,), ("argument", 0)), ("?", (1,), ("argument", 1)), ("?", DIMS, ("result", 0))
    function = _runner.ArrayFunction(RETURNS, (("array", "?", (0,)), ("array", "?", (1,))), buffers, (stage,), (2,), True, fallback)
    long = np.broadcast_to(np.True_, (1 << 40,))
    assert function(long, long)[0] == "fallback"
    with pytest.raises(MemoryError, match="there is no memory for an array of 1152921504606846976 bytes"):
        function(long, long[: 1 << 20])
    temporary = (*buffers[:2], ("?", DIMS, ("temporary",)))
    function = _runner.ArrayFunction(RETURNS, (("array", "?", (0,)), ("array", "?", (1,))), temporary, (stage,), (), False, fallback)
    with pytest.raises(MemoryError, match="there is no memory for an array of 1152921504606846976 bytes"):
        function(long, long[: 1 << 20])
    assert function(long, long[:0]) == ()
