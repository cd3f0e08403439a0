"""Supervised fine-tuning: a language model learns to reply to requests about pictures."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from ..forms import Count
from ..networks.base import Towers
from ..networks.bridges.base import Grouping
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo
from ._speaking import SpeakingMethod, TuneImage
from .base import Ranges


class SFT(SpeakingMethod):
    """The mean negative log-likelihood of the tokens of replies.

        L = −Σ log p(y_t | y_<t, request, picture) / number of tokens

    The sum goes over the replies of the batch, each with its end token. ``tune=`` of an arm says what moves of a
    pretrained language model: ``full`` (the default), ``lora``, ``frozen`` (the bridge moves, and the picture tower as
    ``tune_image`` says), or ``none`` (nothing in the whole model).

    Args:
        towers: of pictures, with features of patches, and of conversations.
        recipe: unused: the bridge is as wide as the towers.
        bridge: ``linear``, ``mlp``, ``pooled``, ``qformer``, ``resampler``, ``stacked``.
        tokens: of a picture; the bridge's own number unless given.
        tune_image: what moves of the tower of pictures; nothing of a pretrained one and all of another unless given.
        image_tiles: g, for ``stacked``: the picture is read as a whole and in g × g tiles of the tower's size.
        groups: of the patches of tiles: ``strided``, ``tiles`` or ``repeated``.

    Raises:
        UnknownNameError: for a bridge that there is none of.
        ValueError: for a number of tokens that the bridge cannot give, for tiles with a bridge that reads none, and for
            a language model with too few layers.
        LookupError: for a picture tower without features of patches.

    Source: Liu et al., "Visual Instruction Tuning" (2023), arXiv 2304.08485.
    """

    family = "speaking"
    papers = ("deepstack", "frozen")
    tunable: ClassVar[Ranges] = {}

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        bridge: str = "linear",
        tokens: int | None = None,
        tune_image: TuneImage | None = None,
        image_tiles: Count = 1,
        groups: Grouping = "strided",
    ) -> None:
        super().__init__(towers, bridge, tokens, tune_image, image_tiles, groups)

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        return {"nll": self.mean_over_tokens(z[self.talk], batch[self.talk])}
