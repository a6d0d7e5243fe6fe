"""`export`: writes a compiled program as files for machines where no hotloop is. Every form is a row."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from hotloop.deploy.blob import blob
from hotloop.deploy.firmware import firmware
from hotloop.deploy.mpy import MACHINES, mpy
from hotloop.deploy.naming import check_name
from hotloop.deploy.standalone import standalone
from hotloop.deploy.target import PLACES
from hotloop.errors import TargetError
from hotloop.image import Image

Files = Mapping[str, bytes]
Sources = Callable[[str], Mapping[str, str]]  # from the name of the program to the texts of its files


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be exported, and what a form may want to know beyond it."""

    image: Image
    name: str
    board: str | None = None
    rate: float | None = None
    sources: Sources | None = None


@dataclass(frozen=True, slots=True)
class Form:
    """One kind of export.

    files: returns the content of all files, by their names
    targets: whose programs can have this form; empty: every target's
    executable: names of files that can be started, as NAME is the program's
    """

    doc: str
    files: Callable[[Order], Files]
    targets: tuple[str, ...] = ()
    executable: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()


def _sources(order: Order) -> Files:
    if order.sources is None:
        raise TargetError("form 'c' is made from a program, not from its image. Export the target that compiled it.")
    return {path: text.encode() for path, text in order.sources(order.name).items()}


FORMS: dict[str, Form] = {
    "elf": Form(
        "a static executable for Linux: reads inputs, steps, prints outputs",
        lambda order: {order.name: standalone(order.image, order.name)},
        targets=tuple(name for name, place in PLACES.items() if place.linux),
        executable=("NAME",),
    ),
    "blob": Form(
        "machine code and data to link into any firmware, with a C header and an example",
        lambda order: blob(order.image, order.name),
        targets=tuple(PLACES),
    ),
    "c": Form("C99 source of the program, for toolchains that must compile everything", _sources, uses=("sources",)),
    "firmware": Form(
        "a complete image for a board without an operating system",
        lambda order: firmware(order.image, order.name, order.board, order.rate),
        targets=("armv7em", "armv7m", "riscv32", "riscv32f", "riscv64"),
        uses=("board", "rate"),
    ),
    "mpy": Form(
        "a native module of MicroPython: import it on the board",
        lambda order: {f"{order.name}.mpy": mpy(order.image, order.name)},
        targets=tuple(MACHINES),
    ),
}


def export(
    image: Image,
    folder: str | os.PathLike[str],
    form: str,
    name: str,
    *,
    board: str | None = None,
    rate: float | None = None,
    sources: Sources | None = None,
) -> list[Path]:
    """Write a program as files of the given form into `folder`; return their paths, the main one first.

    form: a key of FORMS. name: of the program, an identifier of C; all files are named after it.
    board, rate: for "firmware": the board model, and runs a second (Hz) that it makes by itself.
    sources: for "c": returns the texts of the files for a name.
    The folder is made if it is missing. Files of the same names are replaced, each at once; no others are touched.
    The same program gives the same bytes. No compiler is run.
    Raises: TargetError for an unknown form, one that the target does not have, a name that is none, a folder that
    cannot be written; RangeError for a program too large for its board.
    """
    row = FORMS.get(form)
    if row is None:
        raise TargetError(f"there is no form {form!r}. There are: {', '.join(FORMS)}.")
    check_name(name)
    if row.targets and image.target not in row.targets:
        raise TargetError(f"form {form!r} is not made for {image.target!r}. It is for: {', '.join(row.targets)}.")
    for option, given in (("board", board), ("rate", rate)):
        if given is not None and option not in row.uses:
            raise TargetError(f"form {form!r} has no {option}; {option}={given!r} is for form 'firmware'.")
    files = row.files(Order(image, name, board, rate, sources))
    started = {pattern.replace("NAME", name) for pattern in row.executable}
    try:
        return _write(Path(folder), files, started)
    except OSError as error:
        raise TargetError(f"cannot write into {os.fspath(folder)!r}: {error.strerror or error}.") from error


def _write(folder: Path, files: Files, started: set[str]) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    for path, content in files.items():
        # whoever reads the file meanwhile sees the old content or the new one
        handle, fresh = tempfile.mkstemp(dir=folder, prefix=f".{path}.")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
            os.chmod(fresh, 0o755 if path in started else 0o644)
            os.replace(fresh, folder / path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(fresh)
            raise
    return [folder / path for path in files]
