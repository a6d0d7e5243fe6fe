"""What all places must agree on: a function's results to the bit, or the kind of its exception."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hotloop import cu, cuarray, places
from hotloop.parallel.cuarray import as_ragged
from hotloop.parallel.forms import Ragged, Records, form_length

COMPILED = (places.sequential, places.openmp)
PLACES = (places.here, *COMPILED)


def agree(function: Callable[..., Any], *arguments: Any, lenient: bool = False) -> Any:
    """Return what a function gives, the same on all places. lenient: plain Python may have met nothing, of no known type."""
    made = cu(function)
    wanted = made(*arguments, target_place=places.here)
    for place in COMPILED:
        found = made(*arguments, target_place=place)
        assert_alike(found, wanted, lenient)
    return found


def all_refuse(function: Callable[..., Any], *arguments: Any, kind: type[Exception], match: str, here: str | None = None) -> None:
    """Expect an exception on all places; `here` is its text in plain Python, where that differs."""
    made = cu(function)
    for place in PLACES:
        with pytest.raises(kind, match=here if here is not None and place is places.here else match):
            made(*arguments, target_place=place)


# --------------------------------------------------------------------------------------------- comparing results


class Unlike(AssertionError):
    """Two places do not agree."""


def assert_alike(found: Any, wanted: Any, lenient: bool = False) -> None:
    """Compare results to the bit, but for the kind of NaN. lenient: types may differ, as plain Python does not know those of nothing."""
    if isinstance(wanted, tuple):
        if not isinstance(found, tuple) or len(found) != len(wanted):
            raise Unlike(f"{found!r} is not {wanted!r}")
        for a, b in zip(found, wanted, strict=True):
            assert_alike(a, b, lenient)
        return
    if isinstance(wanted, cuarray):
        if not isinstance(found, cuarray):
            raise Unlike(f"{found!r} is not {wanted!r}")
        _assert_forms(found.form, wanted.form, lenient)
        return
    if not lenient and type(found) is not type(wanted):
        raise Unlike(f"{found!r} is not {wanted!r}")
    _assert_forms(np.asarray(found), np.asarray(wanted), lenient)


def _assert_forms(found: Any, wanted: Any, lenient: bool) -> None:
    if not form_length_of(found) and not form_length_of(wanted):
        return  # the type of nothing is not known to plain Python
    if isinstance(wanted, Records) and isinstance(found, Records):
        if len(found.fields) != len(wanted.fields):
            raise Unlike(f"{found!r} is not {wanted!r}")
        for a, b in zip(found.fields, wanted.fields, strict=True):
            _assert_forms(a, b, lenient)
        return
    if isinstance(wanted, Ragged) or isinstance(found, Ragged):
        a, b = as_ragged(found), as_ragged(wanted)
        if a is None or b is None:
            raise Unlike(f"rows: {found!r} is not {wanted!r}")
        _assert_forms(a.offsets, b.offsets, False)
        _assert_forms(a.values, b.values, lenient or not len(b.offsets))
        return
    if isinstance(wanted, Records) != isinstance(found, Records):
        raise Unlike(f"{found!r} is not {wanted!r}")
    if lenient and found.dtype != wanted.dtype:
        with np.errstate(all="ignore"):
            wanted = wanted.astype(found.dtype)
    if found.dtype != wanted.dtype or found.shape != wanted.shape:
        raise Unlike(f"{found.dtype}{found.shape} is not {wanted.dtype}{wanted.shape}: {found!r}, {wanted!r}")
    nan = (found != found) & (wanted != wanted)
    a, b = np.where(nan, 0, found).astype(found.dtype), np.where(nan, 0, wanted).astype(found.dtype)
    if a.tobytes() != b.tobytes():
        views = [np.ascontiguousarray(array).reshape(-1).view(np.uint8).reshape(a.size, -1) for array in (a, b)]
        place = int(np.argmax((views[0] != views[1]).any(axis=1)))
        raise Unlike(f"at {place} of {a.shape} {a.dtype}: {found.reshape(-1)[place]!r} is not {wanted.reshape(-1)[place]!r}")


def form_length_of(form: Any) -> int:
    return 1 if isinstance(form, np.ndarray) and form.ndim == 0 else form_length(form)
