"""`_runner.ArrayFunction` while signals arrive: long kernels can be interrupted, as Ctrl-C does it."""

import platform
import queue
import signal
import threading
import time

import numpy as np
import pytest
from tests.array_kernels import total

import hotloop as hl
from hotloop import _runner

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the kernels of this file are x86-64 code")

LONG = 1 << 34  # elements: a sum of them takes seconds
ENOUGH = 1.0  # seconds until it must have ended; it takes a twentieth of one


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


def ones(count, kind="f"):
    return np.broadcast_to(np.ones((), kind), count)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_long_reduction_is_interrupted(alarm, threads):
    _runner.set_threads(threads)
    function = total()
    alarm(stop)
    start = time.monotonic()
    with pytest.raises(Stop, match="stop"):
        function(ones(LONG))
    assert time.monotonic() - start < ENOUGH
    assert function(ones(1000)) == 1000


@pytest.mark.parametrize("threads", [1, 2])
def test_a_long_map_is_interrupted(alarm, threads):
    _runner.set_threads(threads)
    function, out = hl.jit(lambda x: hl.sin(hl.exp(hl.sin(x))) ** 0.3 * hl.log(x + 2)), np.full(1 << 24, 7.0)
    want = function(ones(1000, "d"))[0]
    alarm(stop)
    with pytest.raises(Stop, match="stop"):
        function(ones(out.size, "d"), out=out)
    assert (out[0], out[-1]) == (want, 7)


def test_handlers_that_raise_nothing_change_nothing(alarm):
    """They may call functions of arrays themselves."""
    function, seen = total("l"), []
    count = 1 << 29
    alarm(lambda: seen.append(function(ones(100_000, "l"))), again=0.03)
    assert function(ones(count, "l")) == count
    assert seen
    assert set(seen) == {100_000}


def test_other_threads_are_not_interrupted(alarm):
    """Python calls handlers on its main thread alone, which waits here."""
    function, results = total("l"), queue.SimpleQueue()
    threading.Thread(target=lambda: results.put(function(ones(1 << 29, "l")))).start()
    alarm(stop)
    with pytest.raises(Stop, match="stop"):
        results.get()
    assert results.get() == 1 << 29
