"""`hotloop demo`: two real-time programs on real input, checked against NumPy, timed against Python and NumPy."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import hotloop as hl
from hotloop.demo import arm, heart
from hotloop.demo.job import Job, duration

Say = Callable[[str], None]
HOLD = 64  # steps on each sample where native time is measured: 64 runs for one crossing from Python
NATIVE, CALLED = "hotloop, native", "hotloop, called from Python"


def run(say: Say, picture: Path, *, quick: bool = False) -> bool:
    """Do both jobs, say what comes out and draw the picture; return whether all results were right."""
    repeats = 3 if quick else 9
    start = time.perf_counter()
    say(f"hotloop {hl.__version__} compiles Python functions to machine code; this is two of them.")
    say(f"\n[1/4] Loading the stencils ... {duration(_warm())}, once a process")

    recording = heart.recording()
    say(f"\n[2/4] Heartbeats, found one sample at a time\n      input: {recording.source}")
    beats, track = heartbeats(recording, repeats)
    say(_beats_found(track))
    _tell(say, beats)

    say(f"\n[3/4] A robot arm of three joints follows {len(arm.path())} points: {arm.DESCENTS} steps of gradient descent for each")
    follower, angles = robot_arm(repeats)
    miss = np.hypot(*(arm.joints(angles)[:, -1] - arm.path()).T).max()
    say(f"      the hand is off its path by {1000 * miss:.2f} mm at most")
    _tell(say, follower)

    say(f"\n[4/4] {_drawn(recording, track, angles, [beats, follower], picture)}")
    right = beats.right and follower.right
    say(f"\nDone in {time.perf_counter() - start:.1f} s: {'all results are right.' if right else 'SOME RESULTS ARE WRONG, see above.'}")
    return right


def _warm() -> float:
    """Compile something trivial; return how long it took."""
    start = time.perf_counter()
    tg = hl.Target()
    tg.compile(hl.value(1.0) + 1.0)
    tg.run()
    return time.perf_counter() - start


def heartbeats(recording: heart.Recording, repeats: int) -> tuple[Job, heart.Samples]:
    """Compile the detector, run it over the recording, and time it; return also its outputs, one row a sample."""
    start = time.perf_counter()
    sample = hl.value(0.0, name="sample")
    states = [hl.state(first) for first in heart.START]
    outputs, kept = heart.step(sample, states, hl.iif)
    for state, following in zip(states, kept, strict=True):
        state.next = following
    traced = time.perf_counter()
    tg = hl.Target()
    tg.compile(outputs)
    compiled = time.perf_counter()

    samples = recording.samples
    place, run = tg.view(sample), tg.run
    rows = []
    for number in samples:
        place[()] = number
        run()
        rows.append(tg.read_value(outputs))
    track = np.array(rows, np.float64)
    beat, at = tg.view(outputs[3]), tg.view(outputs[4])

    def live() -> None:
        found = []
        for number in samples:
            place[()] = number
            run()
            if beat:
                found.append(int(at))

    sides = {
        NATIVE: (lambda: _held(tg, place, samples), HOLD),
        CALLED: (live, 1),
        "plain Python": (lambda: heart.in_python(samples), 1),
        "NumPy float32": (lambda: heart.in_numpy(samples), 1),
    }
    seconds = _interleaved(sides, len(samples), repeats)
    wanted = np.array(heart.in_numpy(samples), np.float64)
    same = np.array_equal(track, wanted)
    compared = f"{track.size} results of {len(samples)} steps"
    text = (
        f"all {compared} have the bits of NumPy's float32"
        if same
        else f"WRONG: {(track != wanted).sum()} of {compared} differ from NumPy's"
    )
    return _job("Heartbeats", (start, traced, compiled), tg, seconds, text, same), track


def robot_arm(repeats: int) -> tuple[Job, arm.Points]:
    """Compile the inverse kinematics, follow the path, and time it; return also the angles, one row a point."""
    points = arm.path()
    start = time.perf_counter()
    goal = hl.vector.input(points[0], name="goal")
    angles = arm.follow(goal)
    traced = time.perf_counter()
    tg = hl.Target()
    tg.compile(angles)
    compiled = time.perf_counter()

    place, reached, run = tg.view(goal), tg.view(angles), tg.run
    found = np.empty((len(points), len(arm.LINKS)))

    def live() -> None:
        for i, point in enumerate(points):
            place[:] = point
            run()
            found[i] = reached

    live()
    first = found.copy()
    sides = {
        NATIVE: (lambda: _held(tg, place, points), HOLD),
        CALLED: (live, 1),
        "plain Python": (lambda: arm.in_python(points), 1),
        "NumPy": (lambda: arm.in_numpy(points), 1),
    }
    seconds = _interleaved(sides, len(points), repeats)
    worst = float(np.abs(first - arm.in_numpy(points)).max())
    right = worst < 1e-4
    text = (
        f"largest difference from NumPy's float64 is {1e6 * worst:.1f} microradians, as float32 allows"
        if right
        else (f"WRONG: angles differ from NumPy's by up to {worst:.2g} radians")
    )
    return _job("Robot arm", (start, traced, compiled), tg, seconds, text, right), first


def _held(tg: hl.Target, place: np.ndarray[Any, Any], inputs: np.ndarray[Any, Any]) -> None:
    for one in inputs:
        place[...] = one
        tg.run_many(HOLD)


def _interleaved(sides: Mapping[str, tuple[Callable[[], object], int]], inputs: int, repeats: int) -> dict[str, float]:
    """Return the median processor time of a step for each (action over all inputs, steps an input); the sides take turns."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name, (action, steps) in sides.items():
            start = time.thread_time()  # processor time: what else the machine does is no part of it
            action()
            found[name].append((time.thread_time() - start) / (inputs * steps))
    return {name: statistics.median(samples) for name, samples in found.items()}


def _job(name: str, times: tuple[float, float, float], tg: hl.Target, seconds: dict[str, float], checked: str, right: bool) -> Job:
    start, traced, compiled = times
    report = tg.report()
    return Job(
        name, 1e3 * (traced - start), 1e3 * (compiled - traced), report.code, report.data, report.instructions, seconds, checked, right
    )


# ------------------------------------------------------------------------------------ what is said


def _beats_found(track: heart.Samples) -> str:
    peaks = [peak / heart.RATE for peak in heart.peaks(track)]
    when = ", ".join(f"{peak:.2f}" for peak in peaks)
    gaps = np.diff(peaks)
    rate = f": {60 / gaps.mean():.0f} beats a minute" if gaps.size else ""
    return f"      {len(peaks)} beats, at {when} seconds{rate}"


def _tell(say: Say, job: Job) -> None:
    executed = "" if job.instructions is None else f"{job.instructions} instructions a step, "
    say(f"      traced in {job.trace_ms:.1f} ms, compiled in {job.compile_ms:.1f} ms: {executed}{job.code_bytes:,} bytes of code")
    say(f"      checked: {job.checked}")
    native = job.seconds[NATIVE]
    for name, seconds in job.seconds.items():
        ratio = "" if name == NATIVE else f"{seconds / native:10,.1f} x"
        say(f"      {name:28}{duration(seconds):>10} a step{ratio}")


def _drawn(recording: heart.Recording, track: heart.Samples, angles: arm.Points, jobs: list[Job], picture: Path) -> str:
    try:
        from hotloop.demo.plot import draw

        draw(recording, track, angles, jobs, picture)
    except ImportError as missing:
        return f"No picture: {missing.name} is not installed (pip install 'hotloop[demo]')"
    return f"Picture: {picture}"
