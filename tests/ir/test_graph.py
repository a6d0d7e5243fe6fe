"""The graph: interning, constants, freeing, source lines, errors, threads."""

from __future__ import annotations

import gc
import math
import re
import threading
import weakref
from pathlib import Path

import numpy as np
import pytest

from hotloop import _graph
from hotloop.dtypes import DType, bool_, float32, float64, int32, int64
from hotloop.errors import DivisionByZero, RangeError, ShapeError, TypeMismatch
from hotloop.ir.graph import (
    Cell,
    Constant,
    Node,
    apply,
    constant,
    convert,
    exact_numbers,
    input_node,
    param_node,
    reachable,
    source_line,
    state_node,
    structure,
    user_line,
)
from hotloop.ir.op import REGISTRY
from hotloop.ops.shape import broadcast_to, product, reduce, sum_

ADD, MUL, DIV, SQRT = (REGISTRY[name] for name in ("add", "mul", "div", "sqrt"))


def leaf(number: float = 1.5, dtype: DType = float64) -> Node:
    return input_node(np.asarray(number), dtype)


def column(size: int) -> Node:
    return input_node(np.zeros(size), float64)


def living() -> int:
    """Nodes alive, after the collector has run."""
    gc.collect()
    return int(_graph.table_count())


# -------------------------------------------------------------------------------------- interning


def test_equal_operations_are_one_node() -> None:
    x, y = leaf(), leaf()
    assert x + y is x + y
    assert x - y is x - y
    assert x - y is not y - x
    assert apply(SQRT, x * y) is apply(SQRT, x * y)


def test_commutative_operations_are_one_node_in_either_order() -> None:
    x, y = leaf(), leaf()
    assert x + y is y + x
    assert (x + y) * (y + x) is (x + y) * (x + y)


def test_array_operations_are_one_node_by_their_parameters() -> None:
    v = input_node(np.zeros((3, 4)), float64)
    assert reduce(sum_, v, (0,)) is reduce(sum_, v, (0,))
    assert reduce(sum_, v, (0,)) is not reduce(sum_, v, (1,))
    assert broadcast_to(v, (2, 3, 4)) is broadcast_to(v, (2, 3, 4))


def test_inputs_states_and_params_are_never_one_node() -> None:
    assert leaf() is not leaf()
    assert state_node(np.asarray(0.0), float64) is not state_node(np.asarray(0.0), float64)
    assert param_node(float64, ()) is not param_node(float64, ())


def test_types_tell_constants_apart() -> None:
    nodes = [constant(1, t) for t in (int32, int64, float32, float64)] + [constant(True)]
    assert len(set(nodes)) == 5
    assert constant(1.0, float64) is constant(1, float64)


def test_negative_zero_is_another_constant() -> None:
    assert constant(0.0, float64) is not constant(-0.0, float64)
    assert constant(-0.0, float64) is constant(-0.0, float64)
    assert math.copysign(1, constant(-0.0, float64).attr.value) == -1
    assert constant(np.array([0.0, 1.0])) is not constant(np.array([-0.0, 1.0]))


def test_all_nans_are_one_constant() -> None:
    assert constant(math.nan, float64) is constant(-math.nan, float64)


def test_constants_round_to_their_type() -> None:
    assert constant(0.1, float32).attr.value == float(np.float32(0.1))
    assert constant(np.float32(0.1)).attr.value == float(np.float32(0.1))


def test_constants_remember_what_was_written() -> None:
    assert constant(0.1, float32).attr.exact == 0.1
    assert constant(0.1, float32) is constant(0.1, float32)
    assert constant(0.1, float32) is not constant(np.float32(0.1), float32)  # Target(float="float64") tells them apart
    np.testing.assert_array_equal(constant(np.array([0.1, 1.0]), float32).attr.exact, [0.1, 1.0])
    assert constant(np.array([0.5, 1.0]), float32) is constant(np.array([0.5, 1.0], np.float32))


def test_constant_arrays_compare_by_bytes_and_are_read_only() -> None:
    source = np.arange(4.0)
    node = constant(source)
    assert node is constant(np.arange(4.0))
    source[0] = 9
    assert node.attr.value[0] == 0
    with pytest.raises(ValueError, match="read-only"):
        node.attr.value[0] = 1


