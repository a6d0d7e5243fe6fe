"""Programs in a runner elsewhere: `connect` reaches it, `RemoteProgram` loads an image there, runs it, reads and writes its data."""

from __future__ import annotations

import itertools
import math
import os
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType

from hotloop.errors import BoundsError, ImageError, LinkError, NotCompiled, TargetError
from hotloop.image import Image
from hotloop.runtime import protocol as p
from hotloop.runtime.links import Link, open_link

Writes = Sequence[tuple[int, bytes]]
Reads = Sequence[tuple[int, int]]

_FLUSH = 1100  # bytes that end any frame a runner on a line may be waiting for, while it has not said how long its frames are
_ATTEMPTS = 4
_UNKNOWN = "?"  # the name of no target: a runner refuses it, and says which is its own
_BATCH = 0.1  # of the time-out: how long run_many lets one request take


class Connection:
    """A link to a runner, and who has a program in it. Close it with `close` or `with`.

    greeting: what the runner told of itself: target, limits.
    Cost of a request: one round trip; on a line that may lose bytes it is sent again when an answer is missing, and the
    runner does nothing twice for it. Not for several threads at once.
    """

    def __init__(self, link: Link, timeout: float = 2.0) -> None:
        """Greet the runner. timeout: seconds without an answer, after which LinkError is raised."""
        self.link, self.timeout = link, timeout
        self.greeting: p.Greeting | None = None
        self.holder: object = None  # the RemoteProgram whose image the runner has
        self._replies = p.Replies()
        self._number = int.from_bytes(os.urandom(1))  # not that of the session before, whose replies may still come
        self._broken: str | None = None
        self.greet(_UNKNOWN)

    @property
    def name(self) -> str:
        """The name of the link."""
        return self.link.name

    @property
    def target(self) -> str:
        """The best target that the runner executes."""
        assert self.greeting is not None
        return self.greeting.target

    def close(self) -> None:
        """Close the link; a runner on TCP or in a process of its own gives the program up."""
        self.link.close()

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def greet(self, target: str) -> None:
        """Begin a session for code of `target`. Raises: TargetError if the runner does not execute it, LinkError."""
        reply = self.request(p.hello(target))
        try:
            self.greeting = p.greeting(reply.payload)
        except ImageError as error:
            raise self._break(f"what answers at {self.name} is no runner: {error}") from error
        if reply.status == p.Status.OTHER_VERSION:
            raise self._break(
                f"the runner at {self.name} speaks version {self.greeting.version} of the protocol, this hotloop version {p.VERSION}. "
                f"Install the runner of this hotloop there."
            )
        if reply.status == p.Status.OTHER_TARGET:
            if target == _UNKNOWN:
                return
            here = self.greeting.target
            raise TargetError(
                f"the runner at {self.name} executes {here}, the program was compiled for {target}: Target(arch={here!r}, remote=...)"
            )
        reply.checked()

    def request(self, request: bytes, timeout: float | None = None) -> p.Reply:
        """Send one request and return its reply, whatever its status. Raises: LinkError."""
        return next(self.requests([request], timeout))

    def requests(self, requests: Iterable[bytes], timeout: float | None = None, ahead: int = 1 << 16) -> Iterator[p.Reply]:
        """Send requests and yield their replies in order; at most `ahead`, and as many as the runner allows, are sent before."""
        window = self.greeting.window if self.greeting is not None else 1
        limit = self.timeout if timeout is None else timeout
        source, waiting = iter(requests), deque[bytes]()
        while True:
            for request in itertools.islice(source, max(1, min(window, ahead)) - len(waiting)):
                waiting.append(self._begin(request, limit))
            if not waiting:
                return
            yield self._answer(waiting.popleft(), limit, window == 1)

    def _begin(self, request: bytes, limit: float) -> bytes:
        if self._broken is not None:
            raise LinkError(f"{self._broken} (before this; open a new link)")
        self._number = self._number % 255 + 1
        frame = p.numbered(request, self._number)
        self._send(frame, limit)
        return frame

    def _answer(self, frame: bytes, limit: float, lossy: bool) -> p.Reply:
        """Wait for the reply to a frame. A lossy line gets it again, as the only one on its way, if no answer comes in half the time."""
        start, attempts = time.monotonic(), 1
        patience = limit / 2 if lossy else limit
        while True:
            for reply in iter(self._replies.next, None):
                damaged = reply.status == p.Status.CHECKSUM and reply.number in (0, frame[3])
                if damaged and (not lossy or attempts == _ATTEMPTS):
                    times = f"{attempts} times in a row" if lossy else "once, on a link that should not damage it"
                    raise self._break(f"the request arrived damaged at {self.name}, {times}. Is the baud rate right?")
                if reply.command == 0 and reply.status == p.Status.NOTHING and frame[2] != p.Command.HELLO:
                    raise self._break(f"the board at {self.name} has started anew: the program crashed it, or its power failed")
                if damaged:
                    attempts += 1
                    self._send(frame, limit)
                elif reply.number == frame[3]:
                    return reply
            now = time.monotonic() - start
            if now >= limit:
                raise self._break(self._silence(limit))
            if now >= patience:
                patience = limit
                self._flush(frame, limit - now)
            self._receive(patience - now)

    def _flush(self, frame: bytes, left: float) -> None:
        """End what the runner may be waiting for, and send again."""
        size = _FLUSH if self.greeting is None else self.greeting.largest_payload + 16
        self._send(bytes(size) + frame, left)

    def _silence(self, limit: float) -> str:
        said = f"no answer from {self.name} within {limit:g} s"
        if self._replies.skipped:
            return f"{said}: {self._replies.skipped} bytes came that are no reply of a runner. Is the baud rate right, and is it one?"
        if self.greeting is None:
            return f"{said}: nothing came. Does a runner listen there, and does no other client hold it?"
        return f"{said}: the program runs longer, or the runner is gone. Give a longer timeout=, or look at the board."

    def _send(self, data: bytes, limit: float) -> None:
        try:
            self.link.send(data, limit)
        except LinkError as error:
            self._broken = str(error)
            raise
        except BaseException:
            self._broken = f"a request to {self.name} was interrupted while it was sent"
            raise

    def _receive(self, limit: float) -> None:
        try:
            self._replies.add(self.link.receive(max(0.0, limit)))
        except LinkError as error:
            self._broken = str(error)
            raise

    def _break(self, message: str) -> LinkError:
        """Remember why this connection is of no more use: an answer that comes late could be taken for another."""
        self._broken = message
        return LinkError(message)


