"""Control programs beside CasADi, Numba, JAX, Copapy and C: time to the first result, a call, a step.

Every program computes in float32 (CasADi's VM, plain Python: float64) and is checked against plain Python
on several inputs before it is timed. Three figures a peer: the time from nothing to the first result (trace,
compile, load, first call; the package imported and warmed up by a small program before), one call from
Python with the inputs in place, and one step repeated natively.
"""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks import measure, peers, sides
from benchmarks.measure import Report, Timing, say
from benchmarks.programs import ALL, Program

OWN, ARRAYS = "hotloop", "hotloop arrays"
# as it writes C, and made float throughout by compiler flags of ours
CASADI = ("CasADi + gcc", "CasADi + gcc, float")
STRICT, FAST = (OWN, "hotloop loop", ARRAYS), ("hotloop fast", "hotloop arrays fast")
C, C_FAST, C_WIDER = "C by hand", ("C by hand, fast-math", "C by hand, gcc fast-math"), "C by hand, gcc fast-math AVX-512"
# for programs whose work is on vectors: forms of hotloop, the peers they are held against, and the limit of their ratio
VECTORS = {
    "mpc": ((STRICT, CASADI[:1], 0.3), (FAST, C_FAST, 1.2)),
    "network": ((STRICT, CASADI[:1], 0.3), (FAST, C_FAST, 1.2)),
    "demodulation": ((STRICT, (C,), 0.5),),
}
WRITTEN_FOR_ARRAYS = ("demodulation",)


@dataclass(frozen=True, slots=True)
class Contender:
    """A way to build a program: its label, the package it needs, and which programs it can express."""

    label: str
    package: str
    build: sides.Build
    needs: str = ""  # "arrays": only programs with an array form; "repeat": only those with a repetition

    def suits(self, program: Program) -> bool:
        """Tell whether the program has the form this one needs."""
        return self.needs != "arrays" or program.arrays is not None


def contenders() -> list[Contender]:
    """Return all ways to build a program, hotloop's first."""
    compiler, zig = peers.gcc() or peers.zig(), peers.zig()
    found = [
        Contender(OWN, "hotloop", sides.hotloop),
        Contender("hotloop fast", "hotloop", functools.partial(sides.hotloop, fast=True)),
        Contender("hotloop loop", "hotloop", functools.partial(sides.hotloop, looped=True), "repeat"),
        Contender(ARRAYS, "hotloop", sides.hotloop_arrays, "arrays"),
        Contender(FAST[1], "hotloop", functools.partial(sides.hotloop_arrays, fast=True), "arrays"),
        Contender(CASADI[0], "casadi", functools.partial(sides.casadi, compiler=compiler)),
        Contender(CASADI[1], "casadi", functools.partial(sides.casadi, flags=peers.REALLY_FLOAT, compiler=compiler)),
        Contender("CasADi VM", "casadi", sides.casadi_vm),
        Contender("Numba", "numba", sides.numba),
        Contender("JAX", "jax", sides.jax),
        Contender("Copapy", "copapy", sides.copapy),
        Contender(C, "ziglang", functools.partial(sides.c, compiler=zig)),
        Contender(C_FAST[0], "ziglang", functools.partial(sides.c, flags=peers.FAST, compiler=zig)),
        *_by_gcc(),
        Contender("NumPy", "numpy", sides.numpy, "arrays"),
        Contender("Python", "numpy", sides.python),
    ]
    return [one for one in found if one.needs != "repeat" or one.label.startswith(OWN)]


def _by_gcc() -> list[Contender]:
    """C by gcc, whose -ffast-math has vector functions (libmvec), with vectors as wide as hotloop's and with wider ones."""
    flags = {C_FAST[1]: (*peers.FAST, *peers.same_width())} | ({C_WIDER: peers.FAST} if peers.wider() else {})
    if not peers.gcc():
        return []
    return [Contender(label, "numpy", functools.partial(sides.c, flags=given, compiler=peers.gcc())) for label, given in flags.items()]


REPEATED = ("inverse_kinematics", "mpc")


@dataclass(slots=True)
class Found:
    """What was measured of one contender on one program."""

    first: Timing
    side: sides.Side
    call: Timing | None = None
    step: Timing | None = None


