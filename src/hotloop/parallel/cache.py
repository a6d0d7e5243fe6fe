"""Compiled procedures kept on disk, for the next process: code and plans, by digest of the procedure itself.

The procedure is what the source of a function and of all that it calls, the types and the captured values come to, so what
is kept can never be stale. Files lie in `__pycache__` beside the function's file, or in the user's cache directory.
`HOTLOOP_CACHE_DIR` names another directory, `HOTLOOP_CACHE=0` turns this off.
"""

from __future__ import annotations

import hashlib
import logging
import marshal
import os
from functools import cache
from typing import Any

from hotloop import _runner
from hotloop.backends.native.parallel import LinkedParallel
from hotloop.compiler import CompiledParallel, Options, compile_parallel, resolve_arch
from hotloop.ir.graph import Node
from hotloop.ir.sweep import Procedure
from hotloop.ir.sweep_text import procedure_text

MOST_FILES = 256  # of a directory; the oldest go
SUFFIX = ".hotloop"
_log = logging.getLogger("hotloop")


def compile_kept(procedure: Procedure, options: Options, file: str) -> CompiledParallel:
    """Return a procedure compiled, from disk if it was compiled before. file: that of the function."""
    arch = resolve_arch(options.arch)
    directory = None if os.environ.get("HOTLOOP_CACHE") == "0" else _directory(file)
    if directory is None:
        return compile_parallel(procedure, options)
    key = f"{_package()} {arch} {options.fast}\n{procedure_text(procedure)}"
    path = os.path.join(directory, hashlib.blake2b(key.encode(), digest_size=20).hexdigest() + SUFFIX)
    found = _read(path, procedure, arch)
    if found is None:
        found = compile_parallel(procedure, options)
        _write(path, procedure, found.linked)
    return found


def _registers(procedure: Procedure) -> list[Node]:
    """Return the registers that callers ask for, in an order that every process finds."""
    return [*procedure.inputs, *procedure.results]


def _read(path: str, procedure: Procedure, arch: str) -> CompiledParallel | None:
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError:
        return None
    digest, body = content[:20], content[20:]
    if hashlib.blake2b(body, digest_size=20).digest() != digest:
        return None
    code, data, stack, scalars, arrays, ops, places = marshal.loads(body)
    scalar_of: dict[int, int] = {}
    array_of: dict[int, int] = {}
    for node, place in zip(_registers(procedure), places, strict=True):
        (array_of if node.shape else scalar_of)[node.id] = place
    linked = LinkedParallel(arch, code, data, stack, scalars, arrays, ops, scalar_of, array_of)
    return CompiledParallel(linked, _runner.Program(code or bytes(1), data, 0, stack=stack))


def _write(path: str, procedure: Procedure, linked: LinkedParallel) -> None:
    """Write a file in one step, so that no process ever reads a part of it."""
    places = [(linked.array_of if node.shape else linked.scalar_of).get(node.id, -1) for node in _registers(procedure)]
    content: tuple[Any, ...] = (linked.code, linked.data, linked.stack, linked.scalars, linked.arrays, linked.ops, places)
    body = marshal.dumps(content)
    directory = os.path.dirname(path)
    temporary = f"{path}.{os.getpid()}"
    try:
        os.makedirs(directory, exist_ok=True)
        _make_room(directory)
        with open(temporary, "wb") as file:
            file.write(hashlib.blake2b(body, digest_size=20).digest() + body)
        os.replace(temporary, path)
    except OSError as error:
        _log.info("hotloop: %s is not kept on disk: %s", os.path.basename(path), error)


def _make_room(directory: str) -> None:
    files = [entry for entry in os.scandir(directory) if entry.name.endswith(SUFFIX)]
    if len(files) < MOST_FILES:
        return
    for entry in sorted(files, key=lambda entry: entry.stat().st_mtime)[: len(files) - MOST_FILES + 1]:
        os.unlink(entry.path)


def _directory(file: str) -> str | None:
    """Return where compiled functions of a file are kept; None if nowhere can be written."""
    chosen = os.environ.get("HOTLOOP_CACHE_DIR")
    if chosen:
        return chosen
    beside = os.path.join(os.path.dirname(os.path.abspath(file)), "__pycache__")
    if os.path.isfile(file) and os.access(beside if os.path.isdir(beside) else os.path.dirname(beside), os.W_OK):
        return beside
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(home, "hotloop") if os.path.isabs(home) else None


@cache
def _package() -> str:
    """Return what tells this hotloop from any other: names, sizes and times of its files."""
    root = os.path.dirname(os.path.dirname(__file__))
    facts = []
    for directory in (root, *[os.path.join(root, *name.split("/")) for name in _DECIDE]):
        for entry in sorted(os.scandir(directory), key=lambda entry: entry.name):
            if entry.is_file():
                status = entry.stat()
                facts.append(f"{entry.name} {status.st_size} {status.st_mtime_ns}")
    return hashlib.blake2b("\n".join(facts).encode(), digest_size=20).hexdigest()


_DECIDE = ("backends/native", "passes", "passes/sweeps", "ops", "ir", "stencils", "stencils/data")  # what decides the code of a procedure
