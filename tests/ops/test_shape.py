"""The one order of reductions, for numbers and for nodes."""

from __future__ import annotations

import numpy as np
import pytest

from hotloop.dtypes import float32
from hotloop.ir.graph import Node, input_node, reachable
from hotloop.ops import shape as sh
from hotloop.passes.unroll import scalars_of, unroll


def joined(x: np.ndarray, y: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    return np.array([f"({a}+{b})" for a, b in zip(x, y, strict=True)], object)


@pytest.mark.parametrize("count", [*range(1, 70), 96, 100, 131, 1000])
def test_terms_are_folded_in_the_order_of_arrays(count: int) -> None:
    names = np.array([str(i) for i in range(count)], object)
    assert sh.fold_terms(count, names.__getitem__, lambda a, b: f"({a}+{b})") == sh.fold_halves(names, joined)


@pytest.mark.parametrize("count", [10, 32, 500])
def test_few_partial_results_wait_at_once(count: int) -> None:
    alive = most = 0

    def term(place: int) -> int:
        nonlocal alive, most
        alive += 1
        most = max(most, alive)
        return place

    def combine(a: int, b: int) -> int:
        nonlocal alive
        alive -= 1
        return a + b

    assert sh.fold_terms(count, term, combine) == count * (count - 1) // 2
    assert most <= 7


def leaf(*shape: int) -> Node:
    return input_node(np.ones(shape), float32)


@pytest.mark.parametrize(
    "result",
    [
        sh.product(leaf(3, 5), leaf(5, 2)),
        sh.product(leaf(2, 3, 5), leaf(5, 4)),
        sh.reduce(sh.sum_, leaf(4, 6), (1,)),
        sh.reduce(sh.amax, leaf(4, 6), (0,)),
    ],
    ids=lambda node: str(node.op),
)
def test_each_result_is_made_after_the_one_before(result: Node) -> None:
    found = unroll([result])
    last = -1
    for scalar in scalars_of(found, result):
        made = [node.id for node in reachable([scalar]) if len(node.args) == 2]
        assert min(made) > last
        last = max(made)
        assert last == scalar.id
