"""Radix sort out of `exclusive_scan` and `permute`: integers by one bit after the other, from the lowest up.

A scan over the flags "this bit is 0" says how many such numbers come before each, which is where those with a 0 go;
those with a 1 follow behind. `sort(x)` is there too, and faster: this shows how such an algorithm is written.
"""

from __future__ import annotations

import numpy as np

from hotloop import cu, cuarray
from hotloop.parallel import exclusive_scan, op_add, permute


@cu
def split(x, bit):
    """Return the numbers whose bit is 0 and then those whose bit is 1, otherwise in order."""
    zeros = [1 - (a >> bit & 1) for a in x]
    before = exclusive_scan(op_add, 0, zeros)
    first_one = sum(zeros)
    places = [zeros_before if zero == 1 else first_one + i - zeros_before for i, (zero, zeros_before) in enumerate(zip(zeros, before))]
    return permute(x, places)


@cu
def radix_sort(x, bits):
    """Return numbers of so many bits, which are not negative, in ascending order."""
    for bit in range(bits):
        x = split(x, bit)
    return x


def numbers(size: int, bits: int) -> np.ndarray:
    """Return the numbers to sort."""
    return np.random.default_rng(1).integers(0, 2**bits, size)


def reference(size: int, bits: int) -> np.ndarray:
    """Sort them with NumPy."""
    return np.sort(numbers(size, bits))


def main(size: int = 100_000, bits: int = 20) -> cuarray:
    """Print what a few numbers look like after each bit, then sort many; return those."""
    few = cuarray([5, 2, 7, 1, 4, 6, 0, 3])
    print(f"at first     {few}")
    for bit in range(3):
        few = split(few, bit)
        print(f"after bit {bit}  {few}")
    found = radix_sort(numbers(size, bits), bits)
    print(f"{size} numbers of {bits} bits, the first ones {found[:5]}, the last ones {found[-3:]}")
    return found


if __name__ == "__main__":
    main()
