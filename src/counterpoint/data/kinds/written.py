"""The help of options that name data: all that can be written there."""

from __future__ import annotations

from ...reasons import listing
from ..collections import COLLECTIONS
from ..synthetic import WORLDS

WRITTEN = (
    f"{listing(WORLDS.names(), 'or')}, with a preset behind a colon (emoji:artist, scenes:basic); "
    f"{listing(COLLECTIONS.names(), 'or')} (packages of Debian); a folder, a table (CSV, TSV, JSONL, Parquet) or a "
    "shard (tar), several by braces, a glob or @list.txt, here or at s3://, gs://, https://; an index; hf:NAME; "
    "coco:PATH or ptbxl:PATH; or FILE.py:NAME, data or a source that a file of Python defines."
)
"""Description of the data that a name or a path stands for."""
MIXED = f"{WRITTEN} Given several times, sources are mixed: share=0.5 behind one is its part of every batch."
"""Description of the data that models are trained on."""
