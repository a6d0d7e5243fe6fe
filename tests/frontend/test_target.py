"""Target: compiling, running, and moving numbers in and out."""

import contextlib
import dataclasses
import gc
import math
import subprocess
import sys
from collections import deque, namedtuple
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hotloop as hl
from hotloop.frontend.reading import Reading

Pair = namedtuple("Pair", "a b")


@dataclasses.dataclass
class Arm:
    angle: object
    joints: list


@pytest.fixture(params=["native", "reference"])
def tg(request):
    return hl.Target(request.param)


def compiled(tg, *values, **options):
    tg.compile(*values, **options)
    tg.run()
    return tg


# ------------------------------------------------------------------------------------- reading


def test_scalars_are_read_as_exact_python_types(tg):
    x, i, b = hl.value(1.5), hl.value(3), hl.value(True)
    y, j, c = x * 2.0, i + 4, x > 1.0
    compiled(tg, y, j, c, b)
    assert [(type(tg.read_value(v)), tg.read_value(v)) for v in (y, j, c, b)] == [(float, 3.0), (int, 7), (bool, True), (bool, True)]


def test_arrays_are_read_as_lists_that_compute(tg):
    v, t = hl.vector.input([1.0, 2.0]), hl.tensor.input([[1, 2], [3, 4]])
    w, u, q = v * 2.0, t + 1, hl.quaternion(1.0, 2.0, 3.0, v[0])
    compiled(tg, w, u, q)
    assert tg.read_value(w) == [2.0, 4.0]
    assert tg.read_value(u) == [[2, 3], [4, 5]]
    assert tg.read_value(q) == [1.0, 2.0, 3.0, 1.0]
    assert tg.read_value(q).z == 1.0
    assert tg.read_value(w) * 2 == [4.0, 8.0]
    assert tg.read_value(u)[1, 0] == 4
    assert isinstance(tg.read_value(u), Reading)
    assert type(tg.read_value(u)[0, 0]) is int


def test_a_tensor_without_axes_is_read_as_a_number(tg):
    t = hl.tensor(42) + 1
    compiled(tg, t)
    assert t.shape == ()
    assert tg.read_value(t) == 43


def test_containers_come_back_as_they_are(tg):
    x = hl.value(2.0)
    tree = {"list": [x, x + 1.0, 5, None], "pair": Pair(x * x, "text"), "arm": Arm(x - 1.0, [(x,), x / 4.0])}
    compiled(tg, tree)
    assert tg.read_value(tree) == {"list": [2.0, 3.0, 5, None], "pair": Pair(4.0, "text"), "arm": Arm(1.0, [(2.0,), 0.5])}
    assert type(tg.read_value(tree)["pair"]) is Pair


def test_numbers_beside_traced_values_are_read_as_they_are(tg):
    x = hl.value(1.0)
    compiled(tg, [x, 7, np.float32(2.5)])
    assert tg.read_value([x, 7, np.float32(2.5)]) == [1.0, 7, 2.5]
    assert tg.read_value(3.5) == 3.5


def test_iterables_are_taken_as_lists(tg):
    x = hl.value(1.0)
    parts = {"a": x, "b": x + 1.0}
    compiled(tg, parts.values(), deque([x + 2.0]), (x * i for i in (5.0, 6.0)))
    assert tg.read_value(parts.values()) == [1.0, 2.0]
    assert tg.read_value(deque([x + 2.0])) == [3.0]
    assert tg.read_value(x * 6.0) == 6.0


def test_constants_can_be_compiled_and_read(tg):
    v = hl.vector([1.0, 2.0])
    compiled(tg, v, hl.eye(2))
    assert tg.read_value(v) == [1.0, 2.0]
    assert tg.read_value(hl.eye(2)) == [[1.0, 0.0], [0.0, 1.0]]


def test_inputs_can_be_read_before_and_after_a_run(tg):
    x = hl.value(0.5)
    tg.compile(x * 2.0)
    assert tg.read_value(x) == 0.5


def test_intermediate_values_are_kept_on_request(tg):
    x = hl.value(3.0)
    hidden = x + 1.0
    compiled(tg, hidden * 2.0, keep=[hidden])
    assert tg.read_value(hidden) == 4.0
    compiled(tg, hidden * 3.0, keep=hidden)
    assert tg.read_value(hidden) == 4.0


