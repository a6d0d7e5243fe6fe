"""What stencilgen knows of a target: triple, flags, registers, relocations. Adding one touches nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hotloop.ir.program import WIDE_SHORTS
from stencilgen import forms

# Each flag with its reason:
FLAGS = (
    "-O2",
    "-g0",  # zig's default is debug information, which takes longer than the code
    "-std=c11",
    "-ffreestanding",  # no libc: stencils run where there is none
    "-fno-pic",
    "-fno-pie",  # holes are absolute displacements
    "-fomit-frame-pointer",
    "-fno-stack-protector",
    "-fno-sanitize=all",
    "-ffunction-sections",  # one section a stencil
    "-fdata-sections",
    "-fno-asynchronous-unwind-tables",
    "-fstack-size-section",  # what each function takes of the stack
    "-fno-jump-tables",  # no absolute tables in read-only data
    "-ffp-contract=off",  # same bits on every target
    "-fno-math-errno",  # sqrt is one instruction
    "-fno-trapping-math",  # selects instead of branches
    "-fwrapv",  # integers wrap
    "-fno-builtin",
    "-fno-vectorize",
    "-fno-slp-vectorize",
    "-mllvm",
    "-disable-vector-combine",  # scalars stay scalar: other lanes hold garbage that may be slow
    "-Wall",
    "-Wno-uninitialized",  # an uninitialised variable says: this register is free
    "-Wno-unused",
    "-Werror",
)


@dataclass(frozen=True, slots=True)
class Target:
    """One stencil library to build.

    vectors and integers are how many registers programs may allocate; scratch_vectors more vectors
    and one more integer follow, for moves.
    vector_classes and integer_classes group register numbers that are encoded alike.
    saved_vectors and saved_integers survive a call of a helper: none of 0, 1 and 2, which are its operands.
    kept_integers belong to the caller of a program, so a program that uses one of them, or calls a helper, begins with `enter`.
    in_integers: short types of the values in integer registers. index: the short type of array indices.
    helper_flags: more of them for helpers, which must run wherever they are loaded; helper_cpu: in place of cpu.
    stencil_flags: more of them for stencils, whose constants must not lie behind them.
    inline: bytes of code beyond which an operation is a call of a helper.
    """

    name: str
    triple: str
    cpu: str
    flags: tuple[str, ...]
    integers: int
    vectors: int
    scratch_vectors: int
    vector_classes: tuple[tuple[int, ...], ...]
    integer_classes: tuple[tuple[int, ...], ...]
    saved_vectors: tuple[int, ...]
    saved_integers: tuple[int, ...]
    shell: Passing | Pinning
    relocations: Mapping[int, forms.Form] = field(repr=False)
    wide: int = 0  # bytes of a vector register, 0 where there are no lanes
    two_address: bool = False  # arithmetic overwrites its first operand
    fma: bool = False
    kept_integers: tuple[int, ...] = ()
    in_integers: tuple[str, ...] = ("b", "i32", "i64")
    index: str = "i64"
    helper_flags: tuple[str, ...] = ("-fPIC",)
    stencil_flags: tuple[str, ...] = ()
    helper_cpu: str = ""
    inline: int = 48
    small: bool = False  # memory is small: code is made for size where nothing else is asked for
    about: str = ""

    def is_vector(self, short: str) -> bool:
        """Tell whether values of a type are in vector registers."""
        return short not in self.in_integers


@dataclass(frozen=True, slots=True)
class Passing:
    """Stencils take the whole machine state as parameters and pass it on by a tail call (`stencilgen/passing.py`).

    parameters are the integer registers in the order of the calling convention: t0... are free in
    every stencil, ctx points to the data, i0... are hotloop's.
    """

    convention: str
    parameters: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pinning:
    """Stencils are what stands between two marks in a function whose variables are pinned to registers (`stencilgen/pinning.py`).

    vectors: asm names of vector registers by number, for short types; a type without names has no such register, and
    its "registers" are the first places of the data, 8 bytes each. pinned: the type that covers a whole register.
    constraint: of vector registers in asm. integers: asm names by number, the scratch register last; ctx points to the data.
    free: registers that no value is in. marks: words, in hexadecimal, that no compiler emits.
    constant: asm for the 32-bit constant %c1, of which %c2 and %c3 are what lui and xori take on RISC-V.
    branches: asm that jumps to TARGET if %0 (and %1) so demand, by name.
    enter, leave: asm that saves and restores what belongs to the caller; enter also sets ctx, and leaves 16 bytes at the
        stack pointer, where a stencil that calls a helper may put operands and what it must keep.
    """

    vectors: Mapping[str, tuple[str, ...]]
    pinned: str
    constraint: str
    integers: tuple[str, ...]
    ctx: str
    free: tuple[str, ...]
    constant: str
    branches: Mapping[str, str]
    enter: str
    leave: str
    entry_stack: int  # bytes that `enter` takes
    prelude: str = ""
    extends: bool = False  # int32 is sign-extended in registers of 64 bits, not zero-extended
    marks: tuple[int, int] = (0x5EED0001, 0x5EED0002)


def _x86(name: str, cpu: str, flags: tuple[str, ...], two_address: bool) -> Target:
    # clang's regcall passes 16 vectors in xmm0-15 and integers, in this order, in
    # rax rcx rdx | rdi | rsi | r8 r9 r12 r13 r14 r15: temporaries, the context, one for moves, six for
    # programs. All six are encoded alike, and the context needs no prefix.
    return Target(
        name=name,
        triple="x86_64-freestanding",
        cpu=cpu,
        # stack-alignment=8: a stencil that calls a helper needs no adjustment of the stack
        flags=("-mstack-alignment=8", *flags),
        shell=Passing("regcall", ("t0", "t1", "t2", "ctx", "i6", "i0", "i1", "i2", "i3", "i4", "i5")),
        relocations=forms.X86,
        integers=6,
        vectors=14,
        scratch_vectors=2,
        # xmm8-15 need a longer prefix (Intel SDM vol. 2, 2.3.5); rsi, the scratch, needs none
        vector_classes=(tuple(range(8)), tuple(range(8, 16))),
        integer_classes=(tuple(range(6)), (6,)),
        saved_vectors=tuple(range(8, 14)),
        saved_integers=(3, 4, 5),
        kept_integers=(2, 3, 4, 5),  # xmm8-15; r13-15; r12 keeps the context
        wide=16 if two_address else 32,
        two_address=two_address,
        fma=not two_address,
        about="Linux on x86-64",
    )


_ALL = (tuple(range(16)),)
_ARM_BRANCHES = {
    "nonzero": "cmp %0, #0\n bne TARGET", "zero": "cmp %0, #0\n beq TARGET", "less": "cmp %0, %1\n blt TARGET", "always": "b TARGET",
}  # fmt: skip
_THUMB_BRANCHES = {name: text.replace(" TARGET", ".w TARGET") for name, text in _ARM_BRANCHES.items()}
_LOW = ("r0", "r1", "r2", "r4", "r5", "r6", "r7", "r3")  # all have short encodings, alike
_DOUBLES = tuple(f"d{n}" for n in range(16))
_MOVW = "movw %0, %c1 & 65535\n movt %0, (%c1 >> 16) & 65535"
_SELECT = """#define hl_op_select_f32(c, x, y) ((c) ? (x) : (y))
#define hl_op_select_f64(c, x, y) ((c) ? (x) : (y))
"""
_FMA32 = "#define hl_fma_f32 __builtin_fmaf\n"
_FMA64 = "#define hl_fma_f64 __builtin_fma\n"


def _arm(
    name: str, cpu: str, *, thumb: bool, fma: str, constant: str = _MOVW, extra: tuple[str, ...] = (), about: str
) -> Target:  # fmt: skip
    """ARM with a floating-point unit: d0-d15 hold float32 (in their lower half), float64 and int64; extra registers are free."""
    return Target(
        name=name, triple="thumb-freestanding-eabihf" if thumb else "arm-freestanding-eabihf", cpu=cpu, flags=(),
        stencil_flags=("-mexecute-only",) if thumb else (),
        shell=Pinning(
            vectors={"f32": tuple(f"s{2 * n}" for n in range(16)), "f64": _DOUBLES, "i64": _DOUBLES},
            pinned="f64", constraint="w", integers=_LOW if thumb else ("r4", "r5", "r6", "r7", "r8", "r10", "r11"), ctx="r9",
            free=("r8", "r10", "r11", "r12", "lr") if thumb else ("r0", "r1", "r2", "r3", "r12", "lr", *extra), constant=constant,
            branches=_THUMB_BRANCHES if thumb else _ARM_BRANCHES,
            enter="push {r4-r11, lr}\n vpush {d8-d15}\n sub sp, sp, #20\n mov r9, r0",
            leave="add sp, sp, #20\n vpop {d8-d15}\n pop {r4-r11, pc}", entry_stack=120, prelude=_SELECT + fma,
        ),
        relocations=forms.ARM, integers=7 if thumb else 6, vectors=14, scratch_vectors=2, vector_classes=_ALL,
        integer_classes=(tuple(range(8 if thumb else 7)),),
        saved_vectors=tuple(range(8, 14)), saved_integers=(3, 4, 5, 6) if thumb else (3, 4, 5), in_integers=("b", "i32"), index="i32",
        helper_flags=("-fropi",), fma=bool(fma), inline=56, small=thumb, about=about,
    )  # fmt: skip


def _armv7m() -> Target:
    """Thumb-2 without floating point: float32 in core registers, 64-bit values in memory."""
    return Target(
        name="armv7m", triple="thumb-freestanding-eabi", cpu="cortex_m3", flags=(), stencil_flags=("-mexecute-only",),
        shell=Pinning(
            vectors={}, pinned="", constraint="", integers=_LOW, ctx="r9",
            free=("r8", "r10", "r11", "r12", "lr"), constant=_MOVW, branches=_THUMB_BRANCHES,
            enter="push {r4-r11, lr}\n sub sp, sp, #20\n mov r9, r0", leave="add sp, sp, #20\n pop {r4-r11, pc}",
            entry_stack=56, prelude=_SELECT,
        ),
        relocations=forms.ARM, integers=7, vectors=14, scratch_vectors=2, vector_classes=_ALL,
        integer_classes=(tuple(range(8)),), saved_vectors=tuple(range(3, 14)), saved_integers=(3, 4, 5, 6),
        in_integers=("b", "i32", "f32"), index="i32",
        helper_flags=("-fropi",), inline=24, small=True, about="Cortex-M3: Thumb-2, no floating-point unit",
    )  # fmt: skip


def _aarch64() -> Target:
    integers = tuple(f"x{n}" for n in range(20, 29))
    pairs = ("x19, x20", "x21, x22", "x23, x24", "x25, x26", "x27, x28", "x29, x30", "d8, d9", "d10, d11", "d12, d13", "d14, d15")
    enter = [f"stp {pair}, [sp, #{16 * k + 16}]" for k, pair in enumerate(pairs)]
    leave = [f"ldp {pair}, [sp, #{16 * k + 16}]" for k, pair in enumerate(pairs)]
    return Target(
        name="aarch64", triple="aarch64-freestanding", cpu="generic", flags=("-mcmodel=tiny",),
        shell=Pinning(
            vectors={"f32": tuple(f"s{n}" for n in range(16)), "f64": tuple(f"d{n}" for n in range(16))}
            | dict.fromkeys(WIDE_SHORTS, tuple(f"v{n}" for n in range(16))),
            pinned="f64", constraint="w", integers=integers, ctx="x19",
            free=(*[f"x{n}" for n in range(18)], "x30", *[f"v{n}" for n in range(16, 32)]),
            constant="movz %w0, #%c1 & 65535\n movk %w0, #(%c1 >> 16) & 65535, lsl #16\n sxtw %0, %w0",
            branches={"nonzero": "cbnz %w0, TARGET", "zero": "cbz %w0, TARGET", "less": "cmp %0, %1\n b.lt TARGET", "always": "b TARGET"},
            enter="\n ".join(["sub sp, sp, #176", *enter, "mov x19, x0"]), leave="\n ".join([*leave, "add sp, sp, #176", "ret"]),
            entry_stack=176, prelude=_SELECT + _FMA32 + _FMA64 + """#define hl_floor_f32 __builtin_floorf
