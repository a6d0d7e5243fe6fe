"""Form "blob": linked, position-independent code and initial data, with C to call it: for firmware of any make.

NAME.bin holds the bytes alone, for whoever places them himself; NAME.h and NAME_code.c are all that a C project needs.
"""

from __future__ import annotations

import math

from hotloop.deploy.naming import identifiers
from hotloop.deploy.target import Place, place_of
from hotloop.dtypes import DType
from hotloop.image import Image, Symbol

ALIGN_CODE, ALIGN_DATA = 16, 32

_C_TYPES = {"float32": "float", "float64": "double", "bool": "uint8_t"}  # others: NAME_t


def c_type(dtype: DType) -> str:
    """Return the type of C that holds one element; a bool is a byte that is 0 or 1."""
    return _C_TYPES.get(dtype.name, f"{dtype.name}_t")


def blob(image: Image, name: str) -> dict[str, bytes]:
    """Return the files by their names. Deterministic."""
    place = place_of(image)
    code = image.code.ljust(_padded(len(image.code), ALIGN_CODE), b"\0")
    texts = {
        f"{name}.h": _header(image, name, place),
        f"{name}_code.c": _source(image, name, place),
        f"{name}_main.c": _example(image, name),
        f"{name}_README.txt": _readme(image, name, place),
    }
    return {f"{name}.bin": code + image.data} | {path: text.encode() for path, text in texts.items()}


def _padded(size: int, align: int) -> int:
    return size + -size % align


# -- the header ---------------------------------------------------------------------------------------


def _introduction(image: Image, name: str, place: Place) -> str:
    return f"""\
/* {name}: a program made by hotloop for {image.target}.
 *
 * static {name}_data_t data;        inputs, states, outputs and work space, {len(image.data)} bytes of RAM
 * {name}_init(&data);               once: sets initial values
 * data.<input> = ...;             then for each step: write inputs,
 * {name}_step(&data);               compute,
 * ... = data.<output>;            read outputs
 *
 * A step allocates nothing, calls nothing outside of this program, keeps no memory but `data`, and uses at most
 * {name.upper()}_STACK_BYTES of stack. Different {name}_data_t can be used by several threads or interrupts at once, one by only one.
 * The processor needs {place.needs}.
 */"""


def _header(image: Image, name: str, place: Place) -> str:
    upper = name.upper()
    entry = f"{image.entry}u" if not place.thumb else f"({image.entry}u + 1u) /* bit 0: Thumb */"
    return f"""\
{_introduction(image, name, place)}
#ifndef {upper}_H
#define {upper}_H

#include <stddef.h>
#include <stdint.h>

#if !({place.wants})
#error "the machine code of {name} is for {image.target}, which this compiler does not make code for"
#endif

#ifdef __cplusplus
extern "C" {{
#endif

#define {upper}_CODE_BYTES {len(image.code)}u /* constants included; runs where it lies, flash or RAM */
#define {upper}_DATA_BYTES {len(image.data)}u
#define {upper}_STACK_BYTES {image.stack}u
#define {upper}_ENTRY {entry} /* from the start of the code to where a step begins */
#define {upper}_BIN_DATA {_padded(len(image.code), ALIGN_CODE)}u /* where the initial data begins in {name}.bin; the code begins at 0 */
#define {upper}_CODE_ALIGN {ALIGN_CODE}u
#define {upper}_DATA_ALIGN {ALIGN_DATA}u

#if defined(__GNUC__) || defined(__clang__)
#define {upper}_ALIGNED(bytes) __attribute__((aligned(bytes)))
#elif defined(__cplusplus)
#define {upper}_ALIGNED(bytes) alignas(bytes)
#else
#define {upper}_ALIGNED(bytes) _Alignas(bytes)
#endif

{_structure(image, name)}
extern const unsigned char {name}_code[];

void {name}_init({name}_data_t *data);

static inline void {name}_step({name}_data_t *data) {{
    ((void (*)(void *))((uintptr_t){name}_code + {upper}_ENTRY))(data);
}}

#ifdef __cplusplus
}}
#endif

#endif
"""


def _structure(image: Image, name: str) -> str:
    upper = name.upper()
    fields, asserts = _fields(image, name)
    return f"""\
typedef struct {{
    {upper}_ALIGNED({ALIGN_DATA})
{fields}}} {name}_data_t;

#if defined(__cplusplus) && __cplusplus >= 201103L
#define {upper}_CHECK static_assert
#elif defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L
#define {upper}_CHECK _Static_assert
#endif
#ifdef {upper}_CHECK
{asserts}#endif
"""


def _fields(image: Image, name: str) -> tuple[str, str]:
    """Return the fields of the structure and what checks their places."""
    upper = name.upper()
    lines, asserts, at, pads = [], [], 0, 0
    total = max(_padded(len(image.data), ALIGN_DATA), ALIGN_DATA)
    first: dict[int, str] = {}
    for label, symbol in sorted(identifiers(image), key=lambda pair: pair[1].offset):
        size = symbol.dtype.size * math.prod(symbol.shape)
        if not size:  # C has no empty arrays
            lines.append(f"    /* {symbol.kind} {label} has no elements */\n")
            continue
        if symbol.offset < at:  # an output that is an input or state too
            lines.append(f"    /* {symbol.kind} {label} is {first.get(symbol.offset, 'part of the field above')} */\n")
            continue
        if symbol.offset > at:
            lines.append(f"    uint8_t hl_space{pads}[{symbol.offset - at}];\n")
            pads += 1
        lines.append(f"    {c_type(symbol.dtype)} {label}{_dimensions(symbol)}; /* {_remark(symbol)} */\n")
        asserts.append(f'{upper}_CHECK(offsetof({name}_data_t, {label}) == {symbol.offset}, "{label}");\n')
        first[symbol.offset] = label
        at = symbol.offset + size
    if total > at:
        lines.append(f"    uint8_t hl_space{pads}[{total - at}];\n")
    asserts.append(f'{upper}_CHECK(sizeof({name}_data_t) == {total}, "size of {name}_data_t");\n')
    return "".join(lines), "".join(asserts)


