"""Weights of a built-in image tower that an earlier run has trained."""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path

from pydantic import BaseModel
from safetensors.torch import load_file
from torch import Tensor

from ...files import check_manifest, latest_checkpoint, read_json
from ..base import ImageTower
from ..weights import Source

_PREFIX = "towers."
"""The prefix of the names of towers' weights in the checkpoint of a method with towers; that of a column follows."""


def load_trained(tower: ImageTower, source: Source) -> None:
    """Read a trained tower's weights into a tower of the same kind, all of them or none.

    Args:
        tower: whose weights are replaced.
        source: ``cnn@PATH`` or ``vit@PATH``. The path is the folder of a finished run, whose image tower is
            taken as its last step left it, or a ``safetensors`` file: a checkpoint's, or one of a tower's
            ``state_dict()``.

    Raises:
        ValueError: for a path that is not there or holds no weights, a run that has not finished, and weights
            of another tower or of one for another size of picture.
    """
    path = source.path
    if path is None:
        raise ValueError(
            f"tower {source}: there is no file or folder {source.weights}; give a run's folder or a "
            ".safetensors file"
        )
    file = _of_run(source, path) if path.is_dir() else path
    with source.reading():
        tensors = load_file(file)
    _fit(tower, _inside(tensors, tower.state_dict().keys()) or tensors, source)


def _inside(tensors: dict[str, Tensor], expected: Set[str]) -> dict[str, Tensor]:
    """Return the weights of a method's image tower, whose column may have any name; nothing where there is none."""
    towers: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith(_PREFIX):
            column, _, rest = name.removeprefix(_PREFIX).partition(".")
            towers.setdefault(column, {})[rest] = tensor
    fitting = (weights for weights in towers.values() if weights.keys() == expected)
    return towers.get("image") or next(fitting, {})


class _State(BaseModel):
    """``run.json``, as far as it is read here."""

    status: str


def _of_run(source: Source, folder: Path) -> Path:
    """Return the weights of a finished run's last checkpoint."""
    state, checkpoint = folder / "run.json", latest_checkpoint(folder / "checkpoint")
    if not state.is_file():
        raise ValueError(f"tower {source}: {folder} is not a run's folder: it has no run.json")
    status = read_json(state, _State, "name the folder of another run").status
    if status != "finished" or checkpoint is None:
        raise ValueError(
            f"tower {source}: the run has not finished (its status is {status!r}); finish it, or name one "
            f"file of weights in {folder / 'checkpoint'}"
        )
    check_manifest(checkpoint, "name the folder of another run", ("model.safetensors",))
    return checkpoint / "model.safetensors"


def _fit(tower: ImageTower, tensors: dict[str, Tensor], source: Source) -> None:
    expected = tower.state_dict()
    faults = {
        "missing": sorted(expected.keys() - tensors.keys()),
        "unexpected": sorted(tensors.keys() - expected.keys()),
        "of another shape": [
            f"{k} {tuple(tensors[k].shape)}, not {tuple(expected[k].shape)}"
            for k in sorted(expected.keys() & tensors.keys())
            if expected[k].shape != tensors[k].shape
        ],
    }
    if any(faults.values()):
        message = "; ".join(
            f"{what}: {', '.join(names[:3])}{' …' if len(names) > 3 else ''}"
            for what, names in faults.items()
            if names
        )
        raise ValueError(
            f"tower {source}: these are not the weights of a {source.name!r} tower for pictures of "
            f"{tower.size}×{tower.size} pixels ({message}); name the tower and towers.image_size that they were "
            "trained with"
        )
    tower.load_state_dict(tensors)
