"""Names of towers to towers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from ...registry import unknown
from ..base import ImageTower, TextTower, Tokenizer
from ..init import initialise
from ..weights import Source
from .convnet import ConvNet
from .perceptron import BagOfWords, PixelPerceptron
from .tokenizer import BytePairTokenizer
from .trained import load_trained
from .transformer import TextTransformer, VisionTransformer

if TYPE_CHECKING:
    from ...recipes.schema import Towers

Whole = tuple[torch.nn.Module, Any]
"""An ``open_clip`` model and its tokenizer, read once for both towers."""

_IMAGE: Mapping[str, Callable[[int], ImageTower]] = {
    "cnn": ConvNet,
    "vit": VisionTransformer,
    "mlp": PixelPerceptron,
}
_TEXT: Mapping[str, Callable[[Tokenizer], TextTower]] = {"transformer": TextTransformer, "bag": BagOfWords}
IMAGE = (*_IMAGE, "timm:NAME", "open_clip:NAME")
TEXT = (*_TEXT, "transformers:NAME", "open_clip:NAME")


def build_towers(
    towers: Towers, captions: Sequence[str], seed: int, tokenizer: Tokenizer | None = None
) -> tuple[ImageTower, TextTower]:
    """The image and the text tower that a recipe names, at the start of a run.

    A random tower's weights depend on the seed and the tower's name, not on what else is built; the global
    generator is not touched. ``@WEIGHTS`` after a name reads pretrained ones, all of them or none.

    - images: ``cnn[@PATH]``, ``vit[@PATH]``, ``mlp[@PATH]``, ``timm:NAME[@hub|@PATH]``,
      ``open_clip:NAME[@TAG|@PATH]``
    - text: ``transformer``, ``bag``, ``transformers:NAME[@hub|@PATH]``, ``open_clip:NAME[@TAG|@PATH]``

    The PATH of a built-in image tower is the folder of a finished run or a ``safetensors`` file (see
    `load_trained`).

    >>> from counterpoint.recipes.schema import Towers
    >>> image, text = build_towers(Towers(), ["a red car", "a blue car"], seed=0)
    >>> image.width, text(text.tokenizer(["a red car"])).shape
    (128, torch.Size([1, 128]))

    Args:
        towers: the names and sizes. ``open_clip`` towers keep the size and context they were made for, ``timm``
            towers with weights the size that these were trained at.
        captions: what a byte-pair vocabulary is trained on, where the text tower has none of its own.
        seed: of the initial weights.
        tokenizer: one trained before, in place of that.

    Raises:
        UnknownName: for a name that is not known; the message gives the nearest one.
        ValueError: for weights that are missing, broken or do not fit, and for ``text_layers`` with a text
            tower whose depth is its own.
    """

    def vocabulary() -> Tokenizer:
        return tokenizer or BytePairTokenizer.train(captions, towers.vocabulary, towers.context)

    image_source, text_source = (Source.parse(name).to_build() for name in (towers.image, towers.text))
    for source, modality, known in ((image_source, "image", IMAGE), (text_source, "text", TEXT)):
        if (f"{source.library}:NAME" if source.library else source.name) not in known:
            raise unknown(f"{modality} tower", str(source), known)
    if text_source.name in _TEXT and text_source.weights is not None:
        raise ValueError(
            f"tower {text_source}: only an image tower can start from a run's weights; leave @… out"
        )
    both: Whole | None = None
    if image_source == text_source:
        from .open_clip_tower import open_clip_model

        both = open_clip_model(image_source, seed, towers.text_layers)
    with torch.random.fork_rng(devices=[]):  # constructors draw weights, which are then drawn anew by name
        own = image_source.library == "timm" and Source.parse(towers.image).weights is not None
        image = _image_tower(image_source, towers.image_size, seed, both, own_size=own)
        text = _text_tower(text_source, towers, seed, both, vocabulary)
    return image, text


def build_image_tower(name: str, size: int, seed: int = 0) -> ImageTower:
    """One image tower by its name, as `build_towers` makes it.

    Raises:
        UnknownName: for a name that is not known; the message gives the nearest one.
        ValueError: for weights that are missing, broken or do not fit.
    """
    source = Source.parse(name).to_build()
    if (f"{source.library}:NAME" if source.library else source.name) not in IMAGE:
        raise unknown("image tower", name, IMAGE)
    with torch.random.fork_rng(devices=[]):
        return _image_tower(source, size, seed, None)


def _image_tower(
    source: Source, size: int, seed: int, both: Whole | None, own_size: bool = False
) -> ImageTower:
    if source.library == "timm":
        from .timm_tower import timm_tower

        return timm_tower(source, None if own_size else size, seed)
    if source.library == "open_clip":
        from .open_clip_tower import OpenClipImage, open_clip_model

        model, _ = both or open_clip_model(source, seed)
        with source.reading():
            return OpenClipImage(model)
    tower = _IMAGE[source.name](size)
    if source.weights is None:
        initialise(tower, seed, "image")
    else:
        load_trained(tower, source)
    tower.weights_set = True
    return tower


def _text_tower(
    source: Source, towers: Towers, seed: int, both: Whole | None, vocabulary: Callable[[], Tokenizer]
) -> TextTower:
    layers = towers.text_layers
    if source.library == "transformers":
        from .transformers_tower import transformers_tower

        if layers is not None:
            raise ValueError(
                f"towers.text_layers={layers}: {source} is as deep as its own configuration says"
            )
        return transformers_tower(source, towers.context, seed, vocabulary)
    if source.library == "open_clip":
        from .open_clip_tower import OpenClipText, open_clip_model

        model, tokenizer = both or open_clip_model(source, seed, layers)
        with source.reading():
            return OpenClipText(model, tokenizer)
    if layers is not None and source.name != "transformer":
        raise ValueError(f"towers.text_layers={layers}: {source} has no layers to count")
    tower = TextTransformer(vocabulary(), depth=layers) if layers else _TEXT[source.name](vocabulary())
    initialise(tower, seed, "text")
    tower.weights_set = True
    return tower
