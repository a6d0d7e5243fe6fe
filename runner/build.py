"""Builds runners: static Linux programs and images of boards, with ziglang alone. `python -m runner.build [FOLDER]`."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).resolve().parent
OUTPUT = HERE.parent / "src" / "hotloop" / "runners" / "data"

WARNINGS = ("-std=c11", "-Wall", "-Wextra", "-Wconversion", "-Werror")
SMALL = ("-Os", "-s", "-fno-sanitize=all")  # sizes that a test holds
BARE_METAL = ("runner.c", "bare_metal.c", "resident.c")
LINUX = ("runner.c", "linux.c", "linux_process.c")
# no libc: nothing of it may be assumed; unwinding tables are for debuggers and C++
FREESTANDING = ("-ffreestanding", "-fno-builtin", "-nostdlib", "-fno-unwind-tables", "-fno-asynchronous-unwind-tables")
LINKER = ("--gc-sections", "-z,max-page-size=16")


@dataclass(frozen=True, slots=True)
class Board:
    """A board without an operating system.

    flags: triple and processor; target: what it executes; also: what that includes; memory as (start, bytes).
    """

    flags: tuple[str, ...]
    target: str
    also: str
    header: str
    start: str
    entry: str
    flash: tuple[int, int]
    ram: tuple[int, int]
    stack: int = 1024
    capacity: int = 512


def _mps2(cpu: str, abi: str, target: str) -> Board:
    # SSRAM1, which flash would be, and SSRAM2 and 3 (Arm DAI 0385D, 386D, 0500: memory maps)
    flags, mib = ("-target", f"thumb-freestanding-{abi}", f"-mcpu={cpu}"), 1 << 20
    return Board(flags, target, "armv7m", "boards/mps2.h", "boards/cortex_m.c", "hl_reset", (0, 4 * mib), (0x20000000, 4 * mib))


def _virt(bits: int, cpu: str, abi: str, target: str, also: str) -> Board:
    # qemu's virt board has RAM from 2 GiB on and starts there; a quarter of 16 MiB serves as flash
    flags, mib = ("-target", f"riscv{bits}-freestanding", f"-mcpu={cpu}", f"-mabi={abi}", "-mcmodel=medany", "-mno-relax"), 1 << 20
    memory = (0x80000000, 4 * mib), (0x80400000, 12 * mib)
    return Board(flags, target, also, "boards/virt_riscv.h", "boards/riscv.c", "hl_start", *memory)


BOARDS = {
    "mps2-an385": _mps2("cortex_m3", "eabi", "armv7m"),
    "mps2-an386": _mps2("cortex_m4+vfp4d16sp", "eabihf", "armv7em"),
    "mps2-an500": _mps2("cortex_m7+vfp4d16sp", "eabihf", "armv7em"),
    "virt-riscv32": _virt(32, "generic_rv32+m+a+c", "ilp32", "riscv32", "riscv32"),
    "virt-riscv32f": _virt(32, "generic_rv32+m+a+c+f", "ilp32f", "riscv32f", "riscv32"),
    "virt-riscv64": _virt(64, "generic_rv64+m+a+c+f+d", "lp64d", "riscv64", "riscv64"),
}
PROCESSES = {
    "x86_64": ("-target", "x86_64-linux-musl", "-mcpu=x86_64"),
    "aarch64": ("-target", "aarch64-linux-musl", "-mcpu=generic"),
    "arm": ("-target", "arm-linux-musleabihf", "-mcpu=arm1176jzf_s"),  # it finds out whether the processor executes armv7a
    "riscv64": ("-target", "riscv64-linux-musl", "-mcpu=baseline_rv64"),
}
NAMES = (*PROCESSES, *BOARDS)


def linker_script(board: Board) -> str:
    """Return boards/board.ld with the memory of a board."""
    text = (HERE / "boards" / "board.ld").read_text()
    (flash, flash_bytes), (ram, ram_bytes) = board.flash, board.ram
    return text.format(entry=board.entry, flash=flash, flash_bytes=flash_bytes, ram=ram, ram_bytes=ram_bytes, stack=board.stack)


def command(name: str, script: str) -> list[str]:
    """Return the arguments of the compiler for a runner, run in this folder; `script` is where the linker script lies."""
    if name in PROCESSES:
        return [*PROCESSES[name], "-static", *SMALL, *WARNINGS, *LINUX]
    board = BOARDS[name]
    texts = {"HL_BOARD": board.header, "BOARD_TARGET": board.target, "BOARD_ALSO": board.also}
    defines = [f'-D{key}="{text}"' for key, text in texts.items()] + [f"-DHL_CAPACITY={board.capacity}"]
    link = [f"-Wl,{option}" for option in (*LINKER, f"--entry={board.entry}", f"-T,{script}")]
    return [*board.flags, *FREESTANDING, *SMALL, "-flto", *WARNINGS, *defines, "-I.", *BARE_METAL, board.start, *link]


def digest(name: str) -> str:
    """Return a digest of all that decides the bytes of a runner."""
    state = hashlib.sha256(repr((command(name, ""), version("ziglang"))).encode())
    if name in BOARDS:
        state.update(linker_script(BOARDS[name]).encode())
    patterns = ("runner.*", "resident.*", "linux*", "bare_metal.c", "boards/*")
    for path in sorted(path for pattern in patterns for path in HERE.glob(pattern)):
        state.update(f"\0{path.name}\0".encode() + path.read_bytes())
    return state.hexdigest()[:24]


def compile_runner(name: str, folder: Path) -> Path:
    """Compile one runner into `folder`. Raises: SystemExit with what the compiler said."""
    script, fresh = folder / f"{name}.ld", folder / f"{name}.elf"
    if name in BOARDS:
        script.write_text(linker_script(BOARDS[name]))
    line = [sys.executable, "-m", "ziglang", "cc", *command(name, str(script)), "-o", str(fresh)]
    done = subprocess.run(line, cwd=HERE, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the runner {name} does not compile:\n{' '.join(line)}\n{done.stderr}")
    fresh.chmod(0o755)
    return fresh


def build(output: Path, cache: Path | None = None) -> None:
    """Put every runner into `output` as NAME.elf; what `cache` has already is not compiled again."""
    output.mkdir(parents=True, exist_ok=True)

    def make(name: str) -> None:
        kept = cache / f"runner-{name}-{digest(name)}.elf" if cache is not None else None
        with tempfile.TemporaryDirectory(dir=output) as folder:
            fresh = Path(folder) / f"{name}.elf"
            if kept is not None and kept.exists():
                fresh.write_bytes(kept.read_bytes())
                fresh.chmod(0o755)
            else:
                fresh = compile_runner(name, Path(folder))
                if kept is not None:
                    part = kept.with_suffix(f".{os.getpid()}")
                    part.write_bytes(fresh.read_bytes())
                    part.replace(kept)  # another build may be making the same file
            fresh.replace(output / fresh.name)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(make, NAMES))


if __name__ == "__main__":
    arguments = [Path(argument) for argument in sys.argv[1:]]
    build(arguments[0] if arguments else OUTPUT, arguments[1] if len(arguments) > 1 else None)