def _first(contender: Contender, program: Program, quick: bool) -> tuple[Timing, sides.Side]:
    """Time from nothing to the first result, repeated where it is short."""
    samples: list[float] = []
    begun = time.perf_counter()
    while True:
        start = time.perf_counter()
        side = contender.build(program)
        side.evaluate(program.flat)
        samples.append(time.perf_counter() - start)
        if len(samples) >= measure.LEAST_REPEATS or time.perf_counter() - begun > (0.3 if quick else 2.0):
            return measure.timing(samples), side


def _check(label: str, program: Program, side: sides.Side) -> None:
    for x in program.samples(4):
        measure.check_equal(f"{program.name}, {label}", side.evaluate(x), program.oracle(x), rtol=program.rtol, atol=program.atol)
    side.evaluate(program.flat)


def _found(contender: Contender, program: Program, quick: bool) -> Found:
    first, side = _first(contender, program, quick)
    _check(contender.label, program, side)
    return Found(first, side)


def _gather(program: Program, chosen: Sequence[Contender], quick: bool) -> dict[str, Found]:
    found: dict[str, Found] = {}
    for contender in chosen:
        if not contender.suits(program) or (contender.needs == "repeat" and program.name not in REPEATED):
            continue
        one = sides.attempt(f"{program.name}, {contender.label}", functools.partial(_found, contender, program, quick))
        if one:
            found[contender.label] = one
    return found


def _time(found: Mapping[str, Found], repeats: int) -> None:
    calls, steps = sides.measured({label: one.side for label, one in found.items()}, repeats=repeats)
    for label, one in found.items():
        one.call, one.step = calls[label], steps.get(label)


def _judge_vectors(report: Report, name: str, found: Mapping[str, Found]) -> None:
    """Hold the best form of hotloop against the best of the peers."""
    steps = {label: one.step.ns for label, one in found.items() if one.step}
    for forms, others, limit in VECTORS.get(name, ()):
        own, peer = (min(((steps[label], label) for label in labels if label in steps), default=None) for labels in (forms, others))
        if own and peer:
            report.at_most(f"{name}: step of {own[1]} beside {peer[1]}", own[0] / peer[0], limit, "x")


def _judge(report: Report, name: str, found: Mapping[str, Found]) -> None:
    own = found.get(ARRAYS if name in WRITTEN_FOR_ARRAYS else OWN)
    if not own or not own.call or not own.step:
        return
    for label in CASADI:
        if (peer := found.get(label)) and peer.step:
            report.at_most(f"{name}: step beside {label}", own.step.ns / peer.step.ns, 1.0, "x")
    report.at_most(f"{name}: call beyond the step", own.call.us - own.step.us, 0.2, " us")
    report.at_most(f"{name}: first result", own.first.ms, 20, " ms")
    for label in ("Numba", "JAX"):
        if label in found:
            report.at_least(f"{name}: first result sooner than {label}", found[label].first.ms / own.first.ms, 100, "x")


def _warm(chosen: Sequence[Contender]) -> None:
    """Let every package do its work of the first use, which is no part of a program's time."""
    tiny = ALL["attitude"]
    for contender in chosen:
        if contender.suits(tiny):
            sides.attempt(contender.label, functools.partial(_first, contender, tiny, True))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return how many targets were missed."""
    options = measure.arguments(__doc__, argv, names=tuple(ALL))
    np.seterr(all="ignore")
    report = Report("control: programs of control engineering, float32")
    report.open(peers.PACKAGES)
    usable = [one for one in contenders() if peers.installed(one.package)]
    chosen = [one for one in usable if measure.wanted(one.label, options)]
    for package in peers.missing(peers.PACKAGES):
        say(f"    {package} is not installed: left out")
    _warm(chosen)
    for name in options.names or ALL:
        program = ALL[name]
        say(f"\n{program.title}")
        found = _gather(program, chosen, options.quick)
        if found:
            _time(found, options.repeats)
            timed = {label: one.call for label, one in found.items() if one.call}
            steps = {label: one.step for label, one in found.items() if one.step}
            say(sides.table(timed, steps, {label: one.first for label, one in found.items()}))
            _judge(report, name, found)
            _judge_vectors(report, name, found)
    return report.close()


if __name__ == "__main__":
    sys.exit(main() > 0)
