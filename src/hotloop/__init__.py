"""hotloop: write Python, get deterministic native code. Public names, nothing else."""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from hotloop import ops as _ops  # noqa: F401 - declares the rows before anything uses them
from hotloop.compiler import Options, compile_graph
from hotloop.compiler import host_library as _host_library
from hotloop.dtypes import DType, bool_, float32, float64, int32, int64
from hotloop.errors import (
    BoundsError,
    CheckError,
    DivisionByZero,
    GradientError,
    HotloopError,
    ImageError,
    InternalError,
    LinkError,
    NameConflict,
    NotCompiled,
    NotWritable,
    RangeError,
    ShapeError,
    TargetError,
    TraceError,
    TruthError,
    TypeMismatch,
)
from hotloop.frontend import filters
from hotloop.frontend.control import checked, iif, loop, state, while_loop
from hotloop.frontend.filters import argsort, homogenize_vector, median, quantile, sort
from hotloop.frontend.functions import (
    abs,
    acos,
    acosh,
    asin,
    asinh,
    atan,
    atan2,
    atanh,
    cbrt,
    ceil,
    copysign,
    cos,
    cosh,
    exp,
    exp2,
    expm1,
    floor,
    fma,
    hypot,
    isfinite,
    isinf,
    isnan,
    log,
    log1p,
    log2,
    log10,
    maximum,
    minimum,
    round,
    sign,
    sin,
    sinh,
    sqrt,
    tan,
    tanh,
    trunc,
)
from hotloop.frontend.geometry import (
    angle_between,
    clamp,
    cross,
    degrees,
    distance,
    dot,
    get_42,
    lerp,
    norm,
    normalize,
    pow,
    radians,
    rotate_vector,
    scalar_projection,
    vector_projection,
    where,
)
from hotloop.frontend.gradient import grad, hessian, jacobian, jvp, vjp
from hotloop.frontend.jit import jit
from hotloop.frontend.linalg import cholesky, det, inverse, solve
from hotloop.frontend.matrix import arange, concat, diagonal, eye, full, identity, ones, stack, tensor, zeros
from hotloop.frontend.neural import (
    cross_entropy,
    elu,
    gelu,
    hard_sigmoid,
    hard_tanh,
    layer,
    layer_norm,
    leaky_relu,
    log_sigmoid,
    log_softmax,
    logsumexp,
    mean_squared_error,
    mish,
    relu,
    selu,
    sigmoid,
    silu,
    softmax,
    softplus,
    swish,
)
from hotloop.frontend.quaternion import quaternion
from hotloop.frontend.scalar import value
from hotloop.frontend.summaries import all, any, argmax, argmin, max, mean, min, prod, std, sum, var
from hotloop.frontend.target import Target
from hotloop.frontend.threads import get_threads, set_threads
from hotloop.frontend.vector import vector
from hotloop.stencils.format import Library as _Library

matrix = tensor
NumLike = value | int | float
generic_sdb: _Library  # the stencils of this machine, loaded by `__getattr__` when a program asks for them

__version__ = "0.1.0"


if _TYPE_CHECKING:
    from hotloop import parallel
    from hotloop.parallel import places
    from hotloop.parallel.cuarray import cuarray
    from hotloop.parallel.function import cu
    from hotloop.parallel.progress import progress

# Data-parallel functions are imported when they are first asked for: programs for control need none of it.
_LATER = {"cu": "hotloop.parallel.function", "cuarray": "hotloop.parallel.cuarray", "progress": "hotloop.parallel.progress"}
_MODULES = {"places": "hotloop.parallel.places", "parallel": "hotloop.parallel"}


def __getattr__(name: str) -> _Any:  # Any: a function, a class, a module
    """Return what is made when it is first asked for.

    `generic_sdb` is the stencil library of this machine, as Copapy calls it; cost: reads a file, once.
    """
    if name == "generic_sdb":
        return _host_library()
    if name in _LATER:
        found = getattr(_import_module(_LATER[name]), name)
    elif name in _MODULES:
        found = _import_module(_MODULES[name])
    else:
        raise AttributeError(f"module 'hotloop' has no attribute {name!r}")
    globals()[name] = found
    return found


__all__ = [
    "BoundsError",
    "CheckError",
    "DType",
    "DivisionByZero",
    "GradientError",
    "HotloopError",
    "ImageError",
    "InternalError",
    "LinkError",
    "NameConflict",
    "NotCompiled",
    "NotWritable",
    "NumLike",
    "Options",
    "RangeError",
    "ShapeError",
    "Target",
    "TargetError",
    "TraceError",
    "TruthError",
    "TypeMismatch",
    "__version__",
    "abs",
    "acos",
    "acosh",
    "all",
    "angle_between",
    "any",
    "arange",
    "argmax",
    "argmin",
    "argsort",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "bool_",
    "cbrt",
    "ceil",
    "checked",
    "cholesky",
    "clamp",
    "compile_graph",
    "concat",
    "copysign",
    "cos",
    "cosh",
    "cross",
    "cross_entropy",
    "cu",
    "cuarray",
    "degrees",
    "det",
    "diagonal",
    "distance",
    "dot",
    "elu",
    "exp",
    "exp2",
    "expm1",
    "eye",
    "filters",
    "float32",
    "float64",
    "floor",
    "fma",
    "full",
    "gelu",
    "generic_sdb",
    "get_42",
    "get_threads",
    "grad",
    "hard_sigmoid",
    "hard_tanh",
    "hessian",
    "homogenize_vector",
    "hypot",
    "identity",
    "iif",
    "int32",
    "int64",
    "inverse",
    "isfinite",
    "isinf",
    "isnan",
    "jacobian",
    "jit",
    "jvp",
    "layer",
    "layer_norm",
    "leaky_relu",
    "lerp",
    "log",
    "log1p",
    "log2",
    "log10",
    "log_sigmoid",
    "log_softmax",
    "logsumexp",
    "loop",
    "matrix",
    "max",
    "maximum",
    "mean",
    "mean_squared_error",
    "median",
    "min",
    "minimum",
    "mish",
    "norm",
    "normalize",
    "ones",
    "parallel",
    "places",
    "pow",
    "prod",
    "progress",
    "quantile",
    "quaternion",
    "radians",
    "relu",
    "rotate_vector",
    "round",
    "scalar_projection",
    "selu",
    "set_threads",
    "sigmoid",
    "sign",
    "silu",
    "sin",
    "sinh",
    "softmax",
    "softplus",
    "solve",
    "sort",
    "sqrt",
    "stack",
    "state",
    "std",
    "sum",
    "swish",
    "tan",
    "tanh",
    "tensor",
    "trunc",
    "value",
    "var",
    "vector",
    "vector_projection",
    "vjp",
    "where",
    "while_loop",
    "zeros",
]
