"""Folders that are made, held and left again, and what counts as their content."""

from __future__ import annotations

from pathlib import Path

LEASES = ".lease-"
"""Beginning of the names of files that say who holds a folder."""


def contents(folder: Path) -> list[Path]:
    """Return what a folder holds beside leases and what is still being written; a file holds itself.

    A process that is killed leaves such names behind: a folder with nothing else counts as empty.
    """
    if not folder.is_dir():
        return [folder] if folder.exists() else []
    return [path for path in folder.iterdir() if not path.name.startswith(LEASES) and path.suffix != ".part"]


def check_writable(folder: Path) -> None:
    """Check that a folder could be made and written, before there is anything to write; nothing of the trial is left.

    Raises:
        OSError: if it could not.
    """
    made = make(folder)
    unmake(made)


def make(folder: Path) -> list[Path]:
    """Create a folder and return those that had to be, the innermost first."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(folder, error) from error
    return made


def unmake(made: list[Path]) -> None:
    """Remove created folders that are empty."""
    for path in made:
        try:
            path.rmdir()
        except OSError:
            return


def unwritable(folder: Path, error: OSError) -> OSError:
    """Return the error that a folder cannot be written, in words that say what to do."""
    return OSError(f"cannot write to {folder}: {error.strerror}; choose another folder with --out")