def test_structural_zero_is_another_constant_than_a_measured_one() -> None:
    assert constant(0, float64, structural=True) is not constant(0, float64, structural=False)
    assert constant(1, float64, structural=True) is constant(1, float64, structural=False)


def test_python_numbers_are_32_bits_wide_unless_exact() -> None:
    assert (constant(1).dtype, constant(1.0).dtype, constant(True).dtype) == (int32, float32, bool_)
    with exact_numbers():
        assert (constant(1).dtype, constant(1.0).dtype, constant(True).dtype) == (int64, float64, bool_)
    assert constant(1).dtype is int32


def test_literals_take_the_type_of_what_they_meet() -> None:
    assert (leaf(1, float32) + 1).dtype is float32
    assert constant(0.1, float64) in (leaf(1, float64) * 0.1).args  # in either order: who lived first is first
    assert (leaf(1, int64) + 1).dtype is int64
    assert (leaf(1, int32) + 0.5).dtype is float32


def test_literals_seen_before_are_the_same_as_at_first() -> None:
    x = leaf(1, float32)
    for _ in range(3):
        assert x * 2 is x * 2.0
        assert (x * True).dtype is float32
    z = leaf(3, int32)
    assert (z + 1).dtype is int32
    assert (z + 1.0).dtype is float32
    assert (z + True).dtype is int32


def test_identities_compare_and_hash() -> None:
    x = leaf()
    assert len({x, x, x + 1.0}) == 2
    assert (x == x) is True
    assert (x != x) is False


def test_nodes_describe_themselves() -> None:
    x = input_node(np.zeros(3), float32, "speed")
    assert re.fullmatch(r"%\d+: float32\[3\] = input\(\) \[speed\]", repr(x))
    assert re.fullmatch(r"%\d+: float32\[3\] = mul\(%\d+, %\d+\)", repr(x * 2.5))


# ---------------------------------------------------------------------------------------- folding


def test_constants_fold() -> None:
    two, three = constant(2.0, float64), constant(3.0, float64)
    assert apply(ADD, two, three) is constant(5.0, float64)
    assert structure(sum_, [constant(np.arange(4.0))], {"axes": (0,)}, float64, ()) is constant(6.0, float64, structural=True)


def test_results_have_shapes_as_numpy() -> None:
    v, m = input_node(np.zeros(3), float64), input_node(np.zeros((2, 3)), float64)
    assert (v + m).shape == (2, 3)
    assert (v + leaf()).shape == (3,)
    assert (constant(2.0, float64) + v).shape == (3,)
    assert product(m, v).shape == (2,)


def test_conversion_to_the_same_type_is_the_same_node() -> None:
    x = leaf()
    assert convert(x, float64) is x
    assert convert(x, int32).dtype is int32
    assert convert(constant(2.75, float64), int32) is constant(2, int32)
    assert convert(constant(math.nan, float64), int64).attr.value == 0
    assert convert(constant(1e300, float64), int32).attr.value == 2**31 - 1


def test_reachable_lists_operands_first_and_next_values() -> None:
    x, state = leaf(), state_node(np.asarray(1.0), float64)
    state.attr.next = state * x
    total = state + 1.0
    nodes = reachable([total])
    assert set(nodes) == {x, state, state.attr.next, total, constant(1.0, float64)}
    assert [node.id for node in nodes] == sorted(node.id for node in nodes)


# ------------------------------------------------------------------------------------- freeing


def test_graphs_are_freed_with_what_refers_to_them() -> None:
    def build() -> Node:
        x = total = leaf()
        for k in range(100):
            total = total * x + (k + 1) * 0.37
        return total

    before = living()
    total = build()
    assert living() == before + 301
    del total
    assert living() == before


def test_a_node_dies_with_its_last_user() -> None:
    x = leaf()
    cell = weakref_of(x)
    y = x + x
    del x
    assert cell() is not None
    del y
    assert cell() is None


def weakref_of(node: Node) -> weakref.ref[object]:
    """Watch a node by an array that only it holds."""

    class Watched(np.ndarray):  # type: ignore[type-arg]
        pass

    node.attr.init = node.attr.init.view(Watched)
    return weakref.ref(node.attr.init)


def test_deep_chains_are_freed_without_recursion() -> None:
    before = living()
    x = leaf()
    total = x
    for _ in range(300_000):
        total = total + x
    assert len(reachable([total])) == 300_001
    del total, x
    assert living() <= before


