"""Benchmarks of hotloop beside its peers, one file per claim: `python -m benchmarks.dot`, or `hotloop bench dot`.

Every peer does the same work and is checked equal before it is timed; what is not installed is reported and
left out. The peers are the extra `[bench]`.
"""

from __future__ import annotations

NAMES = ("dot", "control", "fused", "matmul_small", "arrays", "parallel", "compile", "data", "call", "import_time", "targets")
