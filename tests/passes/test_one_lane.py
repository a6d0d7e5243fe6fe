"""Kernels on one lane have the bits of the reference: on this machine, and, with indices of 32 bits, executed in Python."""

import contextlib

import numpy as np
import pytest
from hypothesis import given
from tests import array_programs as programs
from tests.one_lane import program_of
from tests.passes.test_random_arrays import array_input, bits, outputs_of
from tests.program_execution import Machine

import hotloop as hl
from hotloop import _runner
from hotloop.backends.native.link import link
from hotloop.compiler import Options, compile_graph, resolve_arch
from hotloop.dtypes import int32
from hotloop.ir.program import overloads
from hotloop.passes.layout import with_spills

ARCH = resolve_arch("native")
POINTERS = "peek.f32" in overloads()


class Native:
    """A program on one lane as machine code of this machine."""

    def __init__(self, nodes, near):
        self.program = program_of(nodes, near=near)
        image = link(self.program, ARCH)
        self.instructions, self.code = image.instructions, len(image.code)
        self.memory = _runner.Program(image.code, image.data, image.entry, stack=image.stack, long_running=False)
        self.run = self.memory.run

    def view(self, symbol):
        count = int(np.prod(symbol.shape))
        return np.frombuffer(self.memory, symbol.dtype.numpy, count, symbol.offset if count else 0).reshape(symbol.shape)


def assert_bits_of_reference(outputs, executed=True):
    """Run programs twice everywhere. executed: in Python too, which takes microseconds an instruction."""
    nodes = [out.node for out in outputs]
    reference = compile_graph(nodes, Options(arch="reference"))
    machines = [Native(nodes, near) for near in (False, True)] if ARCH != "reference" else []
    if executed:
        for pointers in (False, True)[: 1 + POINTERS]:
            machines.append(Machine(with_spills(program_of(nodes, int32, near=True, pointers=pointers), 12), "int32"))
    for run in range(2):
        reference.run()
        for machine in machines:
            machine.run()
            for number, node in enumerate(nodes):
                got, want = machine.view(machine.program.places[node.id]), reference.view(reference.symbol(node))
                np.testing.assert_array_equal(bits(got), bits(want), f"{type(machine).__name__}, run {run}, output {number}: {node}")
    return machines


@given(programs.recipes(programs.NAMES))
def test_random_programs_have_the_bits_of_the_reference(recipe):
    outputs = outputs_of(recipe)
    if outputs:
        with contextlib.suppress(hl.DivisionByZero):  # of constants that scalars become
            assert_bits_of_reference(outputs)


@pytest.mark.parametrize("count", [24, 31, 33, 64, 100, 128, 129, 300, 512, 1000, 1024, 1025, 1056, 2047, 2048, 3000])
def test_reductions_of_any_length_keep_the_fixed_order(count):
    x, y = array_input(count), array_input(count)
    assert_bits_of_reference([x.sum(), x.max(), x @ y, (hl.exp(x) * y).sum()])


@pytest.mark.parametrize("count", [32768, 33000, 70000])
def test_reductions_beyond_a_chunk_go_chunk_by_chunk(count):
    x = array_input(count)
    assert_bits_of_reference([x.sum(), x.min(), (x > 0).all(), (x * 2).sum()], executed=False)


@pytest.mark.parametrize("dtype", ["bool", "int32", "int64", "float64"])
def test_every_type_is_reduced(dtype):
    x = array_input(300, dtype=dtype)
    assert_bits_of_reference([x.any(), x.all()] if dtype == "bool" else [x.sum(), x.prod(), x.min(), x.max()])


def test_reductions_along_any_axes():
    x, y = array_input(40, 50), array_input(6, 7, 50)
    outputs = [x.sum(0), x.sum(1), x.T.sum(0), x[::2].sum(), x[:, ::3].max(1), (x.T * 2).sum(), (x.T * 2).max(1)]
    outputs += [y.sum((0, 1)), y.sum((0, 2)), y.sum((1, 2)), y.sum(1), y.transpose(2, 0, 1).sum((1, 2)), array_input(20, 3, 20).sum((0, 2))]
    assert_bits_of_reference(outputs)


