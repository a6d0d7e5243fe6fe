"""Exports of the program of a `Target`: compiled for the architecture that is asked for, with names for its outputs."""

from __future__ import annotations

import keyword
from collections.abc import Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path

from hotloop._graph import Node
from hotloop.compiler import Compiled, Options, compile_graph, one_lane_program
from hotloop.deploy import export
from hotloop.image import Image, Symbol


class Unplaced:
    """In place of a program that runs: nothing but its memory. It is compiled to be exported."""

    def __init__(self, image: Image) -> None:
        self.memory = bytearray(image.data)

    def run(self) -> None:
        """Refuse."""
        raise AssertionError("a program that is exported does not run here")


def export_program(
    named: Mapping[str, Node], options: Options, folder: str | PathLike[str], form: str, name: str, board: str | None = None,
    rate: float | None = None,
) -> list[Path]:  # fmt: skip
    """Compile the program that computes `named`, outputs by name, and write it as files. See `Target.export`."""
    outputs = list(dict.fromkeys(named.values()))
    compiled = compile_graph(outputs, replace(options, load=Unplaced))
    assert compiled.image is not None
    names = [(node, _identifier(key)) for key, node in named.items()]
    image = replace(compiled.image, symbols=_with_names(compiled, names))

    def sources(title: str) -> Mapping[str, str]:
        from hotloop.backends.csource import c_source

        program = one_lane_program(outputs, options)
        given = {id(program.places[node.id]): label for node, label in reversed(names) if label}
        program.symbols[:] = [replace(s, name=given.get(id(s), s.name)) if s.kind == "output" else s for s in program.symbols]
        return c_source(program, title, fast=options.fast)

    return export(image, folder, form, name, board=board, rate=rate, sources=sources)


def _with_names(compiled: Compiled, names: Sequence[tuple[Node, str]]) -> tuple[Symbol, ...]:
    """Return the symbols, of which outputs have their names; an output that is an input, a state or a constant has one more."""
    outputs: list[Symbol] = []
    for node, label in names:
        symbol = compiled.symbol(node)
        assert symbol is not None
        outputs.append(replace(symbol, kind="output", name=label))
    return (*[symbol for symbol in compiled.symbols if symbol.kind != "output"], *outputs)


def _identifier(key: str) -> str:
    """Return a name that the user gave, "" for one that is made of numbers of arguments."""
    plain = key.replace(".", "_")
    return plain if plain.isidentifier() and not keyword.iskeyword(plain) else ""


def described(paths: Sequence[Path]) -> str:
    """Return the files of an export as lines of text: size and name."""
    return "\n".join(f"{path.stat().st_size:10,} bytes  {path}" for path in paths)
