"""Units and steps of work that a folder may list in ``units.json``, by name: a list of names runs no other code."""

from __future__ import annotations

UNITS = {
    "training": "counterpoint.study.training.run:TrainingRun",
    "decoding": "counterpoint.study.decoding.units:Asking",
    "embedding": "counterpoint.serving.embedding.parts:VectorChunk",
    "counting": "counterpoint.data.sharded.counting:CountingUnit",
    "looking": "counterpoint.data.reporting._looking:FileScanUnit",
}
"""Classes of units by name; each is a `counterpoint.execution.unit.PortableUnit`."""

STEPS = {
    "report": "counterpoint.study.study:report",
    "training": "counterpoint.study.training.study:go_on",
    "vectors": "counterpoint.serving.embedding.parts:gather",
    "data-index": "counterpoint.data.sharded.indexing:ended",
}
"""Functions that follow when all units of a list are done, by name; each takes the folder and options of JSON."""
