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
    image = replace(compiled.image, symbols=_with_names(compiled, named))

    def sources(title: str) -> Mapping[str, str]:
        from hotloop.backends.csource import c_source

        program = one_lane_program(outputs, options)
        for node, symbol in program.places.items():
            _rename(program.symbols, symbol, _name_of(named, node))
        return c_source(program, title, fast=options.fast)

    return export(image, folder, form, name, board=board, rate=rate, sources=sources)


def _with_names(compiled: Compiled, named: Mapping[str, Node]) -> tuple[Symbol, ...]:
    """Return the symbols, of which outputs have their names; an output that is an input, a state or a constant has one more."""
    symbols = list(compiled.symbols)
    outputs: list[Symbol] = []
    for key, node in named.items():
        symbol = compiled.symbol(node)
        assert symbol is not None
        outputs.append(replace(symbol, kind="output", name=_identifier(key)))
    return (*[symbol for symbol in symbols if symbol.kind != "output"], *outputs)


def _rename(symbols: list[Symbol], symbol: Symbol, name: str) -> None:
    if symbol.kind == "output" and name and symbol in symbols:
        symbols[symbols.index(symbol)] = replace(symbol, name=name)


def _name_of(named: Mapping[str, Node], node: int) -> str:
    return next((_identifier(key) for key, found in named.items() if found.id == node), "")


def _identifier(key: str) -> str:
    """Return a name that the user gave, "" for one that is made of numbers of arguments."""
    plain = key.replace(".", "_")
    return plain if plain.isidentifier() and not keyword.iskeyword(plain) else ""


def described(paths: Sequence[Path]) -> str:
    """Return the files of an export as lines of text: size and name."""
    return "\n".join(f"{path.stat().st_size:10,} bytes  {path}" for path in paths)
