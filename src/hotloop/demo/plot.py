"""The demo's picture: the heartbeats that were found, the arm on its path, and what a step costs."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from hotloop.demo import arm, heart
from hotloop.demo.job import Job, duration

Axes = Any  # matplotlib, which is an extra, has the type

INK, SOFT, FAINT, RED, BLUE, GREEN = "#1f2933", "#7b8794", "#e4e7eb", "#d64550", "#2b6cb0", "#2f9e77"
STYLE: dict[Any, Any] = {  # Any: matplotlib's names and settings
    "font.family": "DejaVu Sans", "font.size": 10, "text.color": INK, "axes.edgecolor": FAINT, "axes.labelcolor": SOFT,
    "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 12, "axes.titleweight": "bold", "axes.titlelocation": "left",
    "xtick.color": SOFT, "ytick.color": SOFT, "axes.grid": True, "grid.color": FAINT, "grid.linewidth": 0.8, "axes.axisbelow": True,
}  # fmt: skip


def draw(recording: heart.Recording, track: heart.Samples, angles: arm.Points, jobs: list[Job], path: Path) -> None:
    """Write the picture to `path`. Raises ImportError without matplotlib."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(14, 9.4), dpi=130, facecolor="white")
        FigureCanvasAgg(figure)
        edges = {"left": 0.06, "right": 0.97}
        upper = figure.add_gridspec(2, 1, height_ratios=[2.2, 1], hspace=0.08, top=0.87, bottom=0.51, **edges)
        lower = figure.add_gridspec(1, 2, width_ratios=[1, 1.05], wspace=0.3, top=0.41, bottom=0.06, **edges)
        figure.text(0.06, 0.955, "Two real-time programs, traced from Python, run as native code", fontsize=17, fontweight="bold")
        figure.text(0.06, 0.925, _subtitle(jobs), fontsize=10.5, color=SOFT)
        above = figure.add_subplot(upper[0])
        _heartbeats(above, recording, track)
        _power(figure.add_subplot(upper[1], sharex=above), track)
        _arm(figure.add_subplot(lower[0]), angles)
        _costs(figure.add_subplot(lower[1]), jobs)
        figure.savefig(path)


def _subtitle(jobs: list[Job]) -> str:
    parts = [f"{job.name}: {job.code_bytes:,} bytes of code, compiled in {job.compile_ms:.1f} ms" for job in jobs]
    return "   ·   ".join(parts)


def _heartbeats(axes: Axes, recording: heart.Recording, track: heart.Samples) -> None:
    seconds = np.arange(len(recording.samples)) / heart.RATE
    found = [k for k in heart.peaks(track) if 0 <= k < len(recording.samples)]
    axes.plot(seconds, recording.samples, color=INK, linewidth=1.1, label="recording" if recording.real else "synthetic chirp")
    axes.plot(seconds, track[:, 0], color=BLUE, linewidth=1.0, alpha=0.65, label="band-pass 5 to 30 Hz")
    axes.scatter(seconds[found], recording.samples[found], s=52, color=RED, zorder=3, label="beats found")
    top = float(recording.samples.max())
    reach = top - float(recording.samples.min())
    for a, b in pairwise(found):
        gap, level = (b - a) / heart.RATE, top + 0.1 * reach
        axes.annotate("", (b / heart.RATE, level), (a / heart.RATE, level), arrowprops={"arrowstyle": "<->", "color": RED, "linewidth": 1})
        middle, text = (a + b) / 2 / heart.RATE, f"{1000 * gap:.0f} ms  =  {60 / gap:.0f} beats a minute"
        axes.text(middle, level, text, ha="center", va="center", color=RED, fontsize=9.5, backgroundcolor="white")
    axes.set_ylim(float(recording.samples.min()) - 0.25 * reach, top + 0.25 * reach)
    axes.set_xlim(0, seconds[-1])
    axes.set_ylabel("counts")
    axes.set_title("Heartbeats" if recording.real else "Heartbeats (synthetic chirp: PyWavelets is not installed)")
    axes.tick_params(labelbottom=False)
    axes.legend(loc="lower left", ncols=3, frameon=False, fontsize=9, bbox_to_anchor=(-0.005, -0.04))


