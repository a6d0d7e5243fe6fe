"""Loading images into this process."""

import platform
import struct

import pytest

from hotloop import _runner
from hotloop.errors import ImageError, TargetError
from hotloop.image import Image
from hotloop.runtime import local, protocol

HERE = _runner.cpu_features()
RETURN = {"x86_64": b"\xc3", "aarch64": struct.pack("<I", 0xD65F03C0)}.get(platform.machine(), b"")

pytestmark = pytest.mark.skipif(not RETURN, reason="the program of this file is for x86-64 and AArch64")


def test_an_image_is_loaded_with_its_patches():
    patches = ((protocol.ABS32 + protocol.IN_DATA, 4, 7), (protocol.ABS64 + protocol.IN_DATA + protocol.FROM_DATA, 8, 0))
    program = local.load(Image(HERE, RETURN, bytes(16), 0, (), patches, stack=64), long_running=True)
    program.run()
    assert _runner.read(program, "i", 0, 2) == [0, 7]
    assert _runner.read(program, "Q", 8) == program.data_address
    assert program.long_running


def test_code_for_another_machine_is_refused():
    for target in ("unknown", "z80", "aarch64" if HERE.startswith("x86") else "x86-64-v2"):
        with pytest.raises(TargetError, match=f"code for {target} cannot run on this {HERE} machine"):
            local.load(Image(target, RETURN, b"", 0, ()))
    assert local.executes(HERE)


def test_a_level_executes_those_below_it():
    assert local.executes("x86-64-v2") == (HERE in ("x86-64-v2", "x86-64-v3"))


def test_a_bad_image_is_refused():
    with pytest.raises(ImageError, match="setting the entry"):
        local.load(Image(HERE, RETURN, b"", 64, ()))
