"""Moving data: write 600 floats, run `v * 2 + 1`, read 600 floats back, float32.

hotloop through NumPy views of the program's memory and through write_value and read_value; Copapy has the
latter only. What is held against the target is the time beyond one step of the program itself.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks import measure, peers, sides
from benchmarks.measure import Report, say
from benchmarks.sides import Side

Array = np.ndarray[Any, Any]
SIZE = 600
VIEWS, VALUES = "hotloop, views", "hotloop, write_value and read_value"


def _data() -> Array:
    return np.asarray(np.sin(np.arange(SIZE) * 0.7), np.float32)


def hotloop(through: str) -> Side:
    """Write, run and read through views, through values given as arrays, or through lists."""
    import hotloop as hl

    v = sides.hotloop_input(_data(), "v")
    result = v * 2.0 + 1.0
    target = hl.Target()
    target.compile(result)
    data, received = _data(), np.zeros(SIZE, np.float32)
    inside, outside = target.inputs["v"], target.outputs[0]

    def views() -> Array:
        inside[:] = data
        target.run()
        received[:] = outside
        return received

    def values() -> Any:
        target.write_value(v, data)
        target.run()
        return target.read_value(result)

    call: Callable[[], Any] = views if through == "views" else values

    def evaluate(x: Array) -> Array:
        data[:] = x
        return sides.numbers(call())

    return Side(evaluate, call, target.run_many)


def copapy() -> Side:
    """Write, run and read through Copapy's write_value and read_value."""
    import copapy as cp

    values = [cp.value(float(x)) for x in _data()]
    result = [v * 2.0 + 1.0 for v in values]
    target = cp.Target()
    target.compile(result)
    numbers = _data().tolist()

    def call() -> list[float]:
        target.write_value(values, numbers)
        target.run()
        return list(target.read_value(result))

    def evaluate(x: Array) -> Array:
        numbers[:] = x.tolist()
        return np.asarray(call())

    return Side(evaluate, call, peers.copapy_many(target))


def numpy() -> Side:
    """The same by NumPy into prepared arrays, as a yardstick of what calls alone cost."""
    data, scaled, received = _data(), np.zeros(SIZE, np.float32), np.zeros(SIZE, np.float32)

    def call() -> Array:
        np.multiply(data, 2.0, out=scaled)
        np.add(scaled, 1.0, out=scaled)
        received[:] = scaled
        return received

    def evaluate(x: Array) -> Array:
        data[:] = x
        return call()

    return Side(evaluate, call)


SIDES: dict[str, tuple[str, Callable[[], Side]]] = {
    VIEWS: ("hotloop", lambda: hotloop("views")),
    VALUES: ("hotloop", lambda: hotloop("values")),
    "Copapy": ("copapy", copapy),
    "NumPy": ("numpy", numpy),
}


def _checked(label: str, build: Callable[[], Side]) -> Side:
    side = build()
    for x in (_data() + np.float32(1), _data()):
        measure.check_equal(label, side.evaluate(x), x * 2.0 + 1.0, rtol=1e-6, atol=0)
    return side


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return how many targets were missed."""
    options = measure.arguments(__doc__, argv)
    report = Report("data: write 600 floats, run, read 600 floats back")
    report.open(peers.PACKAGES)
    found = {}
    for label, (package, build) in SIDES.items():
        if not peers.installed(package):
            say(f"    {package} is not installed: left out")
        elif side := sides.attempt(label, functools.partial(_checked, label, build)):
            found[label] = side
    calls, steps = sides.measured(found, repeats=options.repeats)
    say(f"\n{sides.table(calls, steps, own=VIEWS)}")
    for label, limit in ((VIEWS, 1.0), (VALUES, 5.0)):
        if label in calls:
            report.at_most(f"{label}: beyond the program itself", calls[label].us - steps[label].us, limit, " us")
    return report.close()


if __name__ == "__main__":
    sys.exit(main() > 0)
