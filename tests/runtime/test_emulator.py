"""The emulator itself, on small functions that zig compiles for every processor it knows."""

import functools
import os
import subprocess
import sys
import tempfile

import numpy as np
import pytest
from stencilgen import elf

from hotloop.errors import TargetError
from hotloop.image import Image
from hotloop.runtime.emulator import PROCESSORS, Emulated, boundaries, emulates

pytest.importorskip("unicorn")
pytest.importorskip("ziglang")

C = """
typedef struct { float a, b, product, sum, root, quotient; int n, squares; unsigned long long wide, tripled; } Data;
void floats(Data *d) {
    d->product = d->a * d->b; d->sum = d->a + d->b; d->quotient = d->a / d->b; d->root = __builtin_sqrtf(d->a);
}
void whole(Data *d) {
    volatile int k = d->n;
    int sum = 0;
    while (k > 0) { sum += k * k; k -= 1; }
    d->squares = sum;
    d->tripled = d->wide * 3;
}
void past(char *d) { d[64] = 1; }
void below(char *d) { d[-1] = 1; }
void far_below(char *d) { d[-70000] = 1; }
void reads(char *d) { d[0] = d[64]; }
void writes_code(char *d) { *(volatile int *)0x10000000 = 1; }
void misaligned(char *d) { *(volatile int *)(d + 2) = 1; }
void jumps(char *d) { ((void (*)(char *))0x1230)(d); }
void traps(char *d) { __builtin_trap(); }
void forever(volatile int *d) { for (;;) *d += 1; }
void deep(int *d) {
    volatile int local[100];
    for (int k = 0; k < 100; k++) local[k] = k;
    *d = local[0];
}
__attribute__((naked)) void spoils(void) { __asm__ volatile(SPOIL); }
"""
TRIPLES = {
    "aarch64": ("aarch64-freestanding", "generic"),
    "armv7a": ("arm-freestanding-eabihf", "cortex_a7"),
    "armv6": ("arm-freestanding-eabihf", "arm1176jzf_s"),
    "armv7em": ("thumb-freestanding-eabihf", "cortex_m4+vfp4d16sp"),
    "armv7m": ("thumb-freestanding-eabi", "cortex_m3"),
    "riscv64": ("riscv64-freestanding", "generic_rv64+m+a+f+d+c"),
    "riscv32": ("riscv32-freestanding", "generic_rv32+m+a+c"),
    "riscv32f": ("riscv32-freestanding", "generic_rv32+m+a+f+c"),
    "x86-64-v2": ("x86_64-freestanding", "x86_64_v2"),
}
SPOIL = {
    "ARM": ("movs r4, #1; bx lr", "R4"),
    "ARM64": ("mov x19, #1; ret", "X19"),
    "RISCV": ("li s1, 1; ret", "S1"),
    "X86": ("movq $1, %rbx; ret", "RBX"),
}
WITHOUT_FLOATS = ("armv7m", "riscv32")
FLAGS = ("-O1", "-g0", "-ffreestanding", "-fno-math-errno", "-fno-sanitize=all", "-fno-stack-protector", "-ffunction-sections")
SHAPE = ("-fomit-frame-pointer", "-fno-unroll-loops")
TARGETS = list(TRIPLES)


@functools.cache
def functions(target):
    """Compile C for a target; return the code of each function that refers to no other."""
    triple, cpu = TRIPLES[target]
    flags = [f"-mabi={'lp64d' if '64' in target else 'ilp32f' if target.endswith('f') else 'ilp32'}"] if "riscv" in target else []
    flags += ["-mno-relax"] if "riscv" in target else []
    with tempfile.TemporaryDirectory() as folder:
        source, built = os.path.join(folder, "source.c"), os.path.join(folder, "built.o")
        with open(source, "w") as file:
            file.write(C)
        spoil = f'-DSPOIL="{SPOIL[PROCESSORS[target].arch][0]}"'
        zig = [sys.executable, "-m", "ziglang", "cc", "-target", triple, f"-mcpu={cpu}"]
        subprocess.run([*zig, *FLAGS, *SHAPE, *flags, spoil, "-c", source, "-o", built], check=True, capture_output=True)
        with open(built, "rb") as file:
            read = elf.read(file.read())
    found = {name: read.sections[section] for name, section in read.functions.items()}
    return {name: section.data for name, section in found.items() if not [r for r in section.relocations if r.symbol.name]}


def image(target, function, data=bytes(64), stack=64):
    return Image(target, functions(target)[function], bytes(data), 0, (), stack=stack)


@pytest.mark.parametrize("target", [target for target in TARGETS if target not in WITHOUT_FLOATS])
def test_floats_are_exact_also_where_they_are_denormal(target):
    a, b = np.float32(3e-39), np.float32(0.3)
    program = Emulated(image(target, "floats", np.array([a, b], np.float32).tobytes().ljust(64, b"\0")), watch=True)
    program.run()
    found = np.frombuffer(program.memory, np.float32)
    np.testing.assert_array_equal(found[2:6], np.array([a * b, a + b, np.sqrt(a), a / b], np.float32))


@pytest.mark.parametrize("target", TARGETS)
def test_whole_numbers_and_what_a_run_counts(target):
    program = Emulated(image(target, "whole"), watch=True)
    numbers, wide = np.frombuffer(program.memory, np.int32), np.frombuffer(program.memory, np.uint64)
    counts = {}
    for turns in (10, 20, 30):
        numbers[6], wide[4] = turns, (1 << 40) + turns
        program.run()
        assert numbers[7] == sum(k * k for k in range(turns + 1))
        assert wide[5] == 3 * wide[4]
        counts[turns] = program.instructions
    turn = (counts[20] - counts[10]) / 10
    assert turn == (counts[30] - counts[20]) / 10
    assert 4 <= turn <= 9  # load, multiply, add, subtract, store, compare, branch
    assert sum(times for _, times in program.blocks.items()) >= 30