def connect(where: str | Sequence[str] | Link, timeout: float = 2.0) -> Connection:
    """Open a link by its name (`open_link`) and greet the runner there. Raises: TargetError, LinkError."""
    link = where if isinstance(where, Link) else open_link(where, timeout)
    try:
        return Connection(link, timeout)
    except BaseException:
        link.close()
        raise


class RemoteProgram:
    """An image in a runner elsewhere, run and accessed over its link.

    A runner holds one program: a newer one on the same connection takes its place, and this one raises NotCompiled.
    Close it with `close` or `with`; that closes the connection too if it was opened here.
    """

    def __init__(
        self, where: Connection | Link | str | Sequence[str], image: Image, timeout: float | None = None, *, attach: bool = False
    ) -> None:
        """Load an image. Cost: code and data once over the link.

        timeout: seconds to wait for an answer; None: that of the connection, or 2.
        attach: the program is there already, in the flash of a board; it goes on with the states that it has.
        Raises: TargetError for code of another target, ImageError if it does not fit there or, with `attach`, if
            another program is there, LinkError.
        """
        self._own = not isinstance(where, Connection)
        self.connection = where if isinstance(where, Connection) else connect(where, 2.0 if timeout is None else timeout)
        self.timeout = timeout
        self.data_size, self.code_size = len(image.data), len(image.code)
        try:
            self._begin(image, attach)
        except BaseException:
            if self._own:
                self.connection.close()
            raise

    def _begin(self, image: Image, attach: bool) -> None:
        self.connection.holder = None
        self.connection.greet(image.target)
        (self._attach if attach else self._load)(image)
        self.connection.holder = self

    def _attach(self, image: Image) -> None:
        """Compare the size of the data and the constants with those of the program that is there."""
        end = len(image.data)
        probes = [self.connection.request(p.read(end, size)) for size in (0, 1)]
        found = [reply.status for reply in probes]
        if p.Status.NOTHING in found:
            raise ImageError(f"the runner at {self.connection.name} holds no program to attach to")
        same = found == [p.Status.OK, p.Status.BOUNDS]
        for symbol in image.symbols:
            if same and symbol.kind == "constant":
                size = symbol.dtype.size * math.prod(symbol.shape)
                there = b"".join(reply.checked() for reply in self.connection.requests(self._read_frames(symbol.offset, size)))
                same = there == image.data[symbol.offset : symbol.offset + size]
        if not same:
            raise ImageError(f"the runner at {self.connection.name} holds another program than this one, or another version of it")

    def _load(self, image: Image) -> None:
        connection, greeting = self.connection, self.connection.greeting
        assert greeting is not None
        connection.request(p.free())  # whatever a session before has left; that there is nothing is as good
        frames = p.load(image.code, image.data, image.entry, p.pack_patches(image.patches), image.stack, greeting.largest_payload)
        for reply in connection.requests(frames, self.timeout):
            if reply.status in (p.Status.SIZE, p.Status.MEMORY, p.Status.STACK):
                raise ImageError(_too_large(connection.name, greeting, image))
            reply.checked()
        connection.holder = self

    def run(self, timeout: float | None = None) -> None:
        """Run once. Cost: one round trip."""
        deque(self._requests([p.run(1)], timeout), maxlen=0)

    def run_many(self, count: int, timeout: float | None = None) -> None:
        """Run `count` times, in as few requests as keep each well below the time-out."""
        limit = self._limit(timeout)
        batch = 1
        while count > 0:
            start = time.monotonic()
            batch = min(batch, count)
            deque(self._requests([p.run(batch)], timeout), maxlen=0)
            count -= batch
            if time.monotonic() - start < limit * _BATCH:
                batch *= 2

    def read(self, offset: int, size: int) -> bytes:
        """Return bytes of the data region. Raises: BoundsError, LinkError."""
        self._check(offset, size)
        return b"".join(self._requests(self._read_frames(offset, size)))

    def write(self, offset: int, data: bytes) -> None:
        """Store bytes in the data region. Raises: BoundsError, LinkError."""
        self._check(offset, len(data))
        deque(self._requests(self._write_frames(offset, data)), maxlen=0)

    def step(self, writes: Writes, reads: Reads, count: int = 1, timeout: float | None = None) -> list[bytes]:
        """Write (offset, bytes), run `count` times, and return what was read at (offset, size): one round trip if it fits one frame."""
        return next(self.stream([writes], reads, count, timeout))

    def stream(
        self, steps: Iterable[Writes], reads: Reads, count: int = 1, timeout: float | None = None, ahead: int = 1
    ) -> Iterator[list[bytes]]:
        """Write, run and read for each of `steps`, and yield what was read after each.

        steps: for each step the (offset, bytes) to write; reads: the (offset, size) to read.
        ahead: how many steps are taken from `steps` and sent before the results of the first of them are there, as far
            as the link allows; above 1 a step takes the time of its bytes and of the program, not of a round trip.
        Cost: one frame a step each way, or several where one cannot hold it.
        Raises: BoundsError, LinkError.
        """
        for wanted in reads:
            self._check(*wanted)
        frames_of: deque[int] = deque()

        def requests(several: Iterable[Writes]) -> Iterator[bytes]:
            for writes in several:
                frames = self._frames(writes, reads, count)
                frames_of.append(len(frames))
                yield from frames

        for group in [steps] if ahead > 1 else ([writes] for writes in steps):
            answers = self._requests(requests(group), timeout, ahead if ahead > 1 else 1 << 16)
            for first in answers:
                yield _cut(b"".join([first, *itertools.islice(answers, frames_of.popleft() - 1)]), reads)

    def close(self) -> None:
        """Give the program up, and the connection if it was opened here."""
        if self._own:
            self.connection.close()
        elif self.connection.holder is self:
            self.connection.holder = None

    def __enter__(self) -> RemoteProgram:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _limit(self, timeout: float | None) -> float:
        return timeout if timeout is not None else self.timeout if self.timeout is not None else self.connection.timeout

    @property
    def _largest(self) -> int:
        assert self.connection.greeting is not None
        return self.connection.greeting.largest_payload

    def _frames(self, writes: Writes, reads: Reads, count: int) -> list[bytes]:
        """Return the requests of one step: a single one, or where a frame cannot hold it, one for each piece."""
        for offset, data in writes:
            self._check(offset, len(data))
        read = sum(size for _, size in reads)
        sent = 8 + 8 * len(reads) + sum(8 + len(data) for _, data in writes)
        if sent <= self._largest and 4 + 8 * len(reads) + read <= self._largest:
            return [p.stream(writes, reads, count)]
        pieces = [frame for offset, data in writes for frame in self._write_frames(offset, data)]
        return [*pieces, p.run(count), *(frame for offset, size in reads for frame in self._read_frames(offset, size))]

    def _write_frames(self, offset: int, data: bytes) -> list[bytes]:
        step = self._largest - 4
        return [p.write(offset + at, data[at : at + step]) for at in range(0, len(data), step)]

    def _read_frames(self, offset: int, size: int) -> list[bytes]:
        step = self._largest - 4
        return [p.read(at, min(step, offset + size - at)) for at in range(offset, offset + size, step)]

    def _requests(self, frames: Iterable[bytes], timeout: float | None = None, ahead: int = 1 << 16) -> Iterator[bytes]:
        if self.connection.holder is not self:
            raise NotCompiled(f"the runner at {self.connection.name} holds another program now. Compile this one again to run it.")
        for reply in self.connection.requests(frames, self._limit(timeout), ahead):
            yield reply.checked()

    def _check(self, offset: int, size: int) -> None:
        if offset < 0 or size < 0 or offset + size > self.data_size:
            raise BoundsError(f"bytes {offset} to {offset + size} are not all of the {self.data_size} bytes of data of this program.")


def _cut(answer: bytes, reads: Reads) -> list[bytes]:
    """Return what belongs to each of the ranges that were read."""
    ends = list(itertools.accumulate(size for _, size in reads))
    return [answer[end - size : end] for end, (_, size) in zip(ends, reads, strict=True)]


def _too_large(name: str, greeting: p.Greeting, image: Image) -> str:
    needs = f"{len(image.code)} bytes of code, {len(image.data)} of data and {image.stack} of stack"
    has = f"{greeting.code_limit} bytes of code, {greeting.data_limit} of data and {greeting.stack_limit} of stack"
    together = " Its code and data share that memory." if greeting.code_limit == greeting.data_limit else ""
    return f"the program needs {needs}; the runner at {name} has {has}.{together}"
