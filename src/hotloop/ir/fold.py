"""Evaluating one row on constants, with the bits that every target computes."""

from __future__ import annotations

from typing import Any

import numpy as np

from hotloop.ir.op import Op


def evaluate(op: Op, values: list[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    """Return the row's value on arrays of its promoted operand types.

    Rows that NumPy only approximates (`ulp` above 0) are computed by the C that stencils are made
    of, so a folded constant has the bits of the same computation at run time.
    """
    with np.errstate(all="ignore"):
        if not any(op.ulp) or not values[0].dtype.kind == "f":
            return np.asarray(op.numpy(*values))
        return _elementary(op, values)


def _elementary(op: Op, values: list[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    from hotloop import _elementary

    arrays = [np.ascontiguousarray(a) for a in np.broadcast_arrays(*values)]
    out = np.empty(arrays[0].shape, arrays[0].dtype)
    short = "f32" if out.dtype == np.float32 else "f64"
    flat = [a.reshape(-1) for a in arrays]
    getattr(_elementary, f"{op.name}_{short}")(out.reshape(-1), *flat)
    return out
