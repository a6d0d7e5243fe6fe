"""The C of rows, taken out of the headers of `ops/c/`: single definitions in C99 for plain numbers, and what they need.

The headers serve vectors of lanes too. Here their conditions are decided for one lane, the macros that
write a function for each type are written out, and what is written with compiler extensions is replaced (`plain.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from hotloop.backends.csource.plain import plain

_NAME = re.compile(r"\b(?:hl|HL)_\w+")
_TYPES = {"hl_f32": "float", "hl_f64": "double", "hl_i32": "int32_t", "hl_i64": "int64_t", "hl_u32": "uint32_t", "hl_u64": "uint64_t"}
_TYPES |= {"hl_mask_f32": "int", "hl_mask_f64": "int"}
_TYPES |= dict.fromkeys(("HL_INLINE", "HL_FUNCTION", "HL_SLOW", "HL_SHORT"), "static inline")
_OF_MEMORY = re.compile(r"__builtin_memcpy\(&(\w+(?:\[\w+\])?), &(\w+(?:\[\w+\])?), (?:sizeof [\w\[\]]+|\d+)\);")
_LOOP_OF_LANES = "for (int i = 0; i < HL_LANES; i++)"


@dataclass(frozen=True, slots=True)
class Definition:
    """One macro, type or function: its C and the names in it that are defined elsewhere in the headers."""

    text: str
    needs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Macro:
    parameters: tuple[str, ...]
    lines: tuple[str, ...]


def definitions(texts: Iterable[str], fast: bool) -> str:
    """Return the C of all definitions that some texts name, and of those that these name: macros, types, functions."""
    known = _known(fast)
    done: dict[str, str] = {}

    def visit(name: str, trail: tuple[str, ...]) -> None:
        if name in done or name not in known or name in trail:
            return
        found = known[name]
        for needed in found.needs:
            visit(needed, (*trail, name))
        done[name] = found.text

    for text in texts:
        for name in _NAME.findall(text):
            visit(name, ())
    found = list(dict.fromkeys(done.values()))
    macros = [text for text in found if _code(text).startswith("#")]
    types = [text for text in found if _code(text).startswith("typedef")]
    functions = [text for text in found if text not in macros and text not in types]
    return "\n\n".join(["\n".join(macros), *types, *functions]).strip("\n") + "\n"


@cache
def _known(fast: bool) -> dict[str, Definition]:
    """Return every definition by name; of two for one name, that in C99."""
    found: dict[str, Definition] = {}
    for text in [*_split(_headers()), *plain(fast).split("\n\n")]:
        made = _one_lane(text.strip("\n"))
        names = _defined(made)
        needs = tuple([name for name in dict.fromkeys(_NAME.findall(made)) if name not in names])
        found |= dict.fromkeys(names, Definition(made, needs))
    return found


# ------------------------------------------------------------------------------------- reading headers


def _headers() -> list[str]:
    """Return the lines of all headers, each once and after those that it includes, with conditions decided."""
    read: list[str] = []
    macros: dict[str, str] = {"HL_LANES": "1"}
    lines: list[str] = []

    def include(name: str) -> None:
        if name in read:
            return
        read.append(name)
        text = files("hotloop.ops").joinpath("c", name).read_text()
        for line in _decided(text.split("\n"), macros):
            if match := re.match(r'#include "(.*)"', line):
                include(match[1])
            elif not line.startswith("#include"):
                lines.append(line)

    for name in ("lanes.h", "scalar.h", "elementary.h"):
        include(name)
    return lines


def _decided(lines: Iterable[str], macros: dict[str, str]) -> Iterator[str]:
    """Yield the lines that conditions let through; macros that are known grow on the way."""
    open_: list[tuple[bool, bool]] = []  # whether this branch holds, whether one has
    for line in lines:
        word, _, rest = line.partition(" ")
        holds = all(now for now, _ in open_)
        if word in ("#if", "#ifdef", "#ifndef"):
            condition = {"#if": rest, "#ifdef": f"defined({rest})", "#ifndef": f"!defined({rest})"}[word]
            value = _value(condition, macros)
            open_.append((value, value))
        elif word == "#elif":
            _, taken = open_.pop()
            value = not taken and _value(rest, macros)
            open_.append((value, taken or value))
        elif word == "#else":
            _, taken = open_.pop()
            open_.append((not taken, True))
        elif word == "#endif":
            open_.pop()
        elif holds:
            if match := re.match(r"#define (\w+) ?(.*)", line):
                macros.setdefault(match[1], match[2])
            yield line


def _value(condition: str, macros: dict[str, str]) -> bool:
    """Return whether a condition of the preprocessor holds: names are defined, compared with numbers, joined by && and ||."""
    text = re.sub(r"/\*.*?\*/", "", condition)
    text = re.sub(r"defined\s*\(\s*(\w+)\s*\)", lambda match: str(int(match[1] in macros)), text)
    return any(all(_holds(part.strip(), macros) for part in either.split("&&")) for either in text.split("||"))


def _holds(part: str, macros: dict[str, str]) -> bool:
    if match := re.fullmatch(r"(!?)(\d+)", part):
        return (match[2] != "0") != bool(match[1])
    match = re.fullmatch(r"(\w+) == (\d+)", part)
    assert match, f"a condition that is not understood: {part}"
    return macros.get(match[1], "0") == match[2]


def _split(lines: list[str]) -> Iterator[str]:
    """Yield definitions one by one, each with the comment right above it."""
    macros: dict[str, _Macro] = {}
    comment: list[str] = []
    queue = list(reversed(lines))
    while queue:
        line = queue.pop()
        if not line.strip():
            comment = []
        elif line.startswith("/*"):
            comment = [line]
            while "*/" not in comment[-1]:
                comment.append(queue.pop())
            comment = [] if "coefficients:" in comment[0] else comment
        elif line.startswith("#define"):
            macro = [line]
            while macro[-1].endswith("\\"):
                macro.append(queue.pop())
            if not _writes_functions(macro, macros):
                yield "\n".join([*comment, *macro])
            comment = []
        elif match := re.match(r"(HL_\w+)\((.*)\)$", line):
            queue += reversed([*_written_out(macros[match[1]], match[2]), ""])
            comment = []
        else:
            yield "\n".join([*comment, *_whole(line, queue)])
            comment = []


def _whole(line: str, queue: list[str]) -> list[str]:
    """Return the lines of a function or type that begins with `line`."""
    found = [line]
    while not _ends("\n".join(found)):
        found.append(queue.pop())
    return found


def _ends(text: str) -> bool:
    code = _code(text)
    if code.count("{") != code.count("}") or code.count("(") != code.count(")"):
        return False
    return code.endswith(";") or (code.endswith("}") and not code.startswith("typedef"))


def _code(text: str) -> str:
    """Return C without comments."""
    return re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL).strip()


def _writes_functions(lines: list[str], macros: dict[str, _Macro]) -> bool:
    """Tell whether a macro stands for functions, and remember it."""
    match = re.match(r"#define (\w+)\(([^)]*)\)\s*(.*)", lines[0])
    if not match or not any(word in line for line in lines for word in ("HL_INLINE", "HL_SHORT")):
        return False
    first = [match[3]] if match[3].rstrip("\\").strip() else []
    body = [line.rstrip("\\").rstrip() for line in (*first, *lines[1:])]
    macros[match[1]] = _Macro(tuple([name.strip() for name in match[2].split(",")]), tuple(body))
    return True


def _written_out(macro: _Macro, arguments: str) -> list[str]:
    """Return the lines of a macro with its arguments put in, moved to the left."""
    given = dict(zip(macro.parameters, [argument.strip() for argument in arguments.split(",")], strict=True))
    found = [re.sub(r"\b\w+\b", lambda match: given.get(match[0], match[0]), re.sub(r"##", "\0", line)) for line in macro.lines]
    return [re.sub(r"\s*\0\s*", "", re.sub(r"^    ", "", line)) for line in found]


# ------------------------------------------------------------------------------------- plain numbers


def _one_lane(text: str) -> str:
    """Return a definition for plain numbers, in C99."""
    text = re.sub(rf"{re.escape(_LOOP_OF_LANES)} \{{", "{", text)
    text = re.sub(rf"{re.escape(_LOOP_OF_LANES)}\n +", "", text)
    text = re.sub(r"\{\n( +)\{\n(.*?\n)\1\}\n", lambda match: "{\n" + re.sub(r"(?m)^    ", "", match[2]), text, flags=re.DOTALL)
    text = re.sub(r"\bHL_LANE\((\w+(?:\.\w+)?), i\)", r"\1", text)
    text = _NAME.sub(lambda match: _TYPES.get(match[0], match[0]), text)
    return _OF_MEMORY.sub(lambda match: _reinterpreted(text[: match.start()], match[1], match[2]), text)


def _reinterpreted(before: str, target: str, source: str) -> str:
    """Return C that copies bits from one variable to another, by the type that the first is declared with."""
    name = target.partition("[")[0]
    types = re.findall(rf"\b(float|double|uint32_t|uint64_t)\b(?=[^;{{}}]*\b{name}\b)", before)
    assert types, f"no declaration of {name}"
    kind, way = {"float": ("f32", "real"), "double": ("f64", "real"), "uint32_t": ("f32", "word"), "uint64_t": ("f64", "word")}[types[-1]]
    return f"{target} = hl_op_{way}_{kind}({source});"


def _defined(text: str) -> tuple[str, ...]:
    """Return the names that a definition gives meaning to."""
    code = _code(text)
    if code.startswith("#"):
        return tuple(re.findall(r"^#define (\w+)", code, flags=re.MULTILINE))
    if code.startswith("typedef"):
        return tuple(re.findall(r"(\w+)(?: __attribute__.*)?;$", code))
    return tuple(re.findall(r"\b(\w+)\(", code)[:1])
