"""`hotloop._runner`: programs of hand-written x86-64 code, fast calls, conversions, and hostile arguments."""

import contextlib
import ctypes
import functools
import gc
import math
import os
import platform
import struct
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotloop import _runner
from hotloop.errors import ImageError, RangeError, ShapeError, TypeMismatch

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the programs of this file are x86-64 code")

# Encodings: Intel SDM volume 2. rdi is the data region.
ADD_I32 = bytes.fromhex("8b07 034704 894708 c3")  # mov eax, [rdi]; add eax, [rdi+4]; mov [rdi+8], eax; ret
ADD_F64 = bytes.fromhex("f20f1007 f20f584708 f20f114710 c3")  # movsd, addsd, movsd; ret
ADD_F32 = bytes.fromhex("f30f1007 f30f584704 f30f114708 c3")  # movss, addss, movss; ret
COUNT = bytes.fromhex("48ff07 c3")  # inc qword [rdi]; ret
# mov rcx, [rdi+8]; dec rcx; jnz -5; mov rax, [rdi]; inc rax; mov [rdi], rax; ret: slow, and not atomic
SLOW = bytes.fromhex("488b4f08 488b07 48ffc9 75fb 48ffc0 488907 c3")
MODE = bytes.fromhex("0fae1f c3")  # stmxcsr [rdi]; ret
RETURN = b"\xc3"


def adder(fallback=None, **options):
    program = _runner.Program(ADD_F64, bytes(24), 0, **options)
    return _runner.Function(program, [("d", 0), ("d", 8)], [("d", 16)], True, fallback or (lambda *a, **k: ("fallback", a, k)))


# ---------------------------------------------------------------------------------------- Program


def test_a_program_runs_on_its_data():
    program = _runner.Program(ADD_I32, struct.pack("<3i", 40, 2, 0), 0)
    assert program.run() is None
    assert _runner.read(program, "i", 8) == 42
    assert (program.code_size, program.data_size, program.long_running) == (len(ADD_I32), 12, False)
    assert (program.data_address - program.code_address) % 64 == 0


def test_views_are_live_and_keep_the_program():
    program = _runner.Program(ADD_I32, bytes(12), 0)
    inputs, output = np.frombuffer(program, np.int32, 2, 0), np.frombuffer(program, np.int32, 1, 8)
    inputs[:] = 5, 6
    program.run()
    assert output[0] == 11
    gone = weakref.ref(program)
    del program, inputs
    gc.collect()
    assert output[0] == 11
    del output
    assert gone() is None


def test_the_entry_may_lie_anywhere():
    program = _runner.Program(b"\xcc" * 7 + ADD_I32, struct.pack("<3i", 1, 2, 0), entry=7)
    program.run()
    assert _runner.read(program, "i", 0, 3) == [1, 2, 3]


def test_patches_are_applied():
    patches = struct.pack("<IIq", 1, 1, 99)
    program = _runner.Program(bytes.fromhex("b8 00000000 8907 c3"), bytes(4), 0, patches)  # mov eax, 0; mov [rdi], eax
    program.run()
    assert _runner.read(program, "i", 0) == 99


@pytest.mark.parametrize("long_running", [False, True])
def test_run_many_runs_as_often_as_asked(long_running):
    program = _runner.Program(COUNT, bytes(8), 0, long_running=long_running)
    program.run_many(0)
    program.run_many(200_001)
    program.run()
    assert _runner.read(program, "q", 0) == 200_002


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((b"", b"", 0), "allocating: the code is empty"),
        ((RETURN, b"", 1), "setting the entry: the offset"),
        ((RETURN, b"", -1), "entry -1 lies outside"),
        ((RETURN, b"", 1 << 80), "entry .* lies outside"),
        ((RETURN, b"", 1 << 32), "setting the entry"),
        ((RETURN, b"", 0, bytes(15)), "patching: the payload has the wrong length"),
        ((RETURN * 8, b"", 0, struct.pack("<IIq", 1, 0, 0) + bytes(16)), "patch 1: there is no such kind"),
        ((RETURN, b"", 0, struct.pack("<IIq", 1, 0, 0)), "patch 0: the offset or size lies outside"),
        ((RETURN * 8, b"", 0, struct.pack("<IIq", 1, 0, 1 << 40)), "patch 0: the patched value does not fit"),
    ],
)
def test_a_bad_image_is_refused(arguments, message):
    with pytest.raises(ImageError, match=message):
        _runner.Program(*arguments)


