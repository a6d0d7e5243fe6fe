"""Programs as text: the graph a user traced, the instructions it became, and the machine code of those."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hotloop.compiler import Compiled
from hotloop.image import Image
from hotloop.ir.graph import CONST, LOOP, PARAM, STATE, Node, reachable, source_line
from hotloop.ir.loop import dependents
from hotloop.ops.shape import Index

LONGEST = 60  # characters of an attribute


def graph_text(outputs: Sequence[Node]) -> str:
    """Return one line a node: number, type, operation, operands, source line. Bodies of loops are indented."""
    nodes = reachable(outputs)
    inside = {node.id for loop in nodes if loop.op is LOOP for node in _body(loop)}
    lines = [text for node in nodes if node.id not in inside for text in _node_lines(node, "")]
    lines += [f"next %{node.id} = %{node.attr.next.id}" for node in nodes if node.op is STATE and node.attr.next is not None]
    lines.append("outputs " + ", ".join(f"%{node.id}" for node in outputs))
    return "\n".join(lines)


def _body(loop: Node) -> list[Node]:
    body = loop.attr
    bound = [*body.params, *([body.index] if body.index is not None else [])]
    ends = [*body.results, *([body.condition] if body.condition is not None else [])]
    found = dependents(ends, bound)
    nested = [node for inner in found if inner.op is LOOP for node in _body(inner)]
    known = {node.id for node in found}
    return [*[node for node in bound if node.id not in known], *found, *nested]


def _node_lines(node: Node, indent: str) -> list[str]:
    shape = str(list(node.shape)) if node.shape else ""
    operands = ", ".join(f"%{arg.id}" for arg in node.args)
    text = f"{indent}%{node.id}: {node.dtype}{shape} = {node.op}({operands}){_attribute(node)}"
    found = [f"{text:<70} ; {source_line(node)}"]
    if node.op is not LOOP:
        return found
    body = _body(node)
    nested = {inner.id for loop in body if loop.op is LOOP for inner in _body(loop)}
    for inner in sorted({n.id: n for n in body}.values(), key=lambda n: n.id):
        if inner.id not in nested:
            found += _node_lines(inner, indent + "    ")
    ends = ", ".join(f"%{result.id}" for result in node.attr.results)
    until = "" if node.attr.condition is None else f", while %{node.attr.condition.id}"
    return [*found, f"{indent}    next {ends}{until}"]


def _attribute(node: Node) -> str:
    if node.attr is None or node.op is PARAM:
        return ""
    if isinstance(node.attr, dict):
        text = ", ".join(f"{name} {_short(value)}" for name, value in node.attr.items())
    else:
        text = _short(node.attr.value if node.op is CONST else node.attr)
    return f" [{text if len(text) <= LONGEST else text[: LONGEST - 3] + '...'}]"


def _short(value: object) -> str:
    value = value.flat if isinstance(value, Index) else value
    text = np.array2string(value, threshold=6, separator=", ") if isinstance(value, np.ndarray) else str(value)
    return " ".join(text.split())


def program_text(compiled: Compiled) -> str:
    """Return the instructions on numbered values; the reference has none."""
    return "the reference has no instructions: it evaluates the graph" if compiled.listing is None else compiled.listing.listing()


def memory_text(compiled: Compiled) -> str:
    """Return what of a program's memory has a name, one place a line."""
    rows = [(symbol.kind, symbol.name or "-", f"{symbol.dtype}{list(symbol.shape) or ''}", symbol.offset) for symbol in compiled.symbols]
    return "\n".join(f"{offset:8}  {kind:9} {dtype:16} {name}" for kind, name, dtype, offset in rows)


# What capstone calls the code of a target, and its modes; all others are x86-64.
ASSEMBLY = {
    "aarch64": ("CS_ARCH_ARM64", "CS_MODE_ARM"), "armv7a": ("CS_ARCH_ARM", "CS_MODE_ARM"), "armv6": ("CS_ARCH_ARM", "CS_MODE_ARM"),
    "armv7em": ("CS_ARCH_ARM", "CS_MODE_THUMB", "CS_MODE_MCLASS"), "armv7m": ("CS_ARCH_ARM", "CS_MODE_THUMB", "CS_MODE_MCLASS"),
    "riscv64": ("CS_ARCH_RISCV", "CS_MODE_RISCV64", "CS_MODE_RISCVC"),
    "riscv32": ("CS_ARCH_RISCV", "CS_MODE_RISCV32", "CS_MODE_RISCVC"),
    "riscv32f": ("CS_ARCH_RISCV", "CS_MODE_RISCV32", "CS_MODE_RISCVC"),
}  # fmt: skip


def code_text(image: Image | None) -> str:
    """Return the machine code as assembly, an instruction a line; without capstone as hexadecimal bytes."""
    if image is None:
        return "the reference has no machine code"
    try:
        import capstone
    except ImportError:
        return "(disassembly needs capstone: pip install 'hotloop[inspect]')\n" + _hexadecimal(image.code)
    arch, *modes = ASSEMBLY.get(image.target, ("CS_ARCH_X86", "CS_MODE_64"))
    machine = capstone.Cs(getattr(capstone, arch), sum(getattr(capstone, mode) for mode in modes))
    machine.skipdata = True
    lines = [f"{at:6x}  {data.hex():24} {name} {rest}".rstrip() for at, data, name, rest in _decoded(machine, image.code)]
    return "\n".join(lines)


def _decoded(machine: object, code: bytes) -> list[tuple[int, bytes, str, str]]:
    found = machine.disasm(code, 0)  # type: ignore[attr-defined]
    return [(one.address, bytes(one.bytes), one.mnemonic, one.op_str) for one in found]


def _hexadecimal(code: bytes) -> str:
    return "\n".join(f"{at:6x}  {code[at : at + 16].hex(' ')}" for at in range(0, len(code), 16))
