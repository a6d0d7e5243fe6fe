"""The command `hotloop`: the demo, the targets of this machine, benchmarks, and what a program became."""

from __future__ import annotations

import argparse
import importlib.util
import inspect
import os
import platform
import re
import runpy
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import hotloop as hl
from hotloop import _runner
from hotloop.compiler import LEVELS, Compiled, Options, resolve_arch
from hotloop.deploy import FORMS
from hotloop.deploy.firmware import board_arch
from hotloop.errors import HotloopError
from hotloop.frontend.exporting import described, export_program
from hotloop.inspector.listing import code_text, graph_text, memory_text, program_text
from hotloop.inspector.subject import outputs_of, program_of
from hotloop.ir.graph import Node
from hotloop.stencils.library import available, library

T = TypeVar("T")


class UsageError(Exception):
    """What was asked for cannot be done; the message is one line."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 0, 1 for wrong results, 2 for what cannot be done."""
    options, rest = _parser().parse_known_args(argv)
    if rest and options.action is not bench:
        _parser().error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        code: int = options.action(options, rest)
    except (UsageError, HotloopError) as fault:
        sys.stderr.write(f"hotloop: {' '.join(str(fault).split())}\n")
        return 2
    except BrokenPipeError:  # the reader has seen enough: hotloop show ... | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        """Leave with exit code 2."""
        self.exit(2, f"hotloop: {message}. See {self.prog} --help.\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="hotloop", description="Write Python; get deterministic native code.")
    parser.add_argument("--version", action="version", version=f"hotloop {hl.__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND", parser_class=_Parser)

    one = commands.add_parser("demo", help="two real-time programs on real input, checked and timed; draws a picture")
    one.add_argument("--quick", action="store_true", help="fewer repetitions of each timing")
    one.add_argument("--output", type=Path, default=Path("hotloop-demo.png"), metavar="FILE", help="the picture (hotloop-demo.png)")
    one.set_defaults(action=demo)

    one = commands.add_parser("targets", help="what programs can be compiled for, and which of it this machine uses")
    one.set_defaults(action=targets)

    one = commands.add_parser("build", help="files that run a program where no hotloop is: executables, firmware, C")
    one.add_argument("what", metavar="FILE[:NAME]", help="as for show; NAME is program if it is not given")
    one.add_argument("--arch", help="the architecture: see hotloop targets (this machine's, or the board's)")
    one.add_argument("--form", choices=list(FORMS), default="blob", help="; ".join(f"{name}: {form.doc}" for name, form in FORMS.items()))
    one.add_argument("--output", type=Path, default=Path(), metavar="FOLDER", help="where to write (the current folder)")
    one.add_argument("--name", help="of the program and its files (that of the Python file)")
    one.add_argument("--board", help="for --form firmware: the board model")
    one.add_argument("--rate", type=float, metavar="HZ", help="for --form firmware: runs a second")
    one.add_argument("--fast", action="store_true", help="compile with fast=True")
    one.add_argument("--size", action=argparse.BooleanOptionalAction, help="make code small rather than fast (as the target has it)")
    one.set_defaults(action=build)

    one = commands.add_parser("bench", help="run benchmarks beside peers, in a checkout of the repository", add_help=False)
    one.add_argument("name", nargs="?", help="one of them, with its options; all by default")
    one.set_defaults(action=bench)

    one = commands.add_parser("show", help="graph, instructions and machine code of a program, as text")
    one.add_argument(
        "what", metavar="FILE:NAME", help="a Target, jit function, traced value or function that returns one, in a Python file"
    )
    one.add_argument("--only", choices=list(SECTIONS), action="append", help="show this section; may be given several times")
    one.add_argument("--arch", default="native", help="compile for this target")
    one.add_argument("--fast", action="store_true", help="compile with fast=True")
    one.set_defaults(action=show)
    return parser


def say(text: str = "") -> None:
    """Print a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


# ------------------------------------------------------------------------------------------- demo


def demo(options: argparse.Namespace, _: Sequence[str]) -> int:
    """Run the demo."""
    from hotloop.demo import run

    if not options.output.parent.is_dir():
        raise UsageError(f"there is no folder {options.output.parent} to write the picture to.")
    return 0 if run(say, options.output, quick=options.quick) else 1


# ---------------------------------------------------------------------------------------- targets


def targets(_: argparse.Namespace, __: Sequence[str]) -> int:
    """List targets: what each is, and which one `Target()` uses here and why."""
    level, chosen = _runner.cpu_features(), resolve_arch("native")
    forced = os.environ.get("HOTLOOP_TARGET_ARCH") or os.environ.get("CP_TARGET_ARCH")
    say(f"This machine: {platform.system()} {platform.machine()}, {_processor()}, CPU level {level}")
    forced_why, best_why = "used: HOTLOOP_TARGET_ARCH says so", "used: the best that this CPU runs"
    for name in available():
        found = library(name)
        if name in LEVELS:
            runs = level in LEVELS and name in LEVELS[LEVELS.index(level) :]
            why = "runs here; Target() uses a better one" if runs else f"does not run here: the CPU has {level}"
            why = forced_why if name == chosen and forced else best_why if name == chosen else why
        else:
            why = best_why if name == chosen else found.meta["about"]
        say(f"  {name:12} {len(found.names):5} operations, {len(found.code):8,} bytes   {why}")
    why = "runs everywhere" if chosen != "reference" else forced_why if forced else "used: nothing else runs here"
    say(f"  {'reference':12} NumPy, node by node: the definition of the language   {why}")
    return 0


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown processor"


# ------------------------------------------------------------------------------------------ build


def build(options: argparse.Namespace, _: Sequence[str]) -> int:
    """Write a program of a Python file as files for another machine."""
    what = options.what if ":" in Path(options.what).name else f"{options.what}:program"
    path = Path(what.rpartition(":")[0])
    named = _checked(what, lambda: outputs_of(_named(what)))
    name = options.name or re.sub(r"\W", "_", path.stem)
    arch = options.arch or (board_arch(options.board) if options.board else "native")
    chosen = Options(arch=resolve_arch(arch, foreign=True), fast=options.fast, size=options.size)
    paths = export_program(named, chosen, options.output, options.form, name, options.board, options.rate)
    say(described(paths))
    return 0


# ------------------------------------------------------------------------------------------ bench


def bench(options: argparse.Namespace, rest: Sequence[str]) -> int:
    """Run benchmarks of the checkout that this is run in."""
    sys.path.insert(0, os.getcwd())
    if importlib.util.find_spec("benchmarks") is None:
        raise UsageError(
            "there is no folder benchmarks here. Benchmarks are in the repository, not in the package: run this in a checkout."
        )
    package = importlib.import_module("benchmarks")
    names = tuple(package.NAMES)
    asked = options.name
    if asked is not None and asked.startswith("-"):
        rest, asked = [asked, *rest], None
    if asked not in (None, *names):
        raise UsageError(f"no benchmark {asked!r}. There are: {', '.join(names)}.")
    missed = 0
    for name in names if asked is None else (asked,):
        missed += int(importlib.import_module(f"benchmarks.{name}").main(list(rest)) or 0)
    return 1 if missed else 0


# ------------------------------------------------------------------------------------------- show


def show(options: argparse.Namespace, _: Sequence[str]) -> int:
    """Print what a program of a Python file became."""
    found = _named(options.what)
    nodes, compiled = _program(found, options)
    sections = options.only or list(SECTIONS)
    for section in sections:
        if len(sections) > 1:
            say(f"\n-- {section} " + "-" * max(0, 90 - len(section)))
        say(SECTIONS[section](nodes, compiled))
    return 0


def _named(what: str) -> Any:  # Any: whatever the file has under this name
    path, _, name = what.rpartition(":")
    if not path or not name:
        raise UsageError(f"{what!r} is not FILE:NAME, as in examples/mpc.py:program.")
    if not Path(path).is_file():
        raise UsageError(f"there is no file {path}.")
    sys.path.insert(0, str(Path(path).resolve().parent))
    names = runpy.run_path(path, run_name="__hotloop_show__")
    if name not in names:
        known = [key for key, item in names.items() if not key.startswith("_") and not inspect.ismodule(item)]
        raise UsageError(f"{path} has no {name!r}. It has: {', '.join(known) or 'nothing'}.")
    return names[name]


def _program(found: Any, options: argparse.Namespace) -> tuple[Sequence[Node], Compiled]:  # Any: what the file holds
    return _checked(options.what, lambda: program_of(found, Options(arch=options.arch, fast=options.fast)))


def _checked(what: str, make: Callable[[], T]) -> T:
    """Return what `make` returns; where the user's function cannot be traced, say what it is given."""
    try:
        return make()
    except (TypeError, AttributeError) as fault:
        hint = "Parameters are taken as scalars; a function without parameters can make its own inputs."
        raise UsageError(f"{what} cannot be compiled: {fault}. {hint}") from None


SECTIONS: dict[str, Callable[[Sequence[Node], Compiled], str]] = {
    "graph": lambda nodes, _: graph_text(nodes),
    "program": lambda _, compiled: program_text(compiled),
    "memory": lambda _, compiled: memory_text(compiled),
    "code": lambda _, compiled: code_text(compiled.image),
    "report": lambda _, compiled: str(compiled.report),
}


if __name__ == "__main__":
    sys.exit(main())
