"""Builds the glue of MicroPython modules: runner/mpy_glue.c for each kind of processor, with ziglang.

Each file is machine code whose first byte is the entry and behind which hotloop.deploy.mpy puts the program.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

SOURCE = Path(__file__).resolve().parent / "mpy_glue.c"

# By MicroPython's name: the compiler's triple and processor, and the calling convention of its own build.
MACHINES = {
    "x64": ("x86_64-freestanding", "x86_64"),
    "armv7emsp": ("thumb-freestanding-eabihf", "cortex_m4"),
    "armv7m": ("thumb-freestanding-eabi", "cortex_m3"),
    "rv32imc": ("riscv32-freestanding", "generic_rv32+m+c"),
}

FLAGS = (
    *("-c", "-Oz", "-std=c11", "-ffreestanding", "-fPIC", "-fvisibility=hidden", "-fomit-frame-pointer"),
    *("-fno-stack-protector", "-fno-sanitize=all", "-fno-asynchronous-unwind-tables", "-fno-unwind-tables"),
    *("-Wall", "-Wextra", "-Werror", "-Wconversion"),
)

# The program's structures come where the glue ends, at a multiple of what any code wants.
SCRIPT = """SECTIONS {
    .text BASE : { *(.text.first) *(.text*) *(.rodata*) . = ALIGN(64); PROGRAM = .; }
    /DISCARD/ : { *(.ARM.exidx*) *(.eh_frame*) *(.comment) *(.note*) *(.ARM.attributes) *(.riscv.attributes) }
}
"""
BASES = ("0", "0x20000")  # the code must be the same wherever it lies


def build(output: Path, cache: Path, names: tuple[str, ...] = tuple(MACHINES)) -> list[Path]:
    """Write mpy-NAME.bin into `output` for each name; return the paths.

    cache: where results are kept, by digest of all that decides them.
    Raises: SystemExit with what the compiler said.
    """
    output.mkdir(parents=True, exist_ok=True)
    paths = []
    for name in names:
        paths.append(output / f"mpy-{name}.bin")
        shutil.copyfile(_compiled(name, cache), paths[-1])
    return paths


def _compiled(name: str, cache: Path) -> Path:
    triple, cpu = MACHINES[name]
    relaxed = ("-mno-relax",) if triple.startswith("riscv") else ()
    command = ["cc", "-target", triple, f"-mcpu={cpu}", *FLAGS, *relaxed]
    state = hashlib.sha256(repr((command, SCRIPT, version("ziglang"))).encode() + SOURCE.read_bytes())
    kept = cache / f"mpy-{name}-{state.hexdigest()[:24]}.bin"
    if kept.exists():
        return kept
    # Another build may be making the same file: each writes its own, and moving it in place is atomic.
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        compiled = Path(folder) / "glue.o"
        _run([*command, "-o", str(compiled), str(SOURCE)])
        linked = [_linked(compiled, base) for base in BASES]
        if linked[0].read_bytes() != linked[1].read_bytes():
            raise SystemExit(f"{SOURCE.name} for {name} depends on where it lies.")
        linked[0].replace(kept)
    return kept


def _linked(compiled: Path, base: str) -> Path:
    script, output = compiled.with_name(f"{base}.ld"), compiled.with_name(f"{base}.bin")
    script.write_text(SCRIPT.replace("BASE", base))
    _run(["ld.lld", "--oformat", "binary", "-T", str(script), str(compiled), "-o", str(output)])
    return output


def _run(command: list[str]) -> None:
    done = subprocess.run([sys.executable, "-m", "ziglang", *command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{SOURCE.name} does not build:\n{' '.join(command)}\n{done.stderr}")


if __name__ == "__main__":
    build(Path(sys.argv[1]), Path(sys.argv[2]))
