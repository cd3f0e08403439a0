"""Names of towers to towers."""

from __future__ import annotations

from collections.abc import Sequence

from ..recipes.schema import Towers
from ..registry import unknown
from .base import ImageTower, TextTower, Tokenizer
from .convnet import ConvNet
from .initialise import initialise
from .tokenizer import BytePairTokenizer
from .transformer import TextTransformer, VisionTransformer


def build_towers(
    towers: Towers, captions: Sequence[str], seed: int, tokenizer: Tokenizer | None = None
) -> tuple[ImageTower, TextTower]:
    image: ImageTower
    if towers.image == "cnn":
        image = ConvNet(towers.image_size)
    elif towers.image == "vit":
        image = VisionTransformer(towers.image_size)
    else:
        raise unknown("image tower", towers.image, ["cnn", "vit"])
    if towers.text != "transformer":
        raise unknown("text tower", towers.text, ["transformer"])
    tokenizer = tokenizer or BytePairTokenizer.train(captions, towers.vocabulary, towers.context)
    text = TextTransformer(tokenizer)
    for modality, tower in (("image", image), ("text", text)):
        initialise(tower, seed, modality)
        tower.weights_set = True
    return image, text
