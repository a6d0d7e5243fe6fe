"""Exported C source in tests: compiled by zig, loaded by ctypes, beside the same program on the native target."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from hotloop import compiler
from hotloop.backends.csource.places import Area
from hotloop.backends.csource.source import c_source, fields
from hotloop.backends.csource.statements import Statements
from hotloop.compiler import Options, compile_graph
from hotloop.image import Symbol
from hotloop.ir.graph import CONST, INPUT, STATE, Node, reachable
from hotloop.ir.program import Program
from hotloop.ir.rewrite import walk
from hotloop.passes import SCALARS, Setting
from hotloop.passes.fuse import fuse
from hotloop.passes.linearize import linearize
from hotloop.passes.unroll import scalars_of, unroll

STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror")
ZIG = (sys.executable, "-m", "ziglang", "cc")


def one_lane(nodes: Sequence[Node], fast: bool = False) -> Program:
    """Return a program on scalars, as targets without vectors get it."""
    unique = list({node.id: node for node in nodes}.values())
    cells = [node for node in reachable(nodes) if node.op in (INPUT, STATE)]
    states = [node for node in cells if node.op is STATE and node.attr.next is not None]
    roots = fuse([*unique, *[state.attr.next for state in states]], contract=False, one_lane=True)
    found = unroll(roots)
    parts = [scalars_of(found, end) for end in roots]
    scalars: Sequence[Node] = [scalar for part in parts for scalar in part]
    setting = Setting(fast, vector_bytes=0, fma=False)
    for _, run_pass in SCALARS:
        scalars = run_pass(scalars, setting)
    rest = iter(scalars)
    parts = [list(islice(rest, len(part))) for part in parts]
    names = compiler._names(cells)
    return linearize(
        [node for node in walk(scalars) if node.op not in (INPUT, STATE, CONST)],
        [(want, want.shape, part) for want, part in zip(unique, parts, strict=False)],
        [(state.attr, part) for state, part in zip(states, parts[len(unique) :], strict=True)],
        [(cell, names[cell.id]) for cell in cells],
        0,
    )


def compiled(exports: Mapping[str, Mapping[str, str]], flags: Sequence[str], compiler: Sequence[str] = ZIG) -> ctypes.CDLL:
    """Return the library of several exports, by name of the program."""
    with tempfile.TemporaryDirectory() as folder:
        for files in exports.values():
            for file, text in files.items():
                Path(folder, file).write_text(text)
        built = Path(folder, "library.so")
        sources = [f"{name}.c" for name in exports]
        command = [*compiler, *STRICT, "-ffp-contract=off", *flags, "-fPIC", "-shared", "-o", str(built), *sources]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[:4000]
        return ctypes.CDLL(str(built))


def objects(exports: Mapping[str, Mapping[str, str]], flags: Sequence[str], compiler: Sequence[str] = ZIG) -> None:
    """Compile exports for another machine, without a word of warning."""
    with tempfile.TemporaryDirectory() as folder:
        for files in exports.values():
            for file, text in files.items():
                Path(folder, file).write_text(text)
        sources = [f"{name}.c" for name in exports]
        done = subprocess.run([*compiler, *STRICT, *flags, "-c", *sources], cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[:4000]


class Exported:
    """One program of a library of exports: its struct, and its step."""

    def __init__(self, program: Program, name: str, library: ctypes.CDLL) -> None:
        self.areas = fields(Statements(program))
        self.offsets = _layout(self.areas)
        self.memory = np.full(max([self.offsets[-1], 1]) + 8, 0xA5, np.uint8)
        self.memory = self.memory[-self.memory.ctypes.data % 8 :]
        self.address = ctypes.c_void_p(self.memory.ctypes.data)
        getattr(library, f"{name}_init")(self.address)
        self._step = getattr(library, f"{name}_step")

    def step(self) -> None:
        """Run the program once."""
        self._step(self.address)

    def view(self, symbol: Symbol) -> np.ndarray[Any, Any]:
        """Return a live view of an input, a state or an output."""
        count = int(np.prod(symbol.shape, dtype=np.int64))
        for area, offset in zip(self.areas, self.offsets, strict=False):
            if area.symbol is not None and area.start <= symbol.offset < area.start + area.size:
                start = offset + symbol.offset - area.start
                found: np.ndarray[Any, Any] = np.frombuffer(self.memory.data, symbol.dtype.numpy, count, start)
                return found.reshape(symbol.shape)
        return np.empty(symbol.shape, symbol.dtype.numpy)


def _layout(areas: Sequence[Area]) -> list[int]:
    """Return the offset of each field in the struct of the header, and its size."""
    found, offset = [], 0
    for area in areas:
        align = max([dtype.size for dtype in area.dtypes] + ([4] if len(area.dtypes) > 1 else []))
        offset += -offset % align
        found.append(offset)
        offset += area.size
    return [*found, offset + -offset % 8]


def alike(found: np.ndarray[Any, Any], wanted: np.ndarray[Any, Any]) -> bool:
    """Whether two arrays have the same bits, but for the kind of NaN."""
    if found.dtype != wanted.dtype or found.shape != wanted.shape:
        return False
    nan = (found != found) & (wanted != wanted)
    zero = wanted.dtype.type(0)
    return np.where(nan, zero, found).tobytes() == np.where(nan, zero, wanted).tobytes()


class Pair:
    """A program on the native target and as C source."""

    def __init__(self, outputs: Sequence[Any], fast: bool = False) -> None:
        self.nodes = [getattr(out, "node", out) for out in outputs]
        self.program = one_lane(self.nodes)
        self.native = compile_graph(self.nodes, Options(arch=os.environ.get("HOTLOOP_TEST_TARGET", "native")))

    def files(self, name: str, fast: bool = False) -> dict[str, str]:
        """Return the export."""
        return c_source(self.program, name, fast=fast)

    def check(self, library: ctypes.CDLL, name: str, steps: int = 3, seed: int = 0, vary: bool = True) -> None:
        """Run both and compare every output and state after each step. vary: with other inputs at each."""
        exported = Exported(self.program, name, library)
        chance = np.random.default_rng(seed)
        cells = [node for node in reachable(self.nodes) if node.op in (INPUT, STATE)]
        native = {node.id: self.native.view(self.native.symbol(node)) for node in [*cells, *self.nodes]}
        given = {node.id: exported.view(self.program.places[node.id]) for node in [*cells, *self.nodes]}
        for node in cells:
            if node.op is STATE:
                native[node.id][...] = node.attr.init
        for step in range(steps):
            for node in cells:
                if node.op is INPUT:
                    native[node.id][...] = given[node.id][...] = varied(node, chance) if vary and step else node.attr.init
            self.native.run()
            exported.step()
            for node in [*self.nodes, *cells]:
                assert alike(given[node.id], native[node.id]), (name, step, node, given[node.id], native[node.id])


def varied(node: Node, chance: np.random.Generator) -> np.ndarray[Any, Any]:
    """Return other values for an input, near its first."""
    init = np.asarray(node.attr.init)
    if init.dtype.kind == "b":
        return chance.random(init.shape) < 0.5
    if init.dtype.kind == "i":
        return (init + chance.integers(-3, 4, init.shape)).astype(init.dtype)
    with np.errstate(all="ignore"):
        return (init * chance.uniform(0.9, 1.1, init.shape) + chance.normal(scale=0.01, size=init.shape)).astype(init.dtype)
