"""The runner as a process, under sanitizers: every command, every refusal, and streams of rubbish."""

import io
import platform
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotloop import _runner
from hotloop.errors import ImageError
from hotloop.runtime import protocol as p

RUNNER = Path(__file__).parents[2] / "runner"
SOURCES = [str(RUNNER / name) for name in ("runner.c", "linux.c", "linux_process.c")]
WARNINGS = ["-std=c11", "-Wall", "-Wextra", "-Wconversion", "-Werror"]
ZIG = [sys.executable, "-m", "ziglang", "cc"]

# the sum of the first two int32 of the data becomes the third
ADD = {
    # Intel SDM volume 2: mov eax, [rdi]; add eax, [rdi + 4]; mov [rdi + 8], eax; ret
    "x86_64": bytes.fromhex("8b07 034704 894708 c3"),
    # Arm ARM, C6.2: ldr w1, [x0]; ldr w2, [x0, 4]; add w1, w1, w2; str w1, [x0, 8]; ret
    "aarch64": struct.pack("<5I", 0xB9400001, 0xB9400402, 0x0B020021, 0xB9000801, 0xD65F03C0),
}.get(platform.machine(), b"")
HERE = _runner.cpu_features()
PAGE = 4096

pytestmark = pytest.mark.skipif(not ADD, reason="the programs of this file are for x86-64 and AArch64")