def test_wide_and_deep_graphs_are_freed() -> None:
    before = living()
    layer = [leaf(k) for k in range(50)]
    for _ in range(2000):
        layer = [p * q for p, q in zip(layer, layer[1:] + layer[:1], strict=True)]
    del layer
    assert living() <= before


def test_cycles_through_states_are_collected() -> None:
    leaf() * 0.5  # literals seen before are kept
    before = living()
    for _ in range(20):
        one, two = state_node(np.asarray(0.0), float64), state_node(np.asarray(0.0), float64)
        one.attr.next = two + one * 0.5
        two.attr.next = one - two
        last = one
        for _ in range(50):
            last = last * two
        one.attr.next = last
        del one, two, last
    assert living() <= before


def test_a_long_chain_through_a_state_is_collected() -> None:
    before = living()
    state = state_node(np.asarray(0.0), float64)
    total = state
    for _ in range(100_000):
        total = total + state
    state.attr.next = total
    del state, total
    assert living() <= before


def test_node_made_again_after_its_death_is_new_and_whole() -> None:
    x, y = leaf(), leaf()
    for _ in range(1000):
        node = x * y
        assert node.args == (x, y)
        del node


# -------------------------------------------------------------------------------- lines of the user


def test_nodes_know_the_line_that_made_them() -> None:
    x = leaf()
    here = _line()
    y = x * 2.5 + x
    assert source_line(y) == f"test_graph.py:{here + 1}"
    v = reduce(sum_, input_node(np.zeros(4), float64), (0,))
    assert source_line(v) == f"test_graph.py:{here + 3}"


def test_the_line_of_a_call_over_several_lines_is_that_of_the_operation() -> None:
    x = leaf()
    here = _line()
    y = (
        x
        * 3.25
    )
    assert source_line(y) in {f"test_graph.py:{here + k}" for k in range(1, 5)}


def test_the_running_line_is_known() -> None:
    here = _line()
    assert user_line() == f"test_graph.py:{here + 1}"


def _line() -> int:
    import sys

    return sys._getframe(1).f_lineno


def test_nodes_made_for_another_take_its_line() -> None:
    x = leaf()
    first = x * 7.5
    _graph.set_origin(first)
    try:
        second = first + x
    finally:
        _graph.set_origin(None)
    third = first - x
    assert source_line(second) == source_line(first)
    assert source_line(third) != source_line(first)


def test_a_held_line_is_that_of_every_node() -> None:
    x = leaf()
    assert _graph.hold_origin()
    try:
        first = x * 7.25
        second = first + x
        assert not _graph.hold_origin()  # whoever holds it already lets it go
    finally:
        _graph.set_origin(None)
    assert source_line(first) == source_line(second)
    assert source_line(first) != source_line(first - x)


# -------------------------------------------------------------------------------------- literals


@pytest.mark.parametrize("number", [0, 0.0, -0.0, 1, -1.0, 0.5, 0.1, 3, -7, 1e-50, 1e-45, 3.4028234663852886e38, 2**24 + 1, 2**31 - 1])
@pytest.mark.parametrize("dtype", [int32, int64, float32, float64], ids=str)
@pytest.mark.parametrize("structural", [True, False])
def test_literals_are_the_constants_that_python_makes(number: float, dtype: DType, structural: bool) -> None:
    node = _graph.literal(number, dtype, structural)
    if isinstance(number, float) and not dtype.is_float:
        assert node is None
        return
    value = dtype.numpy.type(number).item()
    absorbs = structural and value == 0 and math.copysign(1.0, value) > 0
    same = Constant(value, dtype, absorbs, number if value != number else None)
    assert node.attr == same
    assert hash(node.attr) == hash(same)
    assert node.attr.exact == number
    assert node is constant(number, dtype, structural)


@pytest.mark.parametrize(
    ("number", "dtype"),
    [
        (math.inf, float32),
        (math.nan, float64),
        (1e39, float32),
        (2**31, int32),
        (2**63, int64),
        (2**53 + 1, float64),
        (True, int32),
        (1, bool_),
    ],
)
def test_literals_that_may_not_fit_are_left_to_python(number: float, dtype: DType) -> None:
    assert _graph.literal(number, dtype, True) is None


