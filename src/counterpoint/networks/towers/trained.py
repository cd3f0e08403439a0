"""Weights of towers and heads that an earlier run has trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from safetensors.torch import load_file
from torch import Tensor

from ...files import check_manifest, latest_checkpoint, read_json, read_yaml, run_of
from ..base import Tower
from ..weights import TowerSource

_PREFIX = "towers."
"""The prefix of the names of towers' weights in the checkpoint of a method with towers; that of a column follows."""


@dataclass(frozen=True)
class CheckpointWeights:
    """The weights of a run as a checkpoint left them.

    Attributes:
        tensors: by their names in the method.
    """

    tensors: Mapping[str, Tensor]

    @classmethod
    def of_run(cls, folder: Path, named: str) -> CheckpointWeights:
        """Read the newest checkpoint of a finished run, or one checkpoint of any run by its own folder.

        Args:
            folder: of the run, or of the checkpoint.
            named: what it is read for, for errors.

        Raises:
            ValueError: for a folder that is neither, and a run that has not finished.
            DamagedFileError: if the checkpoint cannot be read.
        """
        run = run_of(folder)
        chosen = run != folder
        checkpoint = folder if chosen else latest_checkpoint(folder / "checkpoint")
        state = run / "run.json"
        if not state.is_file():
            raise ValueError(f"{named}: {folder} is not a run's folder: it has no run.json")
        advice = "name the folder of another run"
        if not chosen and (status := read_json(state, _State, advice).status) != "finished":
            raise ValueError(
                f"{named}: the run has not finished (its status is {status!r}); finish it, or name one of its "
                f"checkpoints in {folder / 'checkpoint'}"
            )
        if checkpoint is None or not checkpoint.is_dir():
            raise ValueError(f"{named}: there is no checkpoint {checkpoint or folder / 'checkpoint'}")
        check_manifest(checkpoint, advice, ("model.safetensors",))
        return cls(load_file(checkpoint / "model.safetensors"))

    def of_tower(self, tower: Tower) -> tuple[str, Mapping[str, Tensor]] | None:
        """Return the column and the weights of the tower that is built as this one is; None where there is none.

        Of several the one that is called after the tower's modality is taken, else the first.
        """
        expected = {name: tensor.shape for name, tensor in tower.state_dict().items()}
        columns = self.towers()
        for column in sorted(columns, key=lambda name: name != tower.modality):
            if {name: tensor.shape for name, tensor in columns[column].items()} == expected:
                return column, columns[column]
        return None

    def towers(self) -> dict[str, dict[str, Tensor]]:
        """Return the weights of every tower by its column."""
        towers: dict[str, dict[str, Tensor]] = {}
        for name, tensor in self.tensors.items():
            if name.startswith(_PREFIX):
                column, _, rest = name.removeprefix(_PREFIX).partition(".")
                towers.setdefault(column, {})[rest] = tensor
        return towers


def load_trained(tower: Tower, source: TowerSource) -> None:
    """Read a trained tower's weights into a tower of the same kind, all of them or none.

    Args:
        tower: whose weights are replaced.
        source: ``cnn@PATH``, ``bag@PATH``. The path is the folder of a finished run, whose tower is taken as its last
            step left it, that of one of a run's checkpoints, or a ``safetensors`` file: a checkpoint's, or one of a
            tower's ``state_dict()``.

    Raises:
        ValueError: for a path that is not there or holds no weights, a run that has not finished, and weights
            of another tower or of one of other sizes.
    """
    path = source.path
    if path is None:
        raise ValueError(
            f"tower {source}: there is no file or folder {source.weights}; give a run's folder or a "
            ".safetensors file"
        )
    if path.is_dir():
        weights = CheckpointWeights.of_run(path, f"tower {source}")
    else:
        with source.reading():
            weights = CheckpointWeights(load_file(path))
    if (found := weights.of_tower(tower)) is not None:
        tower.load_state_dict(dict(found[1]))
        return
    towers = weights.towers()
    _fit(tower, towers.get(tower.modality) or next(iter(towers.values()), dict(weights.tensors)), source)


def sizes_of_run(folder: Path) -> dict[str, Any]:
    """Return the sizes of the towers of a run by the keys of its recipe: those that decide the shapes of weights.

    Raises:
        DamagedFileError: if ``recipe.yaml`` cannot be read.
    """
    path = folder / "recipe.yaml"
    if not path.is_file():  # a folder that holds the weights alone
        return {}
    return read_yaml(path, _RunFile, "name the folder of another run").recipe.towers.model_dump()


class _Sizes(BaseModel):
    image_width: int | None = None
    image_layers: int | None = None
    image_patch: int | None = None
    text_layers: int | None = None


class _Recipe(BaseModel):
    towers: _Sizes = _Sizes()


class _RunFile(BaseModel):
    """``recipe.yaml``, as far as it is read here."""

    recipe: _Recipe


class _State(BaseModel):
    """``run.json``, as far as it is read here."""

    status: str


def _fit(tower: Tower, tensors: dict[str, Tensor], source: TowerSource) -> None:
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
            f"tower {source}: these are not the weights of a {source.name!r} tower of the sizes that the recipe asks "
            f"for ({message}); name the tower and its sizes (towers.…, as towers.image_size) as they were in training"
        )
    tower.load_state_dict(tensors)
