"""Plans of `_runner.ParallelFunction` that are wrong: refused with a reason, and no call of one reaches outside its memory."""

import contextlib
import platform
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.parallel_kernels import fallback, refuse

from hotloop import _runner
from hotloop.errors import HotloopError, ImageError, TypeMismatch

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the kernels of this file are x86-64 code")

RETURNS = _runner.Program(b"\xc3" * 64, bytes(256), 0)  # any entry is a kernel that does nothing

# Scalars 0 q, 1 q, 2 f, 3 d, 4 ?, 5 i, 6 ?; arrays 0 d, 1 q, 2 f, 3 d.
ARGUMENTS = ("array", "d", 0, 2, (0, 1)), ("array", "q", 1, 1, (0,)), ("number", "q", 2), ("number", "nd", 3), ("number", "?", 6)
EACH = ("kernel", "each", (1, -1, -1, -1, -1), 0, 8, 0, ((16, "f", 2),), ((24, 32, 0), (40, -1, 1)), (), ((48, 4),), None, 0, 1000)
FOLD = ("kernel", "fold", (1, 2, 3, -1, -1), 0, 8, 0, (), (), ((56, 64, 3, 3), (72, 80, 0, -1)), (), None, 100, 1000)
SCAN = ("kernel", "scan", (1, 2, 3, 4, 5), 0, 8, 0, (), (), ((56, 64, -1, 3), (72, 80, -1, -1)), (), None, 100, 1000)
FILTER = ("kernel", "filter", (1, -1, -1, -1, -1), 0, 8, 0, (), (), (), (), (88, 1, ((1, 96), (2, 104))), 100, 1000)
CODE = (
    ("allocate", 3, 0), EACH, FOLD, SCAN, FILTER, ("compute", 1, ((16, 2),), ((24, 32, 0),), ((48, 4),)),
    ("copy", 3, 0), ("alias", (0, 3), (3, 0)), ("release", 2), ("length", 1, 1), ("slice", 3, 0, 0, 1), ("unless", 4, 13), ("jump", 13),
    ("copy", 3, 0), ("fault", 6, 5, (0, 2)), ("sort", (0, 3), (True, False), (0, -1), 1),
    ("sort_by", 1, 112, 120, 128, ((16, "f", 2),), ((24, 32, 0),), 1, 1),
    ("call", lambda *_: (np.zeros(3, "f"),), (0, 1), (2,)),
)  # fmt: skip
AT = {op[1] if op[0] == "kernel" else op[0]: i for i, op in enumerate(CODE)}
RESULT = ("tuple", (("number", 0), ("array", 2, None), ("python", lambda *_: None, (("array", 1, (1,)),))))
PLAN = ARGUMENTS, "qqfd?i?", "dqfd", CODE, RESULT, None, refuse, fallback, 2
IN = 3  # where code is in a plan


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
    """Make a function and call it with arrays of several sizes."""
    function = _runner.ParallelFunction(RETURNS, *plan)
    for shape in [(3, 5), (0, 3), (1, 1), (2, 500)]:
        function(np.ones(shape), np.arange(shape[0] * shape[1]), 3, np.float64(2), False)
    return function


def test_the_plan_itself_is_right():
    function = call(PLAN)
    assert function(np.ones((2, 2)), np.arange(4), 3, np.float64(2), False)[0] == 4
    with pytest.raises(IndexError, match=r"fault 5: \[2, 3.0\]"):
        function(np.ones((1, 2)), np.arange(2), 3, np.float64(2), True)


def op(name, *path):
    """The way to a part of an op."""
    return (IN, AT[name], *path)


