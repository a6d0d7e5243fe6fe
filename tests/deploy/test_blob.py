"""Blobs: the C that calls them compiles everywhere, and gives the program's results."""

import platform
import shutil
import struct
import subprocess
import sys

import numpy as np
import pytest
from tests.deploy.machine_code import doubles, integers

import hotloop as hl
from hotloop.deploy import export
from hotloop.deploy.blob import blob
from hotloop.dtypes import bool_, float32, int64
from hotloop.errors import TargetError
from hotloop.image import Image, Symbol

# triple and processor, emulator
LINUX = {
    "aarch64": (["aarch64-linux-musl"], "qemu-aarch64"),
    "armv7a": (["arm-linux-musleabihf", "-mcpu=cortex_a7"], "qemu-arm"),
    "armv6": (["arm-linux-musleabihf", "-mcpu=arm1176jzf_s"], "qemu-arm"),
    "riscv64": (["riscv64-linux-musl"], "qemu-riscv64"),
}
STRICT = ("-Wall", "-Wextra", "-Wpedantic", "-Werror")
ON_X86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="the machine code of this test is for x86-64")


def compile_c(folder, *arguments, language="cc"):
    done = subprocess.run(
        [sys.executable, "-m", "ziglang", language, *arguments], cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr


def results(folder, command):
    return [
        line.split()
        for line in subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=True).stdout.splitlines()
    ]


@ON_X86
@pytest.mark.parametrize("standard", ["c99", "c11"])
def test_the_example_prints_what_the_target_computes(tmp_path, standard):
    x = hl.value(0.5, name="x y")
    m, flag = hl.vector.input([1.0, 2.0, 4.0], name="for"), hl.value(True, name="flag")
    total = hl.state(1.0, name="total")
    total.next = total + x
    target = hl.Target()
    target.compile(hl.sin(x) * m, total * 2, flag & (x > 0), hl.value(3, name="n", dtype="int64") * 2, x.astype("float64") / 3)
    export(target.compiled.image, tmp_path, "blob", "prog")
    compile_c(tmp_path, f"-std={standard}", *STRICT, "-O2", "prog_main.c", "prog_code.c", "-o", "prog")
    for line in results(tmp_path, ["./prog"]):
        target.run()
        *narrow, wide = (np.ravel(target.outputs[i]) for i in range(5))
        assert np.array_equal(np.array(line[:-1], np.float64).astype(np.float32), np.concatenate(narrow).astype(np.float32))
        assert float(line[-1]) == wide
    compile_c(tmp_path, "-std=c++17", *STRICT, "-c", "-x", "c++", "prog_main.c", "-o", "main.o", language="c++")


@pytest.mark.parametrize("target", LINUX)
def test_the_example_runs_on_every_target_with_linux(tmp_path, target):
    arguments, emulator = LINUX[target]
    if shutil.which(emulator) is None:
        pytest.skip(f"{emulator} is not installed")
    export(doubles(target), tmp_path, "blob", "prog")
    compile_c(tmp_path, "-target", *arguments, "-static", *STRICT, "-O1", "prog_main.c", "prog_code.c", "-o", "prog")
    assert results(tmp_path, [emulator, "./prog"]) == [["3"]] * 10


