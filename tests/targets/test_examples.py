"""The examples, emulated on other machines, print and return what they do here."""

from __future__ import annotations

import importlib
from functools import partial

import numpy as np
import pytest
from tests.targets.emulation import TARGETS

import hotloop as hl

SHORT = ("inverse_kinematics", "pid_plant", "mpc", "biquad")  # the others run a thousand times and more
HERE = hl.Target


@pytest.mark.parametrize("name", SHORT)
@pytest.mark.parametrize("target", TARGETS)
def test_an_example_has_the_same_bits(target: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module(f"examples.{name}")
    wanted = np.asarray(module.main())
    monkeypatch.setattr(hl, "Target", partial(HERE, emulate=True))
    found = np.asarray(module.main(target))
    assert found.dtype == wanted.dtype
    np.testing.assert_array_equal(found.view(np.uint8), wanted.view(np.uint8))