def test_reductions_of_one_term_and_of_states():
    x, s = array_input(1, 30), hl.state(hl.tensor(np.arange(30, dtype=np.float32).reshape(1, 30)))
    s.next = s + x
    assert_bits_of_reference([s.max(0), x.sum(0), s.sum(0), (x + s).max((0, 1))])


def test_products_of_matrices_and_views_of_them():
    x, y = array_input(20, 30), array_input(30, 10)
    assert_bits_of_reference([x @ y, (x @ y).T + 1, x.T @ x, x @ y[:, 0], x[3] @ y])


def test_elements_at_places_of_run_time():
    index, x, table = hl.tensor.input(np.array([3, -5, 100], np.int32)), array_input(30), array_input(30, 3)
    far = hl.tensor.input(np.array([2**40, -(2**40), 3], np.int64))
    assert_bits_of_reference([x[index], table[index], table[index[1]], x[far]])
    assert not any("i64" in str(row) for row in rows_of(program_of([x[index].node, table[index].node], int32)))


def test_arrays_that_loops_carry():
    x = array_input(50)
    outputs = [hl.loop(5, lambda a: a * 0.5 + x * hl.sum(a), x), *hl.loop(5, lambda a, b: (b, a * 0.5 + x * a[3]), x, x + 1)]
    short, matrix = array_input(12), array_input(12, 12)
    outputs += [hl.loop(5, lambda a: (matrix @ a) * 0.1 + short, short), hl.loop(3, lambda a: a * 0.5 + x @ (x + a[1]), x)]
    long = array_input(300)
    outputs += [hl.loop(3, lambda a: a * 0.5 + long @ (long + a[1]), x)]
    assert_bits_of_reference(outputs)


# ----------------------------------------------------------------------------------------------------- how it is written


def rows_of(program):
    names = {number: name for name, number in overloads().items()}
    return [names.get(op, op) for op in program.code[::6]]


def test_a_matrix_times_a_vector_is_a_loop_over_rows_with_the_terms_written_out():
    x, y = array_input(32, 32), array_input(32)
    found = rows_of(program_of([(x @ y).node], int32))
    assert found.count("mul.f32.f32") == 32
    assert found.count("add.f32.f32") == 31
    assert found.count("get.f32") == 32  # the vector is read where it is
    assert len(found) == 32 + 31 + 32 + 5  # put, two indices, the loop


def test_a_map_shares_one_index():
    x, y = array_input(100), array_input(100)
    found = rows_of(program_of([(2 * x + 3 * y).node], int32))
    assert found.count("add.i32.i32") == 1
    assert len(found) < 32


def test_long_reductions_are_loops():
    x, y = array_input(1000), array_input(1000)
    assert len(rows_of(program_of([(x @ y).node], int32))) < 200


def test_sums_in_any_order_are_chains_of_multiply_adds():
    x, y = array_input(100), array_input(100)
    out = x @ y
    program = program_of([out.node], contract=True)
    found = rows_of(program)
    assert found.count("fma.f32.f32.f32") == 99
    assert "add.f32.f32" not in found
    machine = Machine(program)
    machine.run()
    terms = programs.sample((100,), "float32", 1)
    np.testing.assert_allclose(machine.view(program.places[out.node.id]), terms @ terms, rtol=1e-4)


def test_partial_results_and_counters_are_used_again():
    sums = [array_input(length).sum().node for length in (500, 502, 504, 506, 508)]
    one, five = program_of(sums[:1]), program_of(sums)
    assert len(five.data) <= len(one.data) + 4 * (2040 + 4)  # the arrays and their sums
    assert len(set(five.loops[::4])) == 1
