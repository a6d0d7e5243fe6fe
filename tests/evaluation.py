"""Evaluating traced objects in tests: by the reference, and by the native target with the same bits.

HOTLOOP_TEST_TARGET=reference leaves the native target out, for work on the frontend alone.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

import hotloop as hl
from hotloop.ir.reference import run


def evaluate(x: Any, memory: dict[Any, Any] | None = None) -> Any:
    """Return the value of a traced object, or of a list of them, as NumPy arrays and scalars.

    The native result must have the reference's bits. memory: cells' values, for the reference alone.
    """
    many = isinstance(x, (list, tuple))
    traced = list(x) if many else [x]
    results = [np.asarray(r)[()] for r in run([item.node for item in traced], {} if memory is None else memory)]
    if memory is None and os.environ.get("HOTLOOP_TEST_TARGET") != "reference":
        for item, result in zip(traced, results, strict=True):
            _check_native(item, result)
    return results if many else results[0]


def _check_native(item: Any, expected: Any) -> None:
    target = hl.Target()
    target.compile(item)
    target.run()
    native = target.read_value(item)
    found = np.asarray(evaluate(native) if hasattr(native, "node") else native).reshape(np.shape(expected))
    np.testing.assert_array_equal(found.astype(np.asarray(expected).dtype), expected)