def test_reading_what_was_not_compiled_names_it_and_its_line(tg):
    x = hl.value(1.0, name="gain")
    y = x * 3.0
    tg.compile(x + 1.0)
    with pytest.raises(hl.NotCompiled, match=r"test_target.py:\d+: mul \(float32, test_target.py:\d+\) is not in the program .* keep="):
        tg.read_value(y)
    with pytest.raises(hl.NotCompiled, match=r"other \(float32, test_target.py:\d+\) is not in the program"):
        tg.read_value(hl.value(1.0, name="other"))


def test_values_of_another_program_are_not_read_or_written(tg):
    a, b = hl.value(1.0), hl.value(2.0)
    other = hl.Target()
    tg.compile(a + 1.0)
    other.compile(b + 1.0)
    with pytest.raises(hl.NotCompiled, match="is not in the program that this target compiled"):
        tg.read_value(b + 1.0)
    with pytest.raises(hl.NotCompiled, match="is not in the program that this target compiled"):
        tg.write_value(b, 1.0)


def test_objects_that_are_no_values_are_refused(tg):
    tg.compile(hl.value(1.0))
    with pytest.raises(hl.TypeMismatch, match=r"value\[1\] is of type object"):
        tg.read_value([1, object()])
    with pytest.raises(hl.TypeMismatch, match=r"argument 0\['f'\] of compile\(\) is of type builtin_function_or_method"):
        tg.compile({"f": len})


def test_read_array_gives_a_copy_of_the_right_type(tg):
    v = hl.vector.input([1.0, 2.0])
    w = v + 1.0
    compiled(tg, w)
    found = tg.read_array(w)
    tg.write_value(v, [5.0, 6.0])
    tg.run()
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, [2.0, 3.0])
    with pytest.raises(hl.TypeMismatch, match="read_array takes a traced value or array, not list"):
        tg.read_array([w])


def test_elements_of_a_packed_vector_are_found_where_they_are(tg):
    a, b = hl.value(1.0), hl.value(2.0)
    tg.compile(a + b)
    assert tg.read_value(hl.vector([a, b])) == [1.0, 2.0]


def test_read_value_remote_reads(tg):
    x = hl.value(2.0)
    compiled(tg, x + 1.0)
    assert tg.read_value_remote(x + 1.0) == 3.0


# ------------------------------------------------------------------------------------- writing


def test_written_scalars_are_used_by_the_next_run(tg):
    x = hl.value(0.5)
    y = x * 2.0
    compiled(tg, y)
    for number in (3, 0.25, np.float32(1.5), np.float64(2.5), np.int8(4), True, Fraction(1, 4)):
        tg.write_value(x, number)
        tg.run()
        assert tg.read_value(y) == float(number) * 2.0


def test_vectors_take_lists_tuples_arrays_and_readings(tg):
    v = hl.vector.input([0.0, 0.0, 0.0])
    y = v * 2.0
    compiled(tg, y)
    for data in ([1.0, 2.0, 3.0], (1, 2, 3), np.array([1, 2, 3]), np.array([1.0, 2.0, 3.0]), np.arange(1, 4, dtype=np.float32),
                 Reading([1.0, 2.0, 3.0]), np.array([3.0, 2.0, 1.0])[::-1], [np.float64(1), np.int32(2), 3]):  # fmt: skip
        tg.write_value(v, [0, 0, 0])
        tg.write_value(v, data)
        tg.run()
        assert tg.read_value(y) == [2.0, 4.0, 6.0]


def test_tensors_and_quaternions_are_written_whole(tg):
    t, q = hl.tensor.input(np.zeros((2, 2))), hl.quaternion.input()
    compiled(tg, t * 1.0, q * 1.0)
    tg.write_value(t, [[1, 2], (3, 4)])
    tg.write_value(q, [0.5, 0.5, 0.5, 0.5])
    assert tg.read_value(t) == [[1.0, 2.0], [3.0, 4.0]]
    tg.write_value(t, np.ones((2, 2)))
    assert tg.read_value(t) == [[1.0, 1.0], [1.0, 1.0]]
    assert tg.read_value(q) == [0.5, 0.5, 0.5, 0.5]


