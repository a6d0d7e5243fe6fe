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
        if not any(op.ulp) or values[0].dtype.kind != "f":
            return np.asarray(op.numpy(*values))
        return _compiled(op.name, values)


def exact_fma(x: Any, y: Any, z: Any) -> np.ndarray[Any, Any]:
    """Return x * y + z with one rounding, which NumPy does not have."""
    return _compiled("fma", [np.asarray(x), np.asarray(y), np.asarray(z)])


def _compiled(name: str, values: list[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    from hotloop import _elementary

    shape = np.broadcast_shapes(*[a.shape for a in values])
    arrays = [np.ascontiguousarray(np.broadcast_to(a, shape)).reshape(-1) for a in values]
    out = np.empty(arrays[0].shape, arrays[0].dtype)
    short = "f32" if out.dtype == np.float32 else "f64"
    getattr(_elementary, f"{name}_{short}")(out, *arrays)
    return out.reshape(shape)