def _dimensions(symbol: Symbol) -> str:
    return "".join(f"[{n}]" for n in symbol.shape)


def _remark(symbol: Symbol) -> str:
    text = {"input": "input", "state": "state, kept from step to step", "output": "output"}[symbol.kind]
    return text + ("; 0 or 1" if symbol.dtype.kind == "bool" else "")


# -- the sources --------------------------------------------------------------------------------------


def _source(image: Image, name: str, place: Place) -> str:
    upper = name.upper()
    initial = image.data.rstrip(b"\0")
    stored = initial or b"\0"
    return f"""\
/* {name}: machine code for {image.target}, made by hotloop. Compile and link this file with the rest of the firmware.
 *
 * The code is an array of constants in the section {upper}_SECTION, .text by default, so that linkers put it into
 * flash and, under an operating system, into memory that can be executed.
 */
#include "{name}.h"

#ifndef {upper}_SECTION
#define {upper}_SECTION ".text.{name}_code"
#endif

#if defined(__GNUC__) || defined(__clang__)
__attribute__((section({upper}_SECTION), used))
#endif
{upper}_ALIGNED({ALIGN_CODE}) const unsigned char {name}_code[{len(image.code)}] = {{
{_array(image.code)}}};

/* Initial data; all that follows it is zero. */
static const unsigned char initial[{len(stored)}] = {{
{_array(stored)}}};

void {name}_init({name}_data_t *data) {{
    unsigned char *to = (unsigned char *)data;
    size_t i;
    for (i = 0; i < {len(initial)}u; i++) to[i] = initial[i];
    for (; i < sizeof *data; i++) to[i] = 0;
}}
"""


def _array(content: bytes) -> str:
    rows = (content[i : i + 16] for i in range(0, len(content), 16))
    return "".join("    " + " ".join(f"0x{byte:02x}," for byte in row) + "\n" for row in rows)


def _example(image: Image, name: str) -> str:
    symbols = identifiers(image)
    inputs = [(label, s) for label, s in symbols if s.kind == "input"]
    writes = "".join(f"        /* data.{label}{'[i]' * len(s.shape)} = ...; */\n" for label, s in inputs)
    places = {s.offset: label for label, s in reversed(symbols)}
    prints = "".join(_print(places[s.offset], s) for _, s in symbols if s.kind == "output" and 0 not in s.shape)
    return f"""\
/* How {name} is called. Where there is Linux it prints what ten steps give; elsewhere it is a frame to fill. */
#include "{name}.h"

#if defined(__linux__)
#include <stdio.h>
#endif

static {name}_data_t data;

int main(void) {{
    {name}_init(&data);
    for (int step = 0; step < 10; step++) {{
{writes}        {name}_step(&data);
#if defined(__linux__)
{prints}        printf("\\n");
#endif
    }}
    return 0;
}}
"""


def _print(label: str, symbol: Symbol) -> str:
    pattern, cast = {"float32": ("%.9g", "(double)"), "float64": ("%.17g", "")}.get(symbol.dtype.name, ("%lld", "(long long)"))
    if not symbol.shape:
        return f'        printf("{pattern} ", {cast}data.{label});\n'
    pointer = f"(const {c_type(symbol.dtype)} *)data.{label}"
    return f'        for (int i = 0; i < {math.prod(symbol.shape)}; i++) printf("{pattern} ", {cast}({pointer})[i]);\n'


def _readme(image: Image, name: str, place: Place) -> str:
    upper = name.upper()
    stored = len(image.data.rstrip(bytes(1)))
    thumb = " + 1 (bit 0 of the address selects Thumb)" if place.thumb else ""
    return f"""\
{name}: a program made by hotloop for {image.target}

  {name}.h        types, sizes and functions: include it
  {name}_code.c   machine code and initial data: compile it and link it
  {name}_main.c   an example
  {name}.bin      the same bytes for other uses: code, zeros up to byte {_padded(len(image.code), ALIGN_CODE)}, initial data

Flash: {len(image.code)} bytes of code, {stored} of initial data.  RAM: {len(image.data)} bytes.  Stack: at most {image.stack} bytes.
The processor needs {place.needs}.

With a C project
  {place.compiler} -c {name}_code.c
  {place.compiler} {name}_main.c {name}_code.o -o {name}     (with a linker script where there is no operating system)
  {upper}_SECTION may be defined to choose where the code goes, for example -D{upper}_SECTION='".itcm"'.

Without one
  Put the first {len(image.code)} bytes of {name}.bin at any address that is a multiple of {ALIGN_CODE} and can be executed; flash will do.
  Put the {len(image.data)} bytes from {_padded(len(image.code), ALIGN_CODE)} on into RAM, at a multiple of {ALIGN_DATA}.
  A step is a call, by the C calling convention, of code + {image.entry}{thumb} with the address of the data in RAM as its one argument.
"""
