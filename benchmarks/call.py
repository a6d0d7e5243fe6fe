"""What a call costs: a jitted function of two floats beside Numba's dispatcher, and Target.run() of a tiny program.

The function is Copapy's example, `sum(x**2 + y**2 + i for i in range(10))`, in float64 as Python computes;
the peers' results are checked against plain Python. `run()` is held against the step itself, repeated natively.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Sequence

from benchmarks import measure, peers, sides
from benchmarks.measure import Report, say
from benchmarks.programs import ALL

Function = Callable[[float, float], float]


def calculation(x: float, y: float) -> float:
    """Compute the example of Copapy's README."""
    return sum(x**2 + y**2 + i for i in range(10))


def _numba_form(x: float, y: float) -> float:
    total = 0.0
    for i in range(10):
        total += x**2 + y**2 + i
    return total


def hotloop() -> Function:
    """The example under hl.jit."""
    import hotloop as hl

    jitted: Function = hl.jit(calculation)
    return jitted


def numba() -> Function:
    """The example under numba.njit."""
    from numba import njit

    jitted: Function = njit(_numba_form)
    return jitted


def copapy() -> Function:
    """The example under cp.jit (float32)."""
    import copapy as cp

    jitted: Function = cp.jit(calculation)
    return jitted


def jax() -> Function:
    """The example under jax.jit (float32), waiting for the result."""
    import jax

    compiled = jax.jit(calculation)
    return lambda x, y: compiled(x, y).block_until_ready()


JITS: dict[str, tuple[str, Callable[[], Function]]] = {
    "hotloop": ("hotloop", hotloop),
    "Numba": ("numba", numba),
    "JAX": ("jax", jax),
    "Copapy": ("copapy", copapy),
    "Python": ("numpy", lambda: calculation),
}


def _calls(function: Function) -> measure.Many:
    """Return a loop over calls with two floats; the loop itself costs about 5 ns a turn and is in the figures."""

    def run(count: int) -> None:
        x, y = 2.5, 1.2
        for _ in itertools.repeat(None, count):
            function(x, y)

    return run


def _jitted(repeats: int) -> dict[str, measure.Timing]:
    found = {}
    for label, (package, build) in JITS.items():
        function = sides.attempt(label, build) if peers.installed(package) else None
        if not function:
            continue
        exact = label in ("hotloop", "Numba", "Python")
        for x, y in ((2.5, 1.2), (3.1, -4.7), (2.5, 1.2)):
            measure.check_equal(label, function(x, y), calculation(x, y), rtol=1e-15 if exact else 1e-6, atol=0)
        found[label] = _calls(function)
    return measure.interleaved(found, repeats=repeats)


def _runs(repeats: int) -> dict[str, tuple[measure.Timing, measure.Timing]]:
    """Time run() and the step itself, of the smallest program and of a real one."""
    import hotloop as hl

    x = hl.value(1.5)
    tiny = hl.Target()
    tiny.compile(x + 1.0)
    real = sides.hotloop(ALL["attitude"])
    pairs = {"x + 1": (tiny.run, tiny.run_many), ALL["attitude"].title: (real.call, real.many)}
    found = {}
    for label, (run, many) in pairs.items():
        assert many
        timed = measure.interleaved({"run": measure.calls(run), "step": many}, repeats=repeats)
        found[label] = (timed["run"], timed["step"])
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return how many targets were missed."""
    options = measure.arguments(__doc__, argv)
    report = Report("call: a jitted function of two floats, and Target.run()")
    report.open(peers.PACKAGES)
    for package in peers.missing(peers.PACKAGES):
        say(f"    {package} is not installed: left out")
    jitted = _jitted(options.repeats)
    rows = [[label, one.ns, sides.percent(one)] for label, one in jitted.items()]
    say("\n" + measure.table(["jit call", "ns", "spread"], rows))
    if "hotloop" in jitted:
        limit = max(100.0, jitted["Numba"].ns if "Numba" in jitted else 0.0)
        report.at_most("jit call of two floats (100 ns, or Numba's)", jitted["hotloop"].ns, limit, " ns")
        runs = _runs(options.repeats)
        rows = [[label, run.ns, sides.percent(run), step.ns, run.ns - step.ns] for label, (run, step) in runs.items()]
        say("\n" + measure.table(["Target.run()", "ns", "spread", "step ns", "beyond"], rows))
        for label, (run, step) in runs.items():
            report.at_most(f"run() beyond the program, {label}", run.ns - step.ns, 60, " ns")
    return report.close()


if __name__ == "__main__":
    sys.exit(main() > 0)
