"""FSC-CLIP: hard negative captions outside the batch, told apart by whole captions and by tokens and patches."""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from ..data.views.false_captions import FALSE
from ..forms import Fraction, NonNegative, Positive
from ..losses import LocalNegativesLoss
from ..networks.base import Towers
from ..networks.towers.parts.pooling import inside
from ..pairwise.inputs import upcast
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo, View
from ._patches import patches_of
from ._prompts import first_token
from .needs import Needs
from .negclip import NegCLIP


class FSCCLIP(NegCLIP):
    """CLIP's loss, and two losses in which a picture tells its caption from hard negatives of that caption.

        L = CLIP(x, y) + λ_g H(<x_i, y_i> / τ, <x_i, n_ik> / τ) + λ_l H(s(V_i, T_i), s(V_i, N_ik))

    H is the focal and smoothed cross-entropy of `LocalNegativesLoss`, and s its local score of patches and tokens, in
    the common space. Negatives are compared with their own picture alone and never with others, unlike in `NegCLIP`.
    With ``global_weight=0,local_weight=0`` it is `CLIP`.

    Each caption gets three negatives: two words of one part of speech exchanged, one word replaced by another of its
    kind in WordNet, and the pairs of its words in another order. The paper parses captions and exchanges phrases. A
    negative that cannot be made is left out.

    Args:
        towers: by column: pictures and captions. They must have features of patches and tokens.
        recipe: gives the width of the embedding.
        global_weight: λ_g; 0.5 for COCO and LAION-COCO, 1 for CC3M.
        local_weight: λ_l; 0.5 for a ViT-B/16 or ViT-L/14.
        smoothing, gamma: of both losses of negatives.
        temperature: where τ starts; learned within [0.01, 1].

    Raises:
        LookupError: for a tower without features of patches or tokens.

    Source: Oh et al., "Preserving Multi-Modal Capabilities of Pre-trained VLMs for Improving Vision-Linguistic
    Compositionality" (2024), arXiv 2410.05210, and its code, ytaek-oh/fsc-clip. Its interpolation with the weights
    before is an arm's ``wise=``.
    """

    family = "two towers"
    papers = ("fsc-clip",)
    needs: ClassVar[Needs] = Needs(modalities=("image", "text"))

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        global_weight: NonNegative = 0.5,
        local_weight: NonNegative = 0.2,
        smoothing: Fraction = 0.02,
        gamma: NonNegative = 2.0,
        temperature: Positive = 0.07,
    ) -> None:
        super().__init__(towers, recipe, temperature=temperature)
        self.global_weight, self.local_weight = global_weight, local_weight
        _, text = self.pair
        self.negatives = [f"{text}.{name}" for name in FALSE]
        false = {f"{text}.{name}": View("text", f"false:{name}", text, like=text) for name in FALSE}
        self.views = {**self.views, **false}
        self.hard = LocalNegativesLoss(self.objective.temperature, smoothing=smoothing, gamma=gamma)
        with torch.no_grad():  # towers without patches or tokens are refused here, and not at the first step
            self.image_tower.patches(torch.zeros(1, 3, *[self.image_tower.size] * 2))
            self.text_tower.states(self.text_tower.tokenizer(["a"]))

    def encode(self, batch: Batch) -> Embeddings:
        """Return, of each view, the pooled feature and then those of its patches or tokens: ``(B, 1 + P, w)``."""
        picture, text = self.pair
        z = {}
        for view in (picture, text, *self.negatives):
            pooled = self.features(picture if view == picture else text, batch[view])[:, None]
            if not self.local_weight:
                z[view] = pooled
                continue
            if view == picture:
                local = patches_of(self.image_tower, batch[view]).flatten(1, 2)
            else:
                local = self.text_tower.states(batch[view])
            z[view] = torch.cat([pooled, local], 1)
        # What stands in a gap is no number perhaps, and would be none in gradients.
        return {
            view: torch.where(batch.has(self.views[view].column)[:, None, None], features, 0.0)
            for view, features in z.items()
        }

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        picture, text = self.pair
        rows = batch.has(picture) & batch.has(text)
        texts = (text, *self.negatives)
        x, *y = (
            self._unit(picture if view == picture else text, z[view][rows, 0]) for view in (picture, *texts)
        )
        if not self.objective.count(x):
            return {"clip": z[picture].sum() * 0 + sum(z[view].sum() * 0 for view in texts)}
        losses = {"clip": (self.objective(x, y[0]) + self.objective(y[0], x)) / 2}
        masks = [self._mask(batch[view][rows]) for view in texts]
        for view, mask in zip(self.negatives, masks[1:], strict=True):
            mask &= (self._says(batch[view][rows]) & batch.has(self.views[view].column)[rows])[:, None]
        valid = torch.stack([mask.any(1) for mask in masks], 1)
        if self.global_weight:
            cosines = (upcast(x)[:, None] * upcast(torch.stack(y, 1))).sum(2)
            logits = self.objective.temperature.scale(cosines)
            losses["global_negatives"] = self.global_weight * self.hard.of_logits(logits, valid)
        if self.local_weight:
            longest = max(mask.shape[1] for mask in masks)
            tokens = torch.stack([_padded(z[view][rows, 1:], longest) for view in texts], 1)
            mask = torch.stack([_padded(mask, longest) for mask in masks], 1)
            head, of_texts = (self.projections[self.columns[column]] for column in self.pair)
            hard = self.hard(head(z[picture][rows, 1:]), of_texts(tokens), mask=mask)
            losses["local_negatives"] = self.local_weight * hard
        return losses

    def _mask(self, tokens: Int[Tensor, "B L"]) -> Bool[Tensor, "B L"]:
        """Return the tokens that count: those of the caption and its end token."""
        tower = self.text_tower
        mask = inside(tokens, tower.tokenizer.end, begins_with_end=tower.begins_with_end)
        mask[:, : first_token(tower)] = False
        return mask

    def _says(self, tokens: Int[Tensor, "B L"]) -> Bool[Tensor, " B"]:
        """Return which captions have a word: more tokens than the empty one."""
        nothing = self._mask(self.text_tower.tokenizer([""]).to(tokens.device)).sum()
        return self._mask(tokens).sum(1) > nothing


def _padded(tokens: Tensor, length: int) -> Tensor:
    """Return tokens, or a mask of them, with zeros behind."""
    shape = (tokens.shape[0], length - tokens.shape[1], *tokens.shape[2:])
    return torch.cat([tokens, tokens.new_zeros(shape)], 1)
