"""Supervised fine-tuning: a language model learns to reply to requests about pictures."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..forms import Count, NonNegative
from ..networks.base import Towers
from ..networks.bridges.base import Grouping
from ..networks.bridges.scan import Scan
from ..networks.experts import Routing, balance_of_votes, recorded_routings, votes
from ..networks.towers.chat import EXCHANGE
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo
from ._speaking import SpeakingMethod, TuneImage
from .base import Ranges
from .needs import Needs

_ROUTING = "routing."
"""The beginning of the name of what routers decided."""


class SFT(SpeakingMethod):
    """The mean negative log-likelihood of the tokens of replies.

        L = −Σ log p(y_t | y_<t, request, picture) / number of tokens  (+ balance · E Σ_e f_e P_e)

    The sum goes over the replies of the batch, each with its end token. The second term is that of a bridge with E
    experts: f_e is the share of tokens that choose an expert, choices of all layers added up, and P_e its mean
    probability.

    Further columns of pictures that are named (``sft,columns=image+talk+second``) stand behind the first picture.

    ``tune=`` of an arm says what moves of a pretrained language model: ``full`` (the default), ``lora``, ``frozen``
    (the bridge moves, and the picture tower as ``tune_image`` says), or ``none`` (nothing in the whole model).

    Args:
        towers: of pictures, with features of patches, and of conversations.
        recipe: unused: the bridge is as wide as the towers.
        bridge: the name of a bridge (`counterpoint.networks.bridges`).
        tokens: of a picture; the bridge's own number unless given.
        tune_image: what moves of the tower of pictures; nothing of a pretrained one and all of another unless given.
        image_tiles: g, for ``stacked``: the picture is read as a whole and in g × g tiles of the tower's size.
        scan: for ``scan``, the orders in which patches are read: ``cross``, ``bidirectional`` or ``single``.
        groups: for ``stacked``, of the patches of tiles: ``strided``, ``tiles`` or ``repeated``.
        levels: for ``crossed``, how many layers of the picture tower are read.
        experts: for ``crossed``, E, the feed-forward networks of a block.
        balance: the weight of the second term.
        tune_bridge: what moves of the bridge: everything, or the routers of its experts alone.

    Raises:
        UnknownNameError: for a bridge that there is none of.
        ValueError: for a number of tokens that the bridge cannot give, for an option of another bridge, for a language
            model or a picture tower with too few layers, and for routers of a bridge without experts.
        LookupError: for a picture tower without features of patches, or of patches between its layers.

    Source: Liu et al., "Visual Instruction Tuning" (2023), arXiv 2304.08485.
    """

    family = "speaking"
    papers = ("deepstack", "evlm", "frozen", "ml-mamba", "visual-experts-ive")
    needs: ClassVar[Needs] = Needs(2, None, modalities=("image", "talk"), also="image")
    tunable: ClassVar[Ranges] = {}
    packs: ClassVar[bool] = True

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        bridge: str = "linear",
        tokens: int | None = None,
        tune_image: TuneImage | None = None,
        image_tiles: Count = 1,
        scan: Scan | None = None,
        groups: Grouping | None = None,
        levels: Count | None = None,
        experts: Count | None = None,
        balance: NonNegative = 0.01,
        tune_bridge: Literal["full", "routers"] = "full",
    ) -> None:
        own = {"scan": scan, "groups": groups, "levels": levels, "experts": experts}
        super().__init__(towers, bridge, tokens, tune_image, image_tiles, **own)
        _, _, *further = towers
        self.pictures = (self.picture, *further)
        self.balance = balance
        if tune_bridge == "routers":
            if not self.mixtures:
                raise ValueError(
                    f"tune_bridge=routers: bridge={bridge} has no experts; take crossed,experts=4"
                )
            self.bridge_projections.requires_grad_(False)
            for mixture in self.mixtures:
                mixture.router.requires_grad_(True)

    def encode(self, batch: Batch) -> Embeddings:
        with recorded_routings(self.mixtures) as routings:
            z = super().encode(batch)
        if routings:
            z[_ROUTING + self.talk] = self._votes(batch[self.talk], routings)
        return z

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        losses = {"nll": self.mean_over_tokens(z[self.talk], batch[self.talk])}
        if (of_rows := z.get(_ROUTING + self.talk)) is not None:
            losses["balance"] = self.balance * balance_of_votes(of_rows)
        return losses

    def _votes(self, talk: Int[Tensor, "B 3 L"], routings: list[Routing]) -> Float[Tensor, "B parts"]:
        """Return the votes of the tokens from the picture on, without padding."""
        rows = len(talk)
        text = talk[:, EXCHANGE, self.language.chat.opening :] > 0
        inside = torch.cat([text.new_ones(rows, self.speaker.bridge.tokens), text], 1)
        inside = inside[:, : len(routings[0].chosen) // max(rows, 1)]
        row = torch.arange(rows, device=talk.device)[:, None].expand_as(inside)
        return votes(routings, torch.where(inside, row, rows).flatten(), rows + 1)[:rows]