KIND = "must be that of a register of kind"
OFFSET = "an offset in the data block must be an int from 0 to"
SCALAR, ARRAY = "the number of a scalar must be an int from 0 to 6, not", "the number of an array must be an int from 0 to 3, not"
WRONG = [
    # arguments
    ("expected ('number', kind, register) or ('array', kind, register, rank, lengths): 3", (0, 0), 3),
    ("expected ('number', kind, register) or ('array', kind, register, rank, lengths): ('number', 'd')", (0, 2), ("number", "d")),
    ("no number has this kind: 'B'", (0, 2, 1), "B"),
    ("Python has numbers of the kinds d q ?: 'f'", (0, 2, 1), "f"),
    (f"{SCALAR} 7", (0, 2, 2), 7),
    (f"{SCALAR} -1", (0, 2, 2), -1),
    (f"{SCALAR} 'a'", (0, 2, 2), "a"),
    (f"the number of a scalar {KIND} d; 2 is one of kind f", (0, 3, 2), 2),
    (f"the number of a scalar {KIND} df; 0 is one of kind q", (0, 2), ("number", "d", 0)),
    (f"the number of a scalar {KIND} qifd; 4 is one of kind ?", (0, 2, 2), 4),
    (f"the number of a scalar {KIND} ?; 0 is one of kind q", (0, 4, 2), 0),
    (f"{ARRAY} 4", (0, 0, 2), 4),
    (f"the number of an array {KIND} d; 1 is one of kind q", (0, 0, 2), 1),
    (f"the number of an array {KIND} B; 0 is one of kind d", (0, 0, 1), "B"),
    ("a rank must be an int from 0 to 32, not 33", (0, 0, 3), 33),
    ("a rank must be an int from 0 to 32, not -1", (0, 0, 3), -1),
    ("an array needs a register for the length of each axis", (0, 0, 4), (0,)),
    (f"the number of a scalar {KIND} q; 2 is one of kind f", (0, 1, 4), (2,)),
    ("registers have kinds of ?iqfd: 'qqfd?B?'", (1,), "qqfd?B?"),
    ("registers have kinds of ?iqfd: 'dqfb'", (2,), "dqfb"),
    # kernels
    ("there is no such op: 'kernel'", op("each"), "kernel"),
    ("there is no such op: ('kernels',)", op("each"), ("kernels",)),
    ("there is no such op: ()", op("each"), ()),
    ("expected each, ordered, fold, scan or filter: 'every'", op("each", 1), "every"),
    ("a kernel has 5 entries", op("each", 2), (1, -1)),
    ("a kernel needs code to run", op("each", 2, 0), -1),
    ("an entry must be an int from 0 to 63, not 64", op("each", 2, 0), 64),
    ("an entry must be an int from 0 to 63, not -2", op("fold", 2, 1), -2),
    ("an entry must be an int from 0 to 63, not 1267650600228229401496703205376", op("scan", 2, 4), 1 << 100),
    (f"{OFFSET} 248, not 249", op("each", 3), 249),
    (f"{OFFSET} 248, not -1", op("each", 4), -1),
    (f"the number of a scalar {KIND} q; 3 is one of kind d", op("each", 5), 3),
    (f"{OFFSET} 252, not 253", op("each", 6, 0, 0), 253),
    (f"the number of a scalar {KIND} d; 2 is one of kind f", op("each", 6, 0, 1), "d"),
    (f"{OFFSET} 248, not 250", op("each", 7, 0, 0), 250),
    (f"{OFFSET} 248, not 251", op("each", 7, 0, 1), 251),
    (f"{ARRAY} 9", op("each", 7, 0, 2), 9),
    ("folds and scans have states, and nothing else has", op("each", 8), ((56, 64, 3, 3),)),
    ("folds and scans have states, and nothing else has: ()", op("fold", 8), ()),
    (f"{OFFSET} 255, not 256", op("each", 9, 0, 0), 256),
    (f"the number of a scalar {KIND} ?; 3 is one of kind d", op("each", 9, 0, 1), 3),
    ("only filters have a position: ()", op("each", 10), ()),
    ("a chunk must be an int from 0 to 1099511627776, not -1", op("each", 11), -1),
    ("a chunk must be an int from 1 to 1099511627776, not 0", op("fold", 11), 0),
    ("the cost of an element must be an int from 0 to 1125899906842624, not -1", op("each", 12), -1),
    ("the registers of a state must be of one kind", op("fold", 8, 0, 3), 0),
    ("all states or none must have registers to start from", op("fold", 8, 0, 2), -1),
    (f"{SCALAR} 7", op("fold", 8, 0, 2), 7),
    (f"{OFFSET} 248, not 249", op("fold", 8, 0, 0), 249),
    (f"{OFFSET} 248, not 249", op("scan", 8, 1, 1), 249),
    ("folds and scans need code to combine", op("fold", 2, 2), -1),
    ("folds and scans need code to combine", op("scan", 2, 2), -1),
    ("a scan needs code for the total of a chunk", op("scan", 2, 3), -1),
    ("a scan needs code to begin with, or registers", op("scan", 2, 1), -1),
    (f"{OFFSET} 248, not 249", op("filter", 10, 0), 249),
    (f"the number of a scalar {KIND} q; 5 is one of kind i", op("filter", 10, 1), 5),
    (f"{ARRAY} 4", op("filter", 10, 2, 0, 0), 4),
    (f"{OFFSET} 248, not 249", op("filter", 10, 2, 1, 1), 249),
    # other ops
    ("an entry must be an int from 0 to 63, not 64", op("compute", 1), 64),
    (f"{OFFSET} 252, not 253", op("compute", 2, 0, 0), 253),
    (f"{SCALAR} 7", op("compute", 4, 0, 1), 7),
    (f"{ARRAY} 4", op("allocate", 1), 4),
    (f"the number of a scalar {KIND} q; 5 is one of kind i", op("allocate", 2), 5),
    ("an op has another number of items: ('allocate', 1)", op("allocate"), ("allocate", 1)),
    ("an op has another number of items: ('release', 1, 2)", op("release"), ("release", 1, 2)),
    (f"the number of an array {KIND} d; 1 is one of kind q", op("copy", 2), 1),
    (f"{ARRAY} -1", op("copy", 1), -1),
    ("an alias has a source for each array", op("alias", 1), (0,)),
    ("an alias has the kind of its source", op("alias", 1), (0, 1)),
    (f"{ARRAY} 4", op("alias", 2, 1), 4),
    (f"{ARRAY} 4", op("release", 1), 4),
    (f"the number of a scalar {KIND} q; 3 is one of kind d", op("length", 1), 3),
    (f"{ARRAY} 4", op("length", 2), 4),
    (f"the number of an array {KIND} d; 2 is one of kind f", op("slice", 2), 2),
    (f"the number of a scalar {KIND} q; 2 is one of kind f", op("slice", 3), 2),
    (f"the number of a scalar {KIND} q; 2 is one of kind f", op("slice", 4), 2),
    ("the number of an op must be an int from 0 to 18, not 19", op("jump", 1), 19),
    ("the number of an op must be an int from 0 to 18, not -1", op("unless", 2), -1),
    (f"the number of a scalar {KIND} ?; 0 is one of kind q", op("unless", 1), 0),
    (f"the number of a scalar {KIND} ?; 0 is one of kind q", op("fault", 1), 0),
    ("the number of a fault must be an int from 0 to 2147483647, not -1", op("fault", 2), -1),
    (f"{SCALAR} 7", op("fault", 3), (7,)),
    ("a sort has 1 to 64 keys", op("sort", 1), ()),
    ("a sort has 1 to 64 keys", op("sort", 1), (0,) * 65),
    ("a sort says of each key whether it descends, and where it goes", op("sort", 2), (True,)),
    ("a sort says of each key whether it descends, and where it goes", op("sort", 3), (0,)),
    ("a key descends, or not: True or False", op("sort", 2, 0), 1),
    (f"the number of an array {KIND} d; 1 is one of kind q", op("sort", 3, 0), 1),
    (f"the number of an array {KIND} q; 0 is one of kind d", op("sort", 4), 0),
    ("an entry must be an int from 0 to 63, not 64", op("sort_by", 1), 64),
    (f"{OFFSET} 248, not 249", op("sort_by", 2), 249),
    (f"{OFFSET} 248, not 249", op("sort_by", 3), 249),
    (f"{OFFSET} 255, not 256", op("sort_by", 4), 256),
    (f"{OFFSET} 252, not 255", op("sort_by", 5, 0, 0), 255),
    (f"{ARRAY} 4", op("sort_by", 6, 0, 2), 4),
    (f"the number of a scalar {KIND} q; 5 is one of kind i", op("sort_by", 7), 5),
    (f"the number of an array {KIND} q; 0 is one of kind d", op("sort_by", 8), 0),
    ("what is called must be callable", op("call", 1), 3),
    (f"{ARRAY} 4", op("call", 2, 0), 4),
    (f"{ARRAY} -1", op("call", 3, 0), -1),
    # results
    ("expected ('number', i), ('array', i, lengths), ('tuple', parts) or ('python', callable, parts): 3", (4,), 3),
    ("expected ('number', i), ('array', i, lengths), ('tuple', parts) or ('python', callable, parts): ('array', 0)", (4,), ("array", 0)),
    (f"{SCALAR} 7", (4, 1, 0, 1), 7),
    (f"{ARRAY} 4", (4, 1, 1, 1), 4),
    (f"the number of a scalar {KIND} q; 3 is one of kind d", (4, 1, 1, 2), (3,)),
    ("at most 32 dimensions are possible", (4, 1, 1, 2), (0,) * 33),
    ("what is called must be callable", (4, 1, 2, 1), None),
]  # fmt: skip


