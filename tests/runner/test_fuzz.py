"""The protocol under a fuzzer (fuzz.c), with AddressSanitizer where gcc offers it: a bounded run, and errors that it must find."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hotloop.runtime.protocol import Command, Status

ROOT = Path(__file__).parents[2]
FUZZ = str(ROOT / "tests" / "runner" / "fuzz.c")
RUNNER = ROOT / "runner" / "runner.c"
FLAGS = ["-O1", "-std=c11", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-DFUZZ_DRIVER", "-DHL_ENTER=hl_fuzz_enter"]
SECONDS = 4  # of processor time


def sanitized():
    """The compiler: gcc with AddressSanitizer and UBSan, or zig, whose UBSan traps."""
    gcc = shutil.which("gcc")
    with_gcc = [gcc, "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    program = b"int main(void) { return 0; }"
    if gcc and not subprocess.run([*with_gcc, "-x", "c", "-", "-o", "/dev/null"], input=program, capture_output=True).returncode:
        return with_gcc
    return [sys.executable, "-m", "ziglang", "cc", "-fsanitize=undefined", "-fsanitize-trap=undefined"]


def build(folder, runner):
    output = folder / "fuzz"
    subprocess.run([*sanitized(), *FLAGS, FUZZ, str(runner), "-o", str(output)], check=True)
    return str(output)


@pytest.fixture(scope="module")
def fuzzer(tmp_path_factory):
    return build(tmp_path_factory.mktemp("fuzz"), RUNNER)


@pytest.mark.parametrize("seed", [1, 2])
def test_any_stream_of_frames_is_survived_and_every_answer_is_reached(fuzzer, seed):
    done = subprocess.run([fuzzer, str(SECONDS), str(seed)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    told = {line.rpartition(" ")[0]: int(line.rpartition(" ")[2]) for line in done.stdout.splitlines()}
    assert told["sessions"] > 1000
    assert told["entered"] > 1000
    assert [status.name for status in Status if told[f"status {status:d}"] == 0] == []
    assert [command.name for command in Command if told[f"command {command:d}"] == 0] == []


def test_files_are_run_for_other_fuzzers(fuzzer, tmp_path):
    (tmp_path / "rubbish").write_bytes(bytes(range(256)))
    (tmp_path / "empty").write_bytes(b"")
    subprocess.run([fuzzer, str(tmp_path / "rubbish"), str(tmp_path / "empty")], check=True, timeout=60)
    assert subprocess.run([fuzzer, str(tmp_path / "missing")], timeout=60, check=False).returncode == 1


ERRORS = {
    "one byte beyond a region": ("size <= region - offset;", "size <= region - offset + 1;"),
    "a read longer than the buffer": ("if (!status && size > r->room) status = HL_SIZE;", ""),
    "a payload longer than the buffer": ("if (size > room) {", "if (0) {"),
    "an entry outside the code": ("if (entry >= runner->code_size) return HL_BOUNDS;", ""),
    "a program freed twice": ("if (runner->state == HL_EMPTY) return HL_NOTHING;\n    hl_port_unmap", "hl_port_unmap"),
    "running without a greeting": ("if (!runner->greeted) return HL_GREETING;", ""),
    "a reply with a wrong checksum": ("store32(frame + size, hl_crc(0, frame, size));", "store32(frame + size, hl_crc(1, frame, size));"),
}


@pytest.mark.parametrize("error", ERRORS)
def test_the_fuzzer_finds_errors_put_into_the_runner(tmp_path, error):
    right, wrong = ERRORS[error]
    text = RUNNER.read_text()
    assert text.count(right) == 1
    (tmp_path / "runner.c").write_text(text.replace(right, wrong))
    (tmp_path / "runner.h").write_text(RUNNER.with_suffix(".h").read_text())
    done = subprocess.run([build(tmp_path, tmp_path / "runner.c"), "10", "1"], capture_output=True, text=True, timeout=120)
    assert done.returncode != 0
    assert "AddressSanitizer" in done.stderr or "fuzz: " in done.stderr or not done.stderr, done.stderr