#define hl_floor_f64 __builtin_floor
#define hl_ceil_f32 __builtin_ceilf
#define hl_ceil_f64 __builtin_ceil
#define hl_trunc_f32 __builtin_truncf
#define hl_trunc_f64 __builtin_trunc
#define hl_round_f32 __builtin_roundevenf
#define hl_round_f64 __builtin_roundeven
""",
        ),
        relocations=forms.AARCH64, integers=8, vectors=14, scratch_vectors=2, vector_classes=_ALL,
        integer_classes=(tuple(range(9)),), saved_vectors=tuple(range(8, 14)), saved_integers=tuple(range(3, 8)),
        helper_flags=(), wide=16, fma=True, about="Linux on AArch64: Raspberry Pi 3 and later, Jetson, servers",
    )  # fmt: skip


def _riscv(name: str, bits: int, cpu: str, helper_cpu: str, floats: tuple[str, ...], abi: str, about: str) -> Target:
    # With the compressed extension registers would be encoded in several ways: helpers use it, stencils do not.
    # The numbers of vector registers are such that each bit of them changes fixed bits of the machine's.
    files = tuple(f"f{n}" for n in (10, 11, 8, 9, 18, 19, 16, 17, 26, 27, 24, 25, 2, 3, 0, 1))
    hard, size = bool(floats), bits // 8
    saved = [f"s{n}" for n in range(12)]
    kept = [f"fs{n}" for n in range(12)] if hard else []
    word, flt = ("d", "d") if bits == 64 else ("w", "w")
    frame = -(-(16 + size * (13 + len(kept))) // 16) * 16
    stored = [(f"s{word}", "l" + word, r) for r in ["ra", *saved]] + [("fs" + flt, "fl" + flt, r) for r in kept]
    places = [(s, load, r, 16 + size * k) for k, (s, load, r) in enumerate(stored)]
    integers = tuple(f"s{n}" for n in range(2, 12)) if hard else ("a0", "a1", "a2", *[f"s{n}" for n in range(2, 12)])
    temporaries = [*[f"t{n}" for n in range(7)], *[f"a{n}" for n in range(8)], "ra", "s0"]
    free = (*[r for r in temporaries if r not in integers], *([f"f{n}" for n in range(32) if f"f{n}" not in files] if hard else []))
    count = len(integers) - 1
    return Target(
        name=name, triple=f"riscv{bits}-freestanding", cpu=cpu, helper_cpu=helper_cpu,
        flags=(f"-mabi={abi}", "-mno-relax", "-mcmodel=medany"),
        shell=Pinning(
            vectors=dict.fromkeys(floats, files), pinned=floats[-1] if hard else "", constraint="f", integers=integers, ctx="s1", free=free,
            constant="lui %0, %c2\n xori %0, %0, %c3",
            branches={
                "nonzero": "beqz %0, 1f\n j TARGET\n 1:", "zero": "bnez %0, 1f\n j TARGET\n 1:",
                "less": "bge %0, %1, 1f\n j TARGET\n 1:", "always": "j TARGET",
            },
            enter="\n ".join([f"addi sp, sp, -{frame}", *[f"{s} {r}, {at}(sp)" for s, _, r, at in places], "mv s1, a0"]),
            leave="\n ".join([*[f"{load} {r}, {at}(sp)" for _, load, r, at in places], f"addi sp, sp, {frame}", "ret"]),
            extends=True, entry_stack=frame, prelude=_SELECT + (_FMA32 if "f32" in floats else "") + (_FMA64 if "f64" in floats else ""),
        ),
        relocations=forms.RISCV, integers=count, vectors=14, scratch_vectors=2, vector_classes=_ALL,
        integer_classes=(tuple(range(count + 1)),),
        saved_vectors=(3, 4, 5, 8, 9, 10, 11) if hard else tuple(range(3, 14)), saved_integers=tuple(range(3, count)),
        in_integers=("b", "i32", "i64") if bits == 64 else ("b", "i32") if hard else ("b", "i32", "f32"),
        index="i64" if bits == 64 else "i32",
        helper_flags=(), fma=hard, inline=48, small=bits == 32, about=about,
    )  # fmt: skip


TARGETS = (
    _x86("x86-64-v2", "x86_64_v2", (), two_address=True),
    _x86("x86-64-v3", "x86_64_v3", ("-mno-vzeroupper",), two_address=False),
    _aarch64(),
    _arm("armv7a", "cortex_a7", thumb=False, fma=_FMA32 + _FMA64, extra=tuple(f"d{n}" for n in range(16, 32)),
         about="Linux on ARMv7-A with VFPv4: Raspberry Pi 2, BeagleBone"),
    _arm("armv6", "arm1176jzf_s", thumb=False, fma="", about="Linux on ARMv6 with VFPv2: Raspberry Pi 1 and Zero",
         constant="\n ".join(["mov %0, #%c1 & 255", *[f"orr %0, %0, #(%c1 >> {n}) & 255, #{32 - n}" for n in (8, 16, 24)]])),
    _arm("armv7em", "cortex_m4+vfp4d16sp", thumb=True, fma=_FMA32, about="Cortex-M4F and M7: Thumb-2, single-precision FPU"),
    _armv7m(),
    _riscv("riscv64", 64, "generic_rv64+m+a+f+d", "generic_rv64+m+a+f+d+c", ("f32", "f64"), "lp64d", "Linux on RISC-V: rv64gc"),
    _riscv("riscv32", 32, "generic_rv32+m+a", "generic_rv32+m+a+c", (), "ilp32", "rv32imac: ESP32-C3 and the like, no floating-point unit"),
    _riscv("riscv32f", 32, "generic_rv32+m+a+f", "generic_rv32+m+a+f+c", ("f32",), "ilp32f",
           "rv32imafc: ESP32-P4 and the like, single-precision FPU"),
)  # fmt: skip
