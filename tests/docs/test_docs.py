"""Every Python block of the documentation runs, in order, and prints what the block after it shows."""

from __future__ import annotations

import contextlib
import io
import linecache
import re
from pathlib import Path

import pytest

from hotloop import parallel

ROOT = Path(__file__).parents[2]
DOCUMENTS = ("README.md", "docs/tutorial.md", "docs/guide.md", "docs/parallel.md", "docs/targets.md", "docs/deploy.md")
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(document: str) -> list[tuple[str, str, int]]:
    """Return (language, text, line) of each fenced block."""
    text = (ROOT / document).read_text(encoding="utf-8")
    return [(found[1], found[2], text.count("\n", 0, found.start()) + 2) for found in FENCE.finditer(text)]


def python_of(found: list[tuple[str, str, int]]) -> list[str]:
    """Return the lines of a document with nothing but its Python."""
    lines: list[str] = []
    for language, text, line in found:
        if language == "python":
            lines += ["\n"] * (line - 1 - len(lines)) + text.splitlines(keepends=True)
    return lines


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_examples_print_what_the_document_says(document: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = blocks(document)
    monkeypatch.setitem(linecache.cache, document, (0, None, python_of(found), document))  # where @cu functions find their text
    names: dict[str, object] = {"__name__": "document"}
    assert any(language == "python" for language, _, _ in found)
    for (language, text, line), following in zip(found, [*found[1:], ("", "", 0)], strict=True):
        if language != "python":
            continue
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile("\n" * (line - 1) + text, document, "exec"), names)
        if following[0] == "text" or printed.getvalue():
            wanted = ".*".join(map(re.escape, following[1].split("...")))  # "..." stands for anything on a line
            assert re.fullmatch(wanted, printed.getvalue()), f"{document}, line {line}:\n{printed.getvalue()}"


def test_the_tables_of_primitives_hold_each_of_them() -> None:
    text = (ROOT / "docs/parallel.md").read_text(encoding="utf-8")
    section = text.partition("## Primitives")[2].partition("\n## ")[0]
    names_and_calls = ["|".join(row.split("|")[1:3]) for row in section.splitlines() if row.startswith("|")]
    named = {name for cells in names_and_calls for name in re.findall(r"`(\w+)`", cells)}
    assert named == set(parallel.__all__)


@pytest.mark.parametrize("document", [*DOCUMENTS, "ARCHITECTURE.md", "CHANGELOG.md"])
def test_links_lead_somewhere(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert ((ROOT / document).parent / target).exists(), f"{document}: {target}"


def test_the_architecture_names_files_that_exist_and_stays_short() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    for path in re.findall(r"`((?:src|runner|stencilgen|tests|benchmarks|docs|examples)/[\w./-]*)`", text):
        assert (ROOT / path).exists(), path