@pytest.fixture(scope="session")
def runner(tmp_path_factory):
    """The process with AddressSanitizer where gcc offers it; zig has UBSan, which then traps."""
    output = str(tmp_path_factory.mktemp("runner") / "runner")
    gcc = shutil.which("gcc")
    sanitized = [gcc, "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    if gcc and not subprocess.run([*sanitized, "-g", *WARNINGS, *SOURCES, "-o", output], capture_output=True).returncode:
        return output
    subprocess.run([*ZIG, "-O1", "-fsanitize=undefined", "-fsanitize-trap=undefined", *WARNINGS, *SOURCES, "-o", output], check=True)
    return output


def talk(runner, stream, ended=(0, 1)):
    """Send bytes, and return the replies; the process must not be stopped by a sanitizer."""
    done = subprocess.run([runner], input=stream, capture_output=True, timeout=60)
    assert done.returncode in ended, (done.returncode, done.stderr.decode()[-3000:])
    assert done.stderr == b""
    stream, replies = io.BytesIO(done.stdout), []
    while stream.tell() < len(done.stdout):
        replies.append(p.receive(stream.read))
    return replies


def statuses(runner, *frames, ended=(0,)):
    return [p.Status(reply.status).name for reply in talk(runner, b"".join(frames), ended)]


HELLO = p.hello(HERE)
ALLOCATE = p.allocate(64, 64)
LOADED = [HELLO, ALLOCATE, p.copy_code(0, ADD), p.copy_data(0, struct.pack("<3i", 40, 2, 0))]
READY = [*LOADED, p.entry(0)]


def test_a_program_is_loaded_run_read_and_freed(runner):
    again = [p.write(0, struct.pack("<i", -2)), p.run(3), p.read(8, 4), p.free(), p.allocate(1, 0)]
    replies = talk(runner, b"".join([*READY, p.run(), p.read(8, 4), *again]), ended=(0,))
    assert [reply.status for reply in replies] == [0] * len(replies)
    assert struct.unpack("<i", replies[6].payload) == (42,)
    assert struct.unpack("<i", replies[9].payload) == (0,)


def test_hello_tells_limits_and_they_are_those_of_this_process(runner):
    (reply,) = talk(runner, HELLO)
    told = p.greeting(reply.checked())
    assert told.version == p.VERSION
    assert (told.code_limit, told.data_limit, told.stack_limit) == _runner.limits()
    assert told.largest_payload > PAGE
    assert told.target == HERE
    assert told.window > 1


def test_load_splits_an_image_into_frames_that_fit(runner):
    code, data = ADD.ljust(3000, b"\0"), struct.pack("<2i", 5, 6).ljust(1111, b"\1")
    patches = p.pack_patches([(p.ABS32 + p.IN_DATA, 4 * i, i) for i in range(2, 40)])
    frames = list(p.load(code, data, 0, patches, 0, largest_payload=100))
    assert all(len(frame) <= 100 + 12 for frame in frames)
    replies = talk(runner, b"".join([HELLO, *frames, p.read(0, 1111)]))
    assert all(reply.status == 0 for reply in replies)
    assert replies[-1].payload == data[:8] + struct.pack("<38i", *range(2, 40)) + data[160:]


REFUSALS = {
    "a command before hello": ([ALLOCATE], "GREETING"),
    "a wrong magic": ([p.frame(p.Command.HELLO, struct.pack("<IIQ", 1, 1, 0))], "GREETING"),
    "another version": ([p.frame(p.Command.HELLO, struct.pack("<IIQ", p.MAGIC, p.VERSION + 1, p.target_hash(HERE)))], "OTHER_VERSION"),
    "another target": ([p.hello("z80")], "OTHER_TARGET"),
    "the target unknown": ([p.hello("unknown")], "OTHER_TARGET"),
    "a refused hello greets nobody": ([p.hello("z80"), ALLOCATE], "GREETING"),
    "a refused second hello takes the first back": ([*LOADED, p.hello("z80"), p.entry(0)], "GREETING"),
    "an unknown command": ([HELLO, p.frame(12)], "UNKNOWN"),
    "command zero": ([HELLO, p.frame(0)], "UNKNOWN"),
    "a reply": ([HELLO, p.frame(p.REPLY | p.Command.RUN)], "UNKNOWN"),
    "two programs": ([HELLO, ALLOCATE, ALLOCATE], "HELD"),
    "no code": ([HELLO, p.allocate(0, 64)], "SIZE"),
    "too much code": ([HELLO, p.allocate(_runner.limits()[0] + 1, 64)], "SIZE"),
    "too much data": ([HELLO, p.allocate(64, _runner.limits()[1] + 1)], "SIZE"),
    "copying code into nothing": ([HELLO, p.copy_code(0, b"")], "NOTHING"),
    "copying data into nothing": ([HELLO, p.copy_data(0, b"")], "NOTHING"),
    "patching nothing": ([HELLO, p.patch(p.pack_patches([(1, 0, 0)]))], "NOTHING"),
    "entering nothing": ([HELLO, p.entry(0)], "NOTHING"),
    "running nothing": ([HELLO, p.run()], "NOTHING"),
    "reading nothing": ([HELLO, p.read(0, 0)], "NOTHING"),
    "writing nothing": ([HELLO, p.write(0, b"")], "NOTHING"),
    "freeing nothing": ([HELLO, p.free()], "NOTHING"),
    "running before entry": ([*LOADED, p.run()], "UNSEALED"),
    "reading before entry": ([*LOADED, p.read(0, 1)], "UNSEALED"),
    "writing before entry": ([*LOADED, p.write(0, b"1")], "UNSEALED"),
    "copying code after entry": ([*READY, p.copy_code(0, b"1")], "SEALED"),
    "copying data after entry": ([*READY, p.copy_data(0, b"1")], "SEALED"),
    "patching after entry": ([*READY, p.patch(p.pack_patches([(1, 0, 0)]))], "SEALED"),
    "a second entry": ([*READY, p.entry(0)], "SEALED"),
    "running what was freed": ([*READY, p.free(), p.run()], "NOTHING"),
    "code past the end": ([*LOADED, p.copy_code(60, b"12345")], "BOUNDS"),
    "code that wraps around": ([*LOADED, p.copy_code(0xFFFFFFFF, b"12")], "BOUNDS"),
    "data past the end": ([*LOADED, p.copy_data(65, b"")], "BOUNDS"),
    "an entry past the end": ([*LOADED, p.entry(64)], "BOUNDS"),
    "too much stack": ([*LOADED, p.entry(0, _runner.limits()[2] + 1)], "STACK"),
    "reading past the end": ([*READY, p.read(60, 5)], "BOUNDS"),
    "reading that wraps around": ([*READY, p.read(0xFFFFFFF0, 0x20)], "BOUNDS"),
    "reading more than a frame": ([*READY, p.read(0, 0xFFFFFFFF)], "SIZE"),
    "writing past the end": ([*READY, p.write(62, b"123")], "BOUNDS"),
    "a patch past the end": ([*LOADED, p.patch(p.pack_patches([(p.ABS32, 61, 0)]))], "BOUNDS"),
    "a wide patch past the end": ([*LOADED, p.patch(p.pack_patches([(p.ABS64 + p.IN_DATA, 60, 0)]))], "BOUNDS"),
    "an unaligned pointer in data": ([*LOADED, p.patch(p.pack_patches([(p.ABS64 + p.IN_DATA, 4, 0)]))], "ALIGNMENT"),
    "patch kind 0": ([*LOADED, p.patch(p.pack_patches([(0, 0, 0)]))], "PATCH_KIND"),
    "an unknown form": ([*LOADED, p.patch(p.pack_patches([(4, 0, 0)]))], "PATCH_KIND"),
    "an unknown base": ([*LOADED, p.patch(p.pack_patches([(0x301, 0, 0)]))], "PATCH_KIND"),
    "an unknown place": ([*LOADED, p.patch(p.pack_patches([(0x2001, 0, 0)]))], "PATCH_KIND"),
    "high bits of a kind": ([*LOADED, p.patch(p.pack_patches([(0x10001, 0, 0)]))], "PATCH_KIND"),
    "a value of 33 bits": ([*LOADED, p.patch(p.pack_patches([(p.ABS32, 0, 1 << 32)]))], "PATCH_RANGE"),
    "a value below 32 bits": ([*LOADED, p.patch(p.pack_patches([(p.ABS32, 0, -(1 << 31) - 1)]))], "PATCH_RANGE"),
    "a distance of 32 bits": ([*LOADED, p.patch(p.pack_patches([(p.REL32 + p.FROM_CODE, 0, 1 << 31)]))], "PATCH_RANGE"),
    "a value that overflows": ([*LOADED, p.patch(p.pack_patches([(p.ABS32 + p.FROM_DATA, 0, (1 << 63) - 1)]))], "PATCH_RANGE"),
    "half a patch": ([*LOADED, p.frame(p.Command.PATCH, bytes(17))], "MALFORMED"),
    "half an offset": ([*LOADED, p.frame(p.Command.COPY_DATA, bytes(3))], "MALFORMED"),
    "a short hello": ([p.frame(p.Command.HELLO, bytes(15))], "MALFORMED"),
    "a long allocate": ([HELLO, p.frame(p.Command.ALLOCATE, bytes(9))], "MALFORMED"),
    "a short entry": ([*LOADED, p.frame(p.Command.ENTRY, bytes(4))], "MALFORMED"),
    "a long run": ([*READY, p.frame(p.Command.RUN, bytes(5))], "MALFORMED"),
    "a short read": ([*READY, p.frame(p.Command.READ, bytes(7))], "MALFORMED"),
    "streaming through nothing": ([HELLO, p.stream([], [])], "NOTHING"),
    "streaming before entry": ([*LOADED, p.stream([], [])], "UNSEALED"),
    "streaming in past the end": ([*READY, p.stream([(0, b"1"), (62, b"123")], [])], "BOUNDS"),
    "streaming out past the end": ([*READY, p.stream([], [(0, 1), (60, 5)])], "BOUNDS"),
    "streaming out what wraps around": ([*READY, p.stream([], [(0xFFFFFFF0, 0x20)])], "BOUNDS"),
    "streaming out more than a frame": ([*READY, p.stream([], [(0, 64)] * 2000)], "SIZE"),
    "a short stream": ([*READY, p.frame(p.Command.STREAM, bytes(7))], "MALFORMED"),
    "a stream without its reads": ([*READY, p.frame(p.Command.STREAM, struct.pack("<4I", 1, 2, 0, 4))], "MALFORMED"),
    "a stream of too many reads": ([*READY, p.frame(p.Command.STREAM, struct.pack("<4I", 1, 0x20000001, 0, 4))], "MALFORMED"),
    "a stream with half a write": ([*READY, p.frame(p.Command.STREAM, struct.pack("<3I", 1, 0, 0))], "MALFORMED"),
    "a stream whose write is cut": ([*READY, p.frame(p.Command.STREAM, struct.pack("<4I", 1, 0, 0, 5) + b"1234")], "MALFORMED"),
    "a stream whose write wraps": ([*READY, p.frame(p.Command.STREAM, struct.pack("<4I", 1, 0, 0, 0xFFFFFFF8) + b"1234")], "MALFORMED"),
    "a long free": ([*READY, p.frame(p.Command.FREE, b"1")], "MALFORMED"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_the_runner_refuses_and_goes_on(runner, case):
    frames, status = REFUSALS[case]
    replies = talk(runner, b"".join(frames) + p.hello(HERE), ended=(0,))
    assert p.Status(replies[-2].status).name == status
    assert replies[-1].status == 0
    with pytest.raises(ImageError, match="the runner refused"):
        replies[-2].checked()


def test_every_status_that_a_client_can_cause_is_tested():
    caused = {status for _, status in REFUSALS.values()} | {"OK", "CHECKSUM", "TOO_LONG"}
    assert caused | {"MEMORY"} == {status.name for status in p.Status}  # MEMORY: no client can cause it
    assert len({_runner.message(status) for status in p.Status}) == len(p.Status)
    assert _runner.message(99) == _runner.message(-1) == "unknown status"


def test_a_refused_patch_stops_those_behind_it(runner):
    records = p.pack_patches([(p.ABS32 + p.IN_DATA, 0, 1), (p.ABS32 + p.IN_DATA, 62, 2), (p.ABS32 + p.IN_DATA, 4, 3)])
    replies = talk(runner, b"".join([*LOADED, p.patch(records), p.entry(0), p.read(0, 8)]))
    assert replies[4].status == p.Status.BOUNDS
    assert struct.unpack("<2i", replies[-1].payload) == (1, 2)


def test_patches_write_what_they_say(runner):
    records = p.pack_patches(
        [
            (p.ABS64 + p.IN_DATA + p.FROM_CODE, 0, 0),
            (p.ABS64 + p.IN_DATA + p.FROM_DATA, 8, 0),
            (p.ABS64 + p.IN_DATA + p.FROM_ZERO, 16, -7),
            (p.REL32 + p.IN_DATA + p.FROM_DATA, 24, -4),
            (p.REL32 + p.IN_DATA + p.FROM_CODE, 28, 12),
            (p.ABS32 + p.IN_DATA, 32, 0xFFFFFFFF),
            (p.ABS32 + p.IN_DATA, 36, -2),
        ]
    )
    replies = talk(runner, b"".join([*LOADED, p.patch(records), p.entry(0), p.read(0, 40)]))
    code, data, value, from_data, from_code, high, low = struct.unpack("<3q2iIi", replies[-1].checked())
    assert data - code == PAGE
    assert data % 64 == 0
    assert (value, from_data, from_code) == (-7, -28, code + 12 - (data + 28))
    assert (high, low) == (0xFFFFFFFF, -2)


def test_a_patch_in_code_changes_what_runs(runner):
    if platform.machine() != "x86_64":
        pytest.skip("the displacement of an x86-64 instruction")
    records = p.pack_patches([(p.REL32 + p.FROM_DATA, 2, 16 - 4)])
    # mov eax, [rip + patched]; mov [rdi], eax; ret
    code, data = bytes.fromhex("8b05 00000000 8907 c3"), struct.pack("<5i", 0, 0, 0, 0, 77)
    frames = [HELLO, p.allocate(16, 20), p.copy_code(0, code), p.copy_data(0, data), p.patch(records), p.entry(0)]
    replies = talk(runner, b"".join([*frames, p.run(), p.read(0, 4)]))
    assert replies[-1].checked() == struct.pack("<i", 77)


def test_no_memory_is_writable_and_executable(runner):
    with subprocess.Popen([runner], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        for frame in [*READY, p.run()]:
            process.stdin.write(frame)
            process.stdin.flush()
            assert p.receive(process.stdout.read).status == 0
            modes = [line.split()[1] for line in Path(f"/proc/{process.pid}/maps").read_text().splitlines()]
            assert not [mode for mode in modes if "w" in mode and "x" in mode]
        process.stdin.close()


# runs none: where code is damaged, zeros would be executed
STREAM = b"".join([*READY, p.run(0), p.read(0, 12), p.free()])
STARTS = {len(b"".join([*READY, p.run(0), p.read(0, 12), p.free()][:i])) for i in range(9)}


@given(st.integers(0, len(STREAM) - 1))
def test_a_stream_that_breaks_off_ends_the_process_in_order(runner, length):
    talk(runner, STREAM[:length], ended=(0 if length in STARTS else 1,))


@given(st.integers(0, 8 * len(STREAM) - 1))
def test_a_flipped_bit_is_noticed_and_what_follows_is_answered(runner, bit):
    stream = bytearray(STREAM)
    stream[bit // 8] ^= 1 << bit % 8
    start = max(s for s in STARTS if s <= bit // 8)
    replies = talk(runner, bytes(stream), ended=(0, 1))
    whole = sum(s <= start for s in STARTS) - 1
    assert [reply.status for reply in replies[:whole]] == [0] * whole
    assert replies[whole].status == p.Status.CHECKSUM
    assert len(replies) == 8


@given(st.binary(min_size=1, max_size=40).filter(lambda junk: bytes([p.SYNC & 255]) not in junk), st.integers(0, 7))
def test_bytes_between_frames_are_told_once_and_skipped(runner, junk, place):
    frames = [*READY, p.run(2), p.read(0, 12), p.free()]
    replies = talk(runner, b"".join([*frames[:place], junk, *frames[place:]]))
    assert [(reply.command, reply.status) for reply in replies if reply.status] == [(0, p.Status.CHECKSUM)]
    assert len(replies) == 9


@given(st.integers(0, 3), st.integers(1, 15))
def test_zeros_and_the_request_again_recover_from_lost_bytes(runner, frame, lost):
    frames = [p.write(0, struct.pack("<2i", 20, 3)), p.run(), p.stream([(0, b"\5")], [(8, 4)]), p.read(0, 12)]
    frames = [p.numbered(request, number) for number, request in enumerate(frames, 10)]
    whole = frames[frame]
    broken = [*frames[:frame], whole[: min(lost, len(whole) - 1)], bytes(65536), whole, *frames[frame + 1 :]]
    replies = [reply for reply in talk(runner, b"".join([*READY, *broken]), ended=(0, 1)) if not reply.status]
    assert [reply.number for reply in replies] == [0] * 5 + [10, 11, 12, 13]
    assert struct.unpack("<3i", replies[-1].payload) == (5, 3, 8)


def test_a_request_is_done_once_however_often_it_comes(runner):
    # eax = 1 + [rdi]; [rdi] = eax: Intel SDM volume 2; A64: ldr w1, [x0]; add w1, w1, 1; str w1, [x0]; ret
    count = {"x86_64": bytes.fromhex("8b07 ffc0 8907 c3"), "aarch64": struct.pack("<4I", 0xB9400001, 0x11000421, 0xB9000001, 0xD65F03C0)}
    load = [HELLO, p.allocate(64, 64), p.copy_code(0, count[platform.machine()]), p.entry(0)]
    once = [p.numbered(request, number) for number, request in enumerate(load, 250)]
    run, step, last = p.numbered(p.run(2), 254), p.numbered(p.stream([(4, b"\7")], [(0, 8)]), 255), p.numbered(p.free(), 1)
    replies = talk(runner, b"".join([*(frame * 2 for frame in once), run * 3, step * 2, p.read(0, 4), step, last * 2]))
    assert [reply.status for reply in replies] == [0] * len(replies)
    assert [reply.payload.hex() for reply in replies[11:15]] == ["0300000007000000"] * 2 + ["03000000", "0400000007000000"]


def test_a_refusal_is_repeated_too(runner):
    wrong = p.numbered(p.read(60, 5), 9)
    assert statuses(runner, *READY, wrong, wrong, p.numbered(p.run(), 10)) == ["OK"] * 5 + ["BOUNDS", "BOUNDS", "OK"]


def test_a_stream_writes_runs_and_reads(runner):
    steps = [p.stream([(0, struct.pack("<i", i)), (4, b"\1")], [(8, 4), (0, 1)]) for i in (7, -3)]
    empty = p.stream([], [(8, 4), (63, 1), (0, 0), (64, 0)], 0)
    replies = talk(runner, b"".join([*READY, *steps, empty]))
    assert [reply.payload for reply in replies[5:7]] == [struct.pack("<ib", 8, 7), struct.pack("<iB", -2, 253)]
    assert replies[7].payload == struct.pack("<ib", -2, 0)


def test_a_refused_stream_has_done_nothing(runner):
    refused = [p.stream([(0, b"\7")], [(61, 4)]), p.stream([(0, b"\7"), (64, b"1")], [])]
    replies = talk(runner, b"".join([*READY, *refused, p.read(0, 12)]))
    assert struct.unpack("<3i", replies[-1].payload) == (40, 2, 0)


@given(st.integers(0, 900), st.integers(0, 64), st.integers(0, 900))
def test_streams_fill_a_frame_to_its_end(runner, reads, size, sent):
    """Ranges to read lie in the request, where the reply is built."""
    wanted = [(i % (65 - size), size) for i in range(reads)]
    replies = talk(runner, b"".join([*READY, p.write(0, bytes(range(64))), p.stream([(0, b"x")] * sent, wanted, 0)]))
    data = b"x" + bytes(range(1, 64)) if sent else bytes(range(64))
    fits = reads * (size + 8) <= 65520
    assert replies[-1].status == (p.Status.OK if fits else p.Status.SIZE)
    assert replies[-1].payload == (b"".join(data[at : at + n] for at, n in wanted) if fits else b"")


def test_a_payload_beyond_the_buffer_is_refused_and_skipped(runner):
    frames = [HELLO, p.frame(p.Command.WRITE, bytes(65535)), p.free()]
    assert statuses(runner, *frames) == ["OK", "TOO_LONG", "NOTHING"]


def test_the_largest_payload_is_taken_and_one_byte_more_is_not(runner):
    (hello,) = talk(runner, HELLO)
    largest = p.greeting(hello.payload).largest_payload
    frames = [HELLO, p.allocate(largest, largest), p.copy_data(0, bytes(largest - 4)), p.copy_code(0, ADD), p.entry(0)]
    assert statuses(runner, *frames, p.read(0, largest - 4)) == ["OK"] * 6
    assert statuses(runner, *frames, p.read(0, largest - 3))[-1] == "SIZE"
    assert statuses(runner, *frames, p.write(0, bytes(largest - 3)), ended=(1,))[-1] == "TOO_LONG"


@given(st.binary(max_size=300))
def test_rubbish_is_survived(runner, rubbish):
    subprocess.run([runner], input=HELLO + rubbish, capture_output=True, timeout=60)
    talk(runner, rubbish)


EDGES = st.sampled_from([0, 1, 3, 4, 7, 8, 31, 32, 60, 63, 64, 65, 0x7FFFFFFF, 0x80000000, 0xFFFFFFF0, 0xFFFFFFFF])
SMALL = st.binary(max_size=70)
KINDS = st.sampled_from([form + base + place for form in range(5) for base in (0, 0x100, 0x200, 0x300) for place in (0, 0x1000)])
VALUES = st.sampled_from([0, 1, -1, 64, 1 << 31, 1 << 32, -(1 << 31), (1 << 63) - 1, -(1 << 63)])
COMMANDS = st.one_of(
    st.tuples(st.just("allocate"), st.sampled_from([0, 64, 0xFFFFFFFF]), st.sampled_from([0, 64, 0xFFFFFFFF])),
    st.tuples(st.just("copy_data"), EDGES, SMALL),
    st.tuples(st.just("write"), EDGES, SMALL),
    st.tuples(st.just("read"), EDGES, EDGES),
    st.tuples(st.just("patch"), KINDS, EDGES, VALUES),
    st.tuples(st.just("entry"), st.sampled_from([0, 64, 0xFFFFFFFF]), st.sampled_from([0, 1 << 16, 1 << 17])),
    st.tuples(st.just("run"), st.integers(0, 3)),
    st.tuples(st.just("free")),
)


class Model:
    """What a runner must answer, said again in Python; its programs do nothing."""

    def __init__(self):
        self.state, self.data = "empty", bytearray()

    def allocate(self, code, data):
        if self.state != "empty":
            return p.Status.HELD
        if code not in range(1, 1 << 20) or data > 1 << 20:
            return p.Status.SIZE
        self.state, self.code, self.data = "loading", code, bytearray(data)
        return p.Status.OK

    def wrong(self, needed):
        if self.state == "empty":
            return p.Status.NOTHING
        if self.state != needed:
            return p.Status.SEALED if needed == "loading" else p.Status.UNSEALED
        return p.Status.OK

    def store(self, offset, data, needed):
        if self.wrong(needed) or offset + len(data) > len(self.data):
            return self.wrong(needed) or p.Status.BOUNDS
        self.data[offset : offset + len(data)] = data
        return p.Status.OK

    def copy_data(self, offset, data):
        return self.store(offset, data, "loading")

    def write(self, offset, data):
        return self.store(offset, data, "ready")

    def read(self, offset, size):
        if self.wrong("ready"):
            return self.wrong("ready")
        return p.Status.SIZE if size > 1 << 20 else p.Status.OK if offset + size <= len(self.data) else p.Status.BOUNDS

    def entry(self, offset, stack):
        if self.wrong("loading"):
            return self.wrong("loading")
        if offset >= self.code:
            return p.Status.BOUNDS
        if stack > 1 << 16:
            return p.Status.STACK
        self.state = "ready"
        return p.Status.OK

    def patch(self, kind, offset, value):
        if self.wrong("loading"):
            return self.wrong("loading")
        form, base, place = kind & 0xFF, kind & 0xF00, kind & 0xF000
        if form not in (1, 2, 3) or base > 0x200:
            return p.Status.PATCH_KIND
        size = 8 if form == p.ABS64 else 4
        if offset + size > (len(self.data) if place else self.code):
            return p.Status.BOUNDS
        if place and offset % size:
            return p.Status.ALIGNMENT
        return None  # whether it fits depends on addresses

    def run(self, count):
        return self.wrong("ready")

    def free(self):
        status = p.Status.NOTHING if self.state == "empty" else p.Status.OK
        self.state, self.data = "empty", bytearray()
        return status


@given(st.lists(COMMANDS, max_size=30))
def test_any_order_of_commands_is_answered_as_the_model_says(runner, commands):
    frames, expected, model = [HELLO], [p.Status.OK], Model()
    for name, *arguments in commands:
        packed = [p.pack_patches([arguments])] if name == "patch" else arguments
        frames.append(getattr(p, name)(*packed))
        status = getattr(model, name)(*arguments)
        expected.append(status)
        if name == "allocate" and status == p.Status.OK:
            frames.append(p.copy_code(0, ADD[-4:].rjust(64, ADD[-4:]) if platform.machine() == "aarch64" else b"\xc3" * 64))
            expected.append(p.Status.OK)
        if name == "patch" and status is None and not arguments[0] & p.IN_DATA:
            frames, expected = frames[:-1], expected[:-1]  # patched code must not run
    replies = talk(runner, b"".join(frames), ended=(0,))
    got = [reply.status for reply in replies]
    allowed = [{0, p.Status.PATCH_RANGE} if status is None else {status} for status in expected]
    assert len(got) == len(allowed)
    assert all(status in choice for status, choice in zip(got, allowed, strict=True)), (got, expected)


def undefined_symbols(path):
    """Names that an ELF object needs from elsewhere (System V gABI, symbol table)."""
    data = path.read_bytes()
    wide = data[4] == 2
    start, entry, count = (*struct.unpack_from("<Q", data, 40), *struct.unpack_from("<HH", data, 58)) if wide else (
        *struct.unpack_from("<I", data, 32), *struct.unpack_from("<HH", data, 46))  # fmt: skip
    layout = "<IIQQQQIIQQ" if wide else "<10I"
    sections = [struct.unpack_from(layout, data, start + i * entry) for i in range(count)]
    symbols = next(section for section in sections if section[1] == 2)
    strings = sections[symbols[6]][4]
    names = set()
    for at in range(symbols[4] + symbols[9], symbols[4] + symbols[5], symbols[9]):
        name, section = struct.unpack_from("<I", data, at)[0], struct.unpack_from("<H", data, at + (6 if wide else 14))[0]
        if section == 0 and name:
            names.add(data[strings + name : data.index(b"\0", strings + name)].decode())
    return names


@pytest.mark.parametrize(
    "target", ["x86_64-freestanding", "aarch64-freestanding", "thumb-freestanding-eabihf -mcpu=cortex_m4", "riscv32-freestanding"]
)
def test_the_runner_needs_nothing_but_its_port(tmp_path, target):
    output = tmp_path / "runner.o"
    flags = ["-target", *target.split(), "-Os", "-ffreestanding", "-fno-sanitize=all", "-fno-unwind-tables", *WARNINGS]
    subprocess.run([*ZIG, *flags, "-c", str(RUNNER / "runner.c"), "-o", str(output)], check=True)
    ports = {"hl_port_accepts", "hl_port_limits", "hl_port_map", "hl_port_seal", "hl_port_target", "hl_port_unmap"}
    # EHABI's marker, a symbol that no code refers to (Arm IHI 0038, 6.3)
    assert undefined_symbols(output) - {"__aeabi_unwind_cpp_pr0"} == ports


def test_python_refuses_what_is_no_reply():
    with pytest.raises(ConnectionError, match="ended: 3 of 8 bytes came"):
        p.receive(io.BytesIO(b"abc").read)
    with pytest.raises(ImageError, match="no reply of a runner"):
        p.receive(io.BytesIO(p.run()).read)
    reply = bytearray(p.frame(p.REPLY | p.Command.RUN, bytes(4)))
    reply[-5] ^= 1
    with pytest.raises(ImageError, match="arrived damaged"):
        p.receive(io.BytesIO(reply).read)
    with pytest.raises(ImageError, match="a greeting has 44 bytes, this one 3"):
        p.greeting(b"123")
    with pytest.raises(ImageError, match="no runner of hotloop"):
        p.greeting(bytes(44))
    with pytest.raises(ImageError, match="at most 65535 bytes of payload, not 65536"):
        p.write(0, bytes(65532))


@given(st.lists(st.one_of(st.integers(0, 255), st.binary(max_size=9)), max_size=9), st.integers(1, 7))
def test_python_finds_replies_among_rubbish(parts, step):
    replies, found = p.Replies(), []
    wanted = [part for part in parts if isinstance(part, int)]
    junk = [part.replace(b"\xe4", b"") for part in parts if isinstance(part, bytes)]
    frames = iter(junk)
    stream = b"".join(p.frame(p.REPLY | p.Command.RUN, bytes(4), part) if isinstance(part, int) else next(frames) for part in parts)
    for at in range(0, len(stream), step):
        replies.add(stream[at : at + step])
        found += list(iter(replies.next, None))
    assert [reply.number for reply in found] == wanted
    assert replies.skipped in range(sum(map(len, junk)) - 7, sum(map(len, junk)) + 1)


def test_python_skips_a_damaged_reply_and_finds_the_next():
    first, second = (p.frame(p.REPLY | p.Command.READ, bytes(4) + b"data", number) for number in (1, 2))
    replies = p.Replies()
    replies.add(first[:12] + first[13:] + second)  # a byte is missing
    assert replies.next().number == 2
    assert replies.next() is None
    assert replies.damaged == 1
