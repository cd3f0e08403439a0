"""The recipe of the tiny vision-language model: sizes and hyper-parameters, nothing else."""

from __future__ import annotations

from typing import Literal

from ..forms import Count, Fraction, NonNegative
from .schema import Optimizer, Section


class Transformer(Section):
    """The size of a transformer."""

    width: Count
    layers: Count
    heads: Count


class Perception(Section):
    """Learning to see: the vision tower on the annotations of scenes.

    Attributes:
        steps, batch: how long, and of how many pictures a step.
    """

    steps: Count = 2400
    batch: Count = 64
    optimizer: Optimizer = Optimizer(lr=1e-3, weight_decay=0.05, warmup=0.05)


class Language(Section):
    """Learning to speak: the projector and the language model on conversations about scenes.

    Attributes:
        steps, batch: how long, and of how many pictures a step.
        tokens: of conversation about each picture of a step, at most.
        grounding: weight of the losses that tie words to what they mean.
    """

    steps: Count = 4800
    batch: Count = 16
    tokens: Count = 160
    grounding: NonNegative = 0.5
    optimizer: Optimizer = Optimizer(lr=1.5e-3, weight_decay=0.05, warmup=0.05)


class TinyVLM(Section):
    """The recipe of the tiny vision-language model.

    Attributes:
        image_size, patch: sides in pixels; a picture becomes (image_size / patch)² tokens.
        vision, language: the towers.
        vocabulary: tokens of the byte-pair tokenizer, at most.
        perception, conversation: the two stages; the second leaves the vision tower as it is.
        blind: share of the conversations that come without their picture, so that the model has a prior to fall
            back on, as one has that read before it saw.
        continued: probability that a conversation goes on for another turn.
        precision: of the training's products; ``"auto"`` is bfloat16 where the processor multiplies it natively.
    """

    image_size: Count = 96
    patch: Count = 16
    vision: Transformer = Transformer(width=160, layers=4, heads=4)
    language: Transformer = Transformer(width=192, layers=4, heads=4)
    vocabulary: Count = 1024
    perception: Perception = Perception()
    conversation: Language = Language()
    blind: Fraction = 0.1
    continued: Fraction = 0.2
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
