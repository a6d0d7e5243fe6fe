"""`Mirrored`: a program in a runner elsewhere, with a copy of its data here for what reads and writes numbers."""

from __future__ import annotations

from hotloop.image import Image
from hotloop.runtime.remote import RemoteProgram


class Mirrored:
    """A remote program as a compiled program holds it: `run`, `run_many`, and memory that is brought up to date on demand.

    memory: a copy of the data; `fetch` brings bytes of it from the runner, `send` takes them there.
    Cost: each of the four is a round trip over the link.
    """

    def __init__(self, remote: RemoteProgram, image: Image) -> None:
        self.remote = remote
        self.memory = bytearray(image.data)
        self.run = remote.run
        self.run_many = remote.run_many
        self.close = remote.close

    def fetch(self, offset: int, size: int) -> None:
        """Bring bytes of the data here. Raises: LinkError."""
        self.memory[offset : offset + size] = self.remote.read(offset, size)

    def send(self, offset: int, size: int) -> None:
        """Take bytes of the data to the runner. Raises: LinkError."""
        self.remote.write(offset, bytes(self.memory[offset : offset + size]))
