"""The build: cached by digest, with ziglang alone, and clear when it cannot be done."""

import importlib.util
import platform
import subprocess
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def build(monkeypatch, tmp_path):
    """setup.py as a module, whose sources and cache lie in an empty folder."""
    spec = importlib.util.spec_from_file_location("hotloop_setup", ROOT / "setup.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setenv("HOTLOOP_BUILD_CACHE", str(tmp_path / "cache"))
    (tmp_path / "one.c").write_text("int one(void);\nint one(void) { return 1; }\n")
    (tmp_path / "one.h").write_text("")
    return module


def test_the_cache_is_where_the_environment_says(build, monkeypatch, tmp_path):
    assert build.cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("HOTLOOP_BUILD_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert build.cache_folder() == tmp_path / "xdg" / "hotloop" / "build"
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HOTLOOP_BUILD_CACHE", str(tmp_path / "file"))
    assert build.cache_folder().is_dir()  # of this build alone


def test_an_extension_is_compiled_once_and_again_after_a_change(build, tmp_path):
    ext, cache = build.extension("_one", "one.c", headers=("*.h",)), build.cache_folder()
    first = build.compile_extension(ext, cache)
    written = first.stat().st_mtime_ns
    assert first.read_bytes()[:4] == b"\x7fELF"
    assert build.compile_extension(ext, cache) == first
    assert first.stat().st_mtime_ns == written
    (tmp_path / "one.h").write_text("/* changed */")
    assert build.digest_of(ext) not in first.name
    ext.extra_compile_args = ["-DONE"]
    assert len({build.digest_of(ext), build.digest_of(build.extension("_one", "one.c", headers=("*.h",)))}) == 2


def test_parallel_builds_share_the_cache(build):
    ext, cache = build.extension("_one", "one.c"), build.cache_folder()
    with ThreadPoolExecutor(3) as pool:
        paths = set(pool.map(lambda _: build.compile_extension(ext, cache), range(3)))
    assert [path.name for path in cache.iterdir()] == [path.name for path in paths]


def test_a_compiler_error_is_shown(build, tmp_path):
    (tmp_path / "one.c").write_text("int one(void) { return missing; }\n")
    with pytest.raises(SystemExit, match=r"(?s)hotloop\._one does not compile:.*undeclared identifier 'missing'"):
        build.compile_extension(build.extension("_one", "one.c"), build.cache_folder())


def test_other_platforms_are_refused(build, monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "vax")
    with pytest.raises(SystemExit, match="hotloop builds on x86-64 and AArch64 Linux, not on linux vax"):
        build.target_flags()


def test_every_source_is_declared(build):
    declared = {source for ext in build.EXTENSIONS for source in ext.sources}
    assert all((ROOT / source).is_file() for source in declared)
    ports = {f"runner/{name}.c" for name in ("linux_process", "bare_metal", "resident", "standalone", "mpy_glue")}  # programs of their own
    assert {f"runner/{path.name}" for path in (ROOT / "runner").glob("*.c")} - ports <= declared


def test_the_source_distribution_has_all_that_a_build_needs(tmp_path):
    command = [sys.executable, "setup.py", "-q", "sdist", "--dist-dir", str(tmp_path)]
    egg = ["egg_info", "--egg-base", str(tmp_path)]
    subprocess.run([*command[:3], *egg, *command[3:]], cwd=ROOT, check=True, capture_output=True)
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    patterns = ("runner/*", "stencilgen/*.py", "src/**/*.[ch]", "src/**/*.py*", "LICENSE")
    needed = [path for pattern in patterns for path in ROOT.glob(pattern) if path.suffix != ".pyc"]
    assert {str(path.relative_to(ROOT)) for path in needed} <= names
    assert not [name for name in names if name.endswith((".so", ".stencils", ".pyc"))]
