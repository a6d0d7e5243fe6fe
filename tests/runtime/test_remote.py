"""Programs in a runner elsewhere: a process, TCP, a pseudo-terminal as serial line; and links that break in every way."""

import contextlib
import os
import platform
import pty
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import tty
from pathlib import Path

import pytest

from hotloop import _runner, runners
from hotloop.dtypes import int32
from hotloop.errors import BoundsError, ImageError, LinkError, NotCompiled, TargetError
from hotloop.image import Image, Symbol
from hotloop.runtime import protocol as p
from hotloop.runtime.links import open_link
from hotloop.runtime.remote import Connection, RemoteProgram, connect

HERE = _runner.cpu_features()
# data[0] += 1; data[1] = data[0] + data[2]. Intel SDM 2: mov eax, [rdi]; inc eax; mov [rdi], eax; add eax, [rdi+8]; mov [rdi+4], eax; ret
COUNT = {
    "x86_64": bytes.fromhex("8b07 ffc0 8907 034708 894704 c3"),
    # Arm ARM, C6.2: ldr w1, [x0]; add w1, w1, 1; str w1, [x0]; ldr w2, [x0, 8]; add w1, w1, w2; str w1, [x0, 4]; ret
    "aarch64": struct.pack("<7I", 0xB9400001, 0x11000421, 0xB9000001, 0xB9400802, 0x0B020021, 0xB9000401, 0xD65F03C0),
}.get(platform.machine(), b"")
FOREVER = {"x86_64": bytes.fromhex("ebfe"), "aarch64": struct.pack("<I", 0x14000000)}.get(platform.machine(), b"")
CRASH = {"x86_64": bytes.fromhex("0f0b"), "aarch64": struct.pack("<I", 0)}.get(platform.machine(), b"")
pytestmark = pytest.mark.skipif(not COUNT, reason="the programs of this file are for x86-64 and AArch64")


def image(code=COUNT, data=bytes(12), target=HERE, stack=0):
    return Image(target, code, data, 0, (), stack=stack)


def children(thread):
    """The runners that a thread, or the first one of a process, has started."""
    pids = Path(f"/proc/{thread}/task/{thread}/children").read_text().split()
    return [int(pid) for pid in pids if os.path.realpath(f"/proc/{pid}/exe") == str(runners.path(HERE).resolve())]


