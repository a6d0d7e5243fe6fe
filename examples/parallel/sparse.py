"""A sparse matrix times a vector, for two ways of storing the matrix.

CSR keeps the elements of all rows one after the other, and where each row starts: each row is a sum over a range of its
own. ELL gives each row the same number of elements, filled up with zeros: a comprehension within a comprehension.
Both gather elements of the vector, with every index checked.
"""

from __future__ import annotations

import numpy as np

from hotloop import cu, cuarray


@cu
def csr(values, columns, starts, x):
    """Return the product with a matrix whose row i has the elements starts[i] to starts[i + 1]."""

    def row(i):
        return sum([values[k] * x[columns[k]] for k in range(starts[i], starts[i + 1])])

    return [row(i) for i in range(len(starts) - 1)]


@cu
def ell(values, columns, x):
    """Return the product with a matrix whose rows have the same number of elements."""
    return [sum([a * x[j] for a, j in zip(*row)]) for row in zip(values, columns)]


def laplacian(side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the matrix of differences between neighbours on a square grid, as CSR: values, columns, starts."""
    values: list[float] = []
    columns: list[int] = []
    starts = [0]
    for i, j in np.ndindex(side, side):
        around = [(p, q) for p, q in ((i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1)) if 0 <= p < side and 0 <= q < side]
        values += [float(len(around)), *[-1.0] * len(around)]
        columns += [i * side + j, *[p * side + q for p, q in around]]
        starts.append(len(values))
    return np.array(values), np.array(columns), np.array(starts)


def filled(values: np.ndarray, columns: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a CSR matrix as ELL: values and columns, each of one row for a row of the matrix."""
    lengths = np.diff(starts)
    within = np.arange(lengths.max()) < lengths[:, None]
    ell_values, ell_columns = np.zeros(within.shape), np.zeros(within.shape, np.int64)
    ell_values[within], ell_columns[within] = values, columns
    return ell_values, ell_columns


def vector(side: int) -> np.ndarray:
    """Return heights on the grid, row by row."""
    return np.random.default_rng(1).standard_normal(side * side)


def reference(side: int) -> np.ndarray:
    """Compute the product with a dense matrix."""
    values, columns, starts = laplacian(side)
    dense = np.zeros((side * side, side * side))
    dense[np.repeat(np.arange(side * side), np.diff(starts)), columns] = values
    return dense @ vector(side)


def main(side: int = 40) -> tuple[cuarray, cuarray]:
    """Multiply by both and print a few elements; return both products."""
    values, columns, starts = laplacian(side)
    x = vector(side)
    y, z = csr(values, columns, starts, x), ell(*filled(values, columns, starts), x)
    print(f"{len(starts) - 1} rows, {len(values)} elements that are not 0")
    print(f"{'CSR':>9} {'ELL':>9}")
    for a, b in zip(y[:5], z[:5], strict=True):
        print(f"{a:9.4f} {b:9.4f}")
    return y, z


if __name__ == "__main__":
    main()
