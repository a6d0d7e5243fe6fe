"""Arrays in memory that loops fill element by element: `ROOM`, where they begin, and `UPDATE`, one element put."""

from __future__ import annotations

import numpy as np

from hotloop.ir.op import Op, untyped

ROOM = Op("room", untyped(), np.asarray, doc="An array in memory for a loop to fill, whatever is in it before; attr is its shape.")
UPDATE = Op("update", untyped(), np.asarray, doc="An array in memory with one scalar put at a run-time flat place: array, place, scalar.")