@pytest.mark.parametrize("target", TARGETS)
def test_views_are_live_and_many_runs_are_runs(target):
    program = Emulated(image(target, "whole", stack=32), count=False)
    numbers = np.frombuffer(program.memory, np.int32)
    assert len(program.memory) == program.data_size == 64
    assert program.memory is program.memory
    numbers[6] = 3
    program.run_many(3)
    assert numbers[7] == 14
    assert program.code_size == len(functions(target)["whole"])


FAULTS = {
    "past": "a write of 1 bytes at data [+]0x40",
    "below": "wrote memory before its data",
    "far_below": "a write of 1 bytes at address 0x",
    "reads": "a read of 1 bytes at data [+]0x40",
    "writes_code": "a write of 4 bytes at code [+]0x0",
    "jumps": "a jump to address 0x1230",
    "traps": "invalid instruction",
    "forever": "more than 1000 instructions, the limit of a run",
}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("function", FAULTS)
def test_a_program_that_does_what_it_must_not_stops(target, function):
    program = Emulated(image(target, function), limit=1000)
    with pytest.raises(TargetError, match=f"the program for {target} .*(?i:{FAULTS[function]})"):
        program.run()


@pytest.mark.parametrize("target", TARGETS)
def test_a_fault_tells_where_and_the_next_run_is_a_new_one(target):
    program = Emulated(image(target, "past"))
    for _ in range(2):
        with pytest.raises(TargetError, match=r"stopped at code [+]0x[0-9a-f]+: a write"):
            program.run()


@pytest.mark.parametrize("target", TARGETS)
def test_what_a_processor_would_tolerate_is_seen_when_watched(target):
    Emulated(image(target, "misaligned")).run()
    if target not in ("x86-64-v2", "aarch64"):  # where any address is right
        with pytest.raises(TargetError, match=r"a write of 4 bytes at data [+]0x2, misaligned"):
            Emulated(image(target, "misaligned"), watch=True).run()
    with pytest.raises(TargetError, match="a write of 1 bytes at data -0x1, outside of its memory"):
        Emulated(image(target, "below"), watch=True).run()
    Emulated(image(target, "spoils")).run()
    name = SPOIL[PROCESSORS[target].arch][1]
    with pytest.raises(TargetError, match=f"returned with {name} = 0x1, which a call preserves"):
        Emulated(image(target, "spoils"), watch=True).run()


@pytest.mark.parametrize("target", TARGETS)
def test_the_stack_is_measured_and_ends_where_the_image_says(target):
    program = Emulated(image(target, "deep", stack=512))
    assert program.stack_used == 0
    program.run()
    assert 400 <= program.stack_used <= 448
    exact = Emulated(image(target, "deep", stack=program.stack_used))
    exact.run()
    with pytest.raises(TargetError, match="a write of 4 bytes at stack -0x"):
        Emulated(image(target, "deep", stack=320)).run()


def test_targets_that_cannot_be_emulated_are_refused():
    assert not emulates("x86-64-v3")
    assert emulates("riscv32")
    with pytest.raises(TargetError, match=r"code for x86-64-v3 cannot be emulated\. Possible: aarch64, "):
        Emulated(Image("x86-64-v3", b"\xc3", b"", 0, ()))
    with pytest.raises(TargetError, match="the image for riscv32 has 1 patches; only linked images can be emulated"):
        Emulated(Image("riscv32", b"\x82\x80", b"", 0, (), ((1, 0, 0),)))


def test_without_unicorn_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "unicorn", None)
    with pytest.raises(TargetError, match=r"needs unicorn: pip install 'hotloop\[emulate\]'"):
        Emulated(Image("riscv32", b"\x82\x80", b"", 0, ()))


def test_instructions_have_the_lengths_that_a_disassembler_finds():
    capstone = pytest.importorskip("capstone")
    modes = {
        "armv7em": (capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS),
        "armv7a": (capstone.CS_ARCH_ARM, capstone.CS_MODE_ARM),
        "aarch64": (capstone.CS_ARCH_ARM64, capstone.CS_MODE_ARM),
        "riscv32f": (capstone.CS_ARCH_RISCV, capstone.CS_MODE_RISCV32 | capstone.CS_MODE_RISCVC),
        "x86-64-v2": (capstone.CS_ARCH_X86, capstone.CS_MODE_64),
    }
    for target, (arch, mode) in modes.items():
        code = functions(target)["whole"]
        found = [at for at, _, _, _ in capstone.Cs(arch, mode).disasm_lite(code, 0)]
        assert boundaries(code, PROCESSORS[target].code) == found, target


def test_other_models_can_be_chosen():
    program = Emulated(image("armv7em", "floats"), cpu="ARM_CORTEX_M7")
    program.run()
    assert np.isnan(np.frombuffer(program.memory, np.float32)[5])  # 0 / 0


def test_more_memory_can_be_mapped():
    program = Emulated(image("riscv32", "reads"))
    with pytest.raises(TargetError, match="a read"):
        program.run()
    end = 0x20001000  # of the only page of the data
    program.map(end, b"\x2a", writable=True)
    program.run()
    assert program.memory[0] == 42
    with pytest.raises(TargetError, match="1 bytes cannot be mapped at 0x20001000"):
        program.map(end, b"\x2b")