@pytest.mark.parametrize(("message", "path", "leaf"), WRONG, ids=[f"{message[:40]} {path}" for message, path, _ in WRONG])
def test_a_wrong_plan_is_refused_with_a_reason(message, path, leaf):
    with pytest.raises(ImageError, match=re.escape(message)):
        call(changed(PLAN, path, leaf))


def test_a_result_is_not_too_deep():
    result = ("number", 0)
    for _ in range(101):
        result = ("tuple", (result,))
    with pytest.raises(ImageError, match="tuples in a result are too deep"):
        call(changed(PLAN, (4,), result))
    call(changed(PLAN, (4,), result[1][0]))


@pytest.mark.parametrize(
    ("path", "leaf", "error", "message"),
    [
        ((0,), [], TypeError, "arguments must be a tuple of at most 65536 items, not list"),
        ((0, 0), ("array",), TypeError, r"array\(\) takes exactly 5 arguments \(1 given\)"),
        ((0, 0, 4), 3, TypeError, "registers must be a tuple .* not int"),
        ((0, 0, 1), "x", TypeMismatch, "'x' is not a kind of element"),
        ((1,), 3, TypeError, "scalars must be a str of at most 65536 kinds, not int"),
        ((2,), "d" * 65537, TypeError, "arrays must be a str of at most 65536 kinds"),
        ((2,), "dqf\u0664", TypeMismatch, "is not a kind of element"),
        ((IN,), [], TypeError, "code must be a tuple .* not list"),
        (op("each"), ("kernel",), TypeError, r"kernel\(\) takes exactly 13 arguments \(1 given\)"),
        (op("each", 2), 3, TypeError, "entries must be a tuple"),
        (op("each", 6), 3, TypeError, "scalars must be a tuple"),
        (op("each", 6, 0), 3, TypeError, "a scalar must be a tuple"),
        (op("each", 6, 0), (1, "f"), TypeError, r"scalar\(\) takes exactly 3 arguments \(2 given\)"),
        (op("each", 7), 3, TypeError, "bases must be a tuple"),
        (op("each", 7, 0), (3,), TypeError, r"base\(\) takes exactly 3 arguments \(1 given\)"),
        (op("fold", 8), 3, TypeError, "states must be a tuple"),
        (op("fold", 8, 0), (3,), TypeError, r"state\(\) takes exactly 4 arguments \(1 given\)"),
        (op("each", 9, 0), (1, 2, 3), TypeError, r"scalar\(\) takes exactly 2 arguments \(3 given\)"),
        (op("filter", 10), None, TypeError, "the position must be a tuple .* not NoneType"),
        (op("filter", 10), (1,), TypeError, r"position\(\) takes exactly 3 arguments \(1 given\)"),
        (op("filter", 10, 2), 3, TypeError, "outputs must be a tuple"),
        (op("filter", 10, 2, 0), (3,), TypeError, r"output\(\) takes exactly 2 arguments \(1 given\)"),
        (op("compute"), ("compute",), TypeError, "compute"),
        (op("alias"), ("alias",), TypeError, "alias"),
        (op("length"), ("length",), TypeError, "length"),
        (op("fault"), ("fault",), TypeError, "fault"),
        (op("sort"), ("sort",), TypeError, "sort"),
        (op("sort", 2), [], TypeError, "descending must be a tuple"),
        (op("sort", 3), [], TypeError, "sorted must be a tuple"),
        (op("sort_by"), ("sort_by",), TypeError, "sort_by"),
        (op("call"), ("call",), TypeError, "call"),
        ((4, 1), 3, TypeError, "the parts of a result must be a tuple"),
        ((5,), 3, TypeError, "wrap must be callable, or None"),
        ((6,), None, TypeError, "fail must be callable"),
        ((7,), 3, TypeError, "fallback must be callable"),
        ((8,), 257, ValueError, "the number of threads must be from 0 to 256, not 257"),
        ((8,), -1, ValueError, "the number of threads must be from 0 to 256, not -1"),
    ],
)
def test_what_is_no_plan_is_refused(path, leaf, error, message):
    with pytest.raises(error, match=message):
        call(changed(PLAN, path, leaf))