def test_too_much_stack_is_refused():
    with pytest.raises(ImageError, match="needs more stack than the runner has"):
        _runner.Program(RETURN, b"", 0, stack=1 << 20)


@given(
    st.one_of(st.binary(max_size=20), st.none(), st.integers()),
    st.one_of(st.binary(max_size=20), st.text(max_size=3)),
    st.one_of(st.integers(), st.floats(), st.none()),
    st.one_of(st.binary(max_size=48), st.lists(st.integers(), max_size=2)),
    st.one_of(st.integers(), st.text(max_size=2)),
)
def test_a_program_of_rubbish_raises_or_loads(code, data, entry, patches, stack):
    try:
        program = _runner.Program(code, data, entry, patches, stack=stack)
    except (ImageError, TypeError):
        return
    assert bytes(np.frombuffer(program, np.uint8) if data else b"") == data or patches
    assert program.data_size == len(data)


def test_programs_do_not_leak_memory():
    def mapped():
        return len(Path("/proc/self/maps").read_text().splitlines())

    kept = [_runner.Program(RETURN, bytes(100), 0) for _ in range(10)]
    before = mapped()
    for _ in range(300):
        _runner.Program(RETURN, bytes(100), 0).run()
        with pytest.raises(ImageError, match="entry"):
            _runner.Program(RETURN, bytes(100), 9)
    assert mapped() <= before + 4
    assert len(kept) == 10


def test_run_many_refuses_a_negative_count():
    with pytest.raises(ValueError, match=r"run_many\(-1\): the count must not be negative"):
        _runner.Program(RETURN, b"", 0).run_many(-1)


