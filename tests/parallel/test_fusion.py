"""What is fused: the steps of interpreted functions. Chains of maps make one sweep, and no array that is not a result."""

import numpy as np
import pytest

from hotloop import cu
from hotloop.ir.sweep import Allocate, Filter, Fold, Reduce, Scan, Scatter, Sort, Store, Sweep
from hotloop.parallel.function import Interpreted
from hotloop.parallel.interpreter.arguments import kinds_of

X = np.arange(6.0)
I = np.arange(6)  # noqa: E741


def steps_of(text, *arguments):
    function = cu(eval(text), source=text)
    interpreted = Interpreted(function, kinds_of(arguments, function.names))
    steps = interpreted.procedure.steps
    return [step for step in steps if isinstance(step, Sweep)], [step for step in steps if isinstance(step, Allocate)], steps


ONE_SWEEP = {
    "lambda x: [a + 1 for a in x]": 1,
    "lambda x: [a * 2 for a in [a + 1 for a in x]]": 1,
    "lambda x: map(lambda a, b: a + b, map(lambda a: a * 2, x), map(lambda a: a + 1, x))": 1,
    "lambda x: [a * b + c for a, b, c in zip(x, x, x)]": 1,
    "lambda x: [x[i] - x[i - 1] if i > 0 else x[i] for i in indices(x)]": 1,
    "lambda x: [(a + b) * 0.5 for a, b in zip(shift(x, -1, 0.0), shift(x, 1, 0.0))]": 1,
    "lambda x: rotate(reversed([a + 1 for a in x]), 2)": 1,
    "lambda x: [i * a for i, a in enumerate(x)]": 1,
    "lambda x: [a + b for a, b in zip(replicate(2.0, len(x)), x)]": 1,
    "lambda x: ([a + 1 for a in x], [a * 2 for a in x])": 2,
    "lambda x: unzip([(a, a + 1) for a in x])": 2,
    "lambda x: interleave(x, x)": 1,
    "lambda x: concatenate(x, evens(x))": 1,
    "lambda x: [[a * b for a in x] for b in x]": 1,
    "lambda x: x[1:][::2]": 1,
}


@pytest.mark.parametrize("text", ONE_SWEEP)
def test_chains_of_maps_make_one_sweep(text):
    sweeps, allocated, _ = steps_of(text, X)
    assert len(sweeps) == 1
    assert len(allocated) == ONE_SWEEP[text]
    assert all(isinstance(effect, (Store, Fold)) for effect in sweeps[0].effects)


def test_gathers_fuse_with_what_they_read():
    sweeps, allocated, _ = steps_of("lambda x, i: [a * 2 for a in gather([b + 1 for b in x], i)]", X, I)
    assert len(sweeps) == 1
    assert len(allocated) == 1


REDUCTIONS = [
    "lambda x: sum([a * a for a in x])",
    "lambda x: (sum(x), max(x), min(x), any([a > 1 for a in x]))",
    "lambda x: (sum([a * b for a, b in zip(x, x)]), sum([a for a in x if a > 0]))",
    "lambda x: reduce(lambda a, b: a * 0.5 + b, x, 1.0)",
    "lambda x: sum(shift(x, 1, 0.0))",
    "lambda x: (count(lambda a: a > 0, x), count(lambda a: a < 0, x))",
]


@pytest.mark.parametrize("text", REDUCTIONS)
def test_reductions_make_one_sweep_and_no_array(text):
    sweeps, allocated, _ = steps_of(text, X)
    assert len(sweeps) == 1
    assert not allocated
    assert all(isinstance(effect, (Fold, Reduce)) for effect in sweeps[0].effects)


def test_what_depends_on_a_reduction_comes_after_it():
    sweeps, allocated, _ = steps_of("lambda x: [a - sum(x) / len(x) for a in x]", X)
    assert len(sweeps) == 2
    assert len(allocated) == 1


def test_scans_and_filters_fuse_with_the_maps_before_them():
    for text, kind in {
        "lambda x: scan(op_add, [a * 2 for a in x])": Scan,
        "lambda x: [a for a in [b + 1 for b in x] if a > 2]": Filter,
        "lambda x: filter(lambda a: a > 2, map(lambda a: a * 3, x))": Filter,
        "lambda x: [a * 2 for a in x if a > 2]": Filter,
    }.items():
        sweeps, _, _ = steps_of(text, X)
        assert len(sweeps) == 1, text
        assert sum(isinstance(effect, kind) for effect in sweeps[0].effects) == 1


def test_scatter_copies_its_target_once():
    sweeps, allocated, _ = steps_of("lambda x, i: scatter([a * 2 for a in x], i, x)", X, I)
    assert len(sweeps) <= 2
    assert len(allocated) <= 1
    assert any(isinstance(effect, Scatter) for sweep in sweeps for effect in sweep.effects)


def test_orders_by_one_key_are_sorts_of_keys():
    for text in ("lambda x: sort(x)", "lambda x: sort(cmp_gt, x)", "lambda x: sort(lambda a, b: b < a, x)"):
        _, _, steps = steps_of(text, X)
        assert [type(step) for step in steps if not isinstance(step, Allocate)] == [Sort]


def test_sizes_do_not_matter():
    function = cu(eval("lambda x: sum(x)"), source="lambda x: sum(x)")
    assert [function(np.ones(n)) for n in (0, 1, 5, 1000)] == [0.0, 1.0, 5.0, 1000.0]
    assert len(function._compiled) == 1
