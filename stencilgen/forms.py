"""How numbers are written into instructions: the neutral form of the relocation types of every architecture.

Sources: AMD64 psABI table 4.9; ELF for the Arm Architecture (aaelf32) 5.6.1; ELF for the Arm 64-bit
Architecture (aaelf64) 5.7; RISC-V ELF psABI, "Relocations".
"""

from __future__ import annotations

from dataclasses import dataclass

Piece = tuple[int, int, int]  # first bit of the number, bits, first bit of the field


@dataclass(frozen=True, slots=True)
class Form:
    """A field of an instruction, in pieces, after `bias` is added to the number.

    size: bytes of the instruction. bits: of the signed range that fits, 0 where nothing is checked.
    ones: bits of the instruction that stand for a zero. twice: bits of the number that also change other bits.
    """

    size: int
    bits: int
    pieces: tuple[Piece, ...]
    bias: int = 0
    ones: int = 0
    twice: tuple[tuple[int, int], ...] = ()

    def masks(self) -> list[int]:
        """Return for each bit of the number the bits of the instruction that it changes."""
        found = [0] * 32
        for low, count, at in self.pieces:
            for k in range(count):
                found[low + k] ^= 1 << (at + k)
        for bit, mask in self.twice:
            found[bit] ^= mask
        return found

    def field(self) -> int:
        """Return the bits of the instruction that the number decides."""
        total = self.ones
        for mask in self.masks():
            total |= mask
        return total

    def cleared(self, word: int) -> int:
        """Return the instruction with the field of a number that is -bias."""
        return (word & ~self.field()) | self.ones

    def decoded(self, word: int) -> int:
        """Return the number in an instruction, without its bias."""
        word = (word ^ self.ones) & self.field()
        number, masks = 0, self.masks()
        for bit in sorted((b for b in range(32) if masks[b]), reverse=True):
            others = 0
            for b in range(bit):
                others |= masks[b]
            if word & masks[bit] & ~others:
                number |= 1 << bit
                word ^= masks[bit]
        top = max(b for b in range(32) if masks[b])
        number -= (number >> top & 1) << (top + 1)
        lowest = min(low for low, _, _ in self.pieces)
        # the addend of an upper half is as short as the field, and counts from bit 0 (aaelf32, 5.6.1.1)
        return (number >> 16 if lowest == 16 else number) - self.bias


WORD = Form(4, 0, ((0, 32, 0),))

X86 = {2: WORD, 4: WORD, 10: WORD, 11: WORD}  # PC32, PLT32, 32, 32S

_THUMB_BRANCH = Form(
    4, 25, ((1, 11, 16), (12, 10, 0), (22, 1, 27), (23, 1, 29), (24, 1, 10)), ones=1 << 29 | 1 << 27,
    twice=((24, 1 << 29 | 1 << 27),),
)  # fmt: skip  # T4: J1 = not (I1 xor S), J2 = not (I2 xor S)
_ARM_BRANCH = Form(4, 26, ((2, 24, 0),))
ARM = {
    3: WORD,  # REL32
    10: _THUMB_BRANCH, 30: _THUMB_BRANCH,  # THM_CALL, THM_JUMP24
    51: Form(4, 21, ((1, 11, 16), (12, 6, 0), (18, 1, 29), (19, 1, 27), (20, 1, 10))),  # THM_JUMP19
    28: _ARM_BRANCH, 29: _ARM_BRANCH,  # CALL, JUMP24
    45: Form(4, 0, ((0, 12, 0), (12, 4, 16))), 46: Form(4, 0, ((16, 12, 0), (28, 4, 16))),  # MOVW_PREL_NC, MOVT_PREL
    49: Form(4, 0, ((0, 8, 16), (8, 3, 28), (11, 1, 10), (12, 4, 0))),  # THM_MOVW_PREL_NC
    50: Form(4, 0, ((16, 8, 16), (24, 3, 28), (27, 1, 10), (28, 4, 0))),  # THM_MOVT_PREL
}  # fmt: skip

_A64_BRANCH, _A64_NEAR = Form(4, 28, ((2, 26, 0),)), Form(4, 21, ((2, 19, 5),))
AARCH64 = {
    261: WORD, 273: _A64_NEAR, 280: _A64_NEAR,  # PREL32, LD_PREL_LO19, CONDBR19
    274: Form(4, 21, ((0, 2, 29), (2, 19, 5))),  # ADR_PREL_LO21
    279: Form(4, 16, ((2, 14, 5),)), 282: _A64_BRANCH, 283: _A64_BRANCH,  # TSTBR14, JUMP26, CALL26
}  # fmt: skip

RISCV_HIGH = Form(4, 32, ((12, 20, 12),), bias=0x800)
RISCV_LOW, RISCV_LOW_STORE = Form(4, 0, ((0, 12, 20),)), Form(4, 0, ((0, 5, 7), (5, 7, 25)))
RISCV = {
    16: Form(4, 13, ((11, 1, 7), (1, 4, 8), (5, 6, 25), (12, 1, 31))),  # BRANCH
    17: Form(4, 21, ((12, 8, 12), (11, 1, 20), (1, 10, 21), (20, 1, 31))),  # JAL
    23: RISCV_HIGH, 24: RISCV_LOW, 25: RISCV_LOW_STORE, 57: WORD,  # PCREL_HI20, PCREL_LO12_I, PCREL_LO12_S, 32_PCREL
    44: Form(2, 9, ((5, 1, 2), (1, 2, 3), (6, 2, 5), (3, 2, 10), (8, 1, 12))),  # RVC_BRANCH
    45: Form(2, 12, ((5, 1, 2), (1, 3, 3), (7, 1, 6), (6, 1, 7), (10, 1, 8), (8, 2, 9), (4, 1, 11), (11, 1, 12))),  # RVC_JUMP
}  # fmt: skip
RISCV_CALLS = (18, 19)  # CALL, CALL_PLT: auipc and jalr, high and low
RISCV_LOWS = (24, 25)  # whose symbol is the place of the high part
RISCV_IGNORED = (51,)  # RELAX