@pytest.mark.parametrize(
    ("target", "arguments"),
    [
        ("armv7em", ["thumb-freestanding-eabihf", "-mcpu=cortex_m4"]),
        ("riscv32", ["riscv32-freestanding", "-mcpu=generic_rv32+m+a+c", "-mabi=ilp32"]),
    ],
)
def test_code_links_into_firmware(tmp_path, target, arguments):
    image = integers(target)
    export(image, tmp_path, "blob", "prog")
    flags = ("-ffreestanding", "-nostdlib", "-Os", "-s", "-fno-sanitize=all", *STRICT, "-Wl,--entry=main")
    compile_c(tmp_path, "-target", *arguments, *flags, "prog_main.c", "prog_code.c", "-o", "prog.elf")
    linked = (tmp_path / "prog.elf").read_bytes()
    assert image.code in linked
    wrong = subprocess.run(
        [sys.executable, "-m", "ziglang", "cc", "-c", "prog_code.c"], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert f"the machine code of prog is for {target}, which this compiler does not make code for" in wrong.stderr


def test_thumb_code_is_called_at_an_odd_address():
    assert b"#define PROG_ENTRY (0u + 1u)" in blob(integers("armv7em"), "prog")["prog.h"]
    assert b"#define PROG_ENTRY 0u" in blob(integers("riscv32"), "prog")["prog.h"]
    assert b"code + 0 + 1 (bit 0 of the address selects Thumb)" in blob(integers("armv7em"), "prog")["prog_README.txt"]


def test_the_binary_is_code_then_initial_data():
    image = doubles("armv7a")
    content = blob(image, "prog")["prog.bin"]
    assert content == image.code.ljust(32, b"\0") + image.data
    assert b"#define PROG_BIN_DATA 32u" in blob(image, "prog")["prog.h"]


def test_only_what_is_not_zero_is_stored():
    source = blob(doubles("armv7a"), "prog")["prog_code.c"]
    assert b"initial[9]" in source  # 1.5, 0.0, 7: nine bytes, of 40
    empty = Image("armv7a", b"\x1e\xff\x2f\xe1", bytes(100), 0, ())
    assert b"initial[1]" in blob(empty, "prog")["prog_code.c"]
    assert b"i < 0u" in blob(empty, "prog")["prog_code.c"]


def test_an_output_in_the_place_of_an_input_is_a_remark():
    symbols = (
        Symbol("none", "input", float32, (3, 0), 8),
        Symbol("x", "input", float32, (2,), 8),
        Symbol("", "output", float32, (2,), 8),
        Symbol("b", "input", bool_, (), 0),
    )
    text = blob(Image("armv7a", b"\x1e\xff\x2f\xe1", bytes(16), 0, symbols), "prog")["prog.h"].decode()
    fields = text[text.index("typedef struct") : text.index("} prog_data_t")].splitlines()[2:]
    assert [line.strip() for line in fields] == [
        "uint8_t b; /* input; 0 or 1 */",
        "/* input none has no elements */",
        "uint8_t hl_space0[7];",
        "float x[2]; /* input */",
        "/* output out0 is x */",
        "uint8_t hl_space1[16];",
    ]


def test_names_become_those_of_c():
    names = ["a b", "a_b", "for", "1st", "", "out0", "é"]
    symbols = [Symbol(name, "input", int64, (), 8 * i) for i, name in enumerate(names)] + [Symbol("", "output", int64, (), 56)]
    text = blob(Image("armv7a", b"\x1e\xff\x2f\xe1", bytes(64), 0, tuple(symbols)), "prog")["prog.h"].decode()
    fields = [line.split()[1] for line in text.splitlines() if line.startswith("    int64_t")]
    assert fields == ["a_b;", "a_b_2;", "for_;", "_1st;", "input;", "out0;", "_;", "out0_2;"]


def test_code_that_is_not_linked_is_refused():
    with pytest.raises(TargetError, match="this program for 'armv7a' has 1 places that only a runner can fill in"):
        blob(Image("armv7a", b"\x1e\xff\x2f\xe1", b"", 0, (), patches=((1, 0, 0),)), "prog")
    with pytest.raises(TargetError, match="a program for 'reference' has no machine code to export"):
        blob(Image("reference", b"", b"", 0, ()), "prog")


def test_blobs_are_deterministic():
    assert blob(doubles("aarch64"), "prog") == blob(doubles("aarch64"), "prog")
    assert struct.unpack("<f", blob(doubles("aarch64"), "prog")["prog.bin"][32:36]) == (1.5,)