def test_lists_of_values_are_written_by_lists_and_arrays(tg):
    values = [hl.value(0.0) for _ in range(5)]
    total = hl.vector(values).sum()
    compiled(tg, total)
    for holder in (values, tuple(values), hl.vector(values)):
        for data in ([1, 2, 3, 4, 5], np.arange(1.0, 6.0), (1.0, 2.0, 3.0, 4.0, 5)):
            tg.write_value(holder, [0] * 5)
            tg.write_value(holder, data)
            assert tg.read_value(holder) == [1.0, 2.0, 3.0, 4.0, 5.0] or tg.read_value(holder) == (1.0, 2.0, 3.0, 4.0, 5.0)
            tg.run()
            assert tg.read_value(total) == 15.0


def test_values_of_different_types_and_places_are_written_each(tg):
    a, b, c, d = hl.value(0.0), hl.value(0), hl.value(False), hl.value(0.0)
    compiled(tg, a + d, b + 1, c)
    tg.write_value([d, c, b, a], [1.5, True, 2, 0.25])
    assert tg.read_value([a, b, c, d]) == [0.25, 2, True, 1.5]
    tg.write_value(hl.tensor([[d, a], [a, d]])[0], [7.0, 8.0])
    assert tg.read_value([a, d]) == [8.0, 7.0]


def test_a_list_that_changed_is_looked_at_anew(tg):
    a, b, c = (hl.value(0.0) for _ in range(3))
    compiled(tg, a + b + c)
    holder = [a, b]
    tg.write_value(holder, [1.0, 2.0])
    holder[1] = c
    tg.write_value(holder, [5.0, 6.0])
    assert tg.read_value([a, b, c]) == [5.0, 2.0, 6.0]
    holder.append(b)
    assert tg.read_value(holder) == [5.0, 6.0, 2.0]


def test_a_vector_whose_element_was_set_is_looked_at_anew(tg):
    v = hl.vector.input([1.0, 2.0])
    compiled(tg, v * 1.0)
    w = v.copy()
    tg.write_value(w, [3.0, 4.0])
    w[0] = 9.0
    with pytest.raises(hl.NotWritable, match="is computed; only inputs"):
        tg.write_value(w, [5.0, 6.0])


def test_structures_are_written_by_structures(tg):
    x, v = hl.value(0.0), hl.vector.input([0.0, 0.0])
    tree = {"x": x, "arm": Arm(v, [hl.value(0)])}
    compiled(tg, x + v, tree)
    tg.write_value(tree, {"x": 1.0, "arm": Arm([2.0, 3.0], [4])})
    assert tg.read_value(tree) == {"x": 1.0, "arm": Arm([2.0, 3.0], [4])}
    tg.write_value(tree, {"arm": {"angle": np.array([5.0, 6.0]), "joints": (7,)}, "x": 8})
    assert tg.read_value(tree) == {"x": 8.0, "arm": Arm([5.0, 6.0], [7])}
    with pytest.raises(hl.ShapeError, match=r"data must have the keys \['x', 'arm'\], but differs in 'arm'"):
        tg.write_value(tree, {"x": 1.0})
    with pytest.raises(hl.ShapeError, match="differs in 'y'"):
        tg.write_value(tree, {"x": 1.0, "arm": None, "y": 2})


def test_an_error_writes_nothing_at_all(tg):
    x, y, v = hl.value(1.0), hl.value(2), hl.vector.input([3.0, 4.0])
    compiled(tg, x + v, y)
    with pytest.raises(hl.TypeMismatch, match=r"input \(int32, .*\) is int32, but 2.5 is no integer. Round it first"):
        tg.write_value([x, v, y], [9.0, [9.0, 9.0], 2.5])
    with pytest.raises(hl.RangeError, match=r"element \[1\] of input \(float32\[2\], .*\): the number 1e\+300 does not fit float32"):
        tg.write_value(v, [9.0, 1e300])
    assert tg.read_value([x, v, y]) == [1.0, [3.0, 4.0], 2]


