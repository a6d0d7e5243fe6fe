"""The longest Collatz chain: halve even numbers, triple odd ones and add 1, and count until 1 is reached.

Each chain is a `while` loop of unknown length. `max` of pairs (length, -start) finds the longest chain, and of
equals the one with the smallest start, without ever putting a chain length in memory.
"""

from __future__ import annotations

from hotloop import cu


@cu
def chain(n):
    """Return how many steps lead from n to 1."""
    steps = 0
    while n != 1:
        n = n // 2 if n % 2 == 0 else 3 * n + 1
        steps += 1
    return steps


@cu
def longest(below):
    """Return the start of the longest chain that starts below a number, and its length."""
    steps, start = max([(chain(n), -n) for n in range(1, below)])
    return -start, steps


def reference(below: int) -> tuple[int, int]:
    """Find the same in Python, which keeps the lengths of chains that it knows."""
    known = {1: 0}
    for start in range(2, below):
        n, path = start, []
        while n not in known:
            path.append(n)
            n = n // 2 if n % 2 == 0 else 3 * n + 1
        for ahead, passed in enumerate(reversed(path), 1):
            known[passed] = known[n] + ahead
    return max(range(1, below), key=lambda start: (known[start], -start)), max(known[start] for start in range(1, below))


def main(below: int = 1_000_000) -> list[tuple[int, int]]:
    """Print the longest chains below powers of ten; return them."""
    found = []
    limit = 10
    while limit <= below:
        found.append(longest(limit))
        print(f"below {limit:>9}: from {found[-1][0]:>7}, {found[-1][1]:>3} steps")
        limit *= 10
    return found


if __name__ == "__main__":
    main()
