"""Whether compiled functions give what place `here` gives: types, lengths and bits."""

from __future__ import annotations

from typing import Any

import numpy as np

from hotloop.errors import HotloopError
from hotloop.parallel import here
from hotloop.parallel.cuarray import as_ragged, cuarray
from hotloop.parallel.forms import Form, Ragged, Records
from hotloop.parallel.function import cu, cu_function

SIZES = (0, 1, 2, 31, 32, 33, 1000)  # around the width of vectors and of the partial results of reductions


def agree(function: Any, *arguments: Any) -> Any:
    """Assert that a function gives the same compiled and on `here`, be it an exception; return what it gives."""
    compiled = function if isinstance(function, cu_function) else cu(function)
    found, wanted = outcome(compiled, *arguments), outcome(lambda *given: here.run(compiled.__wrapped_function__, given), *arguments)
    if isinstance(wanted, Exception) or isinstance(found, Exception):
        assert type(found) is type(wanted), (found, wanted)
    else:
        assert_same(found, wanted)
    return found


def outcome(function: Any, *arguments: Any) -> Any:
    """Return a result, or the exception that was raised."""
    try:
        return function(*arguments)
    except HotloopError as error:
        return error


def assert_same(found: Any, wanted: Any) -> None:
    """Assert that two results are equal to the bit, but that NaN is NaN."""
    assert type(found) is type(wanted), (found, wanted)
    if isinstance(wanted, tuple):
        assert len(found) == len(wanted), (found, wanted)
        for one, other in zip(found, wanted, strict=True):
            assert_same(one, other)
    elif isinstance(wanted, cuarray):
        assert_same_form(found.form, wanted.form)
    else:
        assert_same_form(np.asarray(found), np.asarray(wanted))


def assert_same_form(found: Form, wanted: Form) -> None:
    """Assert that two sequences are equal; rows of one length may be those of an array of more dimensions."""
    if isinstance(wanted, Records):
        assert isinstance(found, Records), (found, wanted)
        assert len(found.fields) == len(wanted.fields)
        for one, other in zip(found.fields, wanted.fields, strict=True):
            assert_same_form(one, other)
    elif isinstance(wanted, Ragged) or isinstance(found, Ragged):
        one, other = as_ragged(found), as_ragged(wanted)
        assert one is not None, (found, wanted)
        assert other is not None, (found, wanted)
        np.testing.assert_array_equal(one.offsets, other.offsets)
        assert_same_form(one.values, other.values)
    else:
        assert isinstance(found, np.ndarray), (found, wanted)
        assert found.dtype == wanted.dtype, (found, wanted)
        np.testing.assert_array_equal(found, wanted)
        assert found.shape == wanted.shape
        if found.dtype.kind == "f":
            np.testing.assert_array_equal(np.signbit(found)[found == found], np.signbit(wanted)[wanted == wanted])