@pytest.mark.parametrize("data", [[1.0], [1.0, 2.0, 3.0], 1.0, [[1.0, 2.0]], np.zeros(3), np.zeros((1, 2)), "ab", {1: 2}, {1, 2}, None, []])
def test_data_of_another_shape_is_refused(tg, data):
    v = hl.vector.input([0.0, 0.0], name="speed")
    compiled(tg, v * 1.0)
    with pytest.raises((hl.ShapeError, hl.TypeMismatch), match=r"speed \(float32\[2\], test_target.py:\d+\)"):
        tg.write_value(v, data)
    assert tg.read_value(v) == [0.0, 0.0]


@pytest.mark.parametrize("data", [[1.0], [1.0, 2.0, 3.0], 1.0, np.zeros(3), "ab", {1: 2}, None, []])
def test_data_of_another_length_than_a_list_of_values_is_refused(tg, data):
    values = [hl.value(0.0), hl.value(0.0)]
    compiled(tg, values)
    with pytest.raises(hl.ShapeError, match=r"2 values|2 items"):
        tg.write_value(values, data)


@pytest.mark.parametrize("number", ["1", None, 1j, [1.0], b"1", object(), np.array(["a"]), np.datetime64("2020")])
def test_what_is_no_number_is_refused(tg, number):
    x = hl.value(0.0, name="speed")
    compiled(tg, x + 1.0)
    with pytest.raises((hl.TypeMismatch, hl.ShapeError), match=r"speed \(float32, test_target.py:\d+\)"):
        tg.write_value(x, number)


def test_a_traced_value_is_no_number_to_write(tg):
    x, y = hl.value(0.0), hl.value(1.0)
    compiled(tg, x + y)
    with pytest.raises(hl.TypeMismatch, match="It is traced: write numbers"):
        tg.write_value(x, y)


@pytest.mark.parametrize(
    ("initial", "number"),
    [(1, 2**31), (1, -(2**31) - 1), (1, 2**40), (1, 1e10), (1.0, 1e300), (1.0, 10**400), (True, 2), (1, np.int64(2**40)), (1, math.inf)],
)
def test_numbers_outside_the_type_are_refused_by_name(tg, initial, number):
    x = hl.value(initial, name="speed")
    compiled(tg, x * 1)
    with pytest.raises((hl.RangeError, hl.TypeMismatch), match=r"speed \(.*, test_target.py:\d+\)"):
        tg.write_value(x, number)


@pytest.mark.parametrize(
    "array",
    [np.array([0, 2**31]), np.array([0.0, 2.0**31]), np.array([0.0, math.nan]), np.array([0.0, 0.5]), np.array([0, 1 << 63], np.uint64)],
)
def test_arrays_outside_an_integer_type_are_refused_with_the_index(tg, array):
    v = hl.vector.input([1, 2])
    compiled(tg, v + 1)
    with pytest.raises((hl.RangeError, hl.TypeMismatch), match=r"element \[1\] of input \(int32\[2\]"):
        tg.write_value(v, array)


def test_whole_floats_are_integers_and_special_floats_are_floats(tg):
    i, x = hl.vector.input([1, 2]), hl.vector.input([0.0, 0.0])
    compiled(tg, i + 1, x * 1.0)
    tg.write_value(i, np.array([2.0, -(2.0**31)]))
    tg.write_value(x, np.array([math.inf, math.nan]))
    assert tg.read_value(i) == [2, -(2**31)]
    assert tg.read_value(x)[0] == math.inf
    assert math.isnan(tg.read_value(x)[1])


def test_constants_and_computed_values_are_not_writable(tg):
    x = hl.value(1.0)
    y = x + 1.0
    compiled(tg, y, hl.vector([1.0]))
    with pytest.raises(hl.NotWritable, match=r"add \(float32, test_target.py:\d+\) is computed; only inputs"):
        tg.write_value(y, 1.0)
    with pytest.raises(hl.NotWritable, match=r"const \(float32\[1\], .*\) is a constant; only inputs"):
        tg.write_value(hl.vector([1.0]), [2.0])
    with pytest.raises(hl.NotWritable, match=r"variables\[1\] is 2.0; only inputs"):
        tg.write_value([x, 2.0], [1.0, 2.0])


@given(st.lists(st.floats(width=32), min_size=1, max_size=40))
def test_what_is_written_is_read_back(numbers):
    v = hl.vector.input([0.0] * len(numbers))
    values = [hl.value(0.0) for _ in numbers]
    tg = hl.Target()
    tg.compile(v, values)
    for holder in (v, values):
        for data in (numbers, np.array(numbers), np.array(numbers, np.float32)):
            tg.write_value(holder, data)
            np.testing.assert_array_equal(tg.read_value(holder), numbers)


