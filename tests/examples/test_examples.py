"""Each example runs, agrees with its own NumPy reference, and does what its problem asks for."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

NAMES = ("inverse_kinematics", "pid_plant", "kalman", "attitude", "biquad", "fm_demodulator", "mpc")


def example(name: str) -> ModuleType:
    return importlib.import_module(f"examples.{name}")


def test_inverse_kinematics_reaches_its_goals() -> None:
    module = example("inverse_kinematics")
    angles = module.main()
    np.testing.assert_allclose(angles, [module.reference(goal) for goal in module.GOALS], atol=2e-5)
    a, b = angles[:, 0], angles.sum(axis=1)
    hands = np.stack([module.UPPER * np.cos(a) + module.FORE * np.cos(b), module.UPPER * np.sin(a) + module.FORE * np.sin(b)], axis=1)
    assert np.abs(hands - module.GOALS).max() < 1e-3


def test_pid_has_the_bits_of_numpy_and_settles() -> None:
    module = example("pid_plant")
    track = module.main()
    np.testing.assert_array_equal(track, module.reference())
    assert abs(track[-1] - module.SETPOINT) < 0.02
    assert track.max() < 1.05


def test_kalman_agrees_with_numpy_and_removes_noise() -> None:
    module = example("kalman")
    found = module.main()
    np.testing.assert_allclose(found, module.reference(), atol=2e-4, rtol=1e-4)
    truth, measured = module.recording()
    raw, filtered = (np.sqrt(np.mean((p[50:] - truth[50:]) ** 2)) for p in (measured, found[:, :2]))
    assert filtered < raw / 2


def test_attitude_agrees_with_numpy_and_finds_up() -> None:
    module = example("attitude")
    found = module.main()
    np.testing.assert_allclose(found, module.reference(), atol=1e-3)
    up = module.recording()[0]
    cosines = [np.dot(module._up(q), true) for q, true in zip(found[-1000:], up[-1000:], strict=True)]
    assert np.degrees(np.arccos(np.clip(cosines, -1, 1))).mean() < 1.0


def test_biquad_has_the_bits_of_numpy_and_the_response_of_the_formula() -> None:
    module = example("biquad")
    impulse = module.main()
    np.testing.assert_array_equal(impulse, module.reference())
    measured = np.abs(np.fft.rfft(impulse.astype(float)))
    wanted = module.response(np.fft.rfftfreq(impulse.size, 1 / module.RATE))
    np.testing.assert_allclose(measured, wanted, atol=1e-4)


def test_fm_demodulator_agrees_with_numpy_and_finds_the_tone() -> None:
    module = example("fm_demodulator")
    audio = module.main()
    np.testing.assert_allclose(audio, module.reference(), atol=5e-6)
    spectrum = np.abs(np.fft.rfft(audio))
    heard = np.argmax(spectrum) * module.RATE / module.DECIMATION / audio.size
    assert abs(heard - module.TONE) < 10


def test_mpc_agrees_with_the_condensed_problem_and_stops_the_cart() -> None:
    module = example("mpc")
    found = module.main()
    np.testing.assert_allclose(found, module.reference(), atol=2e-4)
    assert np.abs(found[:, 2]).max() <= module.LIMIT
    assert np.abs(found[-1, :2]).max() < 0.01


@pytest.mark.parametrize("name", ["inverse_kinematics", "mpc", "biquad"])
def test_the_reference_target_gives_the_same_bits(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = example(name)
    if name == "biquad":
        monkeypatch.setattr(module, "STEPS", 64)
        with np.errstate(divide="ignore"):
            np.testing.assert_array_equal(module.main("native"), module.main("reference"))
    else:
        np.testing.assert_array_equal(module.main("native"), module.main("reference"))


def test_a_program_for_copapy_runs_unchanged() -> None:
    module = example("copapy_program")
    found, wanted = module.main(), module.reference()
    assert found.keys() == wanted.keys()
    for part in wanted:
        for name, want in wanted[part].items():
            np.testing.assert_allclose(np.asarray(found[part][name], float), np.asarray(want, float), rtol=2e-6, atol=2e-6, err_msg=name)


def test_every_example_is_tested_and_listed() -> None:
    folder = Path(example("mpc").__file__).parent
    names = {path.stem for path in folder.glob("*.py")}
    assert names == {*NAMES, "copapy_program"}
    listing = (folder / "README.md").read_text()
    assert all(f"`{name}.py`" in listing for name in names)
