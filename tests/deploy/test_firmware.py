"""Firmware: the board's runner with a program in flash."""

import shutil
import struct
import time
from dataclasses import replace

import pytest
from tests.deploy.machine_code import doubles, integers

from hotloop.deploy import elf, export, firmware
from hotloop.deploy.firmware import boards
from hotloop.deploy.target import BOARDS, executable
from hotloop.errors import RangeError, TargetError
from hotloop.runtime import protocol
from hotloop.runtime.remote import connect

EMULATORS = {
    "mps2-an386": (["qemu-system-arm", "-M", "mps2-an386"], "armv7em"),
    "virt-riscv32": (["qemu-system-riscv32", "-M", "virt", "-bios", "none", "-m", "16"], "riscv32"),
    "virt-riscv64": (["qemu-system-riscv64", "-M", "virt", "-bios", "none", "-m", "16"], "riscv64"),
}

pytestmark = pytest.mark.skipif(not boards(), reason="this installation has no boards")


def booted(board, path):
    """A connection to the UART of an emulated board."""
    command, _ = EMULATORS[board]
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    return connect([*command, "-nographic", "-monitor", "none", "-serial", "stdio", "-kernel", str(path)], timeout=10)


@pytest.mark.parametrize("board", EMULATORS)
def test_a_board_boots_with_the_program_and_runs_it_at_its_rate(tmp_path, board):
    _, target = EMULATORS[board]
    path = export(integers(target), tmp_path, "firmware", "prog", board=board, rate=50.0)[0]
    with booted(board, path) as runner:
        runner.greet(target)

        def values():
            return struct.unpack("<3i", runner.request(protocol.read(0, 12)).payload)

        while values()[2] < 8:  # it runs by itself: n counts up from 5
            time.sleep(0.01)
        assert values()[:2] == (21, 42)
        runner.request(protocol.write(0, struct.pack("<i", 100)))
        runner.request(protocol.run(1))
        assert values()[:2] == (100, 200)
        start, begin = values()[2], time.monotonic()
        time.sleep(0.5)
        rate = (values()[2] - start) / (time.monotonic() - begin)
        assert 25 < rate < 75  # emulated time is only roughly ours
        assert runner.request(protocol.free()).status == protocol.Status.OK


def test_without_a_rate_the_program_waits_for_requests(tmp_path):
    path = export(integers("armv7em"), tmp_path, "firmware", "prog", board="mps2-an386")[0]
    with booted("mps2-an386", path) as runner:
        runner.greet("armv7em")
        assert struct.unpack("<3i", runner.request(protocol.read(0, 12)).payload) == (21, 0, 5)
        runner.request(protocol.run(3))
        assert struct.unpack("<3i", runner.request(protocol.read(0, 12)).payload) == (21, 42, 8)


def test_the_raw_image_is_what_the_loader_would_put_into_flash(tmp_path):
    paths = export(integers("armv7em"), tmp_path, "firmware", "prog", board="mps2-an386")
    assert [path.name for path in paths] == ["prog.elf", "prog.bin", "prog_README.txt"]
    flat = paths[1].read_bytes()
    image = integers("armv7em")
    assert flat.endswith(image.code.ljust(16, b"\0") + image.data.rstrip(b"\0"))
    found = elf.Elf(paths[0].read_bytes())
    assert found.flat() == (0, flat)
    before = elf.Elf(executable(BOARDS, "mps2-an386"))
    assert len(flat) <= len(before.flat()[1]) + 16 + 14 + 16 + 12
    assert "qemu-system-arm -M mps2-an386 -nographic -kernel prog.elf" in paths[2].read_text()


def test_a_board_must_be_named_and_known():
    with pytest.raises(TargetError, match=r"form 'firmware' needs a board\. Use one of: .*mps2-an386"):
        firmware.firmware(integers("armv7em"), "prog", None)
    with pytest.raises(TargetError, match=r"there is no board 'uno'\. Use one of: "):
        firmware.firmware(integers("armv7em"), "prog", "uno")


def test_a_board_must_execute_the_code():
    with pytest.raises(TargetError, match=r"board 'mps2-an386' executes armv7em and armv7m, not 'armv6'\. Compile for arch='armv7em'"):
        firmware.firmware(doubles("armv6"), "prog", "mps2-an386")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"code": bytes(5 << 20)}, "too little flash for this program: code and initial data"),
        ({"data": bytes(5 << 20)}, "too little RAM for this program: 5242880 bytes of data"),
        ({"stack": 1 << 20}, "too little stack for this program: 1048576 bytes of stack"),
    ],
)
def test_a_program_must_fit_its_board(change, message):
    with pytest.raises(RangeError, match=message):
        firmware.firmware(replace(integers("armv7em"), **change), "prog", "mps2-an386")


@pytest.mark.parametrize("rate", [0, -1.0, 1e6, float("nan")])
def test_a_rate_must_be_possible(rate):
    with pytest.raises(RangeError, match=r"a rate of .* Hz is not possible: board 'mps2-an386' makes up to 25000 Hz"):
        firmware.firmware(integers("armv7em"), "prog", "mps2-an386", rate)


def test_firmware_is_deterministic():
    assert firmware.firmware(integers("armv7em"), "p", "mps2-an386", 7.0) == firmware.firmware(integers("armv7em"), "p", "mps2-an386", 7.0)