@contextlib.contextmanager
def tcp_runner():
    """Yield the name of a runner on TCP, on a port that was free."""
    with subprocess.Popen([runners.path(HERE), "--tcp", "0"], stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process.stderr.readline().split()[-1]
        finally:
            process.kill()


@contextlib.contextmanager
def serial_runner(damage=lambda data, to_runner: data):
    """Yield the name of a line with a runner at its other end; `damage` changes what goes over it."""
    ends = [pty.openpty(), pty.openpty()]
    for _, slave in ends:
        tty.setraw(slave)
    names = [os.ttyname(slave) for _, slave in ends]
    with subprocess.Popen([runners.path(HERE), "--serial", f"{names[1]}:115200"], stderr=subprocess.PIPE) as process:
        process.stderr.readline()
        (ours, _), (theirs, _) = ends
        stop, wake = os.pipe()

        def carry():
            while stop not in (ready := select.select([ours, theirs, stop], [], [])[0]):
                for source in ready:
                    data = damage(os.read(source, 4096), source == ours)
                    os.write(theirs if source == ours else ours, data)

        cable = threading.Thread(target=carry)
        cable.start()
        try:
            yield f"serial:{names[0]}?baud=115200"
        finally:
            os.write(wake, b"x")
            cable.join()
            process.kill()
    for descriptor in (*ends[0], *ends[1], stop, wake):
        os.close(descriptor)


@contextlib.contextmanager
def process_runner():
    yield [str(runners.path(HERE))]


@pytest.fixture(params=[process_runner, tcp_runner, serial_runner], ids=["process", "tcp", "serial"])
def where(request):
    with request.param() as name:
        yield name


def test_a_program_is_loaded_run_read_and_written_elsewhere(where):
    with RemoteProgram(where, image(data=struct.pack("<3i", 5, 0, 100)), timeout=20) as program:
        assert program.connection.target == HERE
        program.run()
        program.run_many(3000)
        assert struct.unpack("<3i", program.read(0, 12)) == (3006, 3106, 100)
        program.write(4, struct.pack("<2i", 0, -6))
        program.run_many(0)
        program.run()
        assert struct.unpack("<2i", program.read(0, 8)) == (3007, 3001)
        assert program.read(12, 0) == b""


@pytest.mark.parametrize("ahead", [1, 7])
def test_a_stream_writes_runs_and_reads_each_step(where, ahead):
    with RemoteProgram(where, image(), timeout=20) as program:
        steps = ([(8, struct.pack("<i", 10 * i))] for i in range(20))
        got = [struct.unpack("<i", a) + struct.unpack("<i", b) for a, b in program.stream(steps, [(4, 4), (0, 4)], ahead=ahead)]
        assert got == [(10 * i + i + 1, i + 1) for i in range(20)]
        assert program.step([], [], 5) == []
        assert program.step([(0, bytes(4)), (8, bytes(4))], [(0, 12)], 2) == [struct.pack("<3i", 2, 2, 0)]


def test_an_image_larger_than_a_frame_goes_in_pieces(where):
    data = bytes(range(1, 250)) * 40
    with RemoteProgram(where, image(data=data), timeout=30) as program:
        assert program.read(12, len(data) - 12) == data[12:]
        program.write(100, data[::-1][: len(data) - 100])
        ((got,),) = [program.step([(100, data[100:])], [(12, len(data) - 12)])]
        assert got == data[12:]


def test_a_step_is_taken_only_after_the_result_before_it(where):
    """A loop is closed through the generator of steps."""
    with RemoteProgram(where, image(), timeout=20) as program:
        last = [0]

        def steps():
            for _ in range(5):
                yield [(0, struct.pack("<i", 2 * last[0]))]

        for (got,) in program.stream(steps(), [(0, 4)]):
            last[0] = struct.unpack("<i", got)[0]
        assert last[0] == 31


def test_a_newer_program_takes_the_place_of_an_older_one(where):
    with connect(where, 20) as connection:
        old = RemoteProgram(connection, image())
        new = RemoteProgram(connection, image(data=struct.pack("<3i", 7, 0, 0)))
        with pytest.raises(NotCompiled, match=r"holds another program now"):
            old.run()
        old.close()
        assert new.read(0, 4) == struct.pack("<i", 7)
        new.close()
        with pytest.raises(NotCompiled, match=r"holds another program"):
            new.run()


def test_a_session_follows_another_on_one_line():
    with serial_runner() as name:
        for i in range(3):
            with RemoteProgram(name, image(), timeout=20) as program:
                program.run_many(i)
                assert program.read(0, 4) == struct.pack("<i", i)


def test_a_program_that_is_there_is_attached_to(where):
    symbols = (Symbol("", "constant", int32, (), 8),)
    wanted = Image(HERE, COUNT, struct.pack("<3i", 5, 0, 100), 0, symbols)
    with connect(where, 20) as connection:
        with pytest.raises(ImageError, match=r"holds no program to attach to"):
            RemoteProgram(connection, wanted, attach=True)
        RemoteProgram(connection, wanted).run()
        again = RemoteProgram(connection, wanted, attach=True)
        again.run()
        assert struct.unpack("<3i", again.read(0, 12)) == (7, 107, 100)
        for other in (bytes(12), wanted.data[:11], bytes(13)):
            with pytest.raises(ImageError, match=r"holds another program than this one, or another version of it"):
                RemoteProgram(connection, Image(HERE, COUNT, other, 0, symbols[: len(other) == 12]), attach=True)


def test_code_of_another_target_is_refused(where):
    with connect(where, 20) as connection:
        expected = rf"executes {HERE}, the program was compiled for armv7em: Target\(arch='{HERE}', remote=\.\.\.\)"
        with pytest.raises(TargetError, match=expected):
            RemoteProgram(connection, image(target="armv7em"))
        RemoteProgram(connection, image()).run()  # the connection is as good as before


def test_a_program_that_is_too_large_is_refused_with_numbers(where):
    with connect(where, 20) as connection:
        with pytest.raises(ImageError, match=r"needs \d+ bytes of code, 12 of data and 70000 of stack; .* 65536 of stack"):
            RemoteProgram(connection, image(stack=70000))
        with pytest.raises(ImageError, match=r"refused ENTRY: the offset or size lies outside the region"):
            RemoteProgram(connection, Image(HERE, COUNT, b"", 99, ()))


def test_ranges_outside_the_data_are_refused_here(where):
    with RemoteProgram(where, image(), timeout=20) as program:
        for action in (
            lambda: program.read(8, 5),
            lambda: program.write(-1, b"1"),
            lambda: program.step([(12, b"1")], []),
            lambda: program.step([], [(0, 13)]),
        ):
            with pytest.raises(BoundsError, match=r"are not all of the 12 bytes of data"):
                action()
        program.run()


# ------------------------------------------------------------------------------------- damaged lines


def damaged_every(count, how, direction):
    """Damage one byte in `count` of one direction."""
    passed = [0]

    def damage(data, to_runner):
        if to_runner != direction:
            return data
        result = bytearray()
        for byte in data:
            passed[0] += 1
            if passed[0] % count:
                result.append(byte)
            elif how == "flipped":
                result.append(byte ^ 0x10)
            elif how == "doubled":
                result += bytes([byte, byte])
        return bytes(result)

    return damage


@pytest.mark.parametrize("direction", [True, False], ids=["requests", "replies"])
@pytest.mark.parametrize("how", ["flipped", "doubled", "lost"])
def test_a_line_that_damages_bytes_delays_but_never_counts_twice(how, direction):
    with serial_runner(damaged_every(997, how, direction)) as name, RemoteProgram(name, image(), timeout=1.0) as program:
        for i in range(1, 61):
            program.run()
            assert struct.unpack("<i", program.read(0, 4)) == (i,)
        steps = ([(8, struct.pack("<i", i))] for i in range(60))
        assert [struct.unpack("<i", got)[0] for (got,) in program.stream(steps, [(0, 4)])] == list(range(61, 121))


def test_a_line_that_damages_everything_is_given_up():
    with (
        serial_runner(damaged_every(2, "flipped", True)) as name,
        pytest.raises(LinkError, match=r"within 0.5 s: nothing came. Does a runner listen there"),
    ):
        connect(name, 0.5)
    with (
        serial_runner(damaged_every(2, "flipped", False)) as name,
        pytest.raises(LinkError, match=r"within 0.5 s: \d+ bytes came that are no reply of a runner. Is the baud rate right"),
    ):
        connect(name, 0.5)


# --------------------------------------------------------------------------------------- broken links


def test_a_program_that_crashes_is_told():
    program = RemoteProgram([str(runners.path(HERE))], image(CRASH))
    with pytest.raises(LinkError, match=r"the link to .* broke: the process died of SIG(ILL|TRAP)"):
        program.run()
    with pytest.raises(LinkError, match=r"died of .* \(before this; open a new link\)"):
        program.read(0, 1)
    program.close()


def test_a_crash_ends_one_client_of_tcp_and_not_the_runner():
    with tcp_runner() as name:
        program = RemoteProgram(name, image(CRASH), timeout=20)
        with pytest.raises(LinkError, match=r"broke: the runner closed it; if a program was running, it may have crashed"):
            program.run()
        program.close()
        with RemoteProgram(name, image(), timeout=20) as program:
            program.run()


def test_a_client_of_tcp_that_leaves_takes_its_program_along():
    with tcp_runner() as name:
        with connect(name, 20) as connection, pytest.raises(LinkError, match=r"within 0.1 s: the program runs longer"):
            RemoteProgram(connection, image(FOREVER)).run(timeout=0.1)
        with RemoteProgram(name, image(), timeout=20) as program:
            program.run()


def test_no_program_survives_its_runner():
    with tcp_runner() as name, connect(name, 20) as connection:
        program = RemoteProgram(connection, image(FOREVER))
        (runner,) = children(threading.get_native_id())
        (child,) = children(runner)
        with pytest.raises(LinkError, match=r"the program runs longer"):
            program.run(timeout=0.1)
    deadline = time.monotonic() + 10
    while os.path.exists(f"/proc/{child}") and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not os.path.exists(f"/proc/{child}")


def test_a_program_that_runs_too_long_is_told(where):
    with connect(where, 20) as connection:
        program = RemoteProgram(connection, image(FOREVER))
        with pytest.raises(LinkError, match=r"no answer from .* within 0.3 s: the program runs longer, or the runner is gone"):
            program.run(timeout=0.3)
        with pytest.raises(LinkError, match=r"open a new link"):
            program.run()


def test_a_second_client_of_tcp_waits_and_is_told():
    with (
        tcp_runner() as name,
        connect(name, 20),
        pytest.raises(LinkError, match=r"no answer from tcp://.* within 0.3 s: nothing came.*does no other client hold it"),
    ):
        connect(name, 0.3)


def test_a_killed_process_is_told():
    with connect([str(runners.path(HERE))], 20) as connection:
        program = RemoteProgram(connection, image())
        (runner,) = children(threading.get_native_id())
        os.kill(runner, signal.SIGKILL)
        with pytest.raises(LinkError, match=r"the process died of SIGKILL"):
            program.run_many(1 << 30)


def test_a_command_that_is_no_runner_is_told():
    with pytest.raises(LinkError, match=r"the process ended with status 3: no route to board"):
        connect([sys.executable, "-c", "import sys; sys.stderr.write('trying\\nno route to board\\n'); sys.exit(3)"], 20)
    with pytest.raises(LinkError, match=r"no answer from .* within 0.5 s: \d+ bytes came that are no reply"):
        connect([sys.executable, "-c", "import time; print('login:' * 9, flush=True); time.sleep(9)"], 0.5)


class Fake:
    """A server on TCP that answers each of its clients' requests as `answer` says."""

    def __init__(self, answer):
        self.server = socket.create_server(("127.0.0.1", 0))
        self.name = f"tcp://127.0.0.1:{self.server.getsockname()[1]}"
        self.answer = answer
        self.thread = threading.Thread(target=self.serve)

    def serve(self):
        client, _ = self.server.accept()
        with client:
            while request := client.recv(65536):
                answer = self.answer(request)
                if answer is None:
                    return
                client.sendall(answer)

    def __enter__(self):
        self.thread.start()
        return self.name

    def __exit__(self, *error):
        self.thread.join()
        self.server.close()


def greeting(request, version=p.VERSION, status=p.Status.OK, window=2):
    told = struct.pack("<8I16s", status, p.MAGIC, version, 500, 9999, 9999, 0, window, HERE.encode())
    return p.frame(p.REPLY | p.Command.HELLO, told, request[3])


def test_another_version_of_the_protocol_is_told():
    with (
        Fake(lambda request: greeting(request, p.VERSION + 1, p.Status.OTHER_VERSION)) as name,
        pytest.raises(LinkError, match=f"speaks version {p.VERSION + 1} of the protocol, this hotloop version {p.VERSION}"),
    ):
        connect(name)


def test_what_is_no_runner_is_told():
    with (
        Fake(lambda request: p.frame(p.REPLY | p.Command.HELLO, bytes(9), request[3])) as name,
        pytest.raises(LinkError, match=r"what answers at .* is no runner: a greeting has 44 bytes, this one 5"),
    ):
        connect(name)


def test_a_socket_that_closes_is_told():
    with Fake(lambda request: None) as name, pytest.raises(LinkError, match=r"the link to tcp://.* broke: the runner closed it"):
        connect(name)


def test_damage_on_a_reliable_link_is_told():
    def answer(request):
        hello = request[2] == p.Command.HELLO
        return greeting(request) if hello else p.frame(p.REPLY, struct.pack("<I", p.Status.CHECKSUM), 0)

    with (
        Fake(answer) as name,
        connect(name) as connection,
        pytest.raises(LinkError, match=r"the request arrived damaged at .*, once, on a link that should not damage it"),
    ):
        connection.request(p.free())


def test_damage_on_a_line_is_told_when_it_does_not_end():
    sent = []

    def answer(request):
        if request[2] == p.Command.HELLO:
            return greeting(request, window=1)
        sent.append(request)
        return p.frame(p.REPLY | p.Command.FREE, struct.pack("<I", p.Status.CHECKSUM), request[3])

    with (
        Fake(answer) as name,
        connect(name) as connection,
        pytest.raises(LinkError, match=r"the request arrived damaged at .*, 4 times in a row. Is the baud rate right"),
    ):
        connection.request(p.free())
    assert sent == sent[:1] * 4


def test_a_board_that_starts_anew_is_told():
    def answer(request):
        hello = request[2] == p.Command.HELLO
        return (p.frame(p.REPLY, struct.pack("<I", p.Status.NOTHING)) if not hello else b"") + greeting(request)

    with Fake(answer) as name, connect(name) as connection, pytest.raises(LinkError, match=r"the board at .* has started anew"):
        connection.request(p.run())


def test_late_replies_of_an_abandoned_stream_are_dropped():
    with RemoteProgram([str(runners.path(HERE))], image(), timeout=20) as program:
        stream = program.stream(([] for _ in range(20)), [(0, 4)], ahead=8)
        next(stream)
        stream.close()
        assert program.read(8, 4) == bytes(4)


def test_an_interrupted_request_breaks_the_connection():
    with connect([str(runners.path(HERE))], 20) as connection:

        def interrupted(data, limit):
            raise KeyboardInterrupt

        connection.link.send = interrupted
        with pytest.raises(KeyboardInterrupt, match=r"^$"):
            connection.request(p.free())
        with pytest.raises(LinkError, match=r"was interrupted while it was sent"):
            connection.request(p.free())


def test_a_connection_that_is_forgotten_is_closed():
    link = open_link([str(runners.path(HERE))])
    connection = Connection(link, 20)
    finalizer = link._finalizer
    del link, connection
    deadline = time.monotonic() + 5
    while finalizer.alive and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not finalizer.alive
