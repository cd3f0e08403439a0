"""Vectors of a few names of emoji."""

import counterpoint as cp

cp.embed("transformers:all-MiniLM-L6-v2@package", "emoji", "vectors", limit=60)