# --------------------------------------------------------------------------------- views, states


def test_views_are_the_memory_itself(tg):
    x, v = hl.value(1.0, name="x"), hl.vector.input([1.0, 2.0], name="v")
    y = v * x
    compiled(tg, {"y": y, "deep": {"z": [x + 1.0]}})
    assert set(tg.inputs) == {"x", "v"}
    assert set(tg.outputs) == {"y", "deep.z.0"}
    tg.inputs["v"][:] = [3.0, 4.0]
    tg.inputs["x"][...] = 2.0
    tg.run()
    np.testing.assert_array_equal(tg.outputs["y"], [6.0, 8.0])
    np.testing.assert_array_equal(tg.outputs[y], [6.0, 8.0])
    assert tg.outputs["deep.z.0"] == 3.0
    assert tg.view(v) is not None
    tg.inputs["x"] = 5
    tg.inputs[v] = [1, 1]
    tg.run()
    assert tg.read_value(y) == [5.0, 5.0]
    assert "v" in tg.inputs
    assert tg.inputs.get("nothing") is None
    with pytest.raises(hl.BoundsError, match=r"the program has no such name: 'w'. Known: x, v"):
        tg.inputs["w"]
    with pytest.raises(hl.RangeError, match=r"x \(float32, "):
        tg.inputs["x"] = 1e300


def test_outputs_have_the_number_of_their_argument(tg):
    x = hl.value(1.0)
    compiled(tg, x + 1.0, [x + 2.0, x + 3.0])
    assert list(tg.outputs) == ["0", "1.0", "1.1"]
    assert tg.outputs[0] == 2.0


def test_a_view_stays_with_its_program_after_recompiling():
    x = hl.value(1.0)
    tg = compiled(hl.Target(), x + 1.0)
    view = tg.view(x + 1.0)
    tg.compile(x + 5.0)
    del tg
    gc.collect()
    assert view == 2.0


def test_neighbours_have_one_view():
    values = [hl.value(float(i)) for i in range(4)]
    tg = compiled(hl.Target(), hl.vector(values).sum())
    np.testing.assert_array_equal(tg.view(values), [0.0, 1.0, 2.0, 3.0])
    tg.view(values)[:] = 1.0
    assert tg.read_value(values) == [1.0] * 4
    with pytest.raises(hl.ShapeError, match="do not lie one after another"):
        tg.view(values[::-1])


def test_states_carry_over_and_reset_starts_again(tg):
    x = hl.value(1.0)
    s = hl.state(10.0, name="total")
    s.next = s + x
    tg.compile(s.next)
    for _ in range(3):
        tg.run()
    assert tg.read_value(s) == 13.0
    tg.write_value(s, 100)
    tg.write_value(x, 2.0)
    tg.run_many(2)
    assert tg.states["total"] == 104.0
    tg.reset()
    assert tg.read_value([s, x]) == [10.0, 1.0]


# ------------------------------------------------------------------------------------- programs


def test_running_before_compiling_is_an_error(tg):
    for call in (tg.run, lambda: tg.run_many(2), lambda: tg.read_value(hl.value(1.0)), lambda: tg.write_value(hl.value(1.0), 1.0), tg.reset,
                 tg.report, lambda: tg.inputs, lambda: tg.outputs, lambda: tg.view(hl.value(1.0)), lambda: tg.read_value([1])):  # fmt: skip
        with pytest.raises(hl.NotCompiled, match=r"test_target.py:\d+: this target holds no program yet. Call compile"):
            call()


@pytest.mark.parametrize("values", [(), (5,), ([1, 2],), ("text",), (None,), ({},), ([], {"a": 1.0})])
def test_nothing_to_compile_is_an_error(tg, values):
    with pytest.raises(hl.TypeMismatch, match=r"test_target.py:\d+: there is nothing to compile: no traced value was given"):
        tg.compile(*values)


def test_a_failed_compile_leaves_the_program_as_it_was(tg):
    x = hl.value(1.0)
    compiled(tg, x + 1.0)
    with pytest.raises(hl.TypeMismatch, match="nothing to compile"):
        tg.compile()
    tg.run()
    assert tg.read_value(x + 1.0) == 2.0


