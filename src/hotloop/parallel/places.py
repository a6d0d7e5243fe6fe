"""Places: where data-parallel functions run, and in which memory their arrays lie.

`with places.sequential:` chooses one for the calls inside of it, in this thread and asyncio task alone;
`fn(..., target_place=places.here)` or `target_place="here"` for one call.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from hotloop.errors import TargetError

HOST = "host"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Place:
    """One way to run data-parallel functions; as a context manager, the place of all calls inside.

    memory: whose memory arrays are in, "host" or the name of a device. asynchronous: whether calls return before they
    are done. threads: how many at most, 0 for as many as `hl.set_threads` allows. interpreted: run by Python itself.
    missing: why the place cannot be used here; empty if it can.
    """

    name: str
    memory: str = HOST
    asynchronous: bool = False
    threads: int = 0
    interpreted: bool = False
    missing: str = ""

    @property
    def available(self) -> bool:
        """Whether functions can run there."""
        return not self.missing

    def require(self) -> Place:
        """Return the place itself. Raises: TargetError if it is not available."""
        if self.missing:
            usable = ", ".join(place.name for place in available())
            raise TargetError(f"places.{self.name} is not available: {self.missing}. Available: {usable}.")
        return self

    def __enter__(self) -> Place:
        self.require()
        _around.set((_current.get(), _around.get()))
        _current.set(self)
        return self

    def __exit__(self, *exception: object) -> None:
        around = _around.get()
        assert around is not None
        before, outer = around
        _current.set(before)
        _around.set(outer)

    def __repr__(self) -> str:
        return f"places.{self.name}"

    def __reduce__(self) -> tuple[Any, ...]:
        return resolve, (self.name,)


def _gpu(number: int) -> Place:
    return Place(f"gpu{number}", f"gpu{number}", asynchronous=True, missing="hotloop has no back end for GPUs")


here = Place("here", threads=1, interpreted=True)
sequential = Place("sequential", threads=1)
openmp = cpu = Place("openmp")
default_place = openmp

_PLACES = {place.name: place for place in (here, sequential, openmp)} | {"cpu": cpu}
_GPUS: dict[str, Place] = {}  # each is one object, made when it is first asked for
_GPU_NAME = re.compile(r"gpu\d{1,3}")

# what `with` has chosen, and what it has to give back; linked, as the same place may be chosen twice
_current: ContextVar[Place] = ContextVar("place", default=default_place)
_around: ContextVar[tuple[Place, Any] | None] = ContextVar("around", default=None)

current: Callable[[], Place] = _current.get  # the place of calls made here and now; this very method, since every call asks


def available() -> tuple[Place, ...]:
    """Return the places that can be used on this machine."""
    return tuple([place for place in (here, sequential, openmp, *_GPUS.values()) if place.available])


def resolve(target: Place | str | None) -> Place:
    """Return the place that `target_place=` stands for: a place, its name, or None for the current one.

    Raises: TargetError if there is no such place, or it is not available.
    """
    if target is None:
        return current()
    if isinstance(target, Place):
        return target.require()
    return named(target).require()


def named(name: str) -> Place:
    """Return the place of a name, available or not. Raises: TargetError."""
    place = _PLACES.get(name) if isinstance(name, str) else None
    if place is None and isinstance(name, str) and _GPU_NAME.fullmatch(name):
        place = _GPUS.setdefault(name, _gpu(int(name[3:])))
    if place is None:
        raise TargetError(f"there is no place {name!r}. Places: {', '.join(_PLACES)}, gpu0, gpu1, ...")
    return place


def __getattr__(name: str) -> Place:
    """Return gpu0, gpu1, ...: as many as anyone asks for, available or not."""
    if not _GPU_NAME.fullmatch(name):
        raise AttributeError(f"there is no place {name!r}. Places: {', '.join(_PLACES)}, gpu0, gpu1, ...")
    return named(name)
