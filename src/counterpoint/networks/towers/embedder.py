"""A language model that reads pictures as a tower: the state of the last token of a prompt is the feature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ...raw import Conversation, Exchange
from ..base import ImageTower, Tower
from ..bridges.linear import LinearBridge
from ..speaker import Speaker
from ..weights import TowerSource
from .chat import EXCHANGE, TOKEN, Chat
from .language import LanguageTower
from .parts.pixels import Square
from .parts.regions import grid
from .trained import CheckpointWeights

PAPERS = {"vlm2vec": ("PictureEmbedder", "TextEmbedder")}

_BRIDGES = "bridge_projections"


@dataclass(frozen=True)
class PromptedSquare(Square):
    """The input of a `PictureEmbedder`: a picture, which the tower reads within a prompt.

    Attributes:
        chat: writes the prompt.
        instruction: in the prompt.
    """

    chat: Chat = field(kw_only=True, repr=False, compare=False)
    instruction: str = ""
    file: ClassVar[str] = Chat.file

    def save(self, path: str | Path) -> None:
        """Write the tokenizer, its template and the context."""
        self.chat.save(path)


@dataclass(frozen=True)
class PromptedText:
    """The input of a `TextEmbedder`: texts as requests in the chat template of a language model.

    Attributes:
        chat: writes the requests.
        instruction: in front of each text.
    """

    chat: Chat = field(repr=False, compare=False)
    instruction: str = ""
    file: ClassVar[str] = Chat.file

    def __call__(self, texts: Sequence[str]) -> Int[Tensor, "B 3 L"]:
        return self.chat(self._rows(texts))

    def too_long(self, texts: Sequence[str]) -> Bool[Tensor, " B"]:
        """Return which texts are cut by the context, together with their prompt."""
        return self.chat.too_long(self._rows(texts))

    def save(self, path: str | Path) -> None:
        """Write the tokenizer, its template and the context."""
        self.chat.save(path)

    def _rows(self, texts: Sequence[str]) -> list[Conversation]:
        return [prompt(self.instruction, text) for text in texts]


class PictureEmbedder(ImageTower):
    """A picture tower, a linear bridge and a language model, read at the last token of a prompt about the picture.

    The prompt holds the instruction alone. A reply would begin behind the token whose state is the feature.

    Args:
        image: with features of patches.
        language: reads the patches behind the opening of the prompt.

    Attributes:
        instruction: in the prompt; a method may set it.

    Raises:
        LookupError: for a picture tower without features of patches.
    """

    untuned: ClassVar[tuple[str, ...]] = ("language.model.lm_head",)
    instruction: str = ""

    def __init__(self, image: ImageTower, language: LanguageTower) -> None:
        super().__init__()
        self.image, self.language = image, language
        self.width, self.size, self.fit = language.width, image.size, image.fit
        std = float(language.embed(torch.arange(language.chat.vocabulary)[None]).detach().std())
        self.bridge = LinearBridge(image.width, language.width, grid(image), std=std)

    @property
    def input(self) -> PromptedSquare:
        return PromptedSquare(self.size, self.fit, chat=self.language.chat, instruction=self.instruction)

    @property
    def sizes(self) -> Mapping[str, int | float | str]:
        return {**self.image.sizes, **self.language.sizes}

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B width"]:
        speaker = Speaker(self.image, self.bridge, self.language)
        talk = self.language.chat([prompt(self.instruction)])
        tokens = talk[:, TOKEN, : int((talk[:, EXCHANGE] > 0).sum())].to(images.device)
        given = speaker.given(speaker.patches(images))
        return speaker.states(tokens.expand(len(images), -1), given)[:, -1]

    def load_speaker(self, weights: CheckpointWeights, source: TowerSource) -> None:
        """Read the picture tower, the bridge and the language model of a run of ``sft``.

        Raises:
            ValueError: for a run without one of them, or with one that is built otherwise.
        """
        load_part(self.image, weights, source)
        load_part(self.language, weights, source)
        bridge = {
            name.split(".", 2)[2]: tensor
            for name, tensor in weights.tensors.items()
            if name.startswith(f"{_BRIDGES}.")
        }
        expected = {name: tensor.shape for name, tensor in self.bridge.state_dict().items()}
        if {name: tensor.shape for name, tensor in bridge.items()} != expected:
            raise ValueError(
                f"tower {source}: the run has no linear bridge of this tower's sizes; name a run of sft,bridge=linear "
                "that was trained with --towers.image vit"
            )
        self.bridge.load_state_dict(bridge)


class TextEmbedder(Tower):
    """A language model, read at the last token of a prompt that holds a text.

    Args:
        language: reads the prompt.
        image: the tower of pictures that reads with the same language model, whose weights are then held there.

    Attributes:
        instruction: in the prompt; a method may set it.
    """

    modality: ClassVar[str] = "text"
    untuned: ClassVar[tuple[str, ...]] = ("language.model.lm_head",)
    instruction: str = ""

    def __init__(self, language: LanguageTower, image: PictureEmbedder | None = None) -> None:
        super().__init__()
        self.language, self.image = language, image
        self.width, self.weights_set = language.width, True

    @property
    def core(self) -> Tower:
        return self if self.image is None else self.image

    @property
    def pretrained(self) -> bool:
        return super().pretrained if self.image is None else self.image.pretrained

    @property
    def input(self) -> PromptedText:
        return PromptedText(self.language.chat, self.instruction)

    @property
    def sizes(self) -> Mapping[str, int | float | str]:
        return self.language.sizes

    def states(self, inputs: Int[Tensor, "B 3 L"]) -> Float[Tensor, "B t width"]:
        return self.language.states(inputs)

    def forward(self, inputs: Int[Tensor, "B 3 L"]) -> Float[Tensor, "B width"]:
        return self.language(inputs)

    def load_speaker(self, weights: CheckpointWeights, source: TowerSource) -> None:
        """Read the language model of a run; one that a tower of pictures holds stays as it is.

        Raises:
            ValueError: for a run without one of these sizes.
        """
        if self.image is None:
            load_part(self.language, weights, source)


def prompt(instruction: str, text: str = "") -> Conversation:
    """Return a conversation that ends where its reply would begin.

    >>> prompt("Name the animal."), prompt("", "a cat")
    ((Exchange(request='Instruct: Name the animal.', reply=''),), (Exchange(request='a cat', reply=''),))
    """
    query = f"Query: {text}" if instruction and text else text
    return (Exchange("\n".join(filter(None, (instruction and f"Instruct: {instruction}", query))), ""),)


def load_part(tower: Tower, weights: CheckpointWeights, source: TowerSource) -> None:
    """Read the weights of one of a run's towers.

    Raises:
        ValueError: for a run that has no tower of these sizes.
    """
    if (found := weights.of_tower(tower)) is None:
        raise ValueError(
            f"tower {source}: the run has no {tower.modality} tower that is built as {type(tower).__name__} here; name "
            "a run of sft that was trained with --towers.image vit --towers.talk llama, and take its recipe's sizes"
        )
    tower.load_state_dict(dict(found[1]))
