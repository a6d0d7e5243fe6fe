"""The demo: its results against NumPy and against what a person sees in the recording."""

from __future__ import annotations

import builtins
import sys
from pathlib import Path

import numpy as np
import pytest

from hotloop import demo
from hotloop.demo import arm, heart
from hotloop.demo.job import duration


def test_the_demo_is_right_and_draws_a_picture(tmp_path: Path) -> None:
    said: list[str] = []
    picture = tmp_path / "picture.png"
    assert demo.run(said.append, picture, quick=True)
    text = "\n".join(said)
    for part in ("[1/4]", "[2/4]", "[3/4]", "[4/4]", "3 beats", "have the bits of NumPy's float32", "all results are right"):
        assert part in text
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 50_000


def test_the_beats_are_the_peaks_of_the_recording() -> None:
    samples = heart.recording().samples
    track = np.array(heart.in_numpy(samples), float)
    tops = [int(np.argmax(samples[a:b])) + a for a, b in ((100, 300), (400, 650), (750, 950))]
    np.testing.assert_allclose(heart.peaks(track), tops, atol=3)


def test_the_synthetic_chirp_has_beats_that_come_faster() -> None:
    track = np.array(heart.in_python(heart.chirp()), float)
    gaps = np.diff(heart.peaks(track))
    assert len(gaps) >= 2
    assert (np.diff(gaps) < 0).all()


def test_without_pywavelets_the_demo_says_that_its_input_is_made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pywt.data", None)
    monkeypatch.setitem(sys.modules, "pywt", None)
    recording = heart.recording()
    assert not recording.real
    assert "NOT real input" in recording.source
    job, track = demo.heartbeats(recording, 1)
    assert job.right
    assert len(heart.peaks(track)) >= 3


def test_without_matplotlib_the_picture_is_skipped_with_a_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = builtins.__import__

    def without(name: str, *rest: object) -> object:
        if name.startswith("matplotlib"):
            raise ModuleNotFoundError(f"No module named {name!r}", name="matplotlib")
        return plain(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    said: list[str] = []
    assert demo.run(said.append, tmp_path / "picture.png", quick=True)
    assert "matplotlib is not installed" in "\n".join(said)
    assert not (tmp_path / "picture.png").exists()


def test_a_wrong_result_is_said_and_fails_the_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = arm.in_numpy
    monkeypatch.setattr(arm, "in_numpy", lambda points: right(points) + 0.01)
    said: list[str] = []
    assert not demo.run(said.append, tmp_path / "picture.png", quick=True)
    assert "WRONG" in "\n".join(said)


def test_the_arm_in_numpy_and_python_is_the_same() -> None:
    points = arm.path(60)
    np.testing.assert_allclose(arm.in_numpy(points), arm.in_python(points), atol=1e-9)


@pytest.mark.parametrize(("seconds", "text"), [(2.5e-8, "25 ns"), (1.234e-6, "1.23 µs"), (0.5, "500 ms"), (12.0, "12 s")])
def test_durations_have_a_unit_that_suits(seconds: float, text: str) -> None:
    assert duration(seconds) == text
