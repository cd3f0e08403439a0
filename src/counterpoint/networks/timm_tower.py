"""Any image encoder of ``timm``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..registry import unknown
from .base import ImageTower
from .pixels import Normalise
from .start import seeded
from .weights import Source


class TimmTower(ImageTower):
    """A ``timm`` encoder without its classifier: the pooled features.

    Args:
        model: made with ``num_classes=0``.
        size: pixels of a side.
        mean, std: of the pixels, as the model expects them.
    """

    def __init__(self, model: nn.Module, size: int, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.model, self.size = model, size
        self.normalise = Normalise(mean, std)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.weights_set = True
        was_training = model.training
        with torch.no_grad():  # what a model calls its width differs; what comes out does not
            self.width = self.eval()(torch.zeros(1, 3, size, size)).shape[1]
        self.train(was_training)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B width"]:
        features: Tensor = self.model(self.normalise(images).contiguous(memory_format=torch.channels_last))
        return features


def timm_tower(source: Source, size: int, seed: int) -> TimmTower:
    """``timm:NAME``: random weights; ``@hub``: timm's pretrained ones; ``@PATH``: a file or its folder.

    Raises:
        UnknownName: for a name timm does not have.
        ValueError: for weights that are missing, broken or do not fit the model in every layer, or a size the
            model cannot take.
    """
    import timm

    name = source.name
    if not (name.startswith(("hf-hub:", "hf_hub:")) or timm.is_model(name)):
        raise unknown("timm model", name, timm.list_models())
    path = source.path
    if source.weights not in (None, "hub") and path is None:
        raise ValueError(f"tower {source}: the weights are neither a path that exists nor 'hub'")
    with source.reading():
        options: dict[str, Any] = {"num_classes": 0}
        configuration = timm.get_pretrained_cfg(name)
        if configuration is not None and configuration.fixed_input_size:
            options["img_size"] = size
        with seeded(seed, f"timm:{name}"):
            model = timm.create_model(name, pretrained=source.weights == "hub", **options)
        if path is not None:
            _load(model, path)
        data = timm.data.resolve_model_data_config(model)
        return TimmTower(model, size, data["mean"], data["std"])


def _load(model: nn.Module, path: Path) -> None:
    from timm.models import load_state_dict

    if path.is_dir():
        names = ("model.safetensors", "pytorch_model.bin")
        path = next((path / name for name in names if (path / name).is_file()), path / names[0])
    state = load_state_dict(str(path))
    convert = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    if convert is not None:  # older layouts, and position embeddings of another size
        state = convert(state, model)
    configuration: dict[str, Any] = model.pretrained_cfg  # type: ignore[assignment]
    classifiers = configuration.get("classifier") or ()
    classifiers = (classifiers,) if isinstance(classifiers, str) else tuple(classifiers)
    wanted = model.state_dict()
    kept = {
        k: v for k, v in state.items() if k in wanted or not any(k.startswith(f"{c}.") for c in classifiers)
    }
    model.load_state_dict(kept)
