"""Every exception hotloop raises, as one tree.

HotloopError
├── TypeMismatch      (TypeError)          operand or argument types that no rule accepts
├── ShapeError        (ValueError)         shapes or lengths that do not fit together
├── RangeError        (OverflowError)      a constant or written value outside its dtype
├── DivisionByZero    (ZeroDivisionError)  a constant, or in checked mode a run-time value, divided by zero
├── CheckError        (ArithmeticError)    checked mode: invalid operation or overflow
├── BoundsError       (IndexError)         an index outside its array
├── NameConflict      (ValueError)         two inputs of one program with one name
├── TruthError        (TypeError)          Python asked a traced value for its truth or number
├── TraceError        (TypeError)          a function that cannot be traced
├── SourceError       (TypeError)          something that is no Python function, or whose text is not its own
├── SourceNotFound    (OSError)            a function whose text is nowhere
├── SourceChanged     (RuntimeError)       a function whose file was changed after it was imported
├── SyntaxRefused     (SyntaxError)        Python that a data-parallel function cannot have
├── GradientError     (TypeError)          no derivative exists for what was asked
├── NotCompiled       (RuntimeError)       running or reading what no program holds
├── NotWritable       (ValueError)         writing a value that is not an input or state
├── TargetError       (RuntimeError)       an unknown or unavailable target
├── ImageError        (ValueError)         an image the runner refuses
├── LinkError         (ConnectionError)    a runner elsewhere that cannot be reached, or whose link broke
└── InternalError     (AssertionError)     a fault of hotloop itself
"""


class HotloopError(Exception):
    """Root of all errors raised by hotloop."""


class TypeMismatch(HotloopError, TypeError):
    """No type rule accepts these operands."""


class ShapeError(HotloopError, ValueError):
    """Shapes or lengths do not fit together."""


class RangeError(HotloopError, OverflowError):
    """A number does not fit the dtype it must have."""


class DivisionByZero(HotloopError, ZeroDivisionError):
    """A division by zero that is certain, or that checked mode found."""


class CheckError(HotloopError, ArithmeticError):
    """Checked mode found an invalid operation or an overflow."""


class BoundsError(HotloopError, IndexError):
    """An index lies outside its array."""


class NameConflict(HotloopError, ValueError):
    """Two inputs of one program have the same name."""


class TruthError(HotloopError, TypeError):
    """A traced value has no truth and no number while it is traced."""


class TraceError(HotloopError, TypeError):
    """A function, argument or result cannot be traced."""


class SourceError(HotloopError, TypeError):
    """This is no function with a text of its own: it is written in C, wrapped or partial."""


class SourceNotFound(HotloopError, OSError):
    """The text of a function is nowhere to be found."""


class SourceChanged(HotloopError, RuntimeError):
    """The text that is in the file now is not the one that the function was made from."""


class SyntaxRefused(HotloopError, SyntaxError):
    """Valid Python that a data-parallel function cannot have; the traceback shows where."""


class GradientError(HotloopError, TypeError):
    """The derivative asked for does not exist."""


class NotCompiled(HotloopError, RuntimeError):
    """The program was not compiled, or does not hold this value."""


class NotWritable(HotloopError, ValueError):
    """Only inputs and states can be written."""


class TargetError(HotloopError, RuntimeError):
    """The target is unknown, or cannot run on this machine."""


class ImageError(HotloopError, ValueError):
    """The runner refuses this image or command."""


class LinkError(HotloopError, ConnectionError):
    """The link to a runner cannot be opened, broke, or stayed silent."""


class InternalError(HotloopError, AssertionError):
    """A fault of hotloop itself; please report it."""
