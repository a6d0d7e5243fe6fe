"""The command line: what it prints, its exit codes, and that errors are one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import hotloop as hl
from hotloop import cli

PROGRAM = """
import hotloop as hl

x = hl.value(2.0, name="gain")
total = hl.state(0.0, name="total")
total.next = total + x * 3.0
doubled = hl.loop(5, lambda y: y * 2.0 + x, x)
target = hl.Target()
target.compile(total, doubled)
empty = hl.Target()
number = 3

@hl.jit
def cube(a):
    return a * a * a

def made():
    return {"sine": hl.sin(hl.value(0.5, name="angle"))}

def scaled(a, b: int):
    return a * b

def branching(a):
    return a if a > 0 else -a

def indexing(a):
    return a[0]
"""


@pytest.fixture
def program(tmp_path: Path) -> str:
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    return str(path)


def failed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command that cannot be done; return the one line it says."""
    try:
        code = cli.main(arguments)
    except SystemExit as leaving:
        code = leaving.code
    said = capsys.readouterr()
    assert code == 2
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert said.err.startswith("hotloop: ")
    return said.err


def test_version_and_help_leave_with_success(capsys: pytest.CaptureFixture[str]) -> None:
    for argument, wanted in (("--version", hl.__version__), ("--help", "COMMAND")):
        with pytest.raises(SystemExit, match="0"):
            cli.main([argument])
        assert wanted in capsys.readouterr().out


def test_targets_says_which_one_is_used_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["targets"]) == 0
    said = capsys.readouterr().out
    assert "This machine: Linux" in said
    assert said.count("used") >= 1
    assert "reference" in said


def test_targets_says_that_the_environment_chose(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOTLOOP_TARGET_ARCH", "reference")
    assert cli.main(["targets"]) == 0
    reference = capsys.readouterr().out.splitlines()[-1]
    assert reference.endswith("used: HOTLOOP_TARGET_ARCH says so")


def test_show_prints_every_section_of_a_target(program: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["show", f"{program}:target"]) == 0
    said = capsys.readouterr().out
    for section in ("-- graph --", "-- program --", "-- memory --", "-- code --", "-- report --"):
        assert section in said
    assert "state() [total]" in said
    assert "[5 x 1 carried]" in said
    assert "program.py:6" in said
    assert "ret" in said
    assert "gain" in said


@pytest.mark.parametrize("name", ["x", "total", "doubled", "made", "scaled", "cube"])
def test_show_takes_values_and_functions(name: str, program: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["show", f"{program}:{name}", "--only", "graph"]) == 0
    assert "outputs %" in capsys.readouterr().out


def test_a_jit_function_is_shown_in_the_types_of_its_calls(program: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["show", f"{program}:cube", "--only", "graph"]) == 0
    assert "float64 = mul" in capsys.readouterr().out


def test_show_without_capstone_prints_bytes(program: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "capstone", None)
    assert cli.main(["show", f"{program}:target", "--only", "code"]) == 0
    assert "pip install 'hotloop[inspect]'" in capsys.readouterr().out


def test_the_reference_has_no_machine_code(program: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["show", f"{program}:made", "--arch", "reference", "--only", "code", "--only", "program"]) == 0
    assert "the reference has no machine code" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ((), "required: COMMAND"),
        (("launch",), "invalid choice: 'launch'"),
        (("targets", "--all"), "unrecognized arguments: --all"),
        (("show", "program.py"), "is not FILE:NAME"),
        (("show", "nowhere.py:x"), "there is no file nowhere.py"),
        (("demo", "--output", "nowhere/picture.png"), "there is no folder nowhere"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_code_2(
    arguments: tuple[str, ...], wanted: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert wanted in failed(capsys, *arguments)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("absent", "has no 'absent'. It has: x, total, doubled"),
        ("number", "int is no program"),
        ("empty", "holds no program yet"),
        ("branching", "cannot branch on a traced value"),
        ("indexing", "Parameters are taken as scalars"),
    ],
)
def test_what_cannot_be_shown_is_one_line(name: str, wanted: str, program: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert wanted in failed(capsys, "show", f"{program}:{name}")


def test_an_unknown_target_is_named(program: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "z80" in failed(capsys, "show", f"{program}:made", "--arch", "z80")


def test_bench_needs_a_checkout(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "hotloop.cli", "bench"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "run this in a checkout" in done.stderr


def test_bench_knows_its_benchmarks(capsys: pytest.CaptureFixture[str]) -> None:
    assert "no benchmark 'speed'. There are: dot, control" in failed(capsys, "bench", "speed")
