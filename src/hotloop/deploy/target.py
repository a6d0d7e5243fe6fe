"""What deployment has to know of a target: one row each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hotloop.errors import TargetError
from hotloop.image import Image

# Executables to start from, made when hotloop is built: runner/standalone_build.py and runner/build.py.
_RUNNERS = Path(__file__).resolve().parent.parent / "runners"
STANDALONE, BOARDS = _RUNNERS / "standalone", _RUNNERS / "data"


@dataclass(frozen=True, slots=True)
class Place:
    """One target as a compiler for it and its users see it.

    wants: preprocessor condition that holds when C is compiled for it
    thumb: what is added to the address of the code to call it
    linux: name of the standalone executable to start from; "" where there is none
    compiler: arguments of a usual cross-compiler
    needs: what the processor has to have, and what has to be switched on
    """

    bits: int
    wants: str
    compiler: str
    needs: str
    thumb: int = 0
    linux: str = ""


_FPU = "switched on before the first step (bits 20 to 23 of CPACR, which most start-up code does)"

PLACES = {
    "x86-64-v2": Place(64, "defined(__x86_64__)", "gcc -O2", "SSE4.2 and POPCNT", linux="x86-64"),
    "x86-64-v3": Place(64, "defined(__x86_64__)", "gcc -O2", "AVX2, FMA and BMI2", linux="x86-64"),
    "aarch64": Place(64, "defined(__aarch64__)", "aarch64-linux-gnu-gcc -O2", "floating point and Advanced SIMD", linux="aarch64"),
    "armv7a": Place(
        32,
        "defined(__arm__) && __ARM_ARCH >= 7",
        "arm-linux-gnueabihf-gcc -O2 -march=armv7-a -mfpu=vfpv4",
        "VFPv4 with 32 registers, as of Cortex-A5, A7 and later; hard-float ABI. The code is in ARM mode",
        linux="armv7a",
    ),
    "armv6": Place(
        32,
        "defined(__arm__) && __ARM_ARCH >= 6",
        "arm-linux-gnueabihf-gcc -O2 -march=armv6 -mfpu=vfpv2 -marm",
        "VFPv2, as of ARM1176; hard-float ABI. The code is in ARM mode",
        linux="armv6",
    ),
    "armv7em": Place(
        32,
        "defined(__thumb2__)",
        "arm-none-eabi-gcc -O2 -mcpu=cortex-m4 -mthumb -mfloat-abi=hard -mfpu=fpv4-sp-d16",
        f"the DSP extension and a single-precision FPU (Cortex-M4F, M7), {_FPU}",
        thumb=1,
    ),
    "armv7m": Place(
        32, "defined(__thumb2__)", "arm-none-eabi-gcc -O2 -mcpu=cortex-m3 -mthumb", "Thumb-2 (Cortex-M3 and larger); no FPU", thumb=1
    ),
    "riscv64": Place(
        64,
        "defined(__riscv) && __riscv_xlen == 64",
        "riscv64-linux-gnu-gcc -O2 -march=rv64gc -mabi=lp64d",
        "RV64GC; the FPU switched on (mstatus.FS)",
        linux="riscv64",
    ),
    "riscv32": Place(
        32, "defined(__riscv) && __riscv_xlen == 32", "riscv32-unknown-elf-gcc -O2 -march=rv32imac -mabi=ilp32", "RV32IMAC; no FPU"
    ),
    "riscv32f": Place(
        32,
        "defined(__riscv) && __riscv_xlen == 32",
        "riscv32-unknown-elf-gcc -O2 -march=rv32imafc -mabi=ilp32f",
        "RV32IMAFC; the FPU switched on (mstatus.FS)",
    ),
}


def place_of(image: Image) -> Place:
    """Return the row of an image's target. Raises: TargetError where it has no machine code, or code that is not linked."""
    place = PLACES.get(image.target)
    if place is None or not image.code:
        raise TargetError(f"a program for {image.target!r} has no machine code to export. Compile it for one of: {', '.join(PLACES)}.")
    if image.patches:
        raise TargetError(f"this program for {image.target!r} has {len(image.patches)} places that only a runner can fill in.")
    return place


def executable(folder: Path, name: str) -> bytes:
    """Return the executable of this name that came with hotloop. Raises: TargetError if it did not."""
    path = folder / f"{name}.elf"
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise TargetError(f"this installation of hotloop lacks {path.name}, which the export starts from. Install hotloop again.") from None
