"""The layout of transformers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from ...methods.tower_method import TowerMethod, scale_of
from ...networks.towers.libraries.exported import ExportedTower, NotExportableError
from .._layout import Embed, Layout
from .._parts import head_of, solid
from .._quiet import quiet


class TransformersLayout(Layout):
    """A dual encoder with processor and tokenizer, or a text tower alone with its projection."""

    form: ClassVar[str] = "a dual encoder, or the text tower alone"
    library: ClassVar[str] = "transformers"
    keeps_scale: ClassVar[bool] = True

    def refusal(self, model: TowerMethod) -> str:
        try:
            _halves(model)
        except NotExportableError as error:
            return str(error)
        return ""

    def leaves_out(self, model: TowerMethod) -> Sequence[str]:
        held = self.modalities(model)
        others = [column for column in model.embeds if model.tower(column).modality not in held]
        return [
            f"the tower of the column {column!r}, which transformers has no words for" for column in others
        ]

    def modalities(self, model: TowerMethod) -> tuple[str, ...]:
        return tuple(_halves(model))

    @quiet()
    @torch.no_grad()
    def write(self, model: TowerMethod, folder: Path) -> None:
        import transformers

        halves = _halves(model)
        first = next(iter(halves.values()))
        kind = getattr(transformers, first.config["kind"])
        config = kind.config_class.from_dict(dict(first.config["config"]))
        whole = kind(config).eval()
        weights = {name: weight for half in halves.values() for name, weight in half.weights.items()}
        scale, bias = scale_of(model) or first.scale or (1 / 0.07, None)
        of_whole = whole.state_dict()
        for name, value in (("logit_scale", math.log(scale)), ("logit_bias", bias or 0.0)):
            if name in of_whole:
                weights[name] = torch.full_like(of_whole[name], value)
        whole.load_state_dict(solid(weights))
        whole.save_pretrained(folder)
        for half in halves.values():
            half.save(folder)

    def use(self, model: TowerMethod, picture: str) -> Sequence[str]:
        halves = _halves(model)
        kind = next(iter(halves.values())).config["kind"]
        pictures = [
            "processor = transformers.AutoImageProcessor.from_pretrained(folder)",
            f'pixels = processor([{picture}], return_tensors="pt")',
            "found = model.get_image_features(**pixels)",
            'image_vectors = getattr(found, "pooler_output", found)  # versions of transformers differ',
        ]
        return [
            "",
            "import transformers",
            "",
            f"model = transformers.{kind}.from_pretrained(folder).eval()",
            "tokenizer = transformers.AutoTokenizer.from_pretrained(folder)",
            *(pictures if "image" in halves else []),
        ]

    @quiet()
    def read(self, folder: Path) -> Embed:
        import transformers

        config = transformers.AutoConfig.from_pretrained(folder)
        model = getattr(transformers, config.architectures[0]).from_pretrained(folder).eval()
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        padding = "max_length" if config.model_type.startswith("siglip") else True
        alone = not hasattr(model, "get_text_features")
        processor = None if alone else transformers.AutoImageProcessor.from_pretrained(folder)

        def embed(modality: str, raw: Any) -> Tensor:
            if modality == "image":
                assert processor is not None
                output = model.get_image_features(**processor(list(raw), return_tensors="pt"))
            else:
                words = tokenizer(list(raw), padding=padding, truncation=True, return_tensors="pt")
                words.pop("token_type_ids", None)
                output = model(**words).text_embeds if alone else model.get_text_features(**words)
            return output if isinstance(output, Tensor) else output.pooler_output

        return embed


def _halves(model: TowerMethod) -> dict[str, ExportedTower]:
    """Return the towers that a model of transformers can hold, in its words: a pair's, or the text tower alone.

    Raises:
        NotExportableError: where there are none.
    """
    columns = {model.tower(column).modality: column for column in reversed(model.embeds)}
    halves: dict[str, ExportedTower] = {}
    why: list[str] = []
    for modality, column in reversed(columns.items()):
        try:
            halves[modality] = model.tower(column).in_transformers(head_of(model, column))
        except NotExportableError as error:
            why.append(str(error))
    whole = {half.config["kind"] for half in halves.values()}
    if set(halves) == {"image", "text"} and len(whole) == 1:
        first, second = halves.values()
        if first.config == second.config:
            return {
                modality: _sized(half, head_of(model, columns[modality]).width)
                for modality, half in halves.items()
            }
        why.append("its towers come from two dual encoders of transformers")
    text = halves.get("text")
    if text is not None and text.config["kind"].endswith("WithProjection"):
        return {"text": text}
    raise NotExportableError(
        "; ".join(why) or "transformers keeps towers in pairs, and half of one is not all of this model"
    )


def _sized(half: ExportedTower, width: int) -> ExportedTower:
    """Return a half whose configuration states the width of the embeddings."""
    config = dict(half.config["config"])
    if "projection_dim" in config:
        config["projection_dim"] = width
    return ExportedTower({**half.config, "config": config}, half.weights, save=half.save, scale=half.scale)
