"""Estimates of cycles: the tables, on code whose cost the manual tells."""

import struct
import sys

import pytest

from hotloop.errors import TargetError
from hotloop.image import Image
from hotloop.runtime.cycles import Cycles, estimate
from hotloop.runtime.emulator import Emulated

pytest.importorskip("unicorn")
pytest.importorskip("capstone")

ADD, RETURN = "0130", "7047"  # adds r0, #1; bx lr
LOAD, STORE = "0168", "0160"  # ldr r1, [r0]; str r1, [r0]
VADD, VMUL, VDIV, VFMA = "30ee200a", "20ee011a", "80ee200a", "e0ee200a"  # vadd s0, s0, s1; vmul s2, s0, s2; ...


def code(*words):
    return bytes.fromhex("".join(words))


@pytest.mark.parametrize(
    ("words", "cycles"),
    [
        ([ADD], (1, 1, 1)),
        ([LOAD], (2, 2, 2)),
        ([LOAD, LOAD, LOAD], (4, 4, 6)),  # pipelined
        ([STORE], (1, 1, 2)),
        ([VDIV], (14, 14, 14)),
        ([VADD], (1, 1, 1)),
        ([VADD, ADD, VMUL], (3, 3, 3)),
        ([VADD, VMUL], (3, 3, 3)),  # which waits for the sum
        (["2de9f041"], (7, 7, 7)),  # push {r4-r8, lr}
        (["2ded108b"], (17, 17, 17)),  # vpush {d8-d15}
        (["b0fbf1f0"], (2, 7, 12)),  # udiv
    ],
)
def test_straight_code_costs_what_the_manual_says(words, cycles):
    found = estimate(code(*words))
    assert (found.low, found.likely, found.high) == cycles
    assert found.instructions == len(words)


def loop(turns):
    """Count down from `turns`, which the data says: ldr r1, [r0]; subs r1, #1; bne; bx lr."""
    return Image("armv7em", code(LOAD, "0139", "fdd1", RETURN), struct.pack("<I", turns), 0, (), stack=16)


def test_jumps_refill_the_pipeline():
    program = Emulated(loop(10))
    program.run()
    found = estimate(program)
    assert found.instructions == 22
    assert (found.low, found.high) == (2 + 20 + 9 + 1 + 1, 2 + 20 + 9 * 3 + 1 + 3)
    assert found.low < found.likely < found.high


def test_an_image_runs_once_and_within_its_limit():
    assert estimate(loop(10)) == estimate(loop(10), "cortex-m4")
    with pytest.raises(TargetError, match="more than 100 instructions"):
        estimate(loop(1000), limit=100)


def test_a_faster_core_takes_fewer_cycles():
    assert estimate(loop(100), "cortex-m7").likely < estimate(loop(100)).likely


def test_an_estimate_tells_its_bounds():
    assert str(Cycles("cortex-m4", 22, 33, 43, 53)) == "43 cycles on cortex-m4 (33 to 53; 22 instructions)"


def test_what_has_no_table_is_refused(monkeypatch):
    with pytest.raises(TargetError, match=r"no table of cycles for 'cortex-a7'\. Use one of cortex-m4, cortex-m7"):
        estimate(loop(1), "cortex-a7")
    with pytest.raises(TargetError, match="cycles are estimated for armv7em and armv7m, not for riscv32"):
        estimate(Image("riscv32", b"\x82\x80", b"", 0, ()))
    with pytest.raises(TargetError, match="what stands at 0x2 is no instruction"):
        estimate(code(ADD, "ffffffff"))
    monkeypatch.setitem(sys.modules, "capstone", None)
    with pytest.raises(TargetError, match="needs capstone"):
        estimate(code(ADD))
