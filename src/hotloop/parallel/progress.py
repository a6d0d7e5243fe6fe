"""`progress`: a bar on the terminal for calls that take long."""

from __future__ import annotations

import sys
import threading
import time
from types import TracebackType
from typing import TextIO

from hotloop import _runner

_AFTER, _EVERY, _WIDTH = 1.0, 0.1, 30  # seconds, seconds, characters


class progress:
    """Show a bar on stderr while a call of a `@cu` function takes more than a second.

    `with hl.progress(): ...` shows it for the calls inside, `bar = hl.progress(); bar.start()` until `bar.stop()`. file: where
    it is drawn. It is of the sweep that runs now: a function may have several. Cost: a thread that looks ten times a second.
    """

    def __init__(self, file: TextIO | None = None) -> None:
        self._file = file
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> progress:
        """Begin to watch."""
        if self._thread is None:
            self._ended.clear()
            self._thread = threading.Thread(target=self._watch, name="hotloop progress", daemon=True)
            self._thread.start()
        return self

    def stop(self) -> None:
        """Stop watching, and clear the line."""
        if self._thread is not None:
            self._ended.set()
            self._thread.join()
            self._thread = None

    __enter__ = start

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def _watch(self) -> None:
        out = self._file or sys.stderr
        began: float | None = None
        shown = False
        while not self._ended.wait(_EVERY):
            done, total = _runner.parallel_progress()
            now = time.monotonic()
            if total <= 0:
                began = None
                continue
            began = now if began is None else began
            if now - began >= _AFTER:
                out.write(f"\r{bar(done, total)} {now - began:5.1f} s")
                out.flush()
                shown = True
        if shown:
            out.write("\r" + " " * (_WIDTH + 24) + "\r")
            out.flush()


def bar(done: int, total: int) -> str:
    """Return a bar of how much is done."""
    part = min(max(done / total, 0.0), 1.0)
    full = int(part * _WIDTH)
    return f"[{'#' * full}{'.' * (_WIDTH - full)}] {100 * part:3.0f}%"
