"""Standalone executables for Linux: what they read, compute and print."""

import platform
import random
import shutil
import signal
import struct
import subprocess
import time
from fractions import Fraction

import numpy as np
import pytest
from tests.deploy.machine_code import DOUBLES, copies, doubles

import hotloop as hl
from hotloop.deploy import elf, export
from hotloop.deploy.standalone import standalone
from hotloop.errors import TargetError
from hotloop.image import Image

QEMU = {"aarch64": "qemu-aarch64", "armv7a": "qemu-arm", "armv6": "qemu-arm", "riscv64": "qemu-riscv64"}
ON_X86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="the machine code of this test is for x86-64")


def run(path, *arguments, data="", ok=0, text=True):
    done = subprocess.run([*path, *arguments], input=data, capture_output=True, text=text, timeout=60, check=False)
    assert done.returncode == ok, done.stderr
    return done


@pytest.fixture(params=sorted(DOUBLES))
def program(request, tmp_path):
    """The command that runs the program of one target."""
    target = request.param
    path = export(doubles(target), tmp_path, "elf", "prog")[0]
    if target in QEMU:
        if shutil.which(QEMU[target]) is None:
            pytest.skip(f"{QEMU[target]} is not installed")
        return [QEMU[target], str(path)]
    if platform.machine() != "x86_64":
        pytest.skip("this is no x86-64 machine")
    return [str(path)]


@pytest.fixture
def here(tmp_path):
    """The command that runs the program on this machine."""
    if platform.machine() != "x86_64":
        pytest.skip("this is no x86-64 machine")
    return [str(export(doubles("x86-64-v2"), tmp_path, "elf", "prog")[0])]


def test_lines_in_give_lines_out_on_every_target(program):
    done = run(program, data="0.1\n\n  -3e38,\n1e-45\ninf\nnan")
    assert done.stdout == "0.2\n-inf\n2.8026e-45\ninf\nnan\n"
    assert run(program, "--binary", data=struct.pack("<2f", 0.1, 2.0), text=False).stdout == struct.pack("<2f", np.float32(0.1) * 2, 4.0)


def test_the_usage_names_inputs_states_and_outputs(program):
    text = run(program, "--help").stdout
    assert "prog, made by hotloop for" in text
    inputs, states, outputs = (text.index(part) for part in ("inputs of a step", "states:", "outputs of a step"))
    assert inputs < text.index("x                    float32") < states < text.index("n                    int32") < outputs
    assert "out0                 float32" in text


def test_the_last_inputs_stay_until_the_steps_are_done(program):
    assert run(program, "--steps", "3", data="2\n3\n").stdout == "4\n6\n6\n"
    assert run(program, "--steps", "2", "--set", "x=4").stdout == "8\n8\n"
    assert run(program, "--steps", "2").stdout == "3\n3\n"  # initial data
    assert run(program, "--steps", "1", data="5\n6\n").stdout == "10\n"


@pytest.mark.parametrize(
    ("arguments", "data", "status", "message"),
    [
        ((), "1 2\n", 3, "line 1 has more than the 1 numbers that a step takes"),
        ((), "1\n\nfour\n", 3, "line 3: four is no number; input x is float32"),
        ((), "1e40\n", 3, "line 1: 1e40 is too large"),
        ((), "1" * 300, 3, "a number has more than 255 characters"),
        (("--binary",), "123", 3, "the input ends inside a record: 3 of 4 bytes"),
        (("--set", "z=1"), "", 2, "no input or state is named z"),
        (("--set", "n=1.5"), "", 2, "'1.5' is no whole number"),
        (("--set", "n=2147483648"), "", 2, "'2147483648' does not fit"),
        (("--set", "n=1,2"), "", 2, "--set n: more than 1 numbers"),
        (("--set", "n"), "", 2, "--set takes name=value, not n"),
        (("--steps", "0"), "", 2, "--steps takes a number from 1"),
        (("--steps", "1.5"), "", 2, "--steps takes a whole number, not 1.5"),
        (("--rate",), "", 2, "--rate takes a number from 0.001 to 1e+06, not nothing"),
        (("--priority", "5"), "", 2, "give --rate too"),
        (("--fast",), "", 2, "there is no argument --fast"),
    ],
)
def test_what_is_wrong_is_said(here, arguments, data, status, message):
    done = run(here, *arguments, data=data, ok=status)
    assert message in done.stderr
    assert done.stderr.startswith("prog: ")


def test_a_rate_is_kept_and_the_lateness_reported(here):
    start = time.monotonic()
    done = run(here, "--rate", "100", "--steps", "20", data="1\n2\n")
    assert time.monotonic() - start >= 0.2
    lines = done.stdout.split()
    assert len(lines) == 20
    assert lines[:2] == ["2", "4"]
    assert set(lines[2:]) == {"4"}
    assert "prog: 20 steps at 100 Hz: latest start " in done.stderr


