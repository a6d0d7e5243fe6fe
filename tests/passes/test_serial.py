"""Sweeps written element by element: the bits of the reference, for all effects, types and sizes."""

from __future__ import annotations

import pytest
from tests.plan_execution import Machine
from tests.procedures import PROCEDURES, assert_bits, expected, sizes

from hotloop.backends.native import parallel
from hotloop.runtime import local
from hotloop.stencils.library import available, library

TARGETS = [name for name in available() if name.startswith("x86") and local.executes(name)]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", PROCEDURES)
def test_element_by_element_has_the_bits_of_the_reference(name: str, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "strips", lambda task: False)
    procedure, make = PROCEDURES[name]
    linked = parallel.link_parallel(procedure, target, library(target).meta["wide"])
    for size in sizes(name):
        for got, want in zip(Machine(linked).call(procedure, make(size)), expected(name, size), strict=True):
            assert_bits(got, want)
