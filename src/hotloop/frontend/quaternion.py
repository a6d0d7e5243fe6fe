"""`quaternion`: rotations. Scalar first (w, x, y, z), Hamilton's product, angles in radians."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, NoReturn, Self

from hotloop._graph import wrap
from hotloop.dtypes import as_dtype
from hotloop.errors import ShapeError, TypeMismatch
from hotloop.frontend.array import Array, NumLike, Operand
from hotloop.frontend.literals import array_node, node_of, scalars
from hotloop.frontend.reductions import norm
from hotloop.frontend.scalar import value
from hotloop.frontend.vector import input_array
from hotloop.ir.graph import Node, apply, convert, default_dtype, user_line
from hotloop.ir.op import Op
from hotloop.ops import arith, elementary, logic
from hotloop.ops.shape import all_, pack_of, reduce


class quaternion(Array):  # the public name, as Copapy has it
    """A traced quaternion w + xi + yj + zk; rotations are those of norm 1.

    quaternion(w, x, y, z), quaternion() for no rotation, or quaternion(four numbers in a list, vector
    or array). Elements are floats. `@` is Hamilton's product: `(a @ b).rotate_vector(v)` turns by b first.
    `*` and `/` take scalars, `+` and `-` quaternions or scalars, `==` tells whether all elements are equal.
    """

    __slots__ = ()
    __hash__ = object.__hash__
    is_elementwise: ClassVar[bool] = False

    def __init__(self, w: Operand = 1.0, x: NumLike = 0.0, y: NumLike = 0.0, z: NumLike = 0.0) -> None:
        node = node_of(w)
        source = w if node is None or node.shape != () else [w, x, y, z]
        self.node = _four(array_node(source, "quaternion()"), "quaternion()")

    @classmethod
    def input(cls, init: Operand = (1.0, 0.0, 0.0, 0.0), name: str | None = None, dtype: Any = None) -> Self:
        """Return a quaternion that the host can write between runs, as one input."""
        chosen = None if dtype is None else as_dtype(dtype)
        return cls.of(input_array(quaternion.of(_four(array_node(init, "quaternion.input()", chosen), "quaternion.input()")),
                                   "quaternion.input()", 1, name, None))

    @classmethod
    def identity(cls) -> Self:
        """Return the rotation by nothing, a constant."""
        return cls(1.0, 0.0, 0.0, 0.0)

    @classmethod
    def from_euler(cls, roll: NumLike, pitch: NumLike, yaw: NumLike) -> Self:
        """Return the rotation by roll about x, then pitch about y, then yaw about z (fixed axes), in radians."""
        (cr, sr), (cp, sp), (cy, sy) = (_half_angle(angle) for angle in (roll, pitch, yaw))
        return cls._packed(
            cr * cp * cy + sr * sp * sy,
            sr * cp * cy - cr * sp * sy,
            cr * sp * cy + sr * cp * sy,
            cr * cp * sy - sr * sp * cy,
        )

    @classmethod
    def from_axis_angle(cls, axis: Operand, angle: NumLike) -> Self:
        """Return the rotation by `angle` radians about `axis`, of any length but 0 (that gives no rotation at angle 0)."""
        direction = Array.vector_class(axis).normalize()
        x, y, z = scalars(_three(direction.node, "from_axis_angle"))
        cosine, sine = _half_angle(angle)
        return cls._packed(cosine, sine * x, sine * y, sine * z)

    @classmethod
    def from_rotation_vector(cls, rotation: Operand) -> Self:
        """Return the rotation about a vector by its length in radians: the exponential map; safe at zero.

        For a gyroscope: q @ quaternion.from_rotation_vector(rate * dt).
        """
        node = _three(_floats(array_node(rotation, "from_rotation_vector")), "from_rotation_vector")
        angle = norm(node, None, None, False)
        tiny = angle < 1e-4  # sin(a/2)/a is 1/2 - a*a/48: below float32's last bit, and smooth for gradients
        safe = apply(logic.select, tiny, 1.0, angle)
        scale = apply(logic.select, tiny, 0.5, apply(elementary.sin, safe * 0.5) / safe)
        return cls._packed(apply(elementary.cos, angle * 0.5), *[scale * part for part in scalars(node)])

    @classmethod
    def from_matrix(cls, rotation: Operand) -> Self:
        """Return the rotation of a 3x3 or 4x4 rotation matrix; w is not negative. Source: Shepperd, 1978."""
        node = _floats(array_node(rotation, "from_matrix"))
        if node.shape not in ((3, 3), (4, 4)):
            raise ShapeError(f"{user_line()}: a rotation matrix is 3x3 or 4x4, not {node.shape}.")
        m = [[part.node for part in row.values] for row in (Array.tensor_class.of(node)[i, :3] for i in range(3))]
        return cls.of(_shepperd(m))

    @classmethod
    def _packed(cls, *parts: Any) -> Self:  # Any: nodes and numbers
        nodes = [part if isinstance(part, Node) else node_of(part) for part in parts]
        return cls.of(pack_of([node for node in nodes if node is not None], (4,)))

    # -- parts ------------------------------------------------------------------------------------

    @property
    def w(self) -> value:
        """The scalar part."""
        return wrap(scalars(self.node)[0])

    @property
    def x(self) -> value:
        """The part along i."""
        return wrap(scalars(self.node)[1])

    @property
    def y(self) -> value:
        """The part along j."""
        return wrap(scalars(self.node)[2])

    @property
    def z(self) -> value:
        """The part along k."""
        return wrap(scalars(self.node)[3])

    def to_vector(self) -> Array:
        """Return the four elements as a vector, for elementwise functions."""
        return Array.vector_class.of(self.node)

    def like(self, node: Node) -> Any:  # Any: value or vector
        """Return what an index of this quaternion is: a scalar or a vector."""
        return wrap(node) if not node.shape else Array.vector_class.of(node)

    def map(self, function: Callable[[value], NumLike]) -> Self:
        """Return the quaternion of `function(element)`."""
        return self.of(_floats(super().map(function).node))

    # -- rotations --------------------------------------------------------------------------------

    def conjugate(self) -> Self:
        """Return w - xi - yj - zk: the reverse of a rotation."""
        w, x, y, z = scalars(self.node)
        return self._packed(w, -x, -y, -z)

    def inverse(self) -> Self:
        """Return the conjugate over the squared norm; of zero, zero."""
        square = _dot(self.node, self.node)
        safe = apply(logic.select, apply(logic.eq, square, 0.0), 1.0, square)
        return self.of(apply(arith.div, self.conjugate().node, safe))

    def norm(self) -> value:  # type: ignore[override]  # a quaternion has one norm
        """Return the root of the sum of squares; its derivative at zero is 0."""
        return self.magnitude()

    def normalize(self) -> Self:
        """Return the quaternion divided by its norm; zero becomes the identity."""
        length = norm(self.node, None, None, False)
        zero = apply(logic.eq, length, 0.0)
        w, x, y, z = scalars(apply(arith.div, self.node, apply(logic.select, zero, 1.0, length)))
        return self._packed(apply(logic.select, zero, 1.0, w), x, y, z)

    def rotate_vector(self, vec: Operand) -> Array:
        """Return a vector of 3 elements turned by this rotation, which need not have norm 1.

        Cost: 24 products and 1 division. Zero turns nothing.
        """
        node = _three(array_node(vec, "rotate_vector"), "rotate_vector")
        w, *axis = scalars(self.node)
        square = _dot(self.node, self.node)
        scale = 2.0 / apply(logic.select, apply(logic.eq, square, 0.0), 1.0, square)
        parts = scalars(node)
        turned = [scale * part for part in _cross(axis, parts)]
        moved = [p + w * t + c for p, t, c in zip(parts, turned, _cross(axis, turned), strict=True)]
        return Array.vector_class.of(pack_of(moved, (3,)))

    def toRotationMatrix(self) -> Array:  # Copapy's name
        """Return the 4x4 homogeneous matrix of a rotation of norm 1."""
        rows = [[*row, 0.0] for row in self._matrix_rows()]
        return Array.tensor_class([[*map(_traced, row)] for row in [*rows, [0.0, 0.0, 0.0, 1.0]]])

    def to_matrix(self) -> Array:
        """Return the 3x3 matrix of a rotation of norm 1."""
        return Array.tensor_class([[*map(_traced, row)] for row in self._matrix_rows()])

    def _matrix_rows(self) -> list[list[Any]]:  # Any: nodes
        w, x, y, z = scalars(self.node)
        dx, dy, dz = x + x, y + y, z + z
        return [
            [1.0 - (y * dy + z * dz), x * dy - w * dz, x * dz + w * dy],
            [x * dy + w * dz, 1.0 - (x * dx + z * dz), y * dz - w * dx],
            [x * dz - w * dy, y * dz + w * dx, 1.0 - (x * dx + y * dy)],
        ]

    def toEulerAngles(self) -> Array:  # Copapy's name
        """Return (roll, pitch, yaw) in radians of a rotation of norm 1; pitch is in [-pi/2, pi/2]."""
        w, x, y, z = scalars(self.node)
        roll = apply(elementary.atan2, 2.0 * (w * x + y * z), 1.0 - 2.0 * (x * x + y * y))
        sine = apply(arith.minimum, apply(arith.maximum, 2.0 * (w * y - z * x), -1.0), 1.0)
        yaw = apply(elementary.atan2, 2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))
        return Array.vector_class.of(pack_of([roll, apply(elementary.asin, sine), yaw], (3,)))

    def toAxisAngle(self) -> tuple[Array, value]:  # Copapy's name
        """Return (axis of length 1, angle in [0, 2 pi]); of no rotation, the x axis and 0."""
        w, *axis = scalars(self.node)
        sine = norm(pack_of(axis, (3,)), None, None, False)
        none = apply(logic.eq, sine, 0.0)
        safe = apply(logic.select, none, 1.0, sine)
        parts = [part / safe for part in axis]
        parts[0] = apply(logic.select, none, 1.0, parts[0])
        return Array.vector_class.of(pack_of(parts, (3,))), wrap(2.0 * apply(elementary.atan2, sine, w))

    def slerp(self, other: quaternion, t: NumLike) -> Self:
        """Interpolate between two rotations at constant angular speed, the shorter way; t in [0, 1].

        Cost: 1 atan2, 3 sin, 2 roots, constant time. Nearly equal rotations are interpolated linearly.
        Source: Shoemake, "Animating rotation with quaternion curves", SIGGRAPH 1985.
        """
        along = node_of(t)
        if not isinstance(other, quaternion) or along is None:
            raise TypeMismatch(f"{user_line()}: slerp takes a quaternion and a number, not {other!r} and {t!r}.")
        a, b = self.node, other.node
        b = apply(logic.select, _dot(a, b) < 0.0, -b, b)
        apart = norm(apply(arith.sub, a, b), None, None, False)
        angle = 2.0 * apply(elementary.atan2, apart, norm(apply(arith.add, a, b), None, None, False))
        near = angle < 1e-4
        safe = apply(logic.select, near, 1.0, angle)
        sine = apply(elementary.sin, safe)
        rest = 1.0 - along
        first = apply(logic.select, near, rest, apply(elementary.sin, rest * safe) / sine)
        second = apply(logic.select, near, along, apply(elementary.sin, along * safe) / sine)
        return self.of(a * first + b * second)

    # -- operators --------------------------------------------------------------------------------

    def dot(self, other: Operand) -> value:
        """Return the sum of the products of the elements."""
        if not isinstance(other, quaternion):
            raise TypeMismatch(f"{user_line()}: dot of a quaternion and {type(other).__name__}.")
        return wrap(_dot(self.node, other.node))

    def __matmul__(self, other: Operand) -> Any:
        if not isinstance(other, quaternion):
            return _refuse("@", self, other, " Use q.rotate_vector(v) to turn a vector.")
        aw, ax, ay, az = scalars(self.node)
        bw, bx, by, bz = scalars(other.node)
        return self._packed(
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        )

    def __rmatmul__(self, other: Operand) -> Any:
        return _refuse("@", other, self, " Use q.rotate_vector(v) to turn a vector.")

    def _scaled(self, op: Op, other: Operand, symbol: str) -> Self:
        factor = None if isinstance(other, Array) else node_of(other, self.dtype)
        if factor is None or factor.shape:
            _refuse(symbol, self, other, " Use @ for the product of two quaternions." if isinstance(other, quaternion) else "")
        return self.of(apply(op, self.node, factor))

    def __mul__(self, other: Operand) -> Any:
        return self._scaled(arith.mul, other, "*")

    def __rmul__(self, other: Operand) -> Any:
        return self._scaled(arith.mul, other, "*")

    def __truediv__(self, other: Operand) -> Any:
        return self._scaled(arith.div, other, "/")

    def _summed(self, op: Op, other: Operand, symbol: str) -> Self:
        return self.of(apply(op, self.node, other.node)) if isinstance(other, quaternion) else self._scaled(op, other, symbol)

    def __add__(self, other: Operand) -> Any:
        return self._summed(arith.add, other, "+")

    def __radd__(self, other: Operand) -> Any:
        return self._summed(arith.add, other, "+")

    def __sub__(self, other: Operand) -> Any:
        return self._summed(arith.sub, other, "-")

    def __rsub__(self, other: Operand) -> Any:
        return -self._summed(arith.sub, other, "-")

    def __eq__(self, other: Operand) -> Any:
        if not isinstance(other, quaternion):
            return NotImplemented
        return wrap(reduce(all_, apply(logic.eq, self.node, other.node), (0,)))

    def __ne__(self, other: Operand) -> Any:
        if not isinstance(other, quaternion):
            return NotImplemented
        return wrap(apply(logic.invert, (self == other).node))

    def __abs__(self) -> Any:
        return self.norm()

    def __pow__(self, other: Operand) -> Any:
        return _refuse("**", self, other)

    def __rpow__(self, other: Operand) -> Any:
        return _refuse("**", other, self)


# ---------------------------------------------------------------------------------- parts of nodes


def _refuse(symbol: str, a: Any, b: Any, cure: str = "") -> NoReturn:  # Any: whatever a user writes
    raise TypeMismatch(f"{user_line()}: {type(a).__name__} {symbol} {type(b).__name__} has no meaning for quaternions.{cure}")


def _floats(node: Node) -> Node:
    if node.dtype.is_float:
        return node
    return convert(node, as_dtype("float64") if node.dtype.size == 8 else default_dtype(0.0))


def _four(node: Node, what: str) -> Node:
    if node.shape != (4,):
        raise ShapeError(f"{user_line()}: {what} needs 4 numbers (w, x, y, z), not an array of shape {node.shape}.")
    return _floats(node)


def _three(node: Node, what: str) -> Node:
    if node.shape != (3,):
        raise ShapeError(f"{user_line()}: {what} needs a vector of 3 elements, not shape {node.shape}.")
    return node


def _traced(part: Any) -> Any:  # Any: a node, or a number as it is
    return wrap(part) if isinstance(part, Node) else part


def _half_angle(angle: NumLike) -> tuple[Node, Node]:
    node = node_of(angle)
    if node is None or node.shape:
        raise TypeMismatch(f"{user_line()}: an angle must be a number or traced scalar, not {angle!r}.")
    half = _floats(node) * 0.5
    return apply(elementary.cos, half), apply(elementary.sin, half)


def _cross(a: list[Node], b: list[Node]) -> list[Node]:
    (ax, ay, az), (bx, by, bz) = a, b
    return [ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx]


def _dot(a: Node, b: Node) -> Node:
    w, x, y, z = [p * q for p, q in zip(scalars(a), scalars(b), strict=True)]
    return (w + y) + (x + z)


def _shepperd(m: list[list[Node]]) -> Node:
    """Return w, x, y, z of a rotation matrix, divided by the largest of them."""
    trace = m[0][0] + m[1][1] + m[2][2]
    squares = [1.0 + trace, *[1.0 - trace + 2.0 * m[i][i] for i in range(3)]]  # 4 w*w, 4 x*x, 4 y*y, 4 z*z
    w = [squares[0], m[2][1] - m[1][2], m[0][2] - m[2][0], m[1][0] - m[0][1]]  # each row times the largest part
    x = [w[1], squares[1], m[1][0] + m[0][1], m[0][2] + m[2][0]]
    y = [w[2], x[2], squares[2], m[2][1] + m[1][2]]
    z = [w[3], x[3], y[3], squares[3]]
    best, row = squares[0], w
    for square, other in ((squares[1], x), (squares[2], y), (squares[3], z)):
        larger = square > best
        best = apply(logic.select, larger, square, best)
        row = [apply(logic.select, larger, new, old) for new, old in zip(other, row, strict=True)]
    scale = 0.5 / apply(arith.sqrt, best)
    scale = apply(logic.select, row[0] < 0.0, -scale, scale)
    return pack_of([scale * part for part in row], (4,))
