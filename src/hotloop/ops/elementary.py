"""Elementary functions: rows whose C is our own, one source for every target (`ops/c/`).

NumPy is the meaning up to `ulp`; the bits are those of the C, on every target and in constants.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hotloop.dtypes import DType, float32, float64
from hotloop.ir.fold import evaluate
from hotloop.ir.graph import Node, constant
from hotloop.ir.op import Op, TypeRule, floating
from hotloop.ops import faults
from hotloop.ops.accuracy import BOUNDS, FAST_BOUNDS
from hotloop.ops.algebra import call, equals

LN2 = 0.6931471805599453
LN10 = 2.302585092994046


def _row(name: str, numpy: Any, vjp: Any, doc: str, arity: int = 1, **fields: Any) -> Op:  # Any: callables by arity
    arguments = ", ".join(["{x}", "{y}"][:arity])
    fields.setdefault("faults", faults.of_float)
    if name in FAST_BOUNDS:
        fields["quick"] = f"hl_fast_{name}_{{s}}({arguments})"
    return Op(
        name, floating(arity), numpy, c=f"hl_{name}_{{t}}({arguments})", lanes=f"hl_{name}_{{s}}({arguments})", vjp=vjp, public=True,
        ulp=BOUNDS.get(name, (1.0, 1.0)), doc=doc, **fields,
    )


def _pow(x: Node, y: Node) -> Node | None:
    """Small whole exponents multiply, as the power operator of a Python program would."""
    if equals(y, 0):
        return None if x.shape else constant(1.0, x.dtype)
    if equals(y, 1):
        return x
    if equals(y, 2):
        return x * x
    return call("div", 1.0, x) if equals(y, -1) else None


sin: Op = _row("sin", np.sin, lambda g, out, x: (g * call("cos", x),), "Sine of radians.", domain=((-100.0, 100.0),))
cos: Op = _row("cos", np.cos, lambda g, out, x: (-(g * call("sin", x)),), "Cosine of radians.", domain=((-100.0, 100.0),))
tan: Op = _row("tan", np.tan, lambda g, out, x: (g * (1.0 + out * out),), "Tangent of radians.", domain=((-1.5, 1.5),))
asin: Op = _row(
    "asin", np.arcsin, lambda g, out, x: (g / call("sqrt", (1.0 - x) * (1.0 + x)),),
    "Inverse sine, in radians.", singular=True, domain=((-1.0, 1.0),),
)
acos: Op = _row(
    "acos", np.arccos, lambda g, out, x: (-(g / call("sqrt", (1.0 - x) * (1.0 + x))),),
    "Inverse cosine, in radians.", singular=True, domain=((-1.0, 1.0),),
)
atan: Op = _row("atan", np.arctan, lambda g, out, x: (g / (1.0 + x * x),), "Inverse tangent, in radians.", domain=((-50.0, 50.0),))
atan2: Op = _row(
    "atan2", np.arctan2, lambda g, out, y, x: (g * x / (x * x + y * y), -(g * y) / (x * x + y * y)),
    "Angle of the point (x, y) in radians; the first operand is y.", singular=True, arity=2, domain=((-50.0, 50.0), (-50.0, 50.0)),
)
sinh: Op = _row("sinh", np.sinh, lambda g, out, x: (g * call("cosh", x),), "Hyperbolic sine.", singular=True, domain=((-20.0, 20.0),))
cosh: Op = _row("cosh", np.cosh, lambda g, out, x: (g * call("sinh", x),), "Hyperbolic cosine.", singular=True, domain=((-20.0, 20.0),))
tanh: Op = _row("tanh", np.tanh, lambda g, out, x: (g * (1.0 - out * out),), "Hyperbolic tangent.", domain=((-10.0, 10.0),))
asinh: Op = _row(
    "asinh", np.arcsinh, lambda g, out, x: (g / call("sqrt", x * x + 1.0),),
    "Inverse hyperbolic sine.", domain=((-100.0, 100.0),),
)
acosh: Op = _row(
    "acosh", np.arccosh, lambda g, out, x: (g / call("sqrt", (x - 1.0) * (x + 1.0)),),
    "Inverse hyperbolic cosine.", singular=True, domain=((1.0, 100.0),),
)
atanh: Op = _row(
    "atanh", np.arctanh, lambda g, out, x: (g / ((1.0 - x) * (1.0 + x)),),
    "Inverse hyperbolic tangent.", singular=True, domain=((-1.0, 1.0),),
)
exp: Op = _row("exp", np.exp, lambda g, out, x: (g * out,), "e to the power x.", singular=True, domain=((-80.0, 80.0),))
exp2: Op = _row("exp2", np.exp2, lambda g, out, x: (g * out * LN2,), "2 to the power x.", singular=True, domain=((-120.0, 120.0),))
expm1: Op = _row(
    "expm1", np.expm1, lambda g, out, x: (g * (out + 1.0),),
    "exp(x) - 1, exact for small x.", singular=True, domain=((-20.0, 20.0),),
)
log: Op = _row("log", np.log, lambda g, out, x: (g / x,), "Natural logarithm.", singular=True, faults=faults.of_log, domain=((0.0, 1e6),))
log2: Op = _row(
    "log2", np.log2, lambda g, out, x: (g / (x * LN2),),
    "Logarithm to base 2.", singular=True, faults=faults.of_log, domain=((0.0, 1e6),),
)
log10: Op = _row(
    "log10", np.log10, lambda g, out, x: (g / (x * LN10),),
    "Logarithm to base 10.", singular=True, faults=faults.of_log, domain=((0.0, 1e6),),
)
log1p: Op = _row(
    "log1p", np.log1p, lambda g, out, x: (g / (1.0 + x),),
    "log(1 + x), exact for small x.", singular=True, domain=((-1.0, 1e3),),
)
cbrt: Op = _row("cbrt", np.cbrt, lambda g, out, x: (g / (3.0 * (out * out)),), "Cube root.", singular=True, domain=((-1e3, 1e3),))
hypot: Op = _row(
    "hypot", np.hypot, lambda g, out, x, y: _hypot_gradient(g, out, x, y), "sqrt(x*x + y*y) without overflow. Derivative at (0, 0): 0.",
    arity=2, domain=((-1e3, 1e3), (-1e3, 1e3)),
)
pow_: Op = _row(
    "pow", np.power, lambda g, out, x, y: _pow_gradient(g, out, x, y), "x to the power y, in floats.",
    singular=True, arity=2, domain=((0.0, 50.0), (-5.0, 5.0)), simplify=_pow, powers=True,
)


def _hypot_gradient(g: Node, out: Node, x: Node, y: Node) -> tuple[Node, Node]:
    length = call("select", call("eq", out, 0.0), constant(1.0, out.dtype), out)
    return g * (x / length), g * (y / length)


def _pow_gradient(g: Node, out: Node, x: Node, y: Node) -> tuple[Node, Node | None]:
    by_base = g * y * call("pow", x, y - 1.0)
    if y.is_const:
        return by_base, None
    by_base = call("select", call("eq", y, 0.0), constant(0, g.dtype, structural=True), by_base)  # x**0 is 1, also at 0
    positive = x > 0.0  # log only where it exists: 0**y has slope 0 in y
    safe = call("select", positive, x, 1.0)
    return by_base, call("select", positive, g * out * call("log", safe), 0.0)


# Sine and cosine of one angle share its reduction. Pass `pair` puts these in place of the two.


def _sincos(x: Any) -> Any:
    both = np.stack([evaluate(sin, [np.asarray(x)]), evaluate(cos, [np.asarray(x)])], axis=-1)
    return np.ascontiguousarray(both, np.float32).view(np.float64)[..., 0]


def _half(pair: Any, which: int) -> Any:
    return np.ascontiguousarray(pair, np.float64)[..., None].view(np.float32)[..., which]


def _only(operand: DType, result: DType) -> TypeRule:
    return TypeRule(lambda types: ((operand,), result) if types == (operand,) else None, (((operand,), result),))


sincos: Op = Op(
    "sincos", _only(float32, float64), _sincos, c="hl_op_packed_f32(hl_sincos_f32({x}))", internal=True,
    doc="Sine and cosine of a float32, side by side in the 64 bits of a float64.",
)
low: Op = Op(
    "low", _only(float64, float32), lambda x: _half(x, 0), c="hl_op_low_f64({x})", internal=True,
    doc="The first float32 of a pair.",
)
high: Op = Op(
    "high", _only(float64, float32), lambda x: _half(x, 1), c="hl_op_high_f64({x})", internal=True,
    doc="The second float32 of a pair.",
)
