"""Layout of a study's folder."""

from __future__ import annotations

from pathlib import Path

from ..methods.arm import Arm


def run_folder(study: Path, arm: str, seed: int) -> Path:
    """Return the folder of one run of a study."""
    return study / "runs" / Arm.parse(arm).slug / f"seed-{seed}"
