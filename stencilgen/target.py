"""What stencilgen knows of a target: triple, flags, registers. Adding one touches nothing else."""

from __future__ import annotations

from dataclasses import dataclass

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
    and one more integer follow, for moves. parameters are the integer registers in the order of the
    calling convention: t0... are free in every stencil, ctx points to the data, i0... are hotloop's.
    vector_classes and integer_classes group register numbers that are encoded alike.
    saved_vectors and saved_integers survive a call of a helper; kept_integers belong to the caller of a
    program, so a program that uses one of them, or calls a helper, begins with `enter`.
    """

    name: str
    triple: str
    cpu: str
    flags: tuple[str, ...]
    convention: str
    parameters: tuple[str, ...]
    integers: int
    vectors: int
    scratch_vectors: int
    vector_classes: tuple[tuple[int, ...], ...]
    integer_classes: tuple[tuple[int, ...], ...]
    saved_vectors: tuple[int, ...]
    saved_integers: tuple[int, ...]
    kept_integers: tuple[int, ...]
    wide: int  # bytes of a vector register
    two_address: bool  # arithmetic overwrites its first operand
    fma: bool


def _x86(name: str, cpu: str, flags: tuple[str, ...], two_address: bool) -> Target:
    # clang's regcall passes 16 vectors in xmm0-15 and integers, in this order, in
    # rax rcx rdx | rdi | rsi | r8 r9 r12 r13 r14 r15: temporaries, the context, one for moves, six for
    # programs. All six are encoded alike, and the context needs no prefix.
    return Target(
        name=name, triple="x86_64-freestanding", cpu=cpu,
        # stack-alignment=8: a stencil that calls a helper needs no adjustment of the stack
        flags=("-mstack-alignment=8", *flags),
        convention="regcall", parameters=("t0", "t1", "t2", "ctx", "i6", "i0", "i1", "i2", "i3", "i4", "i5"),
        integers=6, vectors=14, scratch_vectors=2,
        # xmm8-15 need a longer prefix (Intel SDM vol. 2, 2.3.5); rsi, the scratch, needs none
        vector_classes=(tuple(range(8)), tuple(range(8, 16))),
        integer_classes=(tuple(range(6)), (6,)),
        saved_vectors=tuple(range(8, 14)), saved_integers=(3, 4, 5), kept_integers=(2, 3, 4, 5),  # xmm8-15; r13-15; r12 keeps the context
        wide=16 if two_address else 32, two_address=two_address, fma=not two_address,
    )


TARGETS = (
    _x86("x86-64-v2", "x86_64_v2", (), two_address=True),
    _x86("x86-64-v3", "x86_64_v3", ("-mno-vzeroupper",), two_address=False),
)
