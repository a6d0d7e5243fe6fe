"""Runners for machines that have no Python: static Linux programs and images of boards, built with hotloop (runner/build.py)."""

from __future__ import annotations

from pathlib import Path

from hotloop.errors import TargetError

_DATA = Path(__file__).parent / "data"
# the Linux program that executes code of a target
_PROCESSES = {
    "x86-64-v2": "x86_64", "x86-64-v3": "x86_64", "aarch64": "aarch64", "armv6": "arm", "armv7a": "arm", "riscv64": "riscv64",
}  # fmt: skip


def names() -> list[str]:
    """Return the names of all runners there are: kinds of processors for Linux, and boards."""
    return sorted(path.stem for path in _DATA.glob("*.elf"))


def path(name: str) -> Path:
    """Return the ELF file of a runner.

    name: a target with Linux ("armv7a", ...), or a name of `names()`. The file is static: copied to the machine it
    runs there alone; the image of a board is for its flash, or for `qemu-system-arm -M BOARD -kernel`.
    Raises: TargetError if there is none.
    """
    found = _DATA / f"{_PROCESSES.get(name, name)}.elf"
    if not found.is_file() or found.parent != _DATA:
        raise TargetError(f"there is no runner for {name!r}. There are: {', '.join(names()) or 'none, the build made none'}.")
    return found
