"""`c_source`: Program -> C99 source files, which need no library, no heap and no recursion."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np

from hotloop.backends.csource.headers import definitions
from hotloop.backends.csource.literals import C_TYPES, literal
from hotloop.backends.csource.places import Area, declaration
from hotloop.backends.csource.plain import CHECKS, HARDWARE
from hotloop.backends.csource.statements import Statements
from hotloop.dtypes import DType, int32
from hotloop.errors import NameConflict
from hotloop.ir.program import Program

_TITLES = {
    "input": "Inputs: written by the caller before a step, kept until written again.",
    "state": "States: kept from step to step.",
    "output": "Outputs: written by each step.",
    "constant": "Outputs that never change.",
}
_LISTED = 8  # initial values up to which a comment tells them, and statements set them one by one
_WIDTH = 120


def c_source(program: Program, name: str, *, fast: bool = False) -> dict[str, str]:
    """Return C99 source of a program for one lane: {"NAME.h", "NAME.c", "NAME_math.h", "NAME_example.c": text}.

    The functions are NAME_init, which sets every field of a NAME_t to its initial value, and NAME_step, which runs the
    program once. Results have the bits of every other target. fast: a fused multiply-add of the program rounds twice
    where the machine has no instruction for it, which saves hundreds of instructions there.
    Cost: some microseconds an instruction. Raises NameConflict if `name` is no C identifier, TargetError for programs on
    vectors of lanes.
    """
    if not re.fullmatch(r"[A-Za-z_]\w*", name, flags=re.ASCII):
        raise NameConflict(f"{name!r} cannot begin names in C. Use letters, digits and underscores.")
    statements = Statements(program)
    step = statements.lines()
    found = fields(statements)
    tables = [line for area in statements.places.work if not area.written for line in _tables(area)]
    init = [line for area in found for line in _initial(area)]
    return {
        f"{name}.h": _header(name, found),
        f"{name}.c": _source(name, tables, init, step),
        f"{name}_math.h": _math(name, [*tables, *step, *init], fast),
        f"{name}_example.c": _example(name, found),
    }


def fields(statements: Statements) -> list[Area]:
    """Return the fields of the struct in order: inputs, states, outputs, then what is not for the caller."""
    kinds = list(_TITLES)
    named = sorted(statements.places.areas, key=lambda area: kinds.index(area.kind))
    return [*named, *[area for area in statements.places.work if area.written]]


# ---------------------------------------------------------------------------------------- the header


def _header(name: str, areas: Iterable[Area]) -> str:
    guard = f"{name.upper()}_H"
    lines = [
        f"/* {name}: a program with inputs, outputs and states, exported by hotloop.", " *",
        f" * Call {name}_init once, then {name}_step as often as wanted. Every step executes the same operations on the",
        " * fields of one struct; there is no other memory, no allocation, no recursion, and no library is called.",
        " * Arrays are row-major.", " */", f"#ifndef {guard}", f"#define {guard}", "",
        "#include <stdbool.h>", "#include <stdint.h>", "", "#ifdef __cplusplus", 'extern "C" {', "#endif", "", "typedef struct {",
    ]  # fmt: skip
    kind = ""
    for area in areas:
        if area.kind != kind:
            kind = area.kind
            lines.append(f"    /* {_TITLES.get(kind, 'Arrays between the operations of a step: not for the caller.')} */")
        lines.append(f"    {declaration(area)};{f' /* {_meaning(area)} */' if area.symbol else ''}")
    if not kind:
        lines.append("    uint8_t nothing; /* the program has no memory */")
    lines += [
        f"}} {name}_t;", "", "/* Give every field its initial value. */", f"void {name}_init({name}_t *self);", "",
        "/* Run the program once. */", f"void {name}_step({name}_t *self);", "", "#ifdef __cplusplus", "}", "#endif", "", "#endif", "",
    ]  # fmt: skip
    return "\n".join(lines)


def _meaning(area: Area) -> str:
    if area.parts:
        return "; ".join(f"from [{(part.start - area.start) // area.dtypes[0].size}]: {part.name}, {_meaning(part)}" for part in area.parts)
    assert area.symbol is not None
    symbol = area.symbol
    text = symbol.dtype.name
    if symbol.shape:
        text += f", shape ({', '.join(map(str, symbol.shape))}{',' if len(symbol.shape) == 1 else ''})"
    if symbol.name and symbol.name != area.name:
        text += f", called {symbol.name!r}".replace("*/", "* /")
    values = [str(value) for value in area.values(symbol.dtype)]
    if symbol.kind == "output":
        return text
    if len(set(values)) == 1:
        return f"{text}, initially {values[0]}{' everywhere' if symbol.shape else ''}"
    return f"{text}, initially {', '.join(values)}" if len(values) <= _LISTED else text


# ---------------------------------------------------------------------------------------- the program


def _source(name: str, tables: list[str], init: list[str], step: list[str]) -> str:
    unused = ["    (void)self;"]
    lines = [f'#include "{name}.h"', "", f'#include "{name}_math.h"', "", *tables, *([""] if tables else [])]
    lines += [f"void {name}_init({name}_t *self)", "{", *(init or unused), "}", ""]
    lines += [f"void {name}_step({name}_t *self)", "{", *step]
    lines += [] if any("self->" in line for line in step) else unused
    return "\n".join([*lines, "}", ""])


def _table(name: str, values: Iterable[object], dtype: DType, indent: str = "") -> list[str]:
    """Return a static array with its elements."""
    texts = [literal(value, dtype, static=True) for value in values]
    lines, line = [f"{indent}static const {C_TYPES[dtype.short]} {name}[{len(texts)}] = {{"], f"{indent}   "
    for text in texts:
        if len(line) + len(text) + 2 > _WIDTH:
            lines.append(line)
            line = f"{indent}   "
        line += f" {text},"
    return [*lines, line, f"{indent}}};"]


def _tables(area: Area) -> list[str]:
    return [line for dtype in area.dtypes for line in _table(area.array(dtype), area.values(dtype), dtype)]


def _initial(area: Area) -> list[str]:
    """Return the statements that set a field to its initial value."""
    dtype = area.dtypes[0]
    target, values = area.array(dtype), area.values(dtype)
    if len(area.dtypes) > 1:
        target, dtype, values = f"self->{area.name}.bits", int32, np.frombuffer(area.initial, np.int32, area.size // 4)
    count = len(values)
    raw = {values[k : k + 1].tobytes() for k in range(count)}
    if area.whole:
        return [f"    {target} = {literal(values[0], dtype)};"]
    if len(raw) == 1 or not any(area.initial):
        return _loop(target, count, _bits(values[0], dtype, area))
    if count <= _LISTED:
        return [f"    {target}[{k}] = {_bits(value, dtype, area)};" for k, value in enumerate(values)]
    table = f"{area.name}_initial"
    source = f"(uint32_t){table}[i]" if len(area.dtypes) > 1 else f"{table}[i]"
    return ["    {", *_table(table, values, dtype, "        "), *[f"    {line}" for line in _loop(target, count, source)], "    }"]


def _bits(value: object, dtype: DType, area: Area) -> str:
    return f"(uint32_t){literal(value, dtype)}" if len(area.dtypes) > 1 else literal(value, dtype)


def _loop(target: str, count: int, value: str) -> list[str]:
    return [f"    for (int32_t i = 0; i < {count}; i++) {{", f"        {target}[i] = {value};", "    }"]


# ---------------------------------------------------------------------------------------- functions


def _math(name: str, texts: Iterable[str], fast: bool) -> str:
    found = definitions(texts, fast)
    guard = f"{name.upper()}_MATH_H"
    hardware = [HARDWARE] if "HL_HAS_" in found else []
    purpose = f"/* What {name}.c needs: checks of the compiler, and the functions that it calls, in C99. */"
    functions = [found] if found.strip() else []
    return "\n".join([purpose, f"#ifndef {guard}", f"#define {guard}", "", CHECKS, *hardware, *functions, "#endif\n"])


# ---------------------------------------------------------------------------------------- the example


def _example(name: str, areas: Iterable[Area]) -> str:
    fields = list(areas)
    lines = [f"/* How to use {name}: compile this file and {name}.c. */", f'#include "{name}.h"', "", f"static {name}_t program;", ""]
    lines += ["int main(void)", "{", f"    {name}_init(&program);", "    for (int32_t step = 0; step < 3; step++) {"]
    for area in [area for area in fields if area.kind == "input"]:
        value = literal(area.values(area.dtypes[0])[0], area.dtypes[0], static=True)
        lines.append(f"        program.{area.name}{'' if area.whole else '[0]'} = {value}; /* what was measured */")
    lines.append(f"        {name}_step(&program);")
    for area in [area for area in fields if area.kind == "output"]:
        lines.append(f"        (void)program.{area.name}{'' if area.whole else '[0]'}; /* what is to be done */")
    return "\n".join([*lines, "    }", "    return 0;", "}", ""])
