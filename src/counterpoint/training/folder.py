"""The folder of a run: the marks that it is known by, and what to do about one that is damaged."""

from __future__ import annotations

from pathlib import Path

from ..files import run_of


def is_run(folder: Path) -> bool:
    """Return whether a folder is a run's."""
    return (folder / "recipe.yaml").exists() or (folder / "run.json").exists()


def is_checkpoint(folder: Path) -> bool:
    """Return whether a folder is a checkpoint of a run."""
    return run_of(folder) != folder and is_run(run_of(folder)) and folder.is_dir()


def remedy(folder: Path) -> str:
    """Return the advice for a damaged file of a run."""
    return f"delete {folder} and run the same command again, which repeats this run alone"
