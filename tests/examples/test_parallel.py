"""Each data-parallel example runs on all places with equal results, agrees with its NumPy reference, and does what it should."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from hotloop import cuarray, places

SMALL: dict[str, dict[str, Any]] = {  # arguments with which Python itself can compute them
    "axpy": {"size": 50},
    "black_scholes": {"size": 200},
    "collatz": {"below": 100},
    "extrema": {"size": 500},
    "kmeans": {"count": 60, "k": 3},
    "laplace": {"rows": 6, "columns": 9, "limit": 40},
    "life": {"rows": 12, "columns": 24, "generations": 4},
    "mandelbrot": {"rows": 6, "columns": 12, "limit": 40},
    "nbody": {"count": 8, "steps": 3, "rows": 2},
    "optical_flow": {"rows": 6, "columns": 7},
    "radix_sort": {"size": 100, "bits": 7},
    "sparse": {"side": 6},
    "svm": {"count": 20, "limit": 20, "width": 8},
}


def example(name: str) -> ModuleType:
    return importlib.import_module(f"examples.parallel.{name}")


def numbers(result: Any) -> list[np.ndarray]:
    """Return all numbers of a result, as arrays of their types."""
    if isinstance(result, (tuple, list)):
        return [array for part in result for array in numbers(part)]
    if isinstance(result, cuarray) and isinstance(result.dtype, tuple):
        return [array for field in result.fields for array in numbers(field)]
    return [np.asarray(result)]


@pytest.mark.parametrize("name", SMALL)
def test_all_places_give_the_same(name: str) -> None:
    module, found = example(name), {}
    for place in (places.sequential, places.openmp, places.here):
        with place:
            found[place] = numbers(module.main(**SMALL[name]))
    for one, several, defined in zip(*found.values(), strict=True):
        assert one.dtype == several.dtype == defined.dtype
        assert one.shape == defined.shape
        assert one.tobytes() == several.tobytes() == defined.tobytes()


@pytest.mark.parametrize("name", ["black_scholes", "extrema", "kmeans", "optical_flow", "radix_sort"])
def test_threads_do_not_change_a_bit_of_large_results(name: str) -> None:
    module, found = example(name), []
    for place in (places.sequential, places.openmp):
        with place:
            found.append(numbers(module.main()))
    assert [array.tobytes() for array in found[0]] == [array.tobytes() for array in found[1]]


def test_axpy_has_the_bits_of_numpy() -> None:
    module = example("axpy")
    np.testing.assert_array_equal(module.main(1000), module.reference(1000))


def test_black_scholes_agrees_with_the_error_function() -> None:
    module = example("black_scholes")
    calls, puts = module.main(10_000).fields
    np.testing.assert_allclose([calls, puts], module.reference(10_000), atol=2e-5)  # prices to 100, by a series with errors of 7.5e-8


def test_collatz_finds_the_longest_chains() -> None:
    module = example("collatz")
    assert module.main(100_000) == [module.reference(10**power) for power in range(1, 6)]


def test_extrema_are_where_numpy_finds_them() -> None:
    module = example("extrema")
    assert module.main(100_000) == module.reference(100_000)


def test_kmeans_agrees_with_numpy() -> None:
    module = example("kmeans")
    centres, labels, rounds = module.main(2_000, 4)
    want_centres, want_labels, want_rounds = module.reference(2_000, 4, 100)
    np.testing.assert_allclose(np.transpose(centres.fields), want_centres, rtol=1e-12)
    np.testing.assert_array_equal(labels, want_labels)
    assert rounds == want_rounds


def test_laplace_has_the_bits_of_numpy_and_is_smooth() -> None:
    module = example("laplace")
    plate, sweeps = module.main()
    want, want_sweeps = module.reference(24, 60, 1e-3, 10_000)
    np.testing.assert_array_equal(plate, want)
    assert sweeps == want_sweeps
    inner = want[1:-1, 1:-1]
    assert inner.min() > 0.0
    assert inner.max() < 100.0  # no point is hotter than all that is around it


def test_life_agrees_with_numpy() -> None:
    module = example("life")
    found = module.main()
    np.testing.assert_array_equal(found, module.reference(12, 36, 24))


def test_mandelbrot_counts_as_numpy_does() -> None:
    module = example("mandelbrot")
    np.testing.assert_array_equal(module.main(30, 72, 200), module.reference(30, 72, 200))


def test_nbody_agrees_with_numpy_and_keeps_its_energy() -> None:
    module = example("nbody")
    positions, speeds, energies = module.main(64, 0.01, 10, 4)
    want_positions, want_speeds, want_energy = module.reference(64, 0.01, 40)
    np.testing.assert_allclose(np.transpose(positions.fields), want_positions, atol=1e-10)
    np.testing.assert_allclose(np.transpose(speeds.fields), want_speeds, atol=1e-10)
    assert energies[-1] == pytest.approx(want_energy, rel=1e-10)
    assert abs(energies[-1] / energies[0] - 1.0) < 1e-3


def test_optical_flow_solves_its_equations_and_finds_the_motion() -> None:
    module = example("optical_flow")
    speeds, steps = module.main(20, 30)
    np.testing.assert_allclose(np.transpose(speeds.fields), module.reference(20, 30), atol=1e-6)
    assert steps < 200
    _, _, u, v = module.frames(20, 30)
    inside = np.s_[4:-4, 4:-4]
    for found, true in zip(speeds.fields, (u, v), strict=True):
        assert np.abs(np.reshape(found, (20, 30))[inside] - true[inside]).mean() < 0.05


def test_radix_sort_sorts() -> None:
    module = example("radix_sort")
    np.testing.assert_array_equal(module.main(10_000, 16), module.reference(10_000, 16))


def test_both_sparse_products_agree_with_the_dense_one() -> None:
    module = example("sparse")
    for product in module.main(20):
        np.testing.assert_allclose(product, module.reference(20), atol=1e-12)


def test_svm_reaches_the_optimum_and_tells_the_moons_apart() -> None:
    module = example("svm")
    weights, threshold, steps, right = module.main(200, 20_000)
    want_weights, want_threshold, _ = module.reference(200, 20_000)
    assert steps < 20_000
    assert right > 0.95
    points, labels = module.moons(200, 1)
    x, y = map(np.asarray, points.fields)
    kernel = np.exp(-module.GAMMA * ((x[:, None] - x) ** 2 + (y[:, None] - y) ** 2))
    # weights may differ where the optimum is flat; what the machine says may not
    said, want = (kernel @ (np.asarray(w) * labels) - t for w, t in ((weights, threshold), (want_weights, want_threshold)))
    np.testing.assert_allclose(said, want, atol=10 * module.TOLERANCE)
    assert abs(np.dot(weights, labels)) < 1e-9


def test_every_example_is_tested_and_listed() -> None:
    folder = Path(example("axpy").__file__ or "").parent
    names = {path.stem for path in folder.glob("*.py")}
    assert names == set(SMALL)
    listing = (folder.parent / "README.md").read_text()
    assert all(f"`parallel/{name}.py`" in listing for name in names)
