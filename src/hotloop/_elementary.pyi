"""Types of `hotloop._elementary` (ops/c/module.c): name_f32(out, x, ...) and name_f64, over contiguous buffers."""

from collections.abc import Callable

def __getattr__(name: str) -> Callable[..., None]: ...
