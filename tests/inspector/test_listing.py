"""Programs as text: every node once, bodies under their loop, code that disassembles to its end."""

from __future__ import annotations

import re

import numpy as np
import pytest

import hotloop as hl
from hotloop.compiler import Options, compile_graph
from hotloop.inspector.listing import code_text, graph_text, memory_text, program_text


def nested() -> hl.value:
    x = hl.value(1.5, name="x")
    rows = hl.loop(3, lambda a: hl.loop(4, lambda b: b * x + a, a), x)
    return hl.while_loop(lambda a: a > 2.0, lambda a: a * 0.5, rows)


def test_bodies_are_indented_under_their_loops() -> None:
    lines = graph_text([nested().node]).splitlines()
    depths = [(len(line) - len(line.lstrip())) // 4 for line in lines]
    outer, inner = (next(i for i, line in enumerate(lines) if f"[{trips} x 1 carried]" in line) for trips in (3, 4))
    assert (depths[outer], depths[inner]) == (0, 1)
    assert any(re.match(r"        %\d+: float32 = mul\(", line) for line in lines)
    assert any(re.match(r"    next %\d+, while %\d+$", line) for line in lines)
    assert lines[-1].startswith("outputs %")


def test_every_node_is_listed_once_before_its_use() -> None:
    lines = graph_text([nested().node]).splitlines()
    known: set[str] = set()
    for line in lines:
        made = re.match(r" *(%\d+): ", line)
        if made:
            assert made[1] not in known
            known.add(made[1])
        used = set(re.findall(r"%\d+", line.split(" ; ")[0])) - known
        assert not used, line


def test_a_state_says_what_it_becomes() -> None:
    count = hl.state(0, name="count")
    count.next = count + 1
    text = graph_text([count.node])
    assert "state() [count]" in text
    assert re.search(r"^next %\d+ = %\d+$", text, re.MULTILINE)


def test_long_attributes_are_cut() -> None:
    table = hl.tensor(np.arange(200.0))
    text = graph_text([(table * hl.value(2.0)).node])
    assert max(len(line) for line in text.splitlines()) < 140


def test_code_is_decoded_to_its_last_byte() -> None:
    pytest.importorskip("capstone")
    compiled = compile_graph([nested().node])
    assert compiled.image is not None
    lines = code_text(compiled.image).splitlines()
    decoded = b"".join(bytes.fromhex(line.split()[1]) for line in lines)
    assert decoded == compiled.image.code
    assert any(line.split()[2] == "ret" for line in lines)


def test_memory_names_inputs_and_outputs() -> None:
    text = memory_text(compile_graph([nested().node]))
    assert re.search(r"\d+ +input +float32 +x$", text, re.MULTILINE)
    assert "output" in text


def test_the_reference_has_neither_program_nor_code() -> None:
    compiled = compile_graph([nested().node], Options(arch="reference"))
    assert "reference" in program_text(compiled)
    assert "reference" in code_text(compiled.image)


@pytest.mark.parametrize(
    ("arch", "word"),
    [("aarch64", "fmul"), ("armv7a", "vmul.f32"), ("armv6", "vmul.f32"), ("armv7em", "vmul.f32"), ("armv7m", "push.w"),
     ("riscv64", "fmul.s"), ("riscv32f", "fmul.s"), ("riscv32", "jalr")],
)  # fmt: skip
def test_code_for_another_machine_is_shown_in_its_assembly(arch, word):
    pytest.importorskip("capstone")
    target = hl.Target(arch)
    target.compile(hl.value(2.0) * hl.value(3.0))
    assert word in code_text(target.compiled.image)
