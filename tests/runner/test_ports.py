"""The runner as a Linux process: its arguments, and the programs of every architecture under qemu's user mode."""

import platform
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from hotloop import runners
from hotloop.image import Image
from hotloop.runtime.remote import RemoteProgram, connect

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
from runner.build import BOARDS, NAMES, PROCESSES, compile_runner, digest  # noqa: E402 - a file beside the package

# data[0] += 1; data[1] = data[0] + data[2], by hand. Arm ARM: ldr r1, [r0]; add r1, r1, 1; str r1, [r0]; ldr r2, [r0, 8]; ...; bx lr
ARM = struct.pack("<7I", 0xE5901000, 0xE2811001, 0xE5801000, 0xE5902008, 0xE0811002, 0xE5801004, 0xE12FFF1E)
AARCH64 = struct.pack("<7I", 0xB9400001, 0x11000421, 0xB9000001, 0xB9400802, 0x0B020021, 0xB9000401, 0xD65F03C0)
RISCV64 = struct.pack("<7I", 0x00052583, 0x00158593, 0x00B52023, 0x00852603, 0x00C585B3, 0x00B52223, 0x00008067)
X86_64 = bytes.fromhex("8b07 ffc0 8907 034708 894704 c3")
MACHINES = {
    "arm1176": ("arm", ["qemu-arm", "-cpu", "arm1176"], "armv6", ARM),
    "cortex-a9": ("arm", ["qemu-arm", "-cpu", "cortex-a9"], "armv6", ARM),  # VFPv3 is too old for armv7a
    "cortex-a7": ("arm", ["qemu-arm", "-cpu", "cortex-a7"], "armv7a", ARM),
    "aarch64": ("aarch64", ["qemu-aarch64"], "aarch64", AARCH64),
    "riscv64": ("riscv64", ["qemu-riscv64"], "riscv64", RISCV64),
    "x86-64 of 2009": ("x86_64", ["qemu-x86_64", "-cpu", "Nehalem"], "x86-64-v2", X86_64),
    "here": (platform.machine(), [], None, {"x86_64": X86_64, "aarch64": AARCH64}.get(platform.machine())),
}


@pytest.mark.parametrize("machine", MACHINES)
def test_the_runner_of_each_architecture_serves_a_program(machine):
    name, emulator, target, code = MACHINES[machine]
    if emulator and not shutil.which(emulator[0]):
        pytest.skip(f"{emulator[0]} is not installed (Debian: qemu-user)")
    with connect([*emulator, str(runners.path(name))], 60) as connection:
        assert target in (None, connection.target)
        program = RemoteProgram(connection, Image(connection.target, code, struct.pack("<3i", 1, 0, -5), 0, ()))
        program.run_many(41)
        assert struct.unpack("<3i", program.read(0, 12)) == (42, 37, -5)
        assert program.step([(0, bytes(4))], [(0, 8)]) == [struct.pack("<2i", 1, -4)]


@pytest.mark.parametrize("machine", ["cortex-a7"])
def test_a_processor_with_more_executes_code_for_one_with_less(machine):
    name, emulator, _, code = MACHINES[machine]
    if not shutil.which(emulator[0]):
        pytest.skip(f"{emulator[0]} is not installed (Debian: qemu-user)")
    with RemoteProgram([*emulator, str(runners.path(name))], Image("armv6", code, bytes(12), 0, ()), 60) as program:
        program.run()
        assert program.read(0, 4) == b"\1\0\0\0"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--help"], "an argument is missing, or there is no such option"),
        (["--tcp"], "an argument is missing"),
        (["--udp", "5"], "wrong arguments"),
        (["--tcp", "5", "6"], "wrong arguments"),
        (["--tcp", "x"], "PORT must be a number from 0 to 65535"),
        (["--tcp", "65536"], "PORT must be a number from 0 to 65535"),
        (["--tcp", "localhost:5"], "HOST must be an IPv4 address"),
        (["--tcp", "h" * 99 + ":5"], "HOST is too long"),
        (["--serial", "/dev/tty:fast"], "BAUD must be a number"),
        (["--serial", "/" * 300], "DEVICE is too long"),
    ],
)
def test_wrong_arguments_are_told(arguments, message):
    done = subprocess.run([runners.path(platform.machine()), *arguments], capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 2
    assert message in done.stderr
    assert "usage: hotloop-runner [--tcp [HOST:]PORT | --serial DEVICE[:BAUD]]" in done.stderr


def test_a_link_that_cannot_be_had_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    cases = {"--tcp 192.0.2.1:5": "listening on 192.0.2.1:5: ", "--serial /dev/no-line": "opening /dev/no-line: No such file"}
    cases |= {f"--serial {tmp_path}/file": "setting up", "--serial /dev/ptmx:123": "setting up /dev/ptmx:123: Invalid argument"}
    for arguments, message in cases.items():
        command = [runners.path(platform.machine()), *arguments.split()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        assert done.returncode == 1
        assert f"hotloop-runner: {message}" in done.stderr


def test_tcp_listens_on_loopback_alone_unless_told():
    with subprocess.Popen([runners.path(platform.machine()), "--tcp", "0"], stderr=subprocess.PIPE, text=True) as process:
        told = process.stderr.readline()
        process.kill()
    assert " on tcp://127.0.0.1:" in told


@pytest.mark.parametrize("board", BOARDS)
def test_images_of_boards_are_built_the_same_each_time(board, tmp_path):
    (tmp_path / "other").mkdir()
    first, second = compile_runner(board, tmp_path).read_bytes(), compile_runner(board, tmp_path / "other").read_bytes()
    assert first == second == runners.path(board).read_bytes()


def test_each_runner_has_its_own_digest():
    assert len({digest(name) for name in NAMES}) == len(NAMES) == len(PROCESSES) + len(BOARDS)
