"""Builds what standalone executables start from: runner/standalone.c for each kind of Linux board, with ziglang.

Each becomes a static executable with musl as its libc, without a program; hotloop.deploy.standalone adds that.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

SOURCE = Path(__file__).resolve().parent / "standalone.c"
OUTPUT = SOURCE.parent.parent / "src" / "hotloop" / "runners" / "standalone"

# By the name that hotloop.deploy.target uses: the compiler's triple and processor.
STUBS = {
    "x86-64": ("x86_64-linux-musl", "x86_64"),
    "aarch64": ("aarch64-linux-musl", "generic"),
    "armv7a": ("arm-linux-musleabihf", "cortex_a7"),
    "armv6": ("arm-linux-musleabihf", "arm1176jzf_s"),
    "riscv64": ("riscv64-linux-musl", "baseline_rv64"),
}

# Compiler's defaults that would make positions or contents depend on the machine are set here.
FLAGS = (
    *("-static", "-Os", "-std=c11", "-fno-pie", "-no-pie", "-fno-sanitize=all", "-ffunction-sections", "-fdata-sections"),
    *("-Wl,--gc-sections", "-Wl,--build-id=none", "-Wl,--strip-all", "-Wall", "-Wextra", "-Werror", "-Wconversion"),
)


def build(output: Path, cache: Path, names: tuple[str, ...] = tuple(STUBS)) -> list[Path]:
    """Write NAME.elf into `output` for each name; return the paths.

    cache: where results are kept, by digest of all that decides them.
    Cost: the compiler builds its libc for each triple once, ten seconds or more; afterwards nothing.
    Raises: SystemExit with what the compiler said.
    """
    output.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        kept = list(pool.map(lambda name: _compiled(name, cache), names))
    paths = [output / f"{name}.elf" for name in names]
    for path, source in zip(paths, kept, strict=True):
        path.unlink(missing_ok=True)
        shutil.copyfile(source, path)
    return paths


def _compiled(name: str, cache: Path) -> Path:
    triple, cpu = STUBS[name]
    command = ["cc", "-target", triple, f"-mcpu={cpu}", *FLAGS]
    state = hashlib.sha256(repr((command, version("ziglang"))).encode() + SOURCE.read_bytes())
    kept = cache / f"standalone-{name}-{state.hexdigest()[:24]}.elf"
    if kept.exists():
        return kept
    # Another build may be making the same file: each writes its own, and moving it in place is atomic.
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        fresh = Path(folder) / kept.name
        # The source is named relative to its folder, so that no path of this machine can get into the result.
        whole = [sys.executable, "-m", "ziglang", *command, SOURCE.name, "-o", str(fresh)]
        done = subprocess.run(whole, cwd=SOURCE.parent, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{name} does not compile:\n{' '.join(whole)}\n{done.stderr}")
        fresh.replace(kept)
    return kept


if __name__ == "__main__":
    given = [Path(argument) for argument in sys.argv[1:]] or [OUTPUT, Path(tempfile.gettempdir())]
    build(given[0], given[1])
