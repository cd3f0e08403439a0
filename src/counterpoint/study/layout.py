"""Layout of a study's folder, of whatever kind the study is."""

from __future__ import annotations

from pathlib import Path


def run_folder(study: Path, slug: str, seed: int) -> Path:
    """Return the folder of one run of a study: of the arm with a slug, under a seed."""
    return study / "runs" / slug / f"seed-{seed}"


def trial_folder(study: Path, slug: str, number: int) -> Path:
    """Return the folder of one trial of an arm's search."""
    return study / "tuning" / slug / f"trial-{number}"


def trial_runs(trial: Path) -> list[Path]:
    """Return the folders of the runs of a trial: its own, or one of each fold."""
    return sorted(trial.glob("fold-*")) or [trial]
