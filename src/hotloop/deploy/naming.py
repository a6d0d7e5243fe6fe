"""Names for what a program reads and writes: unique, and where C demands it, identifiers."""

from __future__ import annotations

import re

from hotloop.errors import TargetError
from hotloop.image import Image, Symbol

KINDS = ("input", "state", "output")

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)

# Of C11 and C++17, and what <stdint.h> and the generated files use.
_KEYWORDS = frozenset(
    """
    alignas alignof and and_eq asm auto bitand bitor bool break case catch char class compl const constexpr const_cast continue
    decltype default delete do double dynamic_cast else enum explicit export extern false float for friend goto if inline int long
    main mutable namespace new noexcept not not_eq nullptr operator or or_eq private protected public register reinterpret_cast
    restrict return short signed sizeof static static_assert static_cast struct switch template this thread_local throw true try
    typedef typeid typename union unsigned using virtual void volatile wchar_t while xor xor_eq linux unix NULL offsetof
    """.split()  # noqa: SIM905 - a list of so many words hides them
)


def check_name(name: str) -> None:
    """Raise TargetError unless `name` can be a name of C and of a file."""
    if not isinstance(name, str) or not _IDENTIFIER.fullmatch(name) or name in _KEYWORDS:
        raise TargetError(f"a program cannot be named {name!r}. Use letters, digits and _, no digit first, and no word of C.")


def named(image: Image) -> list[tuple[str, Symbol]]:
    """Return inputs, states, then outputs, each with a name of its own; outputs without one are out0, out1, ..."""
    ordered = [symbol for kind in KINDS for symbol in image.symbols if symbol.kind == kind]
    outputs = [symbol for symbol in ordered if symbol.kind == "output"]
    place = {id(symbol): i for i, symbol in enumerate(outputs)}
    taken = {symbol.name for symbol in ordered}
    found: list[tuple[str, Symbol]] = []
    used: set[str] = set()
    for symbol in ordered:
        name = symbol.name or _free(f"out{place[id(symbol)]}" if symbol.kind == "output" else symbol.kind, taken)
        name = _free(name, used)
        used.add(name)
        found.append((name, symbol))
    return found


def identifiers(image: Image) -> list[tuple[str, Symbol]]:
    """Return what `named` does, with names that C takes as fields of one structure."""
    used: set[str] = set()
    found = []
    for name, symbol in named(image):
        plain = re.sub(r"[^A-Za-z0-9_]", "_", name)
        if not _IDENTIFIER.fullmatch(plain) or plain in _KEYWORDS:
            plain = f"_{plain}" if plain[:1].isdigit() or not plain else f"{plain}_"
        plain = _free(plain, used)
        used.add(plain)
        found.append((plain, symbol))
    return found


def _free(name: str, taken: set[str]) -> str:
    if name not in taken:
        return name
    count = 2
    while f"{name}_{count}" in taken:
        count += 1
    return f"{name}_{count}"
