"""Other models that a method asks while it trains, and image towers with weights, by their names."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

import torch
from jaxtyping import Float
from torch import Tensor

from ..networks.base import ImageTower, PictureStates, Tower
from ..networks.towers.build import build_image_tower
from ..networks.towers.parts.pixels import Square
from ..networks.weights import TowerSource, is_restored
from ..registry import load
from .tower_method import TowerMethod

Frozen = tuple[TowerMethod, ...]
"""The model, in a tuple, and so no module of the method: neither trained, nor saved, nor shared by ranks.

Empty where a trained method is read again, which is used without the other model.
"""


def frozen(option: str, name: str, picture_size: int | None) -> Frozen:
    """Load a model in evaluation mode.

    Args:
        option: of the method that names it, for messages.
        name: as `counterpoint.load` reads it.
        picture_size: of the pictures that both are to see.

    Raises:
        ValueError: for a model that cannot be read, or that takes pictures of another size.
    """
    if is_restored():
        return ()
    try:
        # By name, as rooms import downwards only.
        model: TowerMethod = load("counterpoint.models:load")(name)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{option}={name!r} cannot be read: {error}. Name a model that can be read; a run that has begun needs the "
            "same one up to its last step"
        ) from None
    if model.picture_size is None:
        raise ValueError(f"{option}={name!r} takes no pictures")
    _check_size(option, name, model.picture_size, picture_size)
    return (model.requires_grad_(False).eval(),)


class Teacher:
    """Frozen models of pictures, whose summaries and patches a method learns from.

    It is no module: its method neither trains it, nor saves it, nor switches it out of evaluation mode. A trained
    method that is read again has the names of its teachers alone.

    Args:
        option: of the method that names it, for messages.
        names: one or more models, joined with ``+``. A run's folder is the run's tower with its heads, and so is what
            else `counterpoint.load` reads; a tower with its weights, ``timm:NAME@FILE`` or ``cnn@RUN``, has no head.
        tower: the student's, which takes pictures of the same size.
        microbatch: pictures that a teacher sees at a time; 0 for all of them.
        patches: whether the features of patches are needed; without them a teacher need not have any.

    Attributes:
        names: of the models.
        towers: the models as towers, which answer from memory where ``towers.keep`` asks for it.
        widths: of their features; none where a trained method is read again.
        grids: rows and columns of their patches.

    Raises:
        ValueError: for a model that cannot be read, takes pictures of another size, or has no features of patches.
    """

    def __init__(
        self, option: str, names: str, tower: ImageTower, microbatch: int = 0, *, patches: bool = True
    ) -> None:
        self.option, self.names, self.microbatch = option, tuple(names.split("+")), microbatch
        self.patches, self._size = patches, tower.size
        self.models: tuple[TowerMethod | ImageTower, ...] = ()
        self.towers: tuple[TeacherTower, ...] = ()
        self.widths: tuple[int, ...] = ()
        self.grids: tuple[tuple[int, int], ...] = ()
        if not is_restored():
            self.load()

    def load(self) -> None:
        """Load the models, where they are not yet; for a trained method that is to be compared with them.

        Raises:
            ValueError: as the constructor does.
        """
        if self.models:
            return
        blank = torch.zeros(1, 3, self._size, self._size)
        models = tuple(_teacher(self.option, name, self._size) for name in self.names)
        try:
            shapes = [_features(model, blank, self.patches)[1].shape for model in models]
        except LookupError as error:
            names = "+".join(self.names)
            raise ValueError(
                f"{self.option}={names!r}: {error}; name a teacher with features of patches"
            ) from None
        self.models = models
        self.towers = tuple(TeacherTower(model, self._size, self.patches) for model in models)
        self.widths, self.grids = tuple(s[1] for s in shapes), tuple((s[2], s[3]) for s in shapes)

    def check_grid(self, grid: tuple[int, int]) -> None:
        """Refuse teachers whose patches are not those of the student.

        Raises:
            ValueError: naming the teacher and both grids.
        """
        for name, its in zip(self.names, self.grids, strict=False):
            if its != grid:
                raise ValueError(
                    f"{self.option}={name!r} has {its[0]} × {its[1]} patches and the image tower "
                    f"{grid[0]} × {grid[1]}; name a teacher and a tower with the same patches"
                )

    @torch.no_grad()
    def __call__(self, images: Float[Tensor, "B 3 H W"]) -> list[PictureStates]:
        """Return the features of pictures and of their patches, row by row, from every teacher.

        Raises:
            LookupError: where a trained method is read again.
        """
        if not self.models:
            raise LookupError(
                f"{self.option}={'+'.join(self.names)!r}: a trained method is read without its teacher"
            )
        results = []
        for tower, width in zip(self.towers, self.widths, strict=True):
            tower.to(images)
            parts = torch.split(images, self.microbatch or len(images) or 1)
            features = torch.cat([tower(part) for part in parts])
            summary, maps = features[:, :width], features[:, width:].view(len(features), width, -1)
            results.append(PictureStates(summary, maps.mT))
        return results


class TeacherTower(Tower):
    """A model of pictures as one frozen tower.

    A feature is that of the picture, followed by the map of those of its patches, ``(d + d·h·w)``.

    Args:
        model: in evaluation mode.
        size: of the pictures that it takes.
        patches: whether the features of patches are needed.
    """

    modality: ClassVar[str] = ImageTower.modality
    frozen = True

    def __init__(self, model: TowerMethod | ImageTower, size: int, patches: bool) -> None:
        super().__init__()
        self.model, self.patches, self._size = model, patches, size

    @property
    def input(self) -> Square:
        return Square(self._size)

    def train(self, mode: bool = True) -> Self:
        return self  # the model stays in evaluation mode

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B width"]:
        summary, maps = _features(self.model, images, self.patches)
        return torch.cat([summary, maps.flatten(1)], 1)


@torch.no_grad()
def _features(model: TowerMethod | ImageTower, images: Tensor, patches: bool) -> tuple[Tensor, Tensor]:
    """Return features of pictures ``(B, d)`` and maps of those of their patches ``(B, d, h, w)``, empty if unneeded."""
    if isinstance(model, ImageTower):
        return _tower_features(model, images, patches)
    column, head = (
        next(name for name in model.columns if isinstance(model.tower(name), ImageTower)),
        model.heads[0],
    )
    if type(model).features is TowerMethod.features:
        summary, maps = _tower_features(model.image_tower, images, patches)
    else:  # the method reads its tower in a way of its own
        summary = model.features(column, images)
        maps = model.image_tower.patches(images)
    summary = model.project(column, summary, head)
    projected = model.project(column, maps.permute(0, 2, 3, 1).flatten(0, 2), head)
    return summary, projected.view(len(maps), *maps.shape[2:], summary.shape[1]).permute(0, 3, 1, 2)


def _tower_features(tower: ImageTower, images: Tensor, patches: bool) -> tuple[Tensor, Tensor]:
    if patches:
        return tower.summary_and_patches(images)
    summary = tower(images)
    return summary, summary[:, :, None, None][..., :0]


def _teacher(option: str, name: str, size: int) -> TowerMethod | ImageTower:
    # Towers of other libraries come with the layers that lead into their common space.
    if not Path(name).exists() and "@" in name and TowerSource.parse(name).library in {"", "timm"}:
        return trained_tower(option, name, size).requires_grad_(False).eval()
    (model,) = frozen(option, name, size)
    return model


def embed_in_parts(model: TowerMethod, column: str, prepared: Tensor, part: int) -> Float[Tensor, "B d"]:
    """Return unit-norm embeddings of a batch, computed so many examples at a time; 0 is all at once."""
    parts = torch.split(prepared, part or len(prepared) or 1)
    return torch.cat([model.embed_prepared(column, some) for some in parts])


def check_weights(option: str, name: str) -> None:
    """Refuse an image tower that is named without weights.

    Raises:
        ValueError: saying how they are named.
    """
    if "@" not in name:
        raise ValueError(f"{option}={name!r} has no weights; name them after an @: timm:NAME@FILE or cnn@RUN")


def trained_tower(option: str, name: str, picture_size: int) -> ImageTower:
    """Build an image tower with its weights.

    Args:
        option: of the method that names it, for messages.
        name: as an arm names it, with its weights.
        picture_size: of the pictures that the method's own tower takes.

    Raises:
        ValueError: for a tower that cannot be read, or is of pictures of another size.
    """
    try:
        tower = build_image_tower(name, picture_size)
    except (OSError, ValueError) as error:
        raise ValueError(f"{option}={name!r} cannot be read: {error}") from None
    _check_size(option, name, tower.size, picture_size)
    return tower


def _check_size(option: str, name: str, size: int, picture_size: int | None) -> None:
    if size != picture_size:
        raise ValueError(
            f"{option}={name!r} takes pictures of {size} pixels and the image tower those of {picture_size}; set "
            f"towers.image_size={size}"
        )
