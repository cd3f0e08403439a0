"""SoftMask++: matching on pictures whose patches that one word rests on are dimmed, with a focal contrast."""

from __future__ import annotations

from typing import ClassVar, Literal, Unpack

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..forms import BelowOne, NonNegative
from ..losses import SoftInfoNCELoss
from ..modalities import PAIR_PASSES
from ..networks.base import Towers
from ..networks.fusion.joint_encoder import JointEncoder
from ..networks.fusion.relevance import relevance, unit_range
from ..networks.towers.parts.pooling import inside
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, Pairs
from ._matching import LABEL, MATCH, PATCHES, PICTURE_OF, TEXT_OF, WORDS, MatchingOptions
from .albef import ALBEF, MASKED
from .base import Ranges

WORD, ORDER = "pair.word", "pair.order"
"""Names of pairs: the position of the word by which a picture is dimmed, −1 for none, and an order of its patches."""


class SoftMask(ALBEF):
    """`ALBEF` with dimmed pictures as further positives of matching, a focal contrast, and hidden words in all terms.

        A_p = mean over heads of relu(a_p ∂s/∂a_p),   c = (A − min A) / (max A − min A),   patch_p ← (1 − c_p) patch_p

    a are the probabilities with which one word of the text attends to the patches of its picture in a block of the
    joint encoder, the third of six; s is the logit that they belong together. In the last block all words but the one
    that is read have no gradient. The word is drawn among the tokens of the text that are not hidden. The mask acts on
    the tower's features of patches and is a constant to the gradient. It dims the most relevant patch entirely and the
    least relevant not at all; a map that is constant masks nothing. A picture that is dimmed still belongs to its text:

        L_match = L_match of `ALBEF` + CE over (i dimmed, i) → yes

    Args:
        towers: the towers, by column.
        recipe: as for `ALBEF`.
        mask: ``"soft"``; ``"hard"``, which removes the most relevant patches; ``"random"``, soft masks in another order
            of the patches; ``"none"``, without dimmed pictures.
        removed: the share of the patches that a hard mask removes.
        gamma: γ of the focal contrast; 0 is cross-entropy.
        masked_text: whether hidden words are hidden in all terms. Else they are hidden where they are predicted.
        options: of `ALBEF`.

    Raises:
        ValueError: for a focal contrast without keys, hidden words that no term predicts, masks with a joint encoder of
            one block, and as `ALBEF`.

    Source: Park and Han, "Multi-Modal Representation Learning with Text-Driven Soft Masks" (2023), arXiv 2304.00719. No
    code is published; γ, the block and the share of a hard mask are not confirmed. The paper also distorts pictures
    strongly, which the recipe's augmentation does here.
    """

    family = "fusion"
    papers = ("softmask",)
    tunable: ClassVar[Ranges] = {"temperature": (0.03, 0.2)}

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        mask: Literal["soft", "hard", "random", "none"] = "soft",
        removed: BelowOne = 0.3,
        gamma: NonNegative = 2.0,
        masked_text: bool = True,
        **options: Unpack[MatchingOptions],
    ) -> None:
        super().__init__(towers, recipe, **options)
        self.mask, self.removed, self.masked_text = mask, removed, masked_text
        if masked_text and not self.weights["words"]:
            raise ValueError(
                "masked_text=true hides words that words=0 never predicts: take masked_text=false"
            )
        assert isinstance(self.joint, JointEncoder)  # it has no other fusion
        depth = len(self.joint.blocks)
        if mask != "none" and depth == 1:
            raise ValueError(
                f"mask={mask} reads a block before the last, and depth=1 has none: take depth=2 or more"
            )
        if isinstance(self.objective, SoftInfoNCELoss):
            self.objective.gamma = gamma
        elif gamma:
            raise ValueError(f"gamma={gamma:g} weighs a contrast with keys: give a queue, or take gamma=0")

    def tokens(self, batch: Batch) -> Int[Tensor, "B L"]:
        return batch[MASKED][:, 0] if self.masked_text else batch[self.text]

    def read_masked(self, network: nn.Module, z: Embeddings, batch: Batch) -> Float[Tensor, "B L W"]:
        if not self.masked_text:
            return super().read_masked(network, z, batch)
        return network.get_submodule("joint")(z[WORDS + self.text], z[PATCHES + self.picture])

    def pairs(self, z: Embeddings, batch: Batch) -> Pairs:
        pairs = super().pairs(z, batch)
        if not pairs:
            return pairs
        count = z[PATCHES + self.picture].shape[1]
        own = pairs[PICTURE_OF][pairs[LABEL] == 1]
        word, has_word = self._drawn_words(self.tokens(batch))
        own = own[has_word[own]] if self.mask != "none" else own[:0]
        order = torch.rand(len(own), count, device=own.device).argsort(1)
        plain = torch.full_like(pairs[LABEL], -1)
        return {
            PICTURE_OF: torch.cat([pairs[PICTURE_OF], own]),
            TEXT_OF: torch.cat([pairs[TEXT_OF], own]),
            LABEL: torch.cat([pairs[LABEL], torch.ones_like(own)]),
            WORD: torch.cat([plain, word[own]]),
            ORDER: torch.cat([plain[:, None].expand(-1, count), order]),
        }

    def _drawn_words(self, tokens: Int[Tensor, "B L"]) -> tuple[Int[Tensor, " B"], Tensor]:
        """Return the position of one word of each text, and which texts have one."""
        tokenizer = self.text_tower.tokenizer
        words = inside(tokens, tokenizer.end) & (tokens != tokenizer.end) & (tokens != tokenizer.vocabulary)
        first = tokenizer(["a", "b"])[:, 0]
        words[:, : int(first[0] == first[1])] = False
        has_word = words.any(1)
        drawn = torch.rand(words.shape, device=words.device).masked_fill(~words, -1.0).argmax(1)
        return drawn, has_word

    def fuse(self, z: Embeddings, pairs: Pairs) -> Embeddings:
        patches = z[PATCHES + self.picture][pairs[PICTURE_OF]]
        words = z[WORDS + self.text][pairs[TEXT_OF]]
        (dimmed,) = (pairs[WORD] >= 0).nonzero(as_tuple=True)
        mask = self.masks(words[dimmed], patches[dimmed], pairs[WORD][dimmed])
        if self.mask == "random":
            mask = mask.gather(1, pairs[ORDER][dimmed])
        factor = patches.new_ones(patches.shape[:2]).index_copy(0, dimmed, mask.to(patches))
        return {MATCH: self.matched(words, patches * factor[..., None])}

    def masks(
        self, words: Float[Tensor, "n L W"], patches: Float[Tensor, "n P V"], word: Int[Tensor, " n"]
    ) -> Float[Tensor, "n P"]:
        """Return the factor of each patch, from what one word of each text rests on; without gradient."""
        with torch.enable_grad():
            states, attention = self.joint(
                words.detach(), patches.detach().requires_grad_(), attention_of=self.block
            )
            logit = self.match_head(self.read(states, like=words))[:, 1]
            of_words = relevance(logit, attention)
        maps = of_words[torch.arange(len(word), device=word.device), word]
        if self.mask == "hard":
            removed = maps.topk(round(self.removed * maps.shape[1]), dim=1).indices
            return torch.ones_like(maps).scatter(1, removed, 0.0)
        return 1 - unit_range(maps)

    def matching(self, z: Embeddings) -> Float[Tensor, ""]:
        """Return the mean cross-entropy of plain pairs, plus that of pairs whose picture is dimmed."""
        dimmed = z[WORD] >= 0
        return torch.stack(
            [
                super(SoftMask, self).matching({n: z[n][rows] for n in (MATCH, LABEL)})
                for rows in (~dimmed, dimmed)
            ]
        ).sum()

    def passes(self) -> dict[str, float]:
        passes = super().passes()
        if self.masked_text:
            passes["text"] /= 2  # the plain text passes through no tower
        if self.weights["matching"] and self.mask != "none":
            passes[PAIR_PASSES] += 2
        return passes
