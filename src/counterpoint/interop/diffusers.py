"""Export of painters and of learned words to what plain diffusers reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from ..generation import LearnedWords
from ..methods._personal import Personal
from ..methods.painter import Painter
from ..methods.tower_method import TowerMethod
from ._heads import solid
from ._layout import Embed, Layout
from ._quiet import quiet

EMBEDS = "learned_embeds.safetensors"
"""The file of a word, which ``load_textual_inversion`` reads."""
WEIGHTS = "pytorch_lora_weights.safetensors"
"""The file of additions to keys and values, which ``load_lora_weights`` reads."""


class DiffusersLayout(Layout):
    """A painter as a pipeline of the Stable Diffusion form; of new words their vectors, and what keys and values gain.

    A run of one word has one file of it; of several, each has a folder. Additions to keys and values are updates of
    full rank. Plain diffusers adds them in the unconditional half of guidance too, so that with guidance its pictures
    differ from those drawn here. The tokenizer of a
    painter of this package takes the space before a new word for a token: leave it out there, ``a red<one>``.
    """

    form: ClassVar[str] = "a painter as a pipeline, or the words that a run of textual-inversion has learned"
    packages: ClassVar[Mapping[str, str]] = {"diffusers": "paint"}
    library: ClassVar[str] = "diffusers"
    keeps: ClassVar[tuple[str, ...]] = ("painter", "learned")
    replies: ClassVar[bool] = True

    def refusal(self, model: TowerMethod) -> str:
        if not isinstance(model, Painter | Personal):
            return f"it embeds {', '.join(model.embeds)} and draws nothing, as a painter does"
        return ""

    def leaves_out(self, model: TowerMethod) -> Sequence[str]:
        return ["the painter, which the words are of"] if isinstance(model, Personal) else []

    def modalities(self, model: TowerMethod) -> tuple[str, ...]:
        return ("text",) if isinstance(model, Painter) else ()

    @quiet()
    @torch.no_grad()
    def write(self, model: TowerMethod, folder: Path) -> None:
        if isinstance(model, Painter):
            model.save_pipeline(folder)
            return
        assert isinstance(model, Personal)
        save_words(model.learned, folder)

    @quiet()
    def read(self, folder: Path) -> Embed:
        import diffusers

        if not (folder / "model_index.json").is_file():
            return _nothing
        pipeline = diffusers.StableDiffusionPipeline.from_pretrained(folder, local_files_only=True)

        @torch.no_grad()
        def embed(modality: str, texts: Any) -> Tensor:
            tokens = pipeline.tokenizer(
                list(texts), padding="max_length", truncation=True, return_tensors="pt"
            )
            states = pipeline.text_encoder(input_ids=tokens.input_ids).last_hidden_state
            ends = (tokens.input_ids == pipeline.tokenizer.eos_token_id).long().argmax(1)
            return states[torch.arange(len(states)), ends]

        return embed

    def use(self, model: TowerMethod, picture: str) -> Sequence[str]:
        lines = ["", "import diffusers", ""]
        if isinstance(model, Painter):
            return [
                *lines,
                "pipeline = diffusers.StableDiffusionPipeline.from_pretrained(folder)",
                'pipeline("a red cat", height=32, width=32).images[0]',
            ]
        assert isinstance(model, Personal)
        folders = [it.strip("<>") for it in model.words] if len(model.words) > 1 else []
        return [
            *lines,
            "pipeline = diffusers.StableDiffusionPipeline.from_pretrained(PAINTER)",
            *(
                f'pipeline.load_textual_inversion(f"{{folder}}/{name}", weight_name="{EMBEDS}")'
                for name in folders or ["."]
            ),
            *(["pipeline.load_lora_weights(folder)"] if model.keys else []),
        ]


def save_words(learned: LearnedWords, folder: Path) -> None:
    """Write vectors of words, and keys and values where they have learned, as plain diffusers reads them.

    Args:
        learned: the words.
        folder: for the file of one word, or the folders of several, named after them; and for keys and values.
    """
    from safetensors.torch import save_file

    names = learned.words.names
    for name, vector in zip(names, learned.vectors(), strict=True):
        where = folder if len(names) == 1 else folder / name.strip("<>")
        where.mkdir(parents=True, exist_ok=True)
        save_file(solid({name: vector.detach()[None]}), where / EMBEDS)
    if weights := _updates(learned):
        save_file(solid(weights), folder / WEIGHTS)


def _updates(learned: LearnedWords) -> dict[str, Float[Tensor, "d w"]]:
    """Return the additions to keys and values as products of two matrices, of which the first one is the identity."""
    weights: dict[str, Tensor] = {}
    for kind, additions in zip(("to_k", "to_v"), learned.additions(), strict=True):
        for layer, addition in additions.items():
            name = f"unet.{layer}.{kind}.lora_"
            weights[f"{name}A.weight"] = torch.eye(addition.shape[1])
            weights[f"{name}B.weight"] = addition.detach()
    return weights


def _nothing(modality: str, raw: Any) -> Tensor:
    raise LookupError("words alone embed nothing")
