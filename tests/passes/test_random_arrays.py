"""Random programs of arrays: native code has the bits of the reference, on each stencil library, run after run."""

import contextlib

import numpy as np
from hypothesis import given, settings
from tests import array_programs as programs

import hotloop as hl
from hotloop.compiler import Options, compile_graph
from hotloop.stencils.library import available

LIBRARIES = [name for name in available() if name.startswith("x86")]


def bits(x):
    """Bits to compare: all NaNs are one."""
    return np.where(np.isnan(x), np.array(np.nan, x.dtype), x).view(f"i{x.itemsize}") if x.dtype.kind == "f" else x


def assert_bits_of_reference(nodes, archs=LIBRARIES):
    reference = compile_graph(nodes, Options(arch="reference"))
    compiled = [compile_graph(nodes, Options(arch=arch)) for arch in archs]
    for run in range(2):
        reference.run()
        for arch, native in zip(archs, compiled, strict=True):
            native.run()
            for number, node in enumerate(nodes):
                got, want = native.view(native.symbol(node)), reference.view(reference.symbol(node))
                np.testing.assert_array_equal(bits(got), bits(want), f"{arch}, run {run}, output {number}: {node}")


def traced(recipe):
    """The inputs of a recipe: arrays that are inputs, constants or states, by their seed."""
    pool, states = [], []
    for data, (_, _, seed) in zip(recipe.data(), recipe.inputs, strict=True):
        if seed % 6 == 4 and pool:
            pool.append(hl.tensor(data))
        elif seed % 6 == 5:
            states.append(hl.state(hl.tensor(data)))
            pool.append(states[-1])
        else:
            pool.append((hl.vector if data.ndim == 1 and seed % 2 else hl.tensor).input(data))
    scalars = [hl.value(0.75), hl.value(3)]
    return scalars + pool, states


def outputs_of(recipe):
    """Trace a recipe; the next of a state is what fits it best."""
    pool, states = traced(recipe)
    outputs = programs.built(recipe, pool)
    for number, state in enumerate(states):
        fits = [x for x in pool if programs.shape_of(x) == programs.shape_of(state) and x.dtype == state.dtype]
        state.next = fits[-1 - number * 2 % len(fits)]
    return outputs


@settings(max_examples=3 * settings.default.max_examples)
@given(programs.recipes(programs.NAMES))
def test_random_programs_have_the_bits_of_the_reference(recipe):
    outputs = outputs_of(recipe)
    if outputs:
        with contextlib.suppress(hl.DivisionByZero):  # of constants that scalars become
            assert_bits_of_reference([out.node for out in outputs])


# ------------------------------------------------------------------------------ what random programs found


def array_input(*shape, dtype="float32"):
    return hl.tensor.input(programs.sample(shape, dtype, 1))


def test_a_product_with_an_array_of_one_number_that_a_kernel_gives():
    x, scale = array_input(24), hl.value(3.0)
    total = x.sum(keepdims=True)
    outputs = [x.reshape(24, 1) @ total, x.reshape(24, 1) @ total.reshape(1, 1), hl.vector([scale]) @ x.reshape(1, 24)]
    assert_bits_of_reference([out.node for out in outputs])


def test_reductions_of_several_axes_that_are_not_one_line():
    x, y = array_input(2, 24), array_input(4, 8, 8)
    outputs = [
        x[::-1].sum(),
        x[:, ::2].sum(),
        x.T.max(),
        y[:, ::-1].sum((1, 2)),
        y[:, :, ::-1].min((1, 2)),
        y.transpose(2, 0, 1).sum((1, 2)),
    ]
    assert_bits_of_reference([out.node for out in outputs])


def test_scalars_that_are_kept_live_past_helpers_of_lanes():
    x = array_input(24)
    both = hl.concat([x, -x])
    assert_bits_of_reference([both.node, hl.softmax(both).node, (hl.exp(both) + hl.tan(both)).node])


def test_remainders_of_subnormal_numbers_end():
    x = hl.vector.input(np.resize([1.7e308, (2**51 + 3) * 5e-324, 3 * 5e-324, np.nan], 24))
    y = hl.vector.input(np.resize([5e-324, -0.0], 24))
    assert_bits_of_reference([(x % y).node, (x // y).node, (x[1] % y[0]).node])


def test_what_integers_cancel_to_is_no_structural_zero():
    x, y = hl.vector.input(np.array([-2.0, np.inf, np.nan], np.float32)), array_input(3, dtype="int32")
    assert_bits_of_reference([(x * zero).node for zero in (y - y, y ^ y, y < y)])
