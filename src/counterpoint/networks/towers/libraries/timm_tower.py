"""Any image encoder of ``timm``."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ....registry import unknown
from ....types import Fit
from ...base import ImageTower
from ...init import seeded
from ...weights import TowerSource
from ..parts.pixels import Normalise
from .exported import ExportedTower
from .packaged import PACKAGE, packaged

EMBEDDING_HEAD = "embedding_head"
"""Key of the configuration of an export: the name of the classifier, which is the head of the exported model."""


class TimmTower(ImageTower):
    """A ``timm`` encoder without its classifier: the pooled features.

    Args:
        model: made with ``num_classes=0``.
        size: pixels of a side.
        mean, std: of the pixels, as the model expects them.
        fit: the way to pictures that its weights were trained on.
    """

    def __init__(
        self,
        model: nn.Module,
        size: int,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        fit: Fit | None = None,
    ) -> None:
        super().__init__()
        self.model, self.size, self.fit = model, size, fit
        self.normalise = Normalise(mean, std)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.weights_set = True
        was_training = model.training
        with torch.no_grad():  # what a model calls its width differs; what comes out does not
            self.width = self.eval()(torch.zeros(1, 3, size, size)).shape[1]
        self.train(was_training)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B width"]:
        return self.model(self.normalise(images).contiguous(memory_format=torch.channels_last))

    def patches(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B width h w"]:
        return place_features(self.model, self.normalise(images))

    def in_timm(self) -> ExportedTower:
        """Return the model as it is: its architecture, its size where that is not its usual one, its transform."""
        model: Any = self.model
        usual = dict(model.pretrained_cfg)
        architecture, size = usual.pop("architecture"), (3, self.size, self.size)
        settings: dict[str, Any] = {k: v for k, v in usual.items() if k not in _OF_DOWNLOADS}
        settings |= {"input_size": size, "num_classes": 0}
        settings |= {
            name: tuple(getattr(self.normalise, name).flatten().tolist()) for name in ("mean", "std")
        }
        if self.fit is None:
            settings |= {"interpolation": "bicubic", "crop_pct": 1.0, "crop_mode": "center"}
        config: dict[str, Any] = {
            "architecture": architecture,
            "pretrained_cfg": settings,
            "num_features": model.num_features,
        }
        if usual.get("fixed_input_size") and tuple(usual["input_size"]) != size:
            config["model_args"] = {"img_size": self.size}
        return ExportedTower(config, dict(model.state_dict()))


_OF_DOWNLOADS = (
    "url",
    "file",
    "hf_hub_id",
    "hf_hub_filename",
    "source",
    "custom_load",
    "tag",
    "test_input_size",
)
"""Settings of timm that are about published weights, not about these."""


def place_features(model: Any, x: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B width h w"]:
    """Return what a ``timm`` encoder makes of each place of its last map, as if the place were all there is.

    Every place goes through the model's own head by itself, as a map of one place or as the only token, which
    also stands for the class token. So where the head averages places and is otherwise linear, the mean of what
    comes out is what the model returns.

    Raises:
        LookupError: if the model's last states are no map.
    """
    states = model.forward_features(x)
    prefix = getattr(model, "num_prefix_tokens", 0)
    if states.ndim == 4:
        channels_last = getattr(model, "output_fmt", "NCHW") == "NHWC"
        maps = states if channels_last else states.permute(0, 2, 3, 1)
        grid = maps.shape[1:3]
        places = maps.flatten(0, 2)[:, None, None, :]
        places = places if channels_last else places.permute(0, 3, 1, 2)
    else:
        grid = getattr(getattr(model, "patch_embed", None), "grid_size", (0, 0))
        if states.ndim != 3 or states.shape[1] != prefix + grid[0] * grid[1]:
            raise LookupError(f"timm's {type(model).__name__} has no features of single places of a picture")
        places = states[:, prefix:].flatten(0, 1)[:, None].expand(-1, 1 + prefix, -1)
    features: Tensor = model.forward_head(places)
    return features.view(len(x), *grid, -1).permute(0, 3, 1, 2)


def timm_tower(source: TowerSource, size: int | None, seed: int) -> TimmTower:
    """Build ``timm:NAME``: random weights; ``@hub``: timm's pretrained ones; ``@PATH``: a file or its folder.

    ``@package``: weights of a Python package that is installed (`counterpoint.networks.towers.libraries.packaged`). A
    folder with timm's ``config.json`` says what the model is and how it sees pictures.

    Args:
        source: the tower's name and weights.
        size: of the pictures, in pixels; the one that the model was trained at unless given.
        seed: of the weights that are not read.

    Raises:
        UnknownNameError: for a name timm does not have.
        MissingPackageError: for weights in a package that is not installed.
        ValueError: for weights that are missing, broken or do not fit the model in every layer, or a size the
            model cannot take.
    """
    import timm

    model = timm_model(source, size, seed)
    with source.reading():
        data = timm.data.resolve_model_data_config(model)
        _, height, width = data["input_size"]
        if size is None and height != width:
            raise ValueError(f"it takes pictures of {height}×{width} pixels; only square ones are supported")
        trained = source.weights is not None or size is None
        fit = _fit(size or height, data) if trained else None
        return TimmTower(model, size or height, tuple(data["mean"]), tuple(data["std"]), fit)


def timm_model(source: TowerSource, size: int | tuple[int, int] | None, seed: int) -> Any:
    """Build the model of ``timm:NAME`` without its classifier; see `timm_tower`.

    Args:
        source: its name and weights.
        size: height and width of the pictures, for models that are made for one size; a number for a square.
        seed: of the weights that are not read.
    """
    import timm

    name = source.name
    if not (name.startswith(("hf-hub:", "hf_hub:")) or timm.is_model(name)):
        raise unknown("timm model", name, timm.list_models())
    path = packaged(name) if source.weights == PACKAGE else source.path
    if source.weights not in (None, "hub") and path is None:
        raise ValueError(f"tower {source}: the weights are neither a path that exists nor 'hub' or 'package'")
    with source.reading():
        options: dict[str, Any] = {"num_classes": 0}
        configuration = timm.get_pretrained_cfg(name) if "counterpoint_" not in name else None
        if path is not None and (stated := config_of(path)):
            options |= {"pretrained_cfg": stated["pretrained_cfg"], **(stated.get("model_args") or {})}
        if size is not None and configuration is not None and configuration.fixed_input_size:
            options["img_size"] = size
        with seeded(seed, f"timm:{name}"):
            model = timm.create_model(name, pretrained=source.weights == "hub", **options)
        if path is not None:
            # The package has another library's names for the same layers in the same order, the classifier last.
            _load(model, path, in_order=source.weights == PACKAGE)
        return model


def config_of(folder: Path) -> dict[str, Any]:
    """Return timm's configuration of a folder that it saved; empty for what has none."""
    file = folder / "config.json"
    if not file.is_file():
        return {}
    config: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return config if {"architecture", "pretrained_cfg"} <= config.keys() else {}


