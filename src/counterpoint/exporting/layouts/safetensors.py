"""Towers and heads in safetensors, with a file that says what they are: counterpoint's own layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ...data.pictures.decode import fitted
from ...methods.tower_method import TowerMethod
from ...models import Stated, load
from .._comparison import fit_of, uncompared
from .._layout import Embed, Layout
from .._left_out import scale_of


class Safetensors(Layout):
    """``model.safetensors``, and ``counterpoint.json`` with what it takes to build the towers and heads again.

    Beside them lie the tokenizer that a run has fitted, and the configurations of towers of transformers and open_clip.
    Embeddings are the same bit for bit.
    """

    form: ClassVar[str] = "towers and heads, and a JSON that says what they are; counterpoint.load"
    packages: ClassVar[Mapping[str, str]] = {}
    keeps_scale: ClassVar[bool] = True
    keeps_heads: ClassVar[bool] = True
    library: ClassVar[str] = "counterpoint"
    ours: ClassVar[bool] = True

    def refusal(self, model: TowerMethod) -> str:
        if why := uncompared(model):
            return why
        try:
            Stated.of(model)
        except LookupError as error:
            return str(error)
        return ""

    def write(self, model: TowerMethod, folder: Path) -> None:
        scale, bias = scale_of(model) or (None, None)
        Stated.of(model, scale, bias).write(model, folder)

    def use(self, model: TowerMethod) -> Sequence[str]:
        raw = {"text": '["a red car"]', "image": "pictures"}
        embeds = [f'model.embed("{c}", {raw.get(model.tower(c).modality, "raw")})' for c in model.embeds]
        return ["", "import counterpoint", "", "model = counterpoint.load(folder)", *embeds[-1:]]

    def read(self, folder: Path) -> Embed:
        model = load(folder)

        def embed(modality: str, raw: Any) -> Tensor:
            column = next(name for name in model.embeds if model.tower(name).modality == modality)
            if modality != "image":
                return model.embed(column, raw)
            fit = fit_of(model.image_tower)
            plain = [
                Image.fromarray(np.asarray(picture)) for picture in raw
            ]  # upright already, whatever their tags say
            return model.embed(column, torch.from_numpy(np.stack([fitted(p, fit) for p in plain])))

        return embed