def test_constants_differ_by_every_field() -> None:
    first = Constant(0.0, float64, False)
    others = [
        Constant(-0.0, float64, False),
        Constant(0.0, float64, True),
        Constant(0.0, float32, False),
        Constant(0.0, float64, False, 1e-320),
    ]
    assert first == Constant(0.0, float64, False)
    assert all(first != other for other in others)
    assert Constant(math.nan, float64, False) == Constant(-math.nan, float64, False)
    assert first != 0.0
    with pytest.raises(TypeError, match="not supported between instances"):
        first < others[0]  # type: ignore[operator]  # noqa: B015 - it must not be a node


def test_zeros_of_one_thread_do_not_absorb_in_another() -> None:
    x = leaf()
    seen: list[Node] = []
    with exact_numbers():
        thread = threading.Thread(target=lambda: seen.append(x * 0.0))
        thread.start()
        thread.join()
        assert (x * 0.0).op is MUL
    assert seen[0].is_const
    assert (x * 0.0).is_const


@pytest.mark.parametrize("number", [0.25, 2.0, -4, 3.5])
def test_powers_of_two_are_shown_to_the_rows_that_want_them(number: float) -> None:
    x = leaf()
    assert (x * number).op is MUL
    assert (x / number).op is (DIV if number == 3.5 else MUL)


