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