def test_a_program_is_needed():
    with pytest.raises(TypeError, match="expected a Program, not int"):
        _runner.ParallelFunction(3, *PLAN)


PARTS = list(paths(PLAN))
RUBBISH = st.one_of(
    st.integers(-2, 20), st.integers(),
    st.sampled_from([None, "f", "d", "q", "?", "each", "fold", "scan", "filter", "ordered", "jump", 1.5, True, (), (0,), (1, 0), "qqqq"]),
    st.sampled_from(PARTS).map(lambda path: part_of(PLAN, path)),
)  # fmt: skip


def part_of(tree, path):
    for i in path:
        tree = tree[i]
    return tree


def ends(code):
    """Whether no jump leads back."""
    return all(not (isinstance(op, tuple) and op and op[0] in ("jump", "unless") and isinstance(op[-1], int) and op[-1] <= i)
               for i, op in enumerate(code))  # fmt: skip


@settings(max_examples=600)
@given(st.lists(st.tuples(st.sampled_from(PARTS), RUBBISH), min_size=1, max_size=3))
def test_a_plan_of_rubbish_is_refused_or_runs(changes):
    plan = PLAN
    for path, leaf in changes:
        with contextlib.suppress(IndexError, TypeError):
            plan = changed(plan, path, leaf)
    if len(plan) != len(PLAN) or not isinstance(plan[IN], tuple) or not ends(plan[IN]):
        return
    with contextlib.suppress(TypeError, ValueError, OverflowError, IndexError, MemoryError, HotloopError):
        call(plan)