# ---------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("action", "error", "message"),
    [
        (lambda: leaf() & leaf(), TypeMismatch, r"test_graph\.py:\d+: and does not take \(float64, float64\)\. Convert first: hl\.int32"),
        (lambda: apply(REGISTRY["select"], leaf(1, int32), leaf(), leaf()), TypeMismatch, r"py:\d+: select does not take \(int32, float64"),
        (lambda: column(3) * column(2), ShapeError, r"test_graph\.py:\d+: mul of shapes \(3,\) and \(2,\)"),
        (lambda: leaf(1, int32) + 2**31, RangeError, r"2147483648 does not fit int32\. Pass dtype=int64"),
        (lambda: leaf(1, float32) * 1e39, RangeError, r"1e\+39 does not fit float32\. Pass dtype=float64"),
        (lambda: constant(1e39), RangeError, r"1e\+39 does not fit float32"),
        (lambda: apply(DIV, constant(1.0), constant(0.0)), DivisionByZero, r"test_graph\.py:\d+: the constant 1\.0 is divided by zero"),
        (lambda: apply(REGISTRY["mod"], constant(7), constant(0)), DivisionByZero, r"the constant 7 is divided by zero"),
        (lambda: product(column(3), column(2)), ShapeError, r"matrix product of shapes \(3,\) and \(2,\)"),
        (lambda: reduce(sum_, input_node(np.zeros((0, 2)), float64), (0,)), ShapeError, r"sum of no elements"),
        (lambda: apply(ADD), TypeError, r"apply\(op, \*operands\) needs a row and operands"),
        (lambda: apply(ADD, *[leaf()] * 8), TypeError, "apply takes at most 7 operands"),
        (lambda: _graph.intern(ADD, (1, 2), None, float64, (), 0), TypeError, "operands must be nodes"),
        (lambda: _graph.intern(ADD, [], None, float64, (), 0), TypeError, r"intern\(op, args, attr, dtype, shape, flags\)"),
        (lambda: _graph.reachable([1], lambda node: ()), TypeError, "expected nodes"),
        (lambda: _graph.wrap(1), TypeError, "wrap takes a node"),
        (lambda: _graph.set_origin(1), TypeError, "set_origin takes a node, a code object or None"),
        (lambda: type(leaf())(), TypeError, "cannot create"),
        (lambda: _graph.literal(1.0), TypeError, r"literal\(number, dtype, structural\)"),
        (lambda: _graph.dependents((), ()), TypeError, "dependents takes two lists of nodes"),
        (lambda: _graph.dependents([1], []), TypeError, "expected nodes"),
        (lambda: _graph.configure("", str, str, int, ADD, (1, 2, 3, 4, 5)), TypeError, "must derive from Constant"),
    ],
)
def test_errors_name_the_line_and_the_cure(action: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        action()  # type: ignore[operator]


@pytest.mark.parametrize("other", ["x", None, b"x", object(), 1j, [1j], np.array([None])], ids=repr)
def test_what_is_no_number_is_refused(other: object) -> None:
    with pytest.raises(TypeMismatch, match=r"test_graph\.py:\d+: .+ is no number\. Use numbers"):
        apply(ADD, leaf(), other)


def test_lists_and_arrays_are_constants() -> None:
    node = apply(ADD, leaf(), [1, 2])
    assert node.shape == (2,)
    assert node.dtype is float64
    assert apply(ADD, leaf(1, float32), np.arange(3)).dtype is float64  # NumPy arrays keep their own type


@pytest.mark.parametrize("count", [1, 3])
def test_wrong_numbers_of_operands_are_refused(count: int) -> None:
    with pytest.raises(TypeMismatch, match=rf"test_graph\.py:\d+: add takes 2 operands, not {count}"):
        apply(ADD, *[leaf()] * count)


def test_an_error_while_building_leaves_the_table_whole() -> None:
    class Odd:
        def __hash__(self) -> int:
            return 7

        def __eq__(self, other: object) -> bool:
            raise RuntimeError("not comparable")

    x = leaf()
    first = _graph.intern(ADD, (x, x), Odd(), float64, (), 0)
    with pytest.raises(RuntimeError, match="not comparable"):
        _graph.intern(ADD, (x, x), Odd(), float64, (), 0)
    assert first.args == (x, x)
    assert (x + x).args == (x, x)


# --------------------------------------------------------------------------------------- threads


def test_threads_build_one_graph_together() -> None:
    x, y = leaf(), leaf()
    found: list[list[Node]] = []
    barrier = threading.Barrier(4)

    def build() -> None:
        barrier.wait()
        total = x
        ids = []
        for k in range(3000):
            total = total * y + (k % 97) * 0.125 if k % 3 else total - x
            ids.append(total)
        found.append(ids)  # alive until all threads are done

    threads = [threading.Thread(target=build) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all(ids == found[0] for ids in found)


def test_threads_that_build_and_free_do_not_disturb_each_other() -> None:
    before = living()
    failures: list[BaseException] = []

    def build(seed: int) -> None:
        try:
            for _ in range(30):
                x = leaf(seed)
                total = x
                for _ in range(200):
                    total = total * x + seed
                    assert x in total.args[0].args + total.args[1].args
                assert len(reachable([total])) == 402
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=build, args=(k + 2,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert living() <= before + 8


def test_python_code_that_runs_during_an_allocation_finds_and_makes_the_same_nodes() -> None:
    x = leaf()
    chain = [x]
    for _ in range(500):
        chain.append(chain[-1] * x)
    held: dict[int, Node] = {}
    now = 0

    def build(phase: str, info: dict[str, int]) -> None:
        held[now] = chain[now] - x

    made, junk, before = [], [], gc.get_threshold()
    gc.callbacks.append(build)
    gc.set_threshold(2, 1000, 1000)
    try:
        for k in range(500):
            now = k
            junk.extend([[]] * (k % 5))  # so that each allocation of a node's making gets its turn
            made.append(chain[k] - x)
    finally:
        gc.set_threshold(*before)
        gc.callbacks.remove(build)
    assert len(held) > 100
    assert all(made[k] is node for k, node in held.items())


def test_exact_numbers_hold_in_their_own_thread_only() -> None:
    seen: list[DType] = []
    with exact_numbers():
        thread = threading.Thread(target=lambda: seen.append(constant(1.0).dtype))
        thread.start()
        thread.join()
        assert constant(1.0).dtype is float64
    assert seen == [float32]


def test_constants_and_cells_say_what_they_are() -> None:
    assert repr(Constant(0.0, float64, True)) == "0.0 structural"
    assert repr(Constant(1.0, float64, True)) == "1.0"
    assert repr(Cell(np.asarray(1.0), float64, "gain")) == "gain"


def test_the_package_is_told_from_the_user() -> None:
    assert not source_line(leaf()).startswith(Path(_graph.__file__).parent.name)


def test_a_walk_in_the_middle_of_a_walk_neither_loses_nor_repeats_nodes() -> None:
    state = state_node(np.asarray(1.0), float64)
    first = state * 3.0
    state.attr.next = first + 2.0
    outputs = [first * first]
    alone = [node.id for node in reachable(outputs)]
    interrupted = _graph.reachable(outputs, lambda node: (reachable([first]), (node.attr.next,))[1])
    assert [node.id for node in interrupted] == alone
    assert [node.id for node in reachable(outputs)] == alone
    state.attr.next = None