def test_run_many_can_be_interrupted():
    code = (
        "import _thread, threading\nfrom hotloop import _runner\n"
        "program = _runner.Program(bytes.fromhex('48ff07c3'), bytes(8), 0)\n"
        "threading.Timer(0.3, _thread.interrupt_main).start()\n"
        "try:\n    program.run_many(1 << 60)\nexcept KeyboardInterrupt:\n    print('interrupted', _runner.read(program, 'q', 0) > 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", _IMPORT + code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "interrupted True\n", done.stderr


_IMPORT = f"import sys; sys.path[:0] = {sys.path!r}\n"


# ---------------------------------------------------------------------------------------- threads


def test_a_long_running_program_lets_other_threads_work():
    program = _runner.Program(SLOW, struct.pack("<2q", 0, 1_000_000_000), 0, long_running=True)
    thread = threading.Thread(target=program.run)
    thread.start()
    ticks = 0
    while thread.is_alive():
        ticks += 1
        time.sleep(0.001)
    assert ticks > 10
    assert np.frombuffer(program, np.int64, 1)[0] == 1


@pytest.mark.parametrize("long_running", [False, True])
def test_runs_of_one_program_never_overlap(long_running):
    program = _runner.Program(SLOW, struct.pack("<2q", 0, 2000), 0, long_running=long_running)

    def work(many):
        for _ in range(50):
            program.run_many(10) if many else [program.run() for _ in range(10)]

    threads = [threading.Thread(target=work, args=(i % 2,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert _runner.read(program, "q", 0) == 2000


@pytest.mark.parametrize("long_running", [False, True])
def test_a_function_called_from_many_threads_answers_each_its_own(long_running):
    function, wrong = adder(long_running=long_running), []

    def work(number):
        for i in range(2000):
            if function(float(number), float(i)) != number + i:
                wrong.append((number, i))

    threads = [threading.Thread(target=work, args=(1000.0 * i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_changed_rounding_mode_does_not_reach_a_program():
    # ldmxcsr [rdi+4]; ret: flush-to-zero stays on in this thread until it is set back
    change = _runner.Program(bytes.fromhex("0fae5704 c3"), struct.pack("<2I", 0, 0x9FC0), 0)
    restore = _runner.Program(bytes.fromhex("0fae5704 c3"), struct.pack("<2I", 0, 0x1F80), 0)
    program = _runner.Program(MODE, bytes(4), 0)
    try:
        change.run()
        program.run()
    finally:
        # the runner puts the caller's mode back after a run, so this must not go through it twice
        _set_mode(restore)
    assert _runner.read(program, "I", 0) & 0xFFC0 == 0x1F80


def _set_mode(restore):
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(restore.code_address)(restore.data_address)


# --------------------------------------------------------------------------------------- Function


def test_a_function_adds_floats():
    function = adder()
    assert function(1.5, 2.25) == 3.75
    assert math.isnan(function(math.nan, 1.0))
    assert math.copysign(1, function(-0.0, -0.0)) == -1


class Float(float):
    pass


@pytest.mark.parametrize(
    "arguments", [(), (1.0,), (1.0, 2), (1, 2.0), (1.0, True), (np.float64(1), 2.0), (Float(1), 2.0), (1.0, 2.0, 3.0), ("a", None)]
)
def test_what_is_not_exactly_right_goes_to_the_fallback(arguments):
    assert adder()(*arguments) == ("fallback", arguments, {})


def test_keywords_go_to_the_fallback():
    assert adder()(1.0, y=2.0) == ("fallback", (1.0,), {"y": 2.0})
    assert adder()(*(1.0, 2.0), **{}) == 3.0


def test_the_fallback_may_raise():
    def refuse(*_):
        raise KeyError("no")

    with pytest.raises(KeyError, match="no"):
        adder(refuse)(1)


@pytest.mark.parametrize(
    ("kind", "code", "good", "bad"),
    [
        ("i", ADD_I32, [(3, -5, -2), (2**31 - 1, 1, -(2**31))], [(2**31, 0), (-(2**31) - 1, 0), (10**30, 0), (1.0, 2), (True, 1)]),
        ("f", ADD_F32, [(0.5, 0.25, 0.75), (1e38, 3e38, math.inf), (math.inf, 1.0, math.inf)], [(1e39, 0.0), (1, 2.0)]),
    ],
)
def test_numbers_out_of_range_go_to_the_fallback(kind, code, good, bad):
    program = _runner.Program(code, bytes(12), 0)
    function = _runner.Function(program, [(kind, 0), (kind, 4)], [(kind, 8)], True, lambda *a: ("fallback", *a))
    for x, y, z in good:
        assert function(x, y) == z
        assert type(function(x, y)) is type(z)
    for arguments in bad:
        assert function(*arguments) == ("fallback", *arguments)


def test_int64_and_bool_keep_their_types():
    program = _runner.Program(RETURN, bytes(16), 0)
    function = _runner.Function(program, [("q", 0), ("?", 8)], [("q", 0), ("?", 8)], False, lambda *a: "fallback")
    for number in (0, -1, 2**63 - 1, -(2**63)):
        assert function(number, True) == (number, True)
    assert function(1, False)[1] is False
    assert function(1, 1) == function(2**63, True) == "fallback"


def test_no_result_one_result_and_tuples():
    program = _runner.Program(RETURN, bytes(16), 0)
    assert _runner.Function(program, [], [], False, print)() == ()
    assert _runner.Function(program, [("d", 0)], [("d", 0)], False, print)(2.0) == (2.0,)
    assert _runner.Function(program, [("d", 0)], [("d", 0), ("d", 8)], False, print)(2.0) == (2.0, 0.0)
    with pytest.raises(ValueError, match="exactly one output"):
        _runner.Function(program, [], [], True, print)


def test_arrays_go_in_and_come_out_as_copies():
    program = _runner.Program(RETURN, bytes(64), 0)
    function = _runner.Function(program, [("d", 0, (2, 3)), ("i", 48, 1)], [("d", 0, (2, 3))], True, lambda *a: "fallback")
    x, one = np.arange(6.0).reshape(2, 3), np.array([7], np.int32)
    y = function(x, one)
    np.testing.assert_array_equal(x, y)
    assert not np.shares_memory(x, y)
    x[:] = 0
    function(x, one)
    assert y[1, 2] == 5
    x.flags.writeable = False
    assert function(x, one) is not y
    for wrong in (x.T, x.reshape(6), x.astype("f4"), x.astype(">f8"), np.zeros((2, 6))[:, ::2], x.view(np.matrix), x.tolist()):
        assert function(wrong, one) == "fallback"


def test_a_function_in_a_class_is_a_method():
    class Controller:
        step = adder()

    controller = Controller()
    assert controller.step(1.0) == ("fallback", (controller, 1.0), {})
    assert Controller.step(1.0, 2.0) == 3.0
    assert controller.step.__self__ is controller


def test_a_function_can_be_wrapped_pointed_elsewhere_and_collected():
    def plain(x, y):
        """Add."""
        return x + y

    function = functools.update_wrapper(adder(plain), plain)
    assert (function.__name__, function.__doc__, function.__wrapped__) == ("plain", "Add.", plain)
    other = _runner.Program(bytes.fromhex("f20f1007 f20f5c4708 f20f114710 c3"), bytes(24), 0)  # subsd
    function.program = other
    assert function(5.0, 2.0) == 3.0
    assert function.program is other
    function.program = None
    assert function("a", "b") == "ab"
    function.fallback = lambda *a: len(a)
    assert function(1) == 1
    function.specialise(other, [("d", 0)], [("d", 0)], True)
    assert function(8.0) == 8.0
    function.itself = function
    gone = weakref.ref(function)
    del function
    gc.collect()
    assert gone() is None


def test_a_fallback_may_change_the_function_that_calls_it():
    def specialise(*arguments):
        function.specialise(_runner.Program(ADD_I32, bytes(12), 0), [("i", 0), ("i", 4)], [("i", 8)], True)
        return function(*arguments)

    function = adder(specialise)
    assert function(1.0, 2.0) == 3.0
    assert function(20, 22) == 42


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([("d", 20)], [], False, print), ImageError, "the arguments reach to byte 28 of a data region of 24 bytes"),
        (([], [("d", 0, (2, 2))], False, print), ImageError, "reach to byte 32"),
        (([("x", 0)], [], False, print), TypeMismatch, "'x' is not a kind of element"),
        (([("d", -1)], [], False, print), ImageError, "offset -1 lies outside"),
        (([("d", 1 << 40)], [], False, print), ImageError, "offset 1099511627776 lies outside"),
        (([("d", 0, (1 << 20, 1 << 20))], [], False, print), ImageError, "is not the shape of an argument"),
        (([("d", 0, (-1,))], [], False, print), ImageError, "is not the shape"),
        (([("d", 0, (1,) * 7)], [], False, print), ImageError, "at most 6 dimensions"),
        (([("d", 0, "a")], [], False, print), ImageError, "'a' is not the shape"),
        (([("d",)], [], False, print), TypeError, "expected .kind, offset."),
        (([1], [], False, print), TypeError, "not 1"),
        ((None, [], False, print), TypeError, "not iterable"),
        (([], [], False, None), TypeError, "fallback must be callable"),
    ],
)
def test_a_bad_layout_is_refused(arguments, error, message):
    program = _runner.Program(ADD_F64, bytes(24), 0)
    with pytest.raises(error, match=message):
        _runner.Function(program, *arguments)


def test_a_function_refuses_what_is_no_program():
    with pytest.raises(TypeError, match="expected a Program, not int"):
        _runner.Function(3, [], [], False, print)
    function = adder()
    with pytest.raises(ImageError, match="reach to byte 24 of a data region of 23 bytes"):
        function.program = _runner.Program(RETURN, bytes(23), 0)
    with pytest.raises(TypeError, match="fallback must be callable"):
        del function.fallback
    assert function(1.0, 1.0) == 2.0


@given(st.recursive(st.none() | st.integers() | st.sampled_from("dfiq?x"), lambda t: st.lists(t, max_size=3).map(tuple), max_leaves=8))
def test_a_layout_of_rubbish_raises_or_works(rubbish):
    program = _runner.Program(RETURN, bytes(64), 0)
    try:
        function = _runner.Function(program, (rubbish,), (rubbish,), True, lambda *a: "fallback")
    except (ImageError, TypeError, TypeMismatch):
        return
    function(1.0)
    function(np.zeros(3))


# --------------------------------------------------------------------------------- read and write

LIMITS = {
    "b": (-128, 127), "B": (0, 255), "h": (-(2**15), 2**15 - 1), "H": (0, 2**16 - 1), "i": (-(2**31), 2**31 - 1),
    "I": (0, 2**32 - 1), "q": (-(2**63), 2**63 - 1), "Q": (0, 2**64 - 1), "?": (0, 1),
}  # fmt: skip


@pytest.fixture
def memory():
    return _runner.Program(RETURN, bytes(4800), 0)


@pytest.mark.parametrize("kind", LIMITS)
def test_integers_are_stored_exactly_or_refused(memory, kind):
    low, high = LIMITS[kind]
    _runner.write(memory, kind, 8, [low, high, 1])
    assert _runner.read(memory, kind, 8, 3) == [low, high, 1]
    assert struct.unpack_from(f"<3{kind}", memory, 8) == (low, high, 1)
    for number in (low - 1, high + 1, 10**40, -(10**40)):
        with pytest.raises(RangeError, match=rf"item 1: {number} does not fit"):
            _runner.write(memory, kind, 0, [0, number])
    _runner.write(memory, kind, 0, np.array([0, 1], np.int64))
    with pytest.raises(TypeError, match="float"):
        _runner.write(memory, kind, 0, [1.0])


@given(st.lists(st.floats(width=32), max_size=600), st.sampled_from("fd"))
def test_floats_come_back_as_they_went(numbers, kind):
    memory = _runner.Program(RETURN, bytes(4800), 0)
    _runner.write(memory, kind, 0, tuple(numbers))
    np.testing.assert_array_equal(_runner.read(memory, kind, 0, len(numbers)), numbers)


def test_floats_take_all_numbers(memory):
    _runner.write(memory, "d", 0, [1, True, np.float32(0.5), np.int64(3), 2**53])
    assert _runner.read(memory, "d", 0, 5) == [1.0, 1.0, 0.5, 3.0, 2.0**53]
    for number in (1e39, -1e39, 10**400):
        with pytest.raises(RangeError, match=r"item 2: .* does not fit float32"):
            _runner.write(memory, "f", 0, [0.0, math.inf, number])
    _runner.write(memory, "f", 0, [0.1])
    assert _runner.read(memory, "f", 0) == np.float32(0.1)


def test_bools_take_bools_only(memory):
    _runner.write(memory, "?", 0, [True, np.bool_(True), 1, 0, False])
    assert _runner.read(memory, "?", 0, 5) == [True, True, True, False, False]
    with pytest.raises(RangeError, match="item 0: 2 does not fit bool"):
        _runner.write(memory, "?", 0, [2])


def test_single_numbers_need_no_list(memory):
    _runner.write(memory, "d", 16, 2.5)
    _runner.write(memory, "i", 0, np.int32(-3))
    _runner.write(memory, "d", 24, np.array(1.25))
    assert (_runner.read(memory, "d", 16), _runner.read(memory, "i", 0), _runner.read(memory, "d", 24)) == (2.5, -3, 1.25)
    with pytest.raises(RangeError, match=r"^300 does not fit int8"):
        _runner.write(memory, "b", 0, 300)


def test_a_refused_write_changes_nothing(memory):
    _runner.write(memory, "i", 0, list(range(1200)))
    with pytest.raises(RangeError, match="item 1199"):
        _runner.write(memory, "i", 0, [9] * 1199 + [2**31])
    assert _runner.read(memory, "i", 0, 1200) == list(range(1200))


@pytest.mark.parametrize(("offset", "count"), [(-1, 1), (4800, 1), (4797, 1), (0, 1201), (4, 1200), (2**62, 1), (0, 2**62), (0, -1)])
def test_no_offset_leads_outside(memory, offset, count):
    with pytest.raises(ImageError, match="outside the data region of 4800 bytes"):
        _runner.read(memory, "i", offset, count)
    if 0 <= count <= 1201:
        with pytest.raises(ImageError, match="outside the data region of 4800 bytes"):
            _runner.write(memory, "i", offset, [0] * count)


def test_a_list_that_shrinks_while_it_is_written_is_noticed(memory):
    class Evil:
        def __float__(self):
            items.clear()
            return 1.0

    items = [0.0, Evil(), *range(500)]
    with pytest.raises(ShapeError, match="changed its length"):
        _runner.write(memory, "d", 0, items)


@given(
    st.one_of(st.text(max_size=2), st.integers(), st.none(), st.binary(max_size=1)),
    st.one_of(st.integers(), st.floats(), st.none()),
    st.recursive(st.none() | st.integers() | st.floats() | st.text(max_size=2), lambda t: st.lists(t, max_size=4), max_leaves=6),
)
def test_rubbish_is_refused_or_stored(kind, offset, source):
    memory = _runner.Program(RETURN, bytes(16), 0)
    for call in (_runner.write, _runner.read):
        with contextlib.suppress(TypeError, ValueError, OverflowError):  # hotloop's own are among these
            call(memory, kind, offset, source)
    for arguments in ((), (1, 2, 3), (memory,), (memory, "d"), (None, "d", 0, 1)):
        with pytest.raises(TypeError, match=r"takes|expected"):
            _runner.read(*arguments)
        with pytest.raises(TypeError, match=r"takes|expected"):
            _runner.write(*arguments)


def test_the_processor_has_a_known_level():
    assert _runner.cpu_features() in ("x86-64", "x86-64-v2", "x86-64-v3")
    flags = Path("/proc/cpuinfo").read_text()
    assert (_runner.cpu_features() == "x86-64-v3") == all(f" {flag}" in flags for flag in ("avx2", "bmi1", "bmi2", "fma", "f16c", "abm"))


# -------------------------------------------------------------------------------------- allocation

SHIM = r"""
#include <stddef.h>
extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
long allocations;
void *malloc(size_t n) { allocations++; return __libc_malloc(n); }
void *calloc(size_t n, size_t m) { allocations++; return __libc_calloc(n, m); }
void *realloc(void *p, size_t n) { allocations++; return __libc_realloc(p, n); }
"""

COUNTED = """
import ctypes
from hotloop import _runner
allocations = ctypes.c_long.in_dll(ctypes.CDLL(None), "allocations")
program = _runner.Program(bytes.fromhex("f20f1007f20f584708f20f114710c3"), bytes(24), 0)
shared = _runner.Program(b"\\xc3", bytes(24), 0, long_running=True)
function = _runner.Function(program, [("d", 0), ("d", 8)], [("d", 16)], True, print)
runs = [0] * 5000
def work():
    for _ in runs:
        program.run()
        shared.run()
        function(1.0, 2.0)
    program.run_many(1000)
work()
before = allocations.value
work()
print(allocations.value - before, bytearray(1 << 20) and allocations.value > before)
"""


def test_nothing_allocates_while_it_runs(tmp_path):
    source, shim = tmp_path / "shim.c", tmp_path / "shim.so"
    source.write_text(SHIM)
    subprocess.run([sys.executable, "-m", "ziglang", "cc", "-O2", "-fPIC", "-shared", str(source), "-o", str(shim)], check=True)
    # with PYTHONMALLOC=malloc every object counts, also those from Python's own pools; 1 object: the result of a call
    for allocator, most in (("pymalloc", 0), ("malloc", 5000)):
        done = subprocess.run(
            [sys.executable, "-c", _IMPORT + COUNTED],
            env={**os.environ, "LD_PRELOAD": str(shim), "PYTHONMALLOC": allocator}, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        count, counting = done.stdout.split()
        assert counting == "True", done.stderr
        assert int(count) <= most + 50, "the run loop allocates"
