"""Public benchmarks as their authors publish them: ``--data winoground:PATH`` and the like.

Nothing is downloaded: PATH is the user's own copy. Each reader says in its documentation which layout it takes, and
gives a data set whose test rows carry the benchmark's items.
"""

from __future__ import annotations

from ...registry import Registry

BENCHMARKS = Registry(
    "benchmark",
    {
        "aro": "counterpoint.data.benchmarks.choices:aro",
        "bivlc": "counterpoint.data.benchmarks.squares:bivlc",
        "coco": "counterpoint.data.benchmarks.coco:coco",
        "countbench": "counterpoint.data.benchmarks.choices:countbench",
        "inpaintcoco": "counterpoint.data.benchmarks.squares:inpaintcoco",
        "mmvp": "counterpoint.data.benchmarks.squares:mmvp",
        "mmvp-questions": "counterpoint.data.benchmarks.twins:mmvp_questions",
        "questions": "counterpoint.data.benchmarks.asked:questions",
        "sugarcrepe": "counterpoint.data.benchmarks.choices:sugarcrepe",
        "winoground": "counterpoint.data.benchmarks.squares:winoground",
    },
)
"""Readers ``(path, size) -> PairedData`` by name; pictures become squares of ``size`` pixels."""

__all__ = ["BENCHMARKS"]
