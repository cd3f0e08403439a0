"""Towers in the words of other libraries: the configuration and the weights that these would have saved."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..types import Fit
from .towers.parts.pixels import MEAN, STD


class NotExportableError(ValueError):
    """A tower, or a head of one, that a library has no words for; the message says what it lacks."""


@dataclass(frozen=True)
class Head:
    """A linear map from a tower's features to the space of the embeddings.

    Attributes:
        weight: of the map.
        bias: added to the result; None for none.
    """

    weight: Float[Tensor, "d w"]
    bias: Float[Tensor, " d"] | None = None

    @property
    def width(self) -> int:
        """The size of an embedding."""
        return self.weight.shape[0]

    @property
    def is_identity(self) -> bool:
        rows, columns = self.weight.shape
        return rows == columns and self.bias is None and torch.equal(self.weight, torch.eye(rows))

    def after(self, weight: Float[Tensor, "w v"], bias: Float[Tensor, " w"] | None = None) -> Head:
        """Return this head after another linear map, as one map; the numbers of the other one where it is the identity.

        >>> twice = Head(2 * torch.eye(2)).after(torch.ones(2, 3), torch.ones(2))
        >>> twice.weight.tolist(), twice.bias.tolist()
        ([[2.0, 2.0, 2.0], [2.0, 2.0, 2.0]], [2.0, 2.0])
        """
        if self.is_identity:
            return Head(weight, bias)
        matrix = self.weight.double()
        moved = None if bias is None else matrix @ bias.double()
        if self.bias is not None:
            moved = self.bias.double() if moved is None else moved + self.bias
        return Head((matrix @ weight.double()).float(), None if moved is None else moved.float())


def with_head(
    weights: Mapping[str, Tensor], head: Head, names: Sequence[str], whose: str
) -> dict[str, Tensor]:
    """Return weights whose last linear map has a head within it.

    Args:
        weights: by name.
        head: that comes after them.
        names: that the last linear map can have: of a layer, or of a matrix that is multiplied from the left.
        whose: of what the weights are, for messages.

    Raises:
        NotExportableError: where there is no such map, or the head has a bias and the map none.
    """
    changed = dict(weights)
    if head.is_identity:
        return changed
    for name in names:
        matrix = f"{name}.weight" if f"{name}.weight" in weights else name
        if matrix not in weights:
            continue
        weight = weights[matrix] if matrix != name else weights[matrix].T
        whole = head.after(weight, weights.get(f"{name}.bias"))
        changed[matrix] = whole.weight if matrix != name else whole.weight.T.contiguous()
        if f"{name}.bias" in weights:
            changed[f"{name}.bias"] = torch.zeros(whole.width) if whole.bias is None else whole.bias
        elif whole.bias is not None:
            raise NotExportableError(f"{whose} ends in a linear map without bias, and the head has one")
        return changed
    raise NotExportableError(f"{whose} ends in no linear map that the head could become a part of")


def nothing(folder: Path) -> None:
    """Write no files."""


@dataclass(frozen=True)
class ExportedTower:
    """A tower with its head in a library's words.

    Attributes:
        config: the entries of the library's configuration that are about this tower.
        weights: by the library's names.
        preprocessing: of pictures, as the library writes it down.
        save: writes what else the library reads from a folder, as a tokenizer.
        scale: the scale and the bias of similarities that came with the weights.
    """

    config: Mapping[str, Any]
    weights: Mapping[str, Tensor]
    preprocessing: Mapping[str, Any] = field(default_factory=dict)
    save: Callable[[Path], None] = nothing
    scale: tuple[float, float | None] | None = None


def as_trunk(tower: ExportedTower, fit: Fit, head: Head) -> ExportedTower:
    """Return a tower of timm as open_clip holds one: a trunk under a linear projection.

    open_clip makes a trunk by its name alone, and resizes pictures to the size that it takes. A tower of a size that is
    not its usual one, and one that takes the middle of larger pictures, is ``counterpoint_cut`` of
    `counterpoint.interop._in_timm`.

    Args:
        tower: the tower in timm's words.
        fit: the way to its pictures.
        head: which becomes the projection.

    Raises:
        NotExportableError: for pictures that cannot be made so.
    """
    name, prefix = tower.config["architecture"], "visual.trunk."
    spare = fit.side - fit.size
    if fit.interpolation not in ("bicubic", "bilinear") or len(set(fit.fill)) > 1:
        raise NotExportableError(
            f"open_clip's transform has no filter {fit.interpolation!r}, or no border of this colour"
        )
    if spare % 4 or (spare and fit.resize == "longest"):  # the middle of the middle begins elsewhere
        raise NotExportableError(
            f"{name} takes the middle {fit.size} pixels of pictures of {fit.side}, and open_clip's transform resizes "
            "to what a tower takes"
        )
    if spare or "model_args" in tower.config or tower.config["num_features"] != head.weight.shape[1]:
        name, prefix = f"counterpoint_cut.{fit.size}.{name}", "visual.trunk.model."
    config = {
        "timm_model_name": name,
        "timm_pool": "",
        "timm_proj": "linear",
        "timm_proj_bias": head.bias is not None,
        "image_size": fit.side,
    }
    weights = {f"{prefix}{weight}": value for weight, value in tower.weights.items()}
    weights["visual.head.proj.weight"] = head.weight
    if head.bias is not None:
        weights["visual.head.proj.bias"] = head.bias
    settings = tower.config["pretrained_cfg"]
    preprocessing = {
        "mean": list(settings["mean"]),
        "std": list(settings["std"]),
        "interpolation": fit.interpolation,
        "resize_mode": fit.resize,
        "fill_color": fit.fill[0],
    }
    return ExportedTower({"vision_cfg": config}, weights, preprocessing, tower.save)


def settings_of_timm(size: int) -> dict[str, Any]:
    """Return timm's settings of the way to the pictures of a built-in tower of a size."""
    return {
        "input_size": (3, size, size),
        "fixed_input_size": True,
        "num_classes": 0,
        "mean": MEAN,
        "std": STD,
        "interpolation": "bicubic",
        "crop_pct": 1.0,
        "crop_mode": "center",
    }
