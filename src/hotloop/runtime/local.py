"""Loads an image into the runner of this process."""

from __future__ import annotations

from hotloop import _runner
from hotloop.errors import TargetError
from hotloop.image import Image
from hotloop.runtime.protocol import pack_patches

# What a processor executes, by its best level: the levels of x86-64 contain each other.
_EXECUTES = {"x86-64-v3": ("x86-64-v3", "x86-64-v2")}


def executes(target: str) -> bool:
    """Return whether this machine can run code for `target`."""
    level = _runner.cpu_features()
    return target != "unknown" and target in _EXECUTES.get(level, (level,))


def load(image: Image, *, long_running: bool = False) -> _runner.Program:
    """Return a program that is ready to run; `long_running` releases the GIL around each run.

    Cost: one mapping and one change of its protection, some microseconds.
    Raises: TargetError if this machine cannot run it, ImageError if the runner refuses the image.
    """
    if not executes(image.target):
        raise TargetError(f"code for {image.target} cannot run on this {_runner.cpu_features()} machine. Compile for the latter.")
    patches = pack_patches(image.patches)
    return _runner.Program(image.code, image.data, image.entry, patches, stack=image.stack, long_running=long_running)
