"""X-Former: BLIP-2 whose queries also read a masked autoencoder, which goes on reconstructing."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor

from ..forms import BelowOne, NonNegative, Positive
from ..networks.base import ImageTower, Towers
from ..networks.bridges.dual import DualBridge, Reading
from ..networks.masked_autoencoder import MaskedAutoencoder
from ..networks.masking import drawn_for_batch, random_patches, visible_count
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo
from ._matching import mean_of_all
from ._speaking import TuneImage
from .base import Ranges
from .blip_2 import ALIGN, BLIP2, SPEAK

MASK = "mask"
"""The stage on pictures alone."""
_VISIBLE, _ERROR = "visible.", "error."


class XFormer(BLIP2):
    """`BLIP2` with `counterpoint.networks.bridges.dual.DualBridge`, in three stages.

    Mask, on pictures alone: a masked autoencoder learns to predict hidden patches. Its encoder does not move
    afterwards.

    Align: the losses of `BLIP2`, whose queries have read the autoencoder's states m of visible patches, and

        reconstruction · mean |decoder(m′) − pixels of hidden patches|²

    m′ are the states after they have read the queries, so that the error reaches the queries and the cross-attention.
    Captions are predicted behind the queries of the Q-Former itself.

    Speak: the loss of `SFT`; the autoencoder sees whole pictures and predicts nothing.

    Args:
        towers: as for `BLIP2`.
        recipe: gives the width of the embedding.
        mask, align, speak: shares of the steps of the three stages; with 0 a stage is left out. Without the first the
            autoencoder is that of the run that lends it (``from=RUN``), or of random weights.
        reconstruction: weight of the error in the align stage; with 0 it is left out.
        hidden: share of the patches that the autoencoder does not see in the first two stages.
        reading: ``dual``; or ``joined``, a control in which the Q-Former reads both kinds of patches, whole pictures of
            both, and nothing is reconstructed in the align stage.
        matching, captioning, tokens, tune_image, temperature: as for `BLIP2`.

    Raises:
        ValueError: for three stages of 0, a share that hides no patch or all, and a tower whose patches are not square.
        LookupError: for a picture tower without features of patches.

    Source: Swetha et al., "X-Former: Unifying Contrastive and Reconstruction Learning for MLLMs" (2024), arXiv
    2407.13851; the wiring is described from memory. There both encoders are pretrained and the Q-Former starts from
    BERT; here the autoencoder has the grid and the width of the tower, and its decoder goes on learning.
    """

    family = "speaking"
    papers = ("x-former",)
    tunable: ClassVar[Ranges] = {**BLIP2.tunable, "reconstruction": (0.1, 10.0)}
    bridge_name: ClassVar[str] = "dual"

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        mask: NonNegative = 1.0,
        align: NonNegative = 1.0,
        speak: NonNegative = 1.0,
        reconstruction: NonNegative = 1.0,
        hidden: BelowOne = 0.75,
        reading: Reading = "dual",
        matching: NonNegative = 1.0,
        captioning: NonNegative = 1.0,
        tokens: int | None = None,
        tune_image: TuneImage | None = None,
        temperature: Positive = 0.07,
    ) -> None:
        side = next(tower.size for tower in towers.values() if isinstance(tower, ImageTower))
        self.bridge_options = {"side": side, "reading": reading}
        super().__init__(
            towers,
            recipe,
            align=1.0,
            speak=1.0,
            matching=matching,
            captioning=captioning,
            tokens=tokens,
            tune_image=tune_image,
            temperature=temperature,
        )
        self.reconstruction = reconstruction if reading == "dual" else 0.0
        self.grid = self.bridge.grid
        self.visible = visible_count(self.grid[0] * self.grid[1], hidden)
        prefix = f"bridge_projections.{self.picture}.masked."
        moves = {
            stage.name: tuple(name for name in stage.moves if not name.startswith(prefix))
            for stage in self.stages
        }
        decoding = (f"{prefix}decoder.", f"{prefix}predict.") if self.reconstruction else ()
        self.set_stages(
            {
                MASK: (mask, (prefix,)),
                ALIGN: (align, (*moves[ALIGN], *decoding)),
                SPEAK: (speak, moves[SPEAK]),
            }
        )

    @property
    def bridge(self) -> DualBridge:
        """The Q-Former with the cross-attention and the masked autoencoder."""
        bridge = self.bridge_projections[self.picture]
        assert isinstance(bridge, DualBridge)
        return bridge

    @property
    def autoencoder(self) -> MaskedAutoencoder:
        """The masked autoencoder."""
        assert self.bridge.masked is not None
        return self.bridge.masked

    @property
    def unread(self) -> dict[str, tuple[str, ...]]:
        return {**super().unread, MASK: (self.talk, self.text)}

    def prepare(self, batch: Batch, clock: StepInfo) -> Batch:
        """Draw the visible patches."""
        batch = super().prepare(batch, clock)
        if self.stage == SPEAK or (self.stage == ALIGN and self.bridge.reading == "joined"):
            return batch
        index = drawn_for_batch(
            len(batch), batch.ids.device, lambda count: random_patches(count, self.grid, self.visible)
        )
        return replace(batch, views={**batch.views, _VISIBLE + self.picture: index})

    def patches_to_align(self, batch: Batch) -> Tensor:
        """Return the autoencoder's states of visible patches, and the tower's patches behind them."""
        pictures = batch[self.picture]
        if self.bridge.reading == "joined":
            return self.speaker.patches(pictures)
        details = self.autoencoder.states(pictures, batch[_VISIBLE + self.picture])
        return torch.cat([details, self.image_tower.patches(pictures).flatten(2).mT], 1)

    def encode(self, batch: Batch) -> Embeddings:
        if self.stage == MASK:
            pictures, index = batch[self.picture], batch[_VISIBLE + self.picture]
            states = self.autoencoder.states(pictures, index)
            error = self.autoencoder.errors(pictures, states, index)
            return {self.picture: states.mean(1), _ERROR + self.picture: error}
        z = super().encode(batch)
        if self.stage == ALIGN and self.reconstruction:
            details = self.bridge.updated(z[self.picture])
            index = batch[_VISIBLE + self.picture]
            z[_ERROR + self.picture] = self.autoencoder.errors(batch[self.picture], details, index)
        return z

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        if self.stage == MASK:
            return {"reconstruction": mean_of_all(z[_ERROR + self.picture])}
        losses = super().losses(z, batch, clock)
        if (error := z.get(_ERROR + self.picture)) is not None:
            losses["reconstruction"] = self.reconstruction * mean_of_all(error)
        return losses

    def passes(self) -> dict[str, float]:
        """Return the passes of `BLIP2`, of pictures one more: that of the autoencoder."""
        passes = super().passes()
        modality = self.image_tower.modality
        return {**passes, modality: passes[modality] + 1}
