"""`_runner.ArrayFunction` among others: threads, forks, memory, and the `Function` that gives its calls to it."""

import ctypes
import gc
import os
import platform
import subprocess
import sys
import threading
import weakref

import numpy as np
import pytest
from tests.array_kernels import binary, fallback, kernel, make, numbers, ordered_sum, program, same, stream, through_python, total

from hotloop import _runner
from hotloop.errors import ShapeError

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the kernels of this file are x86-64 code")

_IMPORT = f"import sys; sys.path[:0] = {sys.path!r}\n"


@pytest.fixture(autouse=True)
def _same_threads():
    before = _runner.get_threads()
    yield
    _runner.set_threads(before)


# ------------------------------------------------------------------------------------------- threads


def in_threads(work, count=4):
    failed = []

    def run(number):
        try:
            work(number)
        except BaseException as error:
            failed.append(error)
            raise

    threads = [threading.Thread(target=run, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def test_calls_of_one_function_may_overlap():
    _runner.set_threads(3)
    function, sums, python = binary(cost=10**6), total(cost=10**6), through_python(np.multiply)

    def work(number):
        x, y = numbers(70_000, seed=number), numbers(70_000, seed=number + 9)
        want, added, square = x + y, ordered_sum(x), x.reshape(700, 100)
        for _ in range(20):
            same(function(x, y), want)
            same(function(x[::-1], y), x[::-1] + y)
            assert np.float32(sums(x)) == added
            same(python(square), (square + square) * square + square)

    in_threads(work)


FORK = """
import os, threading
import numpy as np
from hotloop import _runner
from tests.array_kernels import binary, total
_runner.set_threads(3)
function, x = binary(cost=10**7), np.ones(200_000, "f")
function(x, x)
stop = False
def work():
    while not stop:
        function(x, x)
thread = threading.Thread(target=work, daemon=True)
thread.start()
for _ in range(20):
    child = os.fork()
    if not child:
        right = (function(x, x) == 2).all() and (function(x, x) == 2).all()
        os._exit(0 if right else 1)
    assert os.waitpid(child, 0)[1] == 0
stop = True
thread.join()
print("done")
"""


def test_a_child_of_a_fork_has_threads_of_its_own():
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", _IMPORT + FORK], capture_output=True, text=True, timeout=120)
    assert done.stdout == "done\n", done.stderr


@pytest.mark.parametrize(("text", "count"), [("3", 3), ("1", 1), ("", None), ("0", None), ("many", None), ("1000", None)])
def test_the_environment_sets_the_number_of_threads(text, count):
    code = _IMPORT + "from hotloop import _runner; print(_runner.get_threads())"
    environment = {**os.environ, "HOTLOOP_NUM_THREADS": text}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=60)
    assert int(done.stdout) == (count or len(os.sched_getaffinity(0)))
    assert ("it must be a number from 1 to 256" in done.stderr) == (count is None and text != "")


@pytest.mark.parametrize("count", [0, -1, 257, 10**30])
def test_a_wrong_number_of_threads_is_refused(count):
    with pytest.raises(ValueError, match="the number of threads must be from 1 to 256, not"):
        _runner.set_threads(count)
    with pytest.raises(TypeError, match="str"):
        _runner.set_threads("2")


def test_other_threads_work_while_kernels_run():
    function = binary(cost=10**6)
    x, ticks = np.ones(30_000_000, "f"), 0
    thread = threading.Thread(target=lambda: [function(x, x, out=x) for _ in range(5)])
    thread.start()
    while thread.is_alive():
        ticks += 1
        thread.join(0.001)
    assert ticks > 10


@pytest.mark.parametrize("threads", [1, 3])
def test_a_changed_rounding_mode_does_not_reach_a_kernel(threads):
    _runner.set_threads(threads)
    stage = kernel("mode", 8, (0,), (stream(0, 0, (0,), 4),), (stream(1, 1, (0,), 4),), cost=10**6)
    function = make((("array", "i", (0,)),), (("i", (0,), ("argument", 0)), ("i", (0,), ("result", 0))), (stage,))
    change = _runner.Program(bytes.fromhex("0fae17 c3"), np.array([0x9FC0], "u4").tobytes(), 0)  # ldmxcsr [rdi]; ret
    restore = _runner.Program(bytes.fromhex("0fae17 c3"), np.array([0x1F80], "u4").tobytes(), 0)
    store = _runner.Program(bytes.fromhex("0fae1f c3"), bytes(4), 0)  # stmxcsr [rdi]; ret
    x, out = np.zeros(100_000, "i"), np.zeros(100_000, "i")
    call = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
    try:
        call(change.code_address)(change.data_address)
        function(x, out=out)
        call(store.code_address)(store.data_address)
    finally:
        call(restore.code_address)(restore.data_address)
    assert set(out & 0xFFC0) == {0x1F80}
    assert _runner.read(store, "I", 0) & 0xFFC0 == 0x9FC0


# -------------------------------------------------------------------------------------------- memory


def test_results_are_aligned_and_their_memory_is_used_again():
    function, x = binary(), np.ones(100_000, "f")
    first = function(x, x)
    assert first.flags.carray
    assert first.ctypes.data % 64 == 0
    address = first.ctypes.data
    del first
    second = function(x, x)
    assert second.ctypes.data == address
    view = second[5:]
    del second
    assert function(x, x).ctypes.data != address
    assert (view == 2).all()


def test_results_of_all_sizes_come_and_go():
    function, kept = binary(), []
    for i in range(3000):
        size = (i * 7919) % 60_000
        x = np.full(size, i, "f")
        kept.append((i, function(x, x)))
        if len(kept) > 50:
            number, result = kept.pop((i * 31) % 50)
            assert (result == 2 * number).all()


def test_calls_keep_no_references():
    x, y, out = np.ones(1000, "f"), np.ones(1000, "f"), np.ones(1000, "f")
    gc.collect()  # what else would be collected meanwhile may refer to None
    none = sys.getrefcount(None)
    before = [sys.getrefcount(array) for array in (x, y, out)]
    function, python = binary(), through_python(np.multiply)
    for _ in range(100):
        function(x, y, out=out)
        function(x, y, out=(x,))
        function(x, y, out=x[::-1])
        function(x, y, out=None)
        function(x, None)
        python(x.reshape(10, 100))
        with pytest.raises(ShapeError, match="shape"):
            function(x, y, out=out[1:])
    assert [sys.getrefcount(array) for array in (x, y, out)] == before
    assert abs(sys.getrefcount(None) - none) < 50


def test_a_function_is_collected_with_its_fallback():
    class Owner:
        def __call__(self, *_):
            return "owner"

    owner = Owner()
    function = make((), (), (), (), False, owner)
    owner.function = function
    assert function(1) == "owner"
    gone = weakref.ref(function)
    del function, owner
    gc.collect()
    assert gone() is None


# ------------------------------------------------------------------------------------------ Function


def test_a_function_gives_its_calls_to_an_array_function():
    x, token, cell = np.ones(10, "f"), object(), {}
    function = _runner.Function(None, (), (("d", 0),), True, fallback)
    assert function(x, x)[0] == "fallback"
    arrays = binary()
    function.specialise_arrays(arrays)
    assert function.arrays is arrays
    assert function.program is None
    out = np.zeros(10, "f")
    assert function(x, x, out=out) is out
    same(function(x, x), x + x)
    assert function(x, 1)[0] == "fallback"
    cell["name"] = token
    function.guards = ((cell, "name", token),)
    same(function(x, x), x + x)
    cell["name"] = None
    assert function(x, x)[0] == "fallback"
    function.guards = ()
    function.program = None
    assert function.arrays is None
    assert function(x, x)[0] == "fallback"
    function.specialise_arrays(arrays)
    held = _runner.Program(b"\xc3", bytes(8), 0)
    function.specialise(held, (("d", 0),), (("d", 0),), True)
    assert function(2.0) == 2.0
    assert function.arrays is None
    with pytest.raises(TypeError, match=r"expected an ArrayFunction, not hotloop._runner.Program"):
        function.specialise_arrays(held)


def test_a_function_and_its_arrays_are_collected():
    function = _runner.Function(None, (), (("d", 0),), True, fallback)
    function.specialise_arrays(make((), (), (), (), False, function))
    gone = weakref.ref(function)
    del function
    gc.collect()
    assert gone() is None


def test_a_fallback_may_replace_the_array_function_that_calls_it():
    x = np.ones(4, "f")

    def replace(*_):
        function.program = None
        gc.collect()
        return "replaced"

    function = _runner.Function(None, (), (("d", 0),), True, fallback)
    function.specialise_arrays(make((("array", "f", (0,)),), (), (), (), False, replace))
    assert function(x) == ()
    assert function(1) == "replaced"
    assert function(x)[0] == "fallback"


def test_the_data_of_the_program_is_not_touched():
    before = bytes(memoryview(program()))
    binary()(np.ones(100, "f"), np.ones(100, "f"))
    assert bytes(memoryview(program())) == before
