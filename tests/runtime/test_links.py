"""Names of links, what they refuse, and streams that must not stall."""

import fcntl
import os
import pty
import socket
import sys

import pytest

from hotloop.errors import LinkError, TargetError
from hotloop.runtime.links import open_link

ECHO = [sys.executable, "-c", "import os\nwhile data := os.read(0, 65536):\n    while data:\n        data = data[os.write(1, data):]"]


def everything(link, size):
    got = b""
    while len(got) < size:
        got += link.receive(20)
    return got


@pytest.mark.parametrize("name", ["", "here", "udp://host:1", "subprocess:", "subprocess: ", "serial:", "/dev/ttyUSB0", "tcp"])
def test_a_name_of_nothing_is_refused(name):
    with pytest.raises(TargetError, match=r"names no runner. Give 'tcp://HOST:PORT', 'serial:/dev/ttyUSB0\?baud=115200', 'subprocess:"):
        open_link(name)


@pytest.mark.parametrize(
    "name", ["tcp://host", "tcp://:5555", "tcp://host:0", "tcp://host:65536", "tcp://host:x", "tcp:host:5", "tcp://host:5/x"]
)
def test_tcp_needs_host_and_port(name):
    with pytest.raises(TargetError, match=r"needs a host and a port from 1 to 65535"):
        open_link(name)


def test_tcp_where_nobody_listens():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(LinkError, match=f"refused the connection. Is `hotloop-runner --tcp 0.0.0.0:{port}` running there"):
        open_link(f"tcp://127.0.0.1:{port}")
    with pytest.raises(LinkError, match=r"cannot be reached: "):
        open_link("tcp://name.invalid:5")


def test_a_process_that_does_not_exist():
    with pytest.raises(LinkError, match=r"cannot be started: No such file or directory: '/no/runner'. Is the runner installed"):
        open_link("subprocess:/no/runner --tcp 5")


def test_a_command_is_split_as_a_shell_does():
    with open_link(f"subprocess:{sys.executable} -c 'print(7, flush=True); input()'") as link:
        assert link.receive(20).strip() == b"7"


def test_more_bytes_than_a_pipe_holds_go_both_ways():
    data = bytes(range(256)) * 8000
    with open_link(ECHO) as link:
        link.send(data, 20)
        assert everything(link, len(data)) == data
        assert link.receive(0.01) == b""
        link.send(b"old", 1)
        assert everything(link, 3) == b"old"


def test_who_takes_nothing_is_told():
    with (
        open_link([sys.executable, "-c", "import time; time.sleep(60)"]) as link,
        pytest.raises(LinkError, match=r"takes no more bytes since 0.2 s. Is the runner still there"),
    ):
        link.send(bytes(1 << 20), 0.2)


def test_a_closed_link_is_told():
    link = open_link(ECHO)
    link.close()
    link.close()
    assert link.closed
    with pytest.raises(LinkError, match=r"was closed here"):
        link.receive(1)
    with pytest.raises(LinkError, match=r"was closed here"):
        link.send(b"1", 1)


def test_a_line_that_is_no_line_is_refused(tmp_path):
    with pytest.raises(LinkError, match=r"cannot be opened: No such file or directory: '/dev/no-line'. Is the board there"):
        open_link("serial:/dev/no-line")
    (tmp_path / "file").write_text("")
    with pytest.raises(LinkError, match=r"cannot be set up: .*is a serial line|cannot be set up: .*: is '.*' a serial line"):
        open_link(f"serial:{tmp_path / 'file'}")
    with pytest.raises(TargetError, match=r"baud=7 is not one of 9600, 19200"):
        open_link("serial:/dev/tty?baud=7")
    with pytest.raises(TargetError, match=r"has no option 'parity', only baud"):
        open_link("serial:/dev/tty?parity=even")


def test_a_line_has_one_user_and_changes_no_byte():
    ours, theirs = pty.openpty()
    name = os.ttyname(theirs)
    with open_link(f"serial:{name}?baud=9600") as link:
        with pytest.raises(LinkError, match=r"is in use by another program"):
            open_link(f"serial:{name}")
        link.send(bytes(range(256)), 5)
        assert os.read(ours, 999) == bytes(range(256))
        os.write(ours, bytes(range(256)))
        assert everything(link, 256) == bytes(range(256))
    other = os.open(name, os.O_RDWR | os.O_NOCTTY)
    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)  # free again
    for descriptor in (ours, theirs, other):
        os.close(descriptor)
