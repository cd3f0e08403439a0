"""Towers and heads in safetensors, with a file that says what they are: counterpoint's own layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from ...methods.tower_method import TowerMethod, scale_of
from ...models import ModelManifest, load
from .._comparison import uncompared
from .._layout import Embed, Layout


class SafetensorsLayout(Layout):
    """``model.safetensors``, and ``counterpoint.json`` with what it takes to build the towers and heads again.

    Beside them lie the tokenizer that a run has fitted, and the configurations of towers of transformers and open_clip.
    Embeddings are the same bit for bit.
    """

    form: ClassVar[str] = "towers and heads; counterpoint.load"
    packages: ClassVar[Mapping[str, str]] = {}
    keeps_scale: ClassVar[bool] = True
    keeps_heads: ClassVar[bool] = True
    library: ClassVar[str] = "counterpoint"
    ours: ClassVar[bool] = True

    def refusal(self, model: TowerMethod) -> str:
        if why := uncompared(model):
            return why
        try:
            ModelManifest.of(model)
        except LookupError as error:
            return str(error)
        return ""

    def write(self, model: TowerMethod, folder: Path) -> None:
        scale, bias = scale_of(model) or (None, None)
        ModelManifest.of(model, scale, bias).write(model, folder)

    def use(self, model: TowerMethod, picture: str) -> Sequence[str]:
        examples = {"text": '"a red car"', "image": '"picture.jpg"', "audio": '"sound.wav"'}
        embeds = [
            f'{_variable(model, column)} = model.embed("{column}", {examples[model.tower(column).modality]})'
            for column in model.embeds
            if model.tower(column).modality in examples
        ]
        return ["", "import counterpoint", "", "model = counterpoint.load(folder)", *embeds]

    def read(self, folder: Path) -> Embed:
        model = load(folder)

        def embed(modality: str, raw: Any) -> Tensor:
            return model.embed(next(c for c in model.embeds if model.tower(c).modality == modality), raw)

        return embed


def _variable(model: TowerMethod, column: str) -> str:
    name = column if column.isidentifier() else model.tower(column).modality
    return f"{name}_vectors"
