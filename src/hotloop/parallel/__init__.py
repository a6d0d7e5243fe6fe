"""Data-parallel Python: primitives on sequences. `from hotloop.parallel import gather, scan`.

Inside of `@cu` functions they are known by name without an import. Outside, each can be called by itself and runs on the
current place; what it gives is a cuarray, a number or a tuple.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "abs", "acos", "acosh", "adjacent_difference", "all", "any", "argmax", "argmin", "argsort", "asin", "asinh", "atan", "atan2",
    "atanh", "bool", "bool_", "bounded_range", "cast_to", "cast_to_el", "cbrt", "ceil", "cmp_eq", "cmp_ge", "cmp_gt", "cmp_le",
    "cmp_lt", "cmp_ne", "concatenate", "copysign", "cos", "cosh", "count", "drop", "enumerate", "evens", "exclusive_rscan",
    "exclusive_scan", "exp", "exp2", "expm1", "filter", "flatten", "float", "float32", "float64", "floor", "fma", "gather",
    "histogram", "hypot", "indices", "int", "int32", "int64", "interleave", "isfinite", "isinf", "isnan", "join", "len", "lengths",
    "log", "log1p", "log2", "log10", "map", "max", "max_bound", "max_bound_el", "maximum", "min", "min_bound", "min_bound_el",
    "minimum", "ndindex", "odds", "op_add", "op_and", "op_band", "op_bor", "op_div", "op_floordiv", "op_invert", "op_lshift",
    "op_mod", "op_mul", "op_neg", "op_not", "op_or", "op_pos", "op_pow", "op_rshift", "op_sub", "op_xor", "pack", "partition",
    "permute", "pow", "prod", "random_bits", "random_normal", "random_uniform", "range", "reduce", "reduce_by_key", "replicate",
    "reversed", "rotate", "round", "rscan", "scan", "scatter", "scatter_reduce", "searchsorted", "segmented_reduce",
    "segmented_scan", "segmented_sort", "segments", "shift", "sign", "sin", "sinh", "sort", "sort_by_key", "sqrt", "stencil", "sum",
    "take", "tan", "tanh", "top_k", "trunc", "unique", "unique_counts", "unzip", "update", "where", "zip",
]  # fmt: skip


def __getattr__(name: str) -> Any:  # Any: a Primitive
    """Return a primitive. All are made when the first one is asked for."""
    if name not in __all__:
        raise AttributeError(f"there is no primitive {name!r} in hotloop.parallel.")
    from hotloop.parallel.eager import PRIMITIVES

    return PRIMITIVES[name]
