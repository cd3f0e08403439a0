"""Public benchmarks as their authors publish them: ``--data winoground:PATH`` and the like.

Nothing is downloaded: PATH is the user's own copy. Each reader says in its documentation which layout it takes, and
gives a data set whose test rows carry the benchmark's items.
"""

from __future__ import annotations

from ...registry import Registry

BENCHMARKS = Registry("benchmark", __name__, symbol="read")
"""Readers ``(path, size) -> PairedData`` by name, a file each; pictures become squares of ``size`` pixels."""

__all__ = ["BENCHMARKS"]
