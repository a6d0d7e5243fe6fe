"""Builds what is not Python: the extension modules, the stencil libraries and the runners, with ziglang alone.

`pip install .` and `pip install -e .` come here. After a change of C or of operation rows a developer
runs `python setup.py build_ext --inplace` (in an environment with setuptools, numpy and ziglang).
Results are kept in ~/.cache/hotloop/build by digest of all that decides them; HOTLOOP_BUILD_CACHE or
XDG_CACHE_HOME move that folder.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import numpy as np
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
PACKAGE = ROOT / "src" / "hotloop"

FLAGS = ("-O2", "-std=c11", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-fvisibility=hidden", "-s")
STRICT = ("-ffp-contract=off", "-fno-math-errno", "-fwrapv")  # the bits of the stencils, whose flags are in stencilgen/target.py


def extension(name: str, *sources: str, headers: tuple[str, ...] = (), flags: tuple[str, ...] = ()) -> Extension:
    """Describe hotloop.NAME; `headers` are patterns of files that its sources include."""
    found = [str(path.relative_to(ROOT)) for pattern in headers for path in sorted(ROOT.glob(pattern))]
    return Extension(f"hotloop.{name}", list(sources), depends=found, extra_compile_args=list(flags))


EXTENSIONS = [
    extension("_graph", "src/hotloop/ir/graph.c", headers=("src/hotloop/ir/*.h",)),
    extension(
        "_runner",
        "runner/runner.c",
        "runner/linux.c",
        "runner/python.c",
        "runner/python_numbers.c",
        "runner/python_program.c",
        "runner/python_function.c",
        "runner/python_arrays.c",
        "runner/python_array_memory.c",
        "runner/python_plan.c",
        "runner/python_tuples.c",
        "runner/python_unlocked.c",
        "runner/python_parallel.c",
        "runner/python_parallel_plan.c",
        "runner/python_parallel_memory.c",
        "runner/parallel.c",
        "runner/sort.c",
        "runner/sort_keys.c",
        "runner/sort_merge.c",
        "runner/sort_radix.c",
        "runner/sort_vectors.c",
        "runner/arrays.c",
        "runner/threads.c",
        "runner/transpose.c",
        "runner/memory_pool.c",
        headers=("runner/*.h",),
        flags=("-Wconversion", "-pthread"),
    ),
    extension("_elementary", "src/hotloop/ops/c/module.c", headers=("src/hotloop/ops/c/*.h",), flags=STRICT),
    extension(
        "_emit",
        *(f"src/hotloop/backends/native/{name}.c" for name in ("emit", "emission", "registers", "instructions", "loops", "program")),
        headers=("src/hotloop/backends/native/*.h",),
    ),
]


def cache_folder() -> Path:
    """Return where build results are kept; a folder of this build alone if that cannot be written."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    folder = Path(os.environ.get("HOTLOOP_BUILD_CACHE") or base / "hotloop" / "build").absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        return Path(tempfile.mkdtemp(prefix="hotloop-build-"))


def target_flags() -> list[str]:
    """Return the compiler's name of this platform: an old glibc (2.17), so that wheels run anywhere."""
    machine, musl = platform.machine(), "musl" in (sysconfig.get_config_var("SOABI") or "")
    system = "linux-musl" if musl else "linux-gnu.2.17"
    cpus = {"x86_64": "x86_64_v2", "aarch64": "generic"}
    if sys.platform != "linux" or machine not in cpus:
        raise SystemExit(f"hotloop builds on x86-64 and AArch64 Linux, not on {sys.platform} {machine}.")
    return ["-target", f"{machine}-{system}", f"-mcpu={cpus[machine]}"]


def command_of(ext: Extension) -> list[str]:
    """Return the arguments that compile and link an extension, without its output."""
    include = [sysconfig.get_path("include"), sysconfig.get_path("platinclude"), np.get_include()]
    system = [flag for folder in dict.fromkeys(include) for flag in ("-isystem", folder)]
    return [*target_flags(), *FLAGS, *ext.extra_compile_args, *system, *ext.sources]


def digest_of(ext: Extension) -> str:
    """Return a digest of all that decides the bytes of an extension."""
    where = {sysconfig.get_path("include"), sysconfig.get_path("platinclude"), np.get_include()}
    flags = [argument for argument in command_of(ext) if argument not in where]
    state = hashlib.sha256(repr((flags, version("ziglang"), sys.version, sysconfig.get_config_var("SOABI"), np.__version__)).encode())
    for name in [*ext.sources, *ext.depends]:
        state.update(f"\0{name}\0".encode() + (ROOT / name).read_bytes())
    return state.hexdigest()[:24]


def compile_extension(ext: Extension, cache: Path) -> Path:
    """Return the shared object of an extension, from the cache if its digest is there."""
    kept = cache / f"{ext.name}-{digest_of(ext)}.so"
    if kept.exists():
        return kept
    # Another build may be making the same file: each writes its own, and moving it in place is atomic.
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        fresh = Path(folder) / kept.name
        command = [sys.executable, "-m", "ziglang", "cc", *command_of(ext), "-o", str(fresh)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{ext.name} does not compile:\n{' '.join(command)}\n{done.stderr}")
        fresh.replace(kept)
    return kept


# The rows of operations are read without the package's __init__, which needs what is being built.
MAKE_STENCILS = """
import sys, types
from pathlib import Path
root, extensions, sources, output, cache = sys.argv[1:]
package = types.ModuleType("hotloop")
package.__path__ = [extensions, sources]
sys.modules["hotloop"] = package
sys.path.insert(0, root)
from stencilgen.build import build
build(Path(output), Path(cache))
"""


class Build(build_ext):
    """build_ext that needs no system compiler, and makes the stencils after the extensions."""

    def run(self) -> None:
        """Build the extensions, then the stencils, which import the first of them."""
        self.cache = cache_folder()
        super().run()
        built = Path(self.build_lib) / "hotloop"
        data = (PACKAGE if self.inplace else built) / "stencils" / "data"
        arguments = [ROOT, built.absolute(), PACKAGE, data.absolute(), self.cache]
        done = subprocess.run([sys.executable, "-c", MAKE_STENCILS, *map(str, arguments)], check=False)
        if done.returncode:
            raise SystemExit("The stencils do not build; what stencilgen said is above.")
        runners = (PACKAGE if self.inplace else built).absolute() / "runners"
        for script, folder in (("build.py", "data"), ("standalone_build.py", "standalone"), ("mpy_build.py", "data")):
            subprocess.run([sys.executable, ROOT / "runner" / script, runners / folder, self.cache], check=True)

    def build_extensions(self) -> None:
        """Compile side by side; the cache makes what has not changed free."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            objects = list(pool.map(lambda ext: compile_extension(ext, self.cache), self.extensions))
        for ext, built in zip(self.extensions, objects, strict=True):
            path = Path(self.get_ext_fullpath(ext.name))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)  # a running interpreter keeps the file it has mapped
            shutil.copyfile(built, path)
            path.chmod(0o755)


if __name__ == "__main__":
    setup(ext_modules=EXTENSIONS, cmdclass={"build_ext": Build})
