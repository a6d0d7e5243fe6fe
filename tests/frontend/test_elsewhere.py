"""Programs for other machines, through `Target`: compiled here, run in an emulator or a runner, or written as files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import hotloop as hl
from hotloop import runners
from hotloop.cli import main
from hotloop.compiler import LEVELS
from hotloop.stencils.library import available

FOREIGN = [name for name in available() if name not in LEVELS]
PROGRAM = """
import hotloop as hl

def program():
    goal = hl.vector.input([1.9, 1.2], name="goal", dtype="float32")
    a = hl.vector.input([0.5, 1.5], name="start", dtype="float32")
    for _ in range(48):
        hand = hl.vector([1.8 * hl.cos(a[0]) + 2 * hl.cos(a[0] + a[1]), 1.8 * hl.sin(a[0]) + 2 * hl.sin(a[0] + a[1])])
        miss = goal - hand
        a = a - 0.05 * hl.grad(miss @ miss, a)
    return {"angles": a, "hand": hand}
"""


def traced() -> tuple[hl.value, dict[str, object]]:
    """A program with an input, a state, calls of helpers and a loop that Python unrolled."""
    x = hl.value(0.5, name="x")
    total = hl.state(1.0, name="total", dtype="float32")
    y = x
    for _ in range(12):
        y = y + 0.1 * hl.sin(y) * total
    total.next = total + y
    return x, {"y": y, "total": total * 1}


def ik() -> dict[str, hl.vector]:
    names: dict[str, object] = {}
    exec(PROGRAM, names)
    return names["program"]()  # type: ignore[operator]


@pytest.mark.parametrize("arch", FOREIGN)
@pytest.mark.parametrize("size", [True, False])
def test_an_emulated_program_has_the_bits_of_this_machine(arch, size):
    x, outputs = traced()
    here, there = hl.Target(), hl.Target(arch, emulate=True, size=size)
    for target in (here, there):
        target.compile(outputs)
    for start in (0.5, -3.0, 1e-40, np.inf):
        for target in (here, there):
            target.write_value(x, start)
            target.run()
        assert np.array_equal(list(here.read_value(outputs).values()), list(there.read_value(outputs).values()), equal_nan=True)
    assert there.compiled.program.instructions > 100


def test_a_program_for_another_machine_says_that_it_does_not_run_here():
    _, outputs = traced()
    target = hl.Target("armv7em")
    target.compile(outputs)
    assert target.report().code > 100
    with pytest.raises(hl.TargetError, match=r"compiled for armv7em and does not run on this machine, which has .* Export it"):
        target.run()


def test_small_code_is_smaller():
    sizes = []
    for size in (False, True):
        target = hl.Target("armv7em", size=size)
        target.compile(ik())
        sizes.append(target.report().code)
    assert sizes[1] < sizes[0] / 4


def test_a_report_for_another_machine_counts_and_estimates():
    x, outputs = traced()
    target = hl.Target()
    target.compile(outputs)
    text = str(target.report(arch="armv7em"))
    assert "machine instructions, emulated" in text
    assert "cycles on cortex-m4" in text
    assert "cycles on cortex-m7" in text
    straight = hl.Target("armv7em", emulate=True)
    straight.compile(x * 2 + 1)
    straight.run()
    assert straight.report().machine == straight.compiled.program.instructions


def test_a_remote_program_is_read_and_written_over_its_link():
    x, outputs = traced()
    command = [str(runners.path("x86-64-v2"))]
    here, there = hl.Target(), hl.Target(remote=command, timeout=20)
    assert there.options.arch.startswith("x86-64")
    for target in (here, there):
        target.compile(outputs)
        target.write_value(x, 0.75)
        target.run()
        target.run_many(3)
    assert there.read_value(outputs) == here.read_value(outputs)
    assert there.inputs["x"] == 0.75
    with pytest.raises(ValueError, match="read-only"):
        there.inputs["x"][...] = 1.0
    there.inputs["x"] = 0.25
    assert there.read_value(x) == 0.25
    there.reset()
    assert there.read_value(x) == 0.5


@pytest.mark.parametrize("ahead", [1, 8])
def test_a_stream_gives_what_steps_give(ahead):
    v = hl.vector.input([0.0, 0.0], name="v", dtype="float32")
    total = hl.state(0.0, name="total", dtype="float32")
    total.next = total + v[0] * v[1]
    out = hl.sin(v) + total
    rows = [[0.1 * k, 2.0 - k] for k in range(40)]
    found = []
    for target in (hl.Target(), hl.Target(remote=[str(runners.path("x86-64-v2"))], timeout=20)):
        target.compile(out)
        found.append([row.tolist() for row in target.stream(v, rows, out, ahead=ahead)])
    assert found[0] == found[1]
    assert len(found[0]) == 40
    with pytest.raises(hl.ShapeError, match="has 2 elements here, but 1 were given"):
        list(target.stream(v, [[1.0]], out))
    with pytest.raises(hl.TypeMismatch, match="only traced values are streamed, not 3"):
        list(target.stream(3, [[1.0]], out))


def test_a_fault_of_a_remote_program_is_raised_here():
    x = hl.value(1, name="x")
    target = hl.Target(remote=[str(runners.path("x86-64-v2"))], timeout=20, checked=True)
    target.compile(12 // x)
    target.run()
    target.write_value(x, 0)
    with pytest.raises(hl.DivisionByZero, match=r"test_elsewhere\.py"):
        target.run()


def test_a_runner_that_is_not_there_is_an_error():
    with pytest.raises(hl.LinkError, match=r"127\.0\.0\.1:1"):
        hl.Target(remote="tcp://127.0.0.1:1", timeout=2)


def test_an_executable_runs(tmp_path):
    x, outputs = traced()
    target = hl.Target()
    target.compile(outputs)
    (program,) = target.export(tmp_path, "elf", name="sums", arch="x86-64-v2")
    printed = subprocess.run([program], input="0.75\n0.5\n", capture_output=True, text=True, check=True).stdout
    target.write_value(x, 0.75)
    target.run()
    first = target.read_value(outputs)
    assert [np.float32(word) for word in printed.splitlines()[0].split()] == [np.float32(v) for v in first.values()]


def test_exports_name_outputs_and_are_the_same_each_time(tmp_path):
    _, outputs = traced()
    target = hl.Target()
    target.compile(outputs)
    for form in ("blob", "c"):
        once = target.export(tmp_path / "1", form, name="sums", arch="armv7em")
        again = target.export(tmp_path / "2", form, name="sums", arch="armv7em")
        assert [path.read_bytes() for path in once] == [path.read_bytes() for path in again]
        header = (tmp_path / "1" / "sums.h").read_text()
        assert " y;" in header
        assert " total" in header
    with pytest.raises(hl.TargetError, match=r"there is no form 'hex'\. There are: elf, blob, c, firmware, mpy"):
        target.export(tmp_path, "hex")


def test_firmware_with_a_program_is_small(tmp_path):
    target = hl.Target("armv7em")
    target.compile(ik())
    paths = target.export(tmp_path, "firmware", name="ik", board="mps2-an386", rate=1000.0)
    flash = next(path for path in paths if path.suffix == ".bin")
    assert flash.stat().st_size <= 12 << 10
    variables = 512 + 1024 + 64  # of the runner: tests/runner/test_firmware.py
    assert variables + target.report().data <= 2 << 10


def test_the_command_builds(tmp_path, capsys):
    source = tmp_path / "ik.py"
    source.write_text(PROGRAM)
    assert main(["build", str(source), "--arch", "armv7em", "--form", "blob", "--output", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert all((tmp_path / name).is_file() and name in printed for name in ("ik.bin", "ik.h", "ik_code.c"))
    assert main(["build", str(source), "--board", "mps2-an385", "--form", "firmware", "--output", str(tmp_path), "--name", "arm"]) == 0
    assert (tmp_path / "arm.elf").is_file()
    assert main(["build", f"{source}:nothing"]) == 2
    assert "has no 'nothing'" in capsys.readouterr().err
    assert main(["build", str(source), "--arch", "z80"]) == 2
    assert "unknown target 'z80'" in capsys.readouterr().err


def test_targets_are_listed_with_what_they_are():
    printed = subprocess.run([sys.executable, "-m", "hotloop.cli", "targets"], capture_output=True, text=True, check=True).stdout
    assert all(name in printed for name in FOREIGN)
    assert "Cortex-M4F and M7" in printed


def test_every_linux_target_has_a_runner():
    assert all(Path(runners.path(name)).is_file() for name in ("aarch64", "armv7a", "armv6", "riscv64", "x86-64-v3"))
