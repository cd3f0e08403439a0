"""The layout of timm."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ...methods.tower_method import TowerMethod
from ...networks.base import ImageTower
from ...networks.towers.libraries.exported import Head, NotExportableError
from ...networks.towers.libraries.timm_tower import EMBEDDING_HEAD
from .._layout import Embed, Layout
from .._parts import plain, solid


class TimmLayout(Layout):
    """The tower of pictures: ``timm.create_model("local-dir:FOLDER", pretrained=True)``.

    A linear head is the classifier where the architecture ends in a linear one; ``num_classes=0`` leaves it out. Else
    the model has no head.
    """

    form: ClassVar[str] = "the picture tower; timm"
    library: ClassVar[str] = "timm"

    def __init__(self) -> None:
        self._known: tuple[TowerMethod, tuple[str, Head] | None] | None = None

    def refusal(self, model: TowerMethod) -> str:
        try:
            _tower(model).in_timm()
        except (NotExportableError, LookupError) as error:
            return str(error)
        return ""

    def leaves_out(self, model: TowerMethod) -> Sequence[str]:
        others = [name for name in model.towers if model.towers[name] is not _tower(model)]
        lost = _has_head(model) and self._classifier(model) is None
        head = ["the head: what timm gives are the features below it"] if lost else []
        return [*head, *(f"the tower of the column {name!r}" for name in others)]

    def modalities(self, model: TowerMethod) -> tuple[str, ...]:
        return (_tower(model).modality,)

    def embed(self, model: TowerMethod, column: str, raw: Any) -> Tensor:
        tower = model.tower(column)
        if self._classifier(model) is not None:
            return model.embed(column, raw)
        with torch.no_grad():
            return tower(tower.input(raw))

    def write(self, model: TowerMethod, folder: Path) -> None:
        write_tower(_tower(model), folder, self._classifier(model))

    def custom_code(self, model: TowerMethod) -> str:
        return f"its picture tower {_tower(model).name}" if is_custom(_tower(model)) else ""

    def use(self, model: TowerMethod, picture: str) -> Sequence[str]:
        imports = ["import counterpoint  # registers the picture tower with timm"]
        return [
            "",
            "import timm",
            *(imports if self.custom_code(model) else []),
            "",
            'model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()',
            "transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))",
            f"{'features' if self._classifier(model) is None else 'image_vectors'} = model(transform({picture})[None])",
        ]

    def read(self, folder: Path) -> Embed:
        import timm

        model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
        transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))

        def embed(modality: str, raw: Any) -> Tensor:
            return model(torch.stack([transform(picture) for picture in raw]))

        return embed

    def _classifier(self, model: TowerMethod) -> tuple[str, Head] | None:
        """Return `_classifier` of a model, computed once for all steps of an export."""
        if self._known is None or self._known[0] is not model:
            self._known = model, _classifier(model)
        return self._known[1]


def is_custom(tower: ImageTower) -> bool:
    """Return whether timm has a tower only where this package has registered it.

    Raises:
        NotExportableError: for a tower that timm has not.
    """
    return str(tower.in_timm().config["architecture"]).startswith("counterpoint_")


def write_tower(tower: ImageTower, folder: Path, classifier: tuple[str, Head] | None = None) -> None:
    """Write a tower of pictures as timm keeps a model.

    Args:
        tower: of a kind that timm has.
        folder: that is written to.
        classifier: the name of the layer that is the head, and the head; the model has none unless given.

    Raises:
        NotExportableError: for a tower that timm has not.
    """
    converted = tower.in_timm()
    weights = dict(converted.weights)
    config = {**converted.config, "num_classes": 0, "num_features": tower.width}
    if classifier is not None:
        name, head = classifier
        bias = torch.zeros(head.width) if head.bias is None else head.bias
        weights |= {f"{name}.weight": head.weight, f"{name}.bias": bias}
        settings = {**config["pretrained_cfg"], "num_classes": head.width}
        config |= {"num_classes": head.width, "pretrained_cfg": settings, EMBEDDING_HEAD: name}
    save_file(solid(weights), folder / "model.safetensors", {"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    converted.save(folder)


def _tower(model: TowerMethod) -> ImageTower:
    """Return the tower of pictures.

    Raises:
        LookupError: for a model without one.
    """
    return model.image_tower


def _classifier(model: TowerMethod) -> tuple[str, Head] | None:
    """Return the name of timm's last linear layer and the head that it can be; None where it can be none."""
    import timm

    tower = _tower(model)
    head = plain(model, next(name for name in model.embeds if model.tower(name) is tower))
    if head is None or head.is_identity or is_custom(tower):
        return None
    config = tower.in_timm().config
    options = config.get("model_args") or {}
    with torch.device("meta"):
        built: Any = timm.create_model(config["architecture"], num_classes=head.width, **options)
    last = built.get_classifier()
    name = next((name for name, part in built.named_modules() if part is last), "")
    fits = isinstance(last, nn.Linear) and last.bias is not None and last.in_features == head.weight.shape[1]
    return (name, head) if fits else None


def _has_head(model: TowerMethod) -> bool:
    column = next(name for name in model.embeds if model.tower(name) is _tower(model))
    head = plain(model, column)
    return head is None or not head.is_identity
