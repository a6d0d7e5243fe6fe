"""Every Python block of the documentation runs, in order, and prints what the block after it shows."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = ("README.md", "docs/tutorial.md", "docs/guide.md")
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(document: str) -> list[tuple[str, str, int]]:
    """Return (language, text, line) of each fenced block."""
    text = (ROOT / document).read_text(encoding="utf-8")
    return [(found[1], found[2], text.count("\n", 0, found.start()) + 2) for found in FENCE.finditer(text)]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_examples_print_what_the_document_says(document: str) -> None:
    found = blocks(document)
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
