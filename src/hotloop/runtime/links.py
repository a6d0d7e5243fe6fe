"""Streams to a runner: a process of this machine or behind ssh, TCP, a serial line. `open_link` opens them by name."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import shlex
import signal
import socket
import subprocess
import tempfile
import termios
import time
import weakref
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import IO
from urllib.parse import parse_qs, urlsplit

from hotloop.errors import LinkError, TargetError

_FORMS = "'tcp://HOST:PORT', 'serial:/dev/ttyUSB0?baud=115200', 'subprocess:COMMAND ARGUMENTS' or a list of arguments"
_CHUNK = 1 << 16
_GRACE = 1.0  # seconds that a process has to end by itself


class Link:
    """A two-way stream of bytes on file descriptors. It is closed with `close`, as a context manager, or when collected.

    name: what the user called it, for messages.
    """

    def __init__(self, name: str, incoming: int, outgoing: int, close: Callable[[], None], ended: Callable[[], str]) -> None:
        """Take descriptors; `close` gives them up and must not refer to the link, `ended` says why the other end closed."""
        self.name = name
        self._in, self._out = incoming, outgoing
        self._ended = ended
        self._came = bytearray()
        self._finalizer = weakref.finalize(self, close)
        for descriptor in {incoming, outgoing}:
            os.set_blocking(descriptor, False)

    @property
    def closed(self) -> bool:
        """Whether this end was closed."""
        return not self._finalizer.alive

    def close(self) -> None:
        """Close this end. A process that was started for it ends."""
        self._finalizer()

    def __enter__(self) -> Link:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def send(self, data: bytes, timeout: float) -> None:
        """Send all of `data`, and keep what comes meanwhile, so that neither end can wait for the other for ever.

        Raises: LinkError if the other end has closed, or takes nothing for `timeout` seconds.
        """
        left, deadline = memoryview(data), time.monotonic() + timeout
        while left:
            readable, writable = self._ready(deadline, writing=True)
            if writable:
                left = left[self._write(left) :]
            if readable:
                self._came += self._read()
            if not (readable or writable):
                raise LinkError(f"{self.name} takes no more bytes since {timeout:g} s. Is the runner still there?")

    def receive(self, timeout: float) -> bytes:
        """Return what has come, waiting at most `timeout` seconds for the first byte; b"" if none came.

        Raises: LinkError if the other end has closed.
        """
        if self._came:
            found, self._came = bytes(self._came), bytearray()
            return found
        return self._read() if self._ready(time.monotonic() + timeout)[0] else b""

    def _ready(self, deadline: float, writing: bool = False) -> tuple[bool, bool]:
        """Wait until there is something to read, or, if `writing`, room to write; (False, False) at the deadline."""
        if self.closed:
            raise LinkError(f"the link to {self.name} was closed here")
        events = {self._in: select.POLLIN}
        if writing:
            events[self._out] = events.get(self._out, 0) | select.POLLOUT
        poll = select.poll()
        for descriptor, wanted in events.items():
            poll.register(descriptor, wanted)
        found = dict(poll.poll(max(0.0, deadline - time.monotonic()) * 1000))
        # errors and hang-ups are for both: reading or writing tells which
        return bool(found.get(self._in, 0) & ~select.POLLOUT), writing and bool(found.get(self._out, 0) & ~select.POLLIN)

    def _write(self, data: memoryview) -> int:
        try:
            return os.write(self._out, data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise self._broken(error) from error

    def _read(self) -> bytes:
        try:
            data = os.read(self._in, _CHUNK)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise self._broken(error) from error
        if not data:
            raise self._broken(None)
        return data

    def _broken(self, error: OSError | None) -> LinkError:
        reason = self._ended() or (error.strerror if error is not None else "") or "the other end closed it"
        return LinkError(f"the link to {self.name} broke: {reason}")


def open_link(where: str | Sequence[str], timeout: float = 2.0) -> Link:
    """Open a link to a runner.

    where: "tcp://HOST:PORT", "serial:DEVICE?baud=115200" (8 bits, no parity; locked while it is open),
        "subprocess:COMMAND ARGUMENTS" split as a shell would, or a list of arguments: a process that
        speaks on its standard input and output, `ssh HOST hotloop-runner` too.
    timeout: seconds until connecting is given up.
    Raises: TargetError if this is no such name, LinkError if nobody answers there.
    """
    if not isinstance(where, str):
        return _process(list(map(os.fspath, where)), shlex.join(map(os.fspath, where)))
    scheme, colon, rest = where.partition(":")
    if colon and scheme == "subprocess" and rest.strip():
        return _process(shlex.split(rest), where)
    if colon and scheme == "tcp":
        return _tcp(where, timeout)
    if colon and scheme == "serial" and rest:
        return _serial(where, rest)
    raise TargetError(f"remote={where!r} names no runner. Give {_FORMS}.")


# ---------------------------------------------------------------------------------------- processes


def _process(command: list[str], name: str) -> Link:
    errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the link
    try:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, bufsize=0)
    except OSError as error:
        errors.close()
        raise LinkError(f"{name} cannot be started: {error.strerror}: {command[0]!r}. Is the runner installed there?") from error
    assert process.stdin is not None
    assert process.stdout is not None

    def ended() -> str:
        try:
            status = process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            return ""
        said = _last_line(errors)
        how = f"the process died of {_signal(-status)}" if status < 0 else f"the process ended with status {status}"
        return f"{how}: {said}" if said else how

    return Link(name, process.stdout.fileno(), process.stdin.fileno(), lambda: _end(process, errors), ended)


def _end(process: subprocess.Popen[bytes], errors: IO[bytes]) -> None:
    """Let a process end: its input ends, and if that does not move it, it is killed."""
    assert process.stdin is not None
    assert process.stdout is not None
    with contextlib.suppress(OSError):
        process.stdin.close()
    process.stdout.close()
    try:
        process.wait(_GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    errors.close()


def _last_line(errors: IO[bytes]) -> str:
    if errors.closed:
        return ""
    size = errors.seek(0, os.SEEK_END)
    errors.seek(max(0, size - 1000))
    lines = errors.read().decode(errors="replace").strip().splitlines()
    return lines[-1][:300] if lines else ""


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


# ---------------------------------------------------------------------------------------------- TCP


def _tcp(name: str, timeout: float) -> Link:
    try:
        parts = urlsplit(name)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or not port or parts.path not in ("", "/"):
        raise TargetError(f"remote={name!r} needs a host and a port from 1 to 65535: 'tcp://192.168.1.7:5555'.")
    try:
        connection = socket.create_connection((host, port), timeout)
    except TimeoutError as error:
        raise LinkError(f"no answer from {name} within {timeout:g} s. Is the machine on, and does a firewall let {port} pass?") from error
    except ConnectionRefusedError as error:
        raise LinkError(f"{name} refused the connection. Is `hotloop-runner --tcp 0.0.0.0:{port}` running there?") from error
    except OSError as error:
        raise LinkError(f"{name} cannot be reached: {error.strerror or error}") from error
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    crashed = "the runner closed it; if a program was running, it may have crashed"
    return Link(name, connection.fileno(), connection.fileno(), connection.close, lambda: crashed)


# ------------------------------------------------------------------------------------------- serial

_BAUD = {
    9600: termios.B9600, 19200: termios.B19200, 38400: termios.B38400, 57600: termios.B57600, 115200: termios.B115200,
    230400: termios.B230400, 460800: termios.B460800, 921600: termios.B921600, 1000000: termios.B1000000, 2000000: termios.B2000000,
}  # fmt: skip


def _serial(name: str, rest: str) -> Link:
    device, _, query = rest.partition("?")
    options = parse_qs(query, keep_blank_values=True)
    wrong = set(options) - {"baud"}
    if wrong:
        raise TargetError(f"remote={name!r}: a serial line has no option {min(wrong)!r}, only baud.")
    baud = options.get("baud", ["115200"])[-1]
    if not baud.isdecimal() or int(baud) not in _BAUD:
        raise TargetError(f"remote={name!r}: baud={baud} is not one of {', '.join(map(str, _BAUD))}.")
    try:
        line = os.open(device, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        hint = "Add yourself to the group that owns it, often dialout." if isinstance(error, PermissionError) else "Is the board there?"
        raise LinkError(f"{name} cannot be opened: {error.strerror}: {device!r}. {hint}") from error
    try:
        fcntl.flock(line, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _set_line(line, _BAUD[int(baud)])
    except BlockingIOError as error:
        os.close(line)
        raise LinkError(f"{name}: {device} is in use by another program (it holds a lock on it).") from error
    except (OSError, termios.error) as error:
        os.close(line)
        raise LinkError(f"{name} cannot be set up: {error.args[-1]}: is {device!r} a serial line?") from error
    return Link(name, line, line, lambda: os.close(line), lambda: "")


def _set_line(line: int, speed: int) -> None:
    """Make a line raw: 8 bits, no parity, one stop bit, no flow control, nothing translated; forget what it holds."""
    attributes = termios.tcgetattr(line)
    control = attributes[2] & ~(termios.CSIZE | termios.PARENB | termios.CSTOPB | termios.CRTSCTS)
    characters = attributes[6]
    characters[termios.VMIN], characters[termios.VTIME] = 1, 0
    control |= termios.CS8 | termios.CREAD | termios.CLOCAL
    termios.tcsetattr(line, termios.TCSAFLUSH, [0, 0, control, 0, speed, speed, characters])
    termios.tcflush(line, termios.TCIOFLUSH)
