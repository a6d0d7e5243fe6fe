"""Nested containers: taken apart, put together, compared, and named in messages."""

import dataclasses
from collections import OrderedDict, namedtuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotloop.errors import ShapeError, TraceError
from hotloop.frontend.reading import Reading
from hotloop.frontend.structure import Structure, flatten

Point = namedtuple("Point", "x y")


@dataclasses.dataclass(frozen=True)
class Pose:
    position: tuple
    angle: float

    def __post_init__(self):
        if not isinstance(self.angle, (int, float)):
            raise TypeError("no angle")


@dataclasses.dataclass(slots=True)
class Gains:
    p: float
    i: float = 0.0


leaves = st.integers() | st.floats(allow_nan=False) | st.text(max_size=2)
trees = st.recursive(
    leaves | st.none(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=2) | st.integers(), inner, max_size=3)
        | st.builds(Point, inner, inner)
        | st.builds(Gains, inner, inner)
    ),
    max_leaves=20,
)


@given(trees)
def test_flattening_and_unflattening_gives_the_same(tree):
    found, structure = flatten(tree)
    assert structure.unflatten(found) == tree
    assert structure.count == len(found) == len(structure.paths())


@given(trees)
def test_structures_compare_and_hash_by_value(tree):
    _, a = flatten(tree)
    found, b = flatten(tree)
    assert a == b
    assert hash(a) == hash(b)
    assert flatten(b.unflatten([0] * len(found)))[1] == a
    assert flatten([tree])[1] != a


def test_containers_that_differ_have_different_structures():
    trees = [1, None, [1], (1,), {"a": 1}, {"b": 1}, Point(1, 2), Gains(1, 2), [1, 2], (1, 2), [[1], 2], [1, [2]], [None, 1], []]
    structures = [flatten(tree)[1] for tree in trees]
    for i, a in enumerate(structures):
        assert [j for j, b in enumerate(structures) if a == b] == [i]


def test_paths_are_what_python_writes():
    tree = {"a": [1, 2, (3, Point(4, 5))], 7: Gains(8.0, None), "n": None}
    _, structure = flatten(tree)
    assert structure.paths("result") == [
        "result['a'][0]", "result['a'][1]", "result['a'][2][0]", "result['a'][2][1].x", "result['a'][2][1].y", "result[7].p",
    ]  # fmt: skip


def test_a_dataclass_is_rebuilt_without_its_init():
    found, structure = flatten(Pose((1, 2), 3.0))
    assert found == [1, 2, 3.0]
    made = structure.unflatten(["a", "b", "traced"])
    assert type(made) is Pose
    assert made.position == ("a", "b")
    assert made.angle == "traced"


def test_dicts_keep_their_order_and_kind():
    found, structure = flatten(OrderedDict(b=1, a=2))
    assert found == [1, 2]
    assert type(structure.unflatten(found)) is OrderedDict
    assert flatten({"a": 1, "b": 2})[1] != flatten({"b": 1, "a": 2})[1]


def test_text_arrays_and_readings_are_leaves():
    reading = Reading([1.0, 2.0])
    found, _ = flatten(["ab", reading, range(3), {1, 2}])
    assert found == ["ab", reading, range(3), {1, 2}]


def test_a_structure_that_contains_itself_is_refused():
    tree: list = []
    tree.append(tree)
    with pytest.raises(TraceError, match=r"the arguments is nested more than 64 deep, or contains itself"):
        flatten(tree, "the arguments")


def test_the_number_of_leaves_must_be_right():
    _, structure = flatten([1, (2, 3)])
    with pytest.raises(ShapeError, match="2 leaves for a structure of 3"):
        structure.unflatten([1, 2])


def test_the_text_of_a_structure_shows_its_containers():
    assert repr(flatten([1, {"a": 2}])[1]) == "Structure(['*', {'a': '*'}])"
    assert isinstance(flatten(1)[1], Structure)