def _power(axes: Axes, track: heart.Samples) -> None:
    seconds = np.arange(len(track)) / heart.RATE
    envelope, threshold = (track[:, heart.OUTPUTS.index(name)] / 1000 for name in ("envelope", "threshold"))
    axes.fill_between(seconds, envelope, color=BLUE, alpha=0.18, linewidth=0)
    axes.fill_between(seconds, threshold, envelope, where=envelope > threshold, interpolate=True, color=RED, alpha=0.35, linewidth=0)
    axes.plot(seconds, envelope, color=BLUE, linewidth=1.2, label="power in the band")
    axes.plot(seconds, threshold, color=RED, linewidth=1.2, linestyle=(0, (4, 2)), label="threshold, which learns")
    axes.set_ylim(0, 1.45 * float(envelope.max()))
    axes.set_ylabel("counts² / 1000")
    axes.set_xlabel("seconds")
    axes.legend(loc="upper left", ncols=2, frameon=False, fontsize=9, bbox_to_anchor=(-0.005, 1.05))


def _arm(axes: Axes, angles: arm.Points) -> None:
    goals, places = arm.path(len(angles)), arm.joints(angles)
    axes.plot(*np.vstack([goals, goals[:1]]).T, color=RED, linewidth=7, alpha=0.16, solid_capstyle="round", label="path")
    axes.plot(*places[:, -1].T, color=RED, linewidth=1.6, label="hand")
    shown = np.linspace(0, len(angles), 16, endpoint=False).astype(int)
    for k in shown[1:]:
        axes.plot(*places[k].T, color=BLUE, linewidth=1.6, alpha=0.22, solid_joinstyle="round")
    one = places[shown[5]]
    axes.plot(*one.T, color=INK, linewidth=5, solid_joinstyle="round", solid_capstyle="round", zorder=4)
    axes.scatter(*one[:-1].T, s=70, color="white", edgecolor=INK, linewidth=2.2, zorder=5)
    axes.scatter(*one[-1], s=60, color=RED, zorder=6)
    axes.set_aspect("equal", adjustable="datalim")
    miss = 1000 * np.hypot(*(places[:, -1] - goals).T).max()
    axes.set_title(f"Inverse kinematics: {len(angles)} points, off by {miss:.2f} mm at most")
    axes.set_xlabel("metres")
    axes.legend(loc="upper left", frameon=False, fontsize=9)


def _costs(axes: Axes, jobs: list[Job]) -> None:
    rows: list[tuple[float, str]] = []
    best = min(min(job.seconds.values()) for job in jobs)
    for number, job in enumerate(jobs):
        native = min(job.seconds.values())
        for name, seconds in job.seconds.items():
            place = -len(rows) - 0.9 * number
            axes.barh(place, seconds - best / 4, left=best / 4, height=0.7, color=GREEN if name.startswith("hotloop") else "#c3cad3")
            ratio = "" if seconds == native else f"   {seconds / native:,.0f}x" if seconds > 9.5 * native else f"   {seconds / native:.1f}x"
            axes.text(seconds * 1.2, place, f"{duration(seconds)}{ratio}", va="center", fontsize=9.5)
            rows.append((place, name))
        axes.text(best / 4, place + len(job.seconds) - 0.3, job.name, fontsize=10, fontweight="bold", va="bottom")
    axes.set_xscale("log")
    axes.grid(axis="y", visible=False)
    axes.set_xlim(best / 4, max(max(job.seconds.values()) for job in jobs) * 12)
    axes.set_yticks([place for place, _ in rows], [name for _, name in rows], color=INK)
    axes.tick_params(length=0, which="both")
    axes.set_xlabel("processor time of a step in seconds, logarithmic")
    axes.set_title("What one step costs, measured now", pad=16)
