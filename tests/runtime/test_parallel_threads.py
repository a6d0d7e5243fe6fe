"""`_runner.ParallelFunction` among others: overlapping calls, forks, signals, and the floating-point mode of threads."""

import ctypes
import platform
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from tests.parallel_kernels import FIRST, FLAG, LESS, NY, OUT, SECOND, A, X, Y, added, affine, entry, kept, make, sweep, total, waiting

from hotloop import _runner

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the kernels of this file are x86-64 code")

EXPENSIVE = 10**6  # picoseconds: enough for threads to be used for a few hundred elements
ENOUGH = 1.0  # seconds until what is interrupted must have ended; it takes a twentieth of one
MODES = ("each", "ordered", "fold", "scan", "filter")

_IMPORT = f"import sys; sys.path[:0] = {sys.path!r}\n"


class Stop(Exception):
    """What the handler raises."""


@pytest.fixture(autouse=True)
def _same_threads():
    before = _runner.get_threads()
    yield
    _runner.set_threads(before)


@pytest.fixture
def alarm():
    """Return a function that has another one called on the main thread, soon."""
    before = signal.getsignal(signal.SIGALRM)

    def start(handler, again=0.0):
        signal.signal(signal.SIGALRM, lambda *_: handler())
        signal.setitimer(signal.ITIMER_REAL, 0.02, again)

    yield start
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def stop():
    raise Stop("stop")


def numbers(count, seed=0):
    return np.random.default_rng(seed).integers(-100, 100, count)


# ------------------------------------------------------------------------------------------ threads


def test_calls_of_one_function_may_overlap():
    _runner.set_threads(3)
    scan, filtered, sums = affine("scan", starts=False, cost=EXPENSIVE), kept(100, EXPENSIVE), added(EXPENSIVE)
    failed = []

    def work(number):
        x, y = numbers(7000 + number, number), numbers(7000 + number, number + 9)
        want, above = scan(x, y), x[x > 50]
        for _ in range(30):
            got = scan(x, y)
            right = got[:2] == want[:2], (got[2] == want[2]).all(), (filtered(x, 50)[0] == above).all()
            if not all(right) or (sums(x * 1.0, y * 1.0) != x + y).any():
                failed.append(right)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def test_a_function_may_use_fewer_threads():
    _runner.set_threads(4)
    x = numbers(3000)
    for most in (1, 2, 0):
        values, places, count = kept(100, EXPENSIVE, threads=most)(x, 50)
        np.testing.assert_array_equal(values, x[x > 50])
        np.testing.assert_array_equal(places, np.flatnonzero(x > 50))
        assert count == len(values)


def test_other_threads_of_python_work_while_kernels_run():
    function, ticks = waiting(), 0
    thread = threading.Thread(target=function, args=(20_000_000, 1))
    thread.start()
    while thread.is_alive():
        ticks += 1
        thread.join(0.001)
    assert ticks > 10


def looping():
    """A loop of ops that lasts a number of turns."""
    count = "compute", entry("decrease"), ((A, 0),), (), ((A, 0), (FLAG, 1))
    return make((("number", "q", 0),), "q?", "", (count, ("unless", 1, 3), ("jump", 0)), ("number", 0))


def test_other_threads_of_python_work_while_ops_loop():
    function, ticks = looping(), 0
    thread = threading.Thread(target=function, args=(20_000_000,))
    thread.start()
    while thread.is_alive():
        ticks += 1
        thread.join(0.001)
    assert ticks > 10


FORK = """
import os, threading
import numpy as np
from hotloop import _runner
from tests.parallel_kernels import added, kept
_runner.set_threads(3)
function, filtered, x, whole = added(10**6), kept(100, 10**6), np.ones(20_000), np.arange(20_000)
def right():
    return (function(x, x) == 2).all() and filtered(whole, 15_000)[2] == 4999
assert right()
stop = False
def work():
    while not stop:
        right()
thread = threading.Thread(target=work, daemon=True)
thread.start()
for _ in range(20):
    child = os.fork()
    if not child:
        os._exit(0 if right() and right() and _runner.parallel_progress() == (0, 0) else 1)
    assert os.waitpid(child, 0)[1] == 0
stop = True
thread.join()
print("done")
"""


def test_a_child_of_a_fork_has_threads_of_its_own():
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", _IMPORT + FORK], capture_output=True, text=True, timeout=120)
    assert done.stdout == "done\n", done.stderr


