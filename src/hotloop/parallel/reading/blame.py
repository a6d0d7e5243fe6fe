"""`Origin`: where in the user's text something is, and exceptions that show it with a caret."""

from __future__ import annotations

import ast
import os
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from hotloop.parallel.reading.source import Definition

E = TypeVar("E", bound=Exception)

_WIDEST = 120  # columns of a source line that a message shows


@dataclass(frozen=True, slots=True)
class Origin:
    """A range of text. line, end_line: from 1. col, end_col: bytes of UTF-8 from 0, as in ast. lines: of the whole file."""

    file: str
    line: int
    col: int
    end_line: int
    end_col: int
    lines: Sequence[str]

    @staticmethod
    def of(node: ast.AST, definition: Definition) -> Origin:
        """Return where a node is. Nodes without a place of their own lie around their parts, or at the definition."""
        if not hasattr(node, "lineno"):
            parts = [part for part in ast.walk(node) if hasattr(part, "lineno")]
            if not parts:
                return Origin(definition.file, definition.node.lineno, 0, definition.node.lineno, 0, definition.lines)
            line, col = min(_start(part) for part in parts)
            end_line, end_col = max(_end(part) for part in parts)
        else:
            (line, col), (end_line, end_col) = _start(node), _end(node)
        return Origin(definition.file, line, col, end_line, end_col, definition.lines)

    @property
    def place(self) -> str:
        """The file's name and the line: `sensor.py:12`."""
        # Jupyter runs each cell as a file of its own, whose name says nothing to anyone
        name = "cell" if "ipykernel_" in self.file else os.path.basename(self.file)
        return f"{name}:{self.line}"

    @property
    def text(self) -> str:
        """The first line of the range, as it is in the file, without its end."""
        return self.lines[self.line - 1].rstrip("\r\n") if 0 < self.line <= len(self.lines) else ""

    @property
    def span(self) -> tuple[int, int]:
        """First and last + 1 character of the range in `text`; equal if the text does not reach so far."""
        text = self.text
        start = _characters(text, self.col)
        end = _characters(text, self.end_col) if self.end_line == self.line else len(text.rstrip())
        return start, max(start, end)

    def render(self, message: str) -> str:
        """Return a message in the form `file.py:12: message`, the source line, and `^^^` below the range."""
        start, end = self.span
        if not self.text.strip():
            return f"{self.place}: {message}"
        line, start, end = _window(self.text, start, end)
        more = " ..." if self.end_line > self.line else ""
        shown = [f"{self.place}: {message}", f"    {line}{more}"]
        if end > start:
            shown.append("    " + _blank(line[:start]) + "^" * _columns(line[start:end]))
        return "\n".join(shown)


def called_from(name: str, origin: Origin) -> str:
    """Return the note that tells by which call an error was reached."""
    return f"called from {name} at {origin.place}: {origin.text.strip()}"


def refuse(error_class: type[E], origin: Origin, message: str, *, notes: Iterable[str] = ()) -> E:
    """Return (not raise) an exception that shows a range of the user's text.

    Subclasses of SyntaxError carry it in their attributes, for Python shows them itself; others in their text.
    """
    details: tuple[object, ...] = (origin.render(message),)
    if issubclass(error_class, SyntaxError):
        start, end = origin.span
        details = (message, (origin.file, origin.line, start + 1, origin.text + "\n", origin.line, end + 1))
    error = error_class(*details)
    for note in notes:
        error.add_note(note)
    return error


# ------------------------------------------------------------------------------------- columns


def _start(node: ast.AST) -> tuple[int, int]:
    return getattr(node, "lineno", 0), getattr(node, "col_offset", 0)


def _end(node: ast.AST) -> tuple[int, int]:
    line, col = _start(node)
    return getattr(node, "end_lineno", None) or line, getattr(node, "end_col_offset", None) or col


def _characters(text: str, column: int) -> int:
    """Return how many characters the first `column` bytes are."""
    return column if text.isascii() else len(text.encode("utf-8", "surrogatepass")[:column].decode("utf-8", "replace"))


def _window(text: str, start: int, end: int) -> tuple[str, int, int]:
    """Return what to show of a line without its indentation, and where the range is in that."""
    first = len(text) - len(text.lstrip())
    text, start, end = text.strip(), max(start - first, 0), max(end - first, 0)
    start, end = min(start, len(text)), min(end, len(text))
    if len(text) <= _WIDEST:
        return text, start, end
    low = max(0, min(start - _WIDEST // 4, len(text) - _WIDEST))
    high = min(len(text), low + _WIDEST)
    before, after = "..." if low else "", "..." if high < len(text) else ""
    shift = len(before) - low
    return f"{before}{text[low:high]}{after}", start + shift, min(end, high) + shift


def _blank(text: str) -> str:
    """Return white space as wide as a text. Tabs remain, since only the terminal knows how wide they are."""
    return "".join("\t" if character == "\t" else " " * _columns(character) for character in text)


def _columns(text: str) -> int:
    """Return how many columns of a terminal a text takes: two for East Asian characters, none for combining ones."""
    if text.isascii():
        return len(text)
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else unicodedata.combining(c) == 0 for c in text)
