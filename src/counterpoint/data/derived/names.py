"""Names of derived data, for modules that must not load torch."""

from __future__ import annotations

VOXELS = "voxels"
"""Name of simulated voxels, before the colon and the data that they are simulated from."""