def test_recompiling_replaces_the_program(tg):
    x = hl.value(1.0)
    compiled(tg, x + 1.0)
    compiled(tg, x * 10.0)
    assert tg.read_value(x * 10.0) == 10.0
    with pytest.raises(hl.NotCompiled, match="is not in the program"):
        tg.read_value(x + 1.0)


def test_targets_stand_side_by_side():
    x = hl.value(1.0)
    y = x + 1.0
    a, b = compiled(hl.Target(), y), compiled(hl.Target(), y)
    a.write_value(x, 5.0)
    a.run()
    b.run()
    assert (a.read_value(y), b.read_value(y)) == (6.0, 2.0)


def test_targets_can_be_made_and_dropped_by_the_hundred():
    x = hl.value(1.0)
    for i in range(200):
        tg = compiled(hl.Target(), x + float(i))
        assert tg.read_value(x + float(i)) == 1.0 + i


def test_unknown_targets_and_options_are_listed():
    with pytest.raises(hl.TargetError, match=r"test_target.py:\d+: unknown target 'z80'. Known: native, reference"):
        hl.Target("z80")
    with pytest.raises(hl.TargetError, match="the architecture is a name, not 5"):
        hl.Target(5)
    with pytest.raises(hl.TargetError, match=r"optimization='O9' is unknown\. Use one of O0, O1, O2, O3"):
        hl.Target(optimization="O9")
    with pytest.raises(hl.TargetError, match=r"float='float16' is unknown\. Use one of float32, float64"):
        hl.Target(float="float16")


@pytest.mark.parametrize("name", ["HOTLOOP_TARGET_ARCH", "CP_TARGET_ARCH"])
def test_the_environment_says_what_native_is(monkeypatch, name):
    monkeypatch.delenv("HOTLOOP_TARGET_ARCH", raising=False)
    monkeypatch.setenv(name, "reference")
    x = hl.value(1.0)
    tg = compiled(hl.Target(), x + 1.0)
    assert tg.report().target == "reference"
    assert tg.read_value(x + 1.0) == 2.0
    monkeypatch.setenv(name, "z80")
    with pytest.raises(hl.TargetError, match="unknown target 'z80'"):
        hl.Target()


def test_two_inputs_of_one_name_are_refused(tg):
    a, b = hl.value(1.0, name="gain"), hl.value(2.0, name="gain")
    with pytest.raises(hl.NameConflict, match=r"two inputs are named 'gain': at test_target.py:\d+ and test_target.py:\d+"):
        tg.compile(a + b)
    compiled(tg, a)
    compiled(tg, b)


def test_the_report_is_a_table():
    tg = compiled(hl.Target(), hl.value(1.0) + 1.0)
    report = tg.report()
    assert report.code > 0
    assert report.data > 0
    assert "instructions" in str(report)


