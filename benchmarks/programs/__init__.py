"""The control programs of the benchmarks, each written once for all tracers and by hand for C and Numba."""

from __future__ import annotations

from benchmarks.programs import arm, attitude, biquad, demodulation, ekf, inverse_kinematics, mpc, network
from benchmarks.programs.program import PLAIN, Program, Space

ALL: dict[str, Program] = {
    program.name: program
    for program in (
        inverse_kinematics.PROGRAM,
        arm.PROGRAM,
        ekf.PROGRAM,
        attitude.PROGRAM,
        biquad.PROGRAM,
        mpc.PROGRAM,
        network.PROGRAM,
        demodulation.PROGRAM,
    )
}

__all__ = ["ALL", "PLAIN", "Program", "Space"]
