"""Programs as C99 source, for toolchains that compile everything themselves."""

from hotloop.backends.csource.source import c_source

__all__ = ["c_source"]