@pytest.mark.parametrize("arch", ["native", "reference"])
def test_checked_mode_raises_the_first_fault_with_its_line(arch):
    a, b = hl.value(7), hl.value(0)
    tg = hl.Target(arch, checked=True)
    tg.compile(a // b)
    with pytest.raises(ZeroDivisionError, match=r"test_target.py:\d+: division by zero"):
        tg.run()
    with pytest.raises(hl.DivisionByZero, match="division by zero"):
        tg.run_many(3)
    tg.write_value(b, 2)
    tg.run()
    assert tg.read_value(a // b) == 3


def test_division_of_integers_by_zero_is_zero_without_checks(tg):
    a, b = hl.value(7), hl.value(0)
    compiled(tg, a // b, a % b)
    assert tg.read_value([a // b, a % b]) == [0, 0]


def test_fast_mode_gives_nearly_the_same():
    x = hl.value(0.3)
    y = ((x + 1.0) + 2.0) * 2.0 * 3.0
    tg = hl.Target(fast=True)
    compiled(tg, y)
    assert tg.read_value(y) == pytest.approx(19.8, rel=1e-6)


def test_float64_computes_and_reads_in_float64(tg):
    tg = hl.Target(tg.options.arch, float="float64")
    x, v, i = hl.value(0.1), hl.vector.input([0.1, 0.2]), hl.value(7)
    s = hl.state(0.1)
    s.next = s + x
    tree = {"x": x * 0.3, "v": v * 3.0, "div": i / 3, "int": i // 2, "s": s.next, "cmp": x > 0.05}
    compiled(tg, tree)
    expected = {"x": 0.1 * 0.3, "v": [0.1 * 3.0, 0.2 * 3.0], "div": 7 / 3, "int": 3, "s": 0.2, "cmp": True}
    assert tg.read_value(tree) == expected
    tg.write_value(x, 0.7)
    tg.write_value(v, [1e-300, 1e300])
    tg.run()
    assert tg.read_value(x * 0.3) == 0.7 * 0.3
    assert tg.read_value(v) == [1e-300, 1e300]
    assert tg.read_value(s) == 0.1 + 0.1 + 0.7
    assert tg.view(x).dtype == np.float64
    tg.reset()
    assert tg.read_value([x, s]) == [0.1, 0.1]


def test_float64_takes_numbers_as_they_were_written(tg):
    tg = hl.Target(tg.options.arch, float="float64")
    x, v, s = hl.value(math.pi), hl.vector.input([math.e, 1.0]), hl.state([math.pi])
    y = [x * math.e, hl.vector([math.pi, 0.1]) * v, s * 1.0, hl.tensor([[1 / 3]]) + v[1]]
    compiled(tg, y)
    assert tg.read_value(y) == [math.pi * math.e, [math.pi * math.e, 0.1], [math.pi], [[1 / 3 + 1.0]]]
    assert tg.read_value([x, v]) == [math.pi, [math.e, 1.0]]


def test_float64_goes_into_loops():
    x = hl.value(0.1)
    y = hl.loop(5, lambda total: total * 1.1 + x, x)
    tg = compiled(hl.Target(float="float64"), y)
    expected = 0.1
    for _ in range(5):
        expected = expected * 1.1 + 0.1
    assert tg.read_value(y) == expected


def test_nothing_depends_on_assertions():
    program = """
import hotloop as hl
x = hl.value(2.0)
tg = hl.Target()
tg.compile(x * 3.0)
tg.run()
print(tg.read_value(x * 3.0), hl.jit(lambda a: a * 2)(4))
try:
    hl.Target().run()
except hl.NotCompiled:
    print("refused")
"""
    done = subprocess.run([sys.executable, "-O", "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout == "6.0 8\nrefused\n", done.stderr


# ----------------------------------------------------------------------------------------- fuzz

garbage = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.binary(max_size=3) | st.complex_numbers()
    | st.sampled_from([object(), len, range(3), {1, 2}, np.zeros(2), np.zeros((2, 2), np.int8), np.array(["x"]),
                       np.array([None, 1], object), np.float32(1), 10**30]),
    lambda inner: st.lists(inner, max_size=4) | st.tuples(inner) | st.dictionaries(st.text(max_size=1), inner, max_size=2),
    max_leaves=5,
)  # fmt: skip


@settings(max_examples=150)
@given(st.data())
def test_garbage_raises_and_never_kills(data):
    x, v, i = hl.value(1.0), hl.vector.input([1.0, 2.0]), hl.value(3)
    tg = hl.Target()
    if data.draw(st.booleans()):
        compiled(tg, x + v, i + 1)
    holders = garbage | st.sampled_from([x, v, i, x + v, [x, i], {"a": x, "b": v}, hl.vector([x, x]), (v, None)])
    calls = [
        lambda: tg.compile(data.draw(holders), keep=data.draw(holders)),
        lambda: tg.write_value(data.draw(holders), data.draw(garbage)),
        lambda: tg.read_value(data.draw(holders)),
        lambda: tg.view(data.draw(holders)),
        lambda: tg.inputs[data.draw(holders)],
        lambda: tg.read_array(data.draw(holders)),
        lambda: tg.run_many(data.draw(st.integers(-2, 3))),
        lambda: tg.inputs.__setitem__(data.draw(holders), data.draw(garbage)),
        tg.run, tg.reset, tg.report,
    ]  # fmt: skip
    for _ in range(4):
        with contextlib.suppress(hl.HotloopError, TypeError, ValueError):
            data.draw(st.sampled_from(calls))()