def test_progress_can_be_seen_from_another_thread():
    seen = []
    thread = threading.Thread(target=waiting(), args=(2_000_000, 10))
    thread.start()
    while thread.is_alive():
        seen.append(_runner.parallel_progress())
        thread.join(0.001)
    running = [done for done, count in seen if count]
    assert {count for _, count in seen} <= {0, 2_000_000}
    assert running == sorted(running)
    assert 0 < running[len(running) // 2] < 2_000_000
    assert _runner.parallel_progress() == (0, 0)


# ------------------------------------------------------------------------------------------ signals


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("mode", MODES)
def test_a_long_kernel_is_interrupted(alarm, threads, mode):
    _runner.set_threads(threads)
    function = waiting(mode, chunk=1000)
    alarm(stop)
    start = time.monotonic()
    with pytest.raises(Stop, match="stop"):
        function(1 << 30, 3)
    assert time.monotonic() - start < ENOUGH
    assert function(1000, 1) == 1000
    assert _runner.parallel_progress() == (0, 0)


@pytest.mark.parametrize(("count", "pauses", "cost"), [(4000, 100_000, 5000), (1 << 20, 1000, 5000), (1 << 30, 3, 10**9)])
@pytest.mark.parametrize("mode", ["each", "ordered"])
def test_a_wrong_price_of_elements_does_little_harm(alarm, mode, count, pauses, cost):
    function = waiting(mode, cost=cost)
    alarm(stop)
    start = time.monotonic()
    with pytest.raises(Stop, match="stop"):
        function(count, pauses)
    assert time.monotonic() - start < ENOUGH


def test_elements_that_take_longer_than_thought_are_shared_by_threads():
    _runner.set_threads(2)
    op = sweep("each", "gather", 0, ((X, -1, 0), (Y, NY, 1), (OUT, -1, 2)), flags=((FLAG, 2),), cost=5000)
    arguments = ("array", "q", 0, 1, (0,)), ("array", "d", 1, 1, (1,))
    function = make(arguments, "qq?", "qdd", (("allocate", 2, 0), op), ("tuple", (("array", 2, None), ("number", 2))))
    places, y = np.arange(15_000) % 3000, np.random.default_rng(0).normal(size=3000)
    for wrong in (None, 0, 1, 14_999):
        if wrong is not None:
            places[wrong] = -1
        result, flag = function(places, y)
        assert flag is (wrong is not None)
        np.testing.assert_array_equal(result, y[np.maximum(places, 0)])
        places[wrong or 0] = 0


def test_a_loop_of_ops_is_interrupted(alarm):
    function = looping()
    alarm(stop)
    start = time.monotonic()
    with pytest.raises(Stop, match="stop"):
        function(1 << 60)
    assert time.monotonic() - start < ENOUGH
    assert function(10) == 0


def test_sorts_are_interrupted(alarm):
    x = np.random.default_rng(0).permutation(1 << 22)
    code = (("sort_by", entry("less"), FIRST, SECOND, LESS, ((A, "q", 1),), ((X, -1, 0),), 0, 1),)
    function = make((("array", "q", 0, 1, (0,)), ("number", "q", 1)), "qq", "qq", code, ("array", 1, None))
    alarm(stop)
    start = time.monotonic()
    with pytest.raises(Stop, match="stop"):
        function(x, 1 << 40)
    assert time.monotonic() - start < ENOUGH
    np.testing.assert_array_equal(function(x[:1000], 1 << 40), np.argsort(x[:1000]))


def test_handlers_that_raise_nothing_change_nothing(alarm):
    """They may call functions of arrays themselves, also the very one that is interrupted."""
    _runner.set_threads(2)
    sums, seen, x = total(cost=1000), [], np.ones(1 << 22, "f")
    scan, few, many = affine("scan", starts=False, cost=100), numbers(5000), numbers(1 << 23)
    want = affine("fold", starts=False)(many, many)
    alarm(lambda: seen.append((total(100)(x[:5000]), scan(few, few)[:2])), again=0.03)
    for _ in range(5):
        assert sums(x) == 1 << 22
        assert scan(many, many)[:2] == want
    assert seen
    assert set(seen) == {(5000.0, affine("fold", starts=False)(few, few))}


# ------------------------------------------------------------------------------- floating-point mode


@pytest.mark.parametrize("threads", [1, 3])
def test_a_changed_rounding_mode_does_not_reach_a_kernel(threads):
    _runner.set_threads(threads)
    op = sweep("each", "mode", 0, ((OUT, -1, 0),), cost=EXPENSIVE)
    function = make((("number", "q", 0),), "q", "q", (("allocate", 0, 0), op), ("array", 0, None))
    change = _runner.Program(bytes.fromhex("0fae17 c3"), np.array([0x9FC0], "u4").tobytes(), 0)  # ldmxcsr [rdi]; ret
    restore = _runner.Program(bytes.fromhex("0fae17 c3"), np.array([0x1F80], "u4").tobytes(), 0)
    store = _runner.Program(bytes.fromhex("0fae1f c3"), bytes(4), 0)  # stmxcsr [rdi]; ret
    call = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
    try:
        call(change.code_address)(change.data_address)
        out = function(10_000)
        call(store.code_address)(store.data_address)
    finally:
        call(restore.code_address)(restore.data_address)
    assert set(out & 0xFFC0) == {0x1F80}
    assert _runner.read(store, "I", 0) & 0xFFC0 == 0x9FC0
