"""A PID controller and the motor it drives, simulated in one program that carries its state itself.

The controller has what one on a machine has: a limited output, anti-windup, and a filtered
derivative of the measurement. Nothing crosses to the host between steps but the load.
"""

from __future__ import annotations

import numpy as np

import hotloop as hl

DT = 0.001  # 1 kHz
KP, KI, KD = 40.0, 60.0, 1.6
LIMIT = 12.0  # volts
GAIN, LAG = 4.0, 0.08  # the motor: rad/s per volt, time constant in seconds
SMOOTH = 0.2  # of the derivative
SETPOINT = 1.0  # radians
STEPS = 2000


def controller(setpoint: hl.value, angle: hl.value) -> hl.value:
    """Return the voltage for this step."""
    integral = hl.state(0.0, name="integral")
    last = hl.state(0.0, name="last angle")
    smooth = hl.state(0.0, name="slope")

    error = setpoint - angle
    slope = smooth + SMOOTH * ((angle - last) / DT - smooth)
    wanted = KP * error + KI * integral - KD * slope
    voltage = hl.clamp(wanted, -LIMIT, LIMIT)

    last.next = angle
    smooth.next = slope
    integral.next = integral + hl.iif(wanted == voltage, error * DT, 0.0)  # no windup at the limit
    return voltage


def program() -> tuple[hl.value, hl.value, hl.value]:
    """Return the load (an input), the angle and the voltage of a position loop."""
    load = hl.value(0.0, name="load")
    angle = hl.state(0.0, name="angle")
    speed = hl.state(0.0, name="speed")

    voltage = controller(hl.value(SETPOINT, name="setpoint"), angle)
    faster = speed + DT * (GAIN * voltage - load - speed) / LAG
    speed.next = faster
    angle.next = angle + DT * faster
    return load, angle, voltage


def load_at(step: int) -> float:
    """Return the load on the motor: it comes on after one second."""
    return 8.0 if step >= STEPS // 2 else 0.0


def reference() -> np.ndarray:
    """Compute the angle over time in NumPy's float32, step by step: the same bits."""
    dt, kp, ki, kd, limit, gain, lag, weight, setpoint = np.array([DT, KP, KI, KD, LIMIT, GAIN, LAG, SMOOTH, SETPOINT], np.float32)
    integral = last = slope = angle = speed = np.float32(0)
    track = []
    for step in range(STEPS):
        error = setpoint - angle
        slope = slope + weight * ((angle - last) / dt - slope)
        last = angle
        wanted = kp * error + ki * integral - kd * slope
        voltage = np.clip(wanted, -limit, limit)
        integral = integral + (error * dt if wanted == voltage else np.float32(0))
        speed = speed + dt * (gain * voltage - np.float32(load_at(step)) - speed) / lag
        angle = angle + dt * speed
        track.append(angle)
    return np.array(track)


def main(arch: str = "native") -> np.ndarray:
    """Simulate two seconds; return the angle after each step."""
    load, angle, voltage = program()
    tg = hl.Target(arch)
    tg.compile(angle, voltage)

    track = []
    for step in range(STEPS):
        tg.write_value(load, load_at(step))
        tg.run()
        track.append(tg.read_value(angle))
    found = np.array(track, np.float32)
    settled = int(np.argmax(np.abs(found - SETPOINT) < 0.02 * SETPOINT))
    print(f"within 2 % after {settled} ms, overshoot {100 * (found.max() / SETPOINT - 1):.1f} %")
    print(
        f"a load of 8 pushes it off by {1000 * np.abs(found[STEPS // 2 :] - SETPOINT).max():.1f} mrad; "
        f"one second later {1000 * abs(found[-1] - SETPOINT):.2f} mrad are left"
    )
    return found


if __name__ == "__main__":
    main()