def _fit(size: int, data: Mapping[str, Any]) -> Fit:
    """Return what ``timm``'s own transform for evaluation does."""
    resize: Literal["shortest", "longest", "squash"]
    resize = {"squash": "squash", "border": "longest"}.get(data["crop_mode"], "shortest")  # type: ignore[assignment]
    red, green, blue = (round(255 * value) for value in data["mean"])
    return Fit(size, math.floor(size / data["crop_pct"]), resize, data["interpolation"], (red, green, blue))


def _load(model: nn.Module, path: Path, *, in_order: bool = False) -> None:
    from timm.models import load_state_dict

    if path.is_dir():
        names = ("model.safetensors", "pytorch_model.bin")
        path = next((path / name for name in names if (path / name).is_file()), path / names[0])
    state, wanted = _backbone(load_state_dict(str(path)), model), model.state_dict()
    if in_order:
        state = dict(zip(wanted, state.values(), strict=False))
    elif any(name[:1].isdigit() for name in state.keys() - wanted.keys()):
        state = _numbered(state, wanted)
    convert = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    if convert is not None:  # older layouts, and position embeddings of another size
        state = convert(state, model)
    configuration: dict[str, Any] = model.pretrained_cfg  # type: ignore[assignment]
    classifiers = configuration.get("classifier") or ()
    classifiers = (classifiers,) if isinstance(classifiers, str) else tuple(classifiers)
    kept = {
        k: v for k, v in state.items() if k in wanted or not any(k.startswith(f"{c}.") for c in classifiers)
    }
    model.load_state_dict(kept)


def _backbone(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Return the encoder of a checkpoint of lightly, without heads and momentum copies; other weights as they are."""
    prefix = "backbone."
    if hasattr(model, "backbone") or not any(name.startswith(prefix) for name in state):
        return state
    return {name.removeprefix(prefix): weight for name, weight in state.items() if name.startswith(prefix)}


def _numbered(state: dict[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights under a model's names, of an encoder whose parts were put into an ``nn.Sequential``, in order.

    Raises:
        ValueError: if they are not the model's in number, kind and shape.
    """

    def kinds(of: Mapping[str, Tensor]) -> list[tuple[str, torch.Size]]:
        return [(name.rpartition(".")[2], weight.shape) for name, weight in of.items()]

    if kinds(state) != kinds(wanted):
        raise ValueError(
            "its layers have numbers for names, and are not those of this model one after another"
        )
    return dict(zip(wanted, state.values(), strict=True))
