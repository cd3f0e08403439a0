"""Vectors in the form that ``counterpoint embed`` writes."""

from pathlib import Path

import numpy as np
import polars as pl

Path("vectors").mkdir()
pl.DataFrame(
    {
        "id": range(8),
        "key": [f"key-{number}" for number in range(8)],
        "text": ["a red car"] * 8,
        "vector": np.random.default_rng(0).standard_normal((8, 384)).astype(np.float32),
    }
).write_parquet("vectors/text-00000-of-00001.parquet")
