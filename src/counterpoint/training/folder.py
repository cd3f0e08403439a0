"""The folder of a run: the marks that it is known by, and what to do about one that is damaged."""

from __future__ import annotations

from pathlib import Path

from ..files import run_of


def is_run(folder: Path) -> bool:
    """Return whether a folder is a run's."""
    return (folder / "recipe.yaml").exists() or (folder / "run.json").exists()


def not_a_run(folder: Path) -> str:
    """Return the message about a folder that is no run's."""
    if not folder.exists():
        why = "there is no such folder"
    elif (folder / "study.yaml").exists():
        why = f"it is a study's, whose runs are {folder / 'runs' / 'ARM' / 'seed-K'}"
    else:
        why = "it has no recipe.yaml"
    return f"{folder} is not a run folder: {why}"


def is_checkpoint(folder: Path) -> bool:
    """Return whether a folder is a checkpoint of a run."""
    return run_of(folder) != folder and is_run(run_of(folder)) and folder.is_dir()


def remedy(folder: Path) -> str:
    """Return the advice for a damaged file of a run."""
    return f"delete {folder} and run the same command again, which repeats this run alone"