def test_an_interrupt_ends_a_rate_with_its_report(here):
    with subprocess.Popen([*here, "--rate", "1000"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"3\n"  # nothing has come on the input: the initial value
        process.send_signal(signal.SIGINT)
        assert b" steps at 1000 Hz" in process.stderr.read()
        assert process.wait(10) == 0


def test_outputs_come_before_the_next_inputs_are_waited_for(here):
    with subprocess.Popen(here, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        for x in (1, 2.5):
            process.stdin.write(f"{x}\n".encode())
            process.stdin.flush()
            assert float(process.stdout.readline()) == 2 * x
        process.stdin.close()
        assert process.wait(10) == 0


@ON_X86
def test_numbers_are_read_and_printed_exactly(tmp_path):
    path = [str(export(copies(64, 64), tmp_path, "elf", "copy")[0])]
    generator = np.random.default_rng(5)
    singles = generator.integers(0, 2**32, (100, 64), dtype=np.uint32).view(np.float32)
    wide = generator.integers(0, 2**64, (100, 64), dtype=np.uint64).view(np.float64)
    rows = zip(singles, wide, strict=True)
    text = "\n".join(" ".join([*(f"{float(x):.17g}" for x in a), *map(repr, map(float, b))]) for a, b in rows)
    lines = run(path, data=text).stdout.splitlines()
    for line, a, b in zip(lines, singles, wide, strict=True):
        words = line.split()
        assert np.array_equal(np.array(words[:64], np.float64).astype(np.float32), a, equal_nan=True)
        assert np.array_equal(np.array(words[64:], np.float64), b, equal_nan=True)
        assert all(len(word.lstrip("-").partition("e")[0].replace(".", "").lstrip("0")) <= 17 for word in words)
    everything = run(path, "--binary", data=np.concatenate([singles.view(np.uint8), wide.view(np.uint8)], axis=1).tobytes(), text=False)
    assert everything.stdout == b"".join(a.tobytes() + b.tobytes() for a, b in zip(singles, wide, strict=True))


@ON_X86
def test_text_halfway_between_two_float32_is_rounded_right(tmp_path):
    path = [str(export(copies(3, 1), tmp_path, "elf", "copy")[0])]
    chooser, wanted, lines = random.Random(1), [], []
    for _ in range(200):
        low = np.uint32(chooser.randrange(1, 0x7F000000) & ~1)  # even, so that ties go down to it
        a, b = (np.uint32(low + i).view(np.float32) for i in range(2))
        middle = (Fraction(float(a)) + Fraction(float(b))) / 2
        tiny = middle / 10**60
        lines.append(" ".join([decimal(middle - tiny), decimal(middle), decimal(middle + tiny), "0"]))
        wanted.append([a, a, b])
    words = [line.split()[:3] for line in run(path, data="\n".join(lines)).stdout.splitlines()]
    assert np.array_equal(np.array(words, np.float64).astype(np.float32), np.array(wanted))


def decimal(number):
    """A positive fraction with 170 digits: exact for those halfway between two float32."""
    exponent = len(str(number.numerator)) - len(str(number.denominator)) - 170
    return f"{round(number / Fraction(10) ** exponent)}e{exponent}"


def test_a_compiled_program_gives_the_results_of_the_target(tmp_path):
    x, v, total = hl.value(0.5, name="x"), hl.vector.input([1.0, 2.0], name="v"), hl.state(1.0, name="total")
    total.next = total + x
    target = hl.Target()
    target.compile(hl.sin(x) * v, total * 2, x > 0)
    path = [str(export(target.compiled.image, tmp_path, "elf", "prog")[0])]
    lines = run(path, "--set", "total=3", data="0.25 1 -1\n-2 3 4\n").stdout.splitlines()
    target.write_value(total, 3.0)
    for line, given in zip(lines, ([0.25, [1, -1]], [-2, [3, 4]]), strict=True):
        target.write_value([x, v], given)
        target.run()
        outputs = [np.ravel(target.outputs[i]) for i in range(3)]
        assert np.array_equal(np.array(line.split(), np.float64).astype(np.float32), np.concatenate(outputs).astype(np.float32))


@pytest.mark.parametrize("target", sorted(DOUBLES))
def test_no_segment_is_writable_and_executable_and_pages_are_apart(target):
    found = elf.Elf(standalone(doubles(target), "prog"))
    segments = found.loaded
    assert not any(s.flags & elf.WRITE and s.flags & elf.EXECUTE for s in segments)
    assert all((s.address - s.offset) % s.align == 0 for s in segments)
    ends = [(s.address + s.memory + found.page - 1) // found.page for s in segments]
    assert all(end <= s.address // found.page for end, s in zip(ends, segments[1:], strict=False))
    assert standalone(doubles(target), "prog") == found.content  # the same bytes again


def test_what_runs_no_linux_is_refused():
    with pytest.raises(TargetError, match=r"form 'elf' is an executable for Linux, which does not run on 'armv7em'\. Use form 'blob'"):
        standalone(Image("armv7em", b"\x70\x47", b"", 0, ()), "prog")
