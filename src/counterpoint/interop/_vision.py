"""The vision half of a model of transformers, whose patches a language model reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..networks.base import ImageTower
from ..networks.init import seeded
from ..networks.towers.build import Start
from ..networks.towers.parts.pixels import Normalise
from ..networks.weights import TowerSource
from ..types import Fit
from ._hugging_face import ModelFiles
from ._quiet import quiet
from ._whole import whole_llava

LAYER = -2
"""The layer whose output is read, as in LLaVA: the last one serves the summary of a picture."""
Preprocessing = tuple[Fit, Sequence[float], Sequence[float]]
KINDS = ("clip_vision_model", "siglip_vision_model")
"""Vision models that LLaVA has a place for, by ``model_type``."""


class TransformersVision(ImageTower):
    """The vision model of a CLIP or a SigLIP, read at its patches; a picture's feature is their mean.

    Args:
        model: of transformers, whose patches fill a square grid.
        fit, mean, std: the preprocessing of its processor.
        processor: which an export writes down.
        layer: whose output is read.

    Raises:
        ValueError: for another kind of model, and for tokens that do not fill the grid.

    Source: the layer is that of Liu et al., "Visual Instruction Tuning" (2023), arXiv 2304.08485.
    """

    def __init__(
        self,
        model: Any,
        fit: Fit,
        mean: Sequence[float],
        std: Sequence[float],
        processor: Any,
        layer: int = LAYER,
    ) -> None:
        super().__init__()
        config = model.config
        if config.model_type not in KINDS:
            raise ValueError(f"it is a {config.model_type}; known are the vision models {', '.join(KINDS)}")
        if fit.size != config.image_size:
            raise ValueError(
                f"its processor makes pictures of {fit.size} pixels, and it reads {config.image_size}"
            )
        self.model, self.fit, self.size, self.processor = model, fit, fit.size, processor
        self.layer = layer
        self.normalise = Normalise(mean, std)
        self.width, self.side = int(config.hidden_size), int(config.image_size) // int(config.patch_size)
        self.weights_set = True
        with torch.no_grad():
            self.summary_tokens = self._states(torch.zeros(1, 3, fit.size, fit.size)).shape[1] - self.side**2
        if self.summary_tokens not in (0, 1):
            raise ValueError(
                f"its {self.summary_tokens + self.side**2} tokens do not fill a grid of {self.side} × {self.side} "
                "patches"
            )

    def patches(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B width h w"]:
        states = self._states(self.normalise(images))[:, self.summary_tokens :]
        return states.mT.reshape(len(images), self.width, self.side, self.side)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B width"]:
        return self.patches(images).mean((2, 3))

    def _states(self, pixels: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B n width"]:
        return self.model(pixel_values=pixels, output_hidden_states=True).hidden_states[self.layer]


@quiet()
def vision_tower(
    source: TowerSource, start: Start, preprocessing: Callable[[Any], Preprocessing]
) -> TransformersVision:
    """Build ``transformers:NAME@PATH``: a vision model, or that of a dual encoder or a LLaVA.

    Args:
        source: the tower's name.
        start: of the run.
        preprocessing: says what a processor does to pictures.

    Raises:
        ValueError: for a model without a vision half, and weights that are missing.
    """
    import transformers

    files = ModelFiles.of(source)
    if files is None:
        raise ValueError(f"picture tower {source}: name a folder, transformers:NAME@PATH")
    with source.reading():
        config = transformers.AutoConfig.from_pretrained(**files.arguments)
        processor = transformers.AutoImageProcessor.from_pretrained(**files.arguments)
        if config.model_type == "llava":
            whole = whole_llava(source, files, start)
            layer, vision = whole.config.vision_feature_layer, whole.model.vision_tower
            tower = TransformersVision(vision, *preprocessing(processor), processor, layer)
            strategy = "default" if tower.summary_tokens else "full"
            if whole.config.vision_feature_select_strategy != strategy:
                raise ValueError(
                    f"its vision_feature_select_strategy is {whole.config.vision_feature_select_strategy!r}, and "
                    f"{strategy!r} alone gives a token for each patch"
                )
            return tower
        config = getattr(config, "vision_config", config)
        kind = transformers.AutoModel._model_mapping[type(config)]
        if source.weights is None:
            with seeded(start.seed, str(source)):
                model = kind(config)
        else:
            model = kind.from_pretrained(**files.arguments, config=config, dtype=torch.float32)
        return TransformersVision(model.eval(), *preprocessing(processor), processor)
