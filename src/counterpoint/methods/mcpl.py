"""MCPL: several new words that are learned together, each of its own thing, without masks."""

from __future__ import annotations

from typing import ClassVar, Unpack

import torch
import torch.nn.functional as F
from torch import Tensor

from ..forms import Fraction, NonNegative, Positive
from ..generation import mask_of_words, masked_errors, positions_of
from ..losses import SupConLoss
from ..networks.base import Towers
from ..pairwise import moments
from ..pairwise.ranks import Ranks
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo
from ._personal import ERRORS, Personal, PersonalOptions
from .base import Ranges

STATES = "states."
"""Prefix of the states of new words, and behind them of their adjectives."""


class MCPL(Personal):
    """Vectors of several new words, by a noise loss where they attend to and by contrast between them.

        L = E ‖M · v − M · v_θ(x_t, t, c)‖² + contrast · SupCon(h)

    M is where the new words attend to at this step, `counterpoint.generation.mask_of_words`; it is a constant. h are
    the states of the new words in the prompts of a batch, and those of the adjectives that are bound to them. All
    states of one word and of its adjective are positives of each other, those of other words are negatives.

    As all pictures have one prompt, states of a word are equal across a batch, and contrast moves words away from each
    other and to their adjectives. Without all three it is `TextualInversion`.

    Args:
        towers, recipe, painter: as for `Personal`.
        masked: whether the noise loss is masked.
        threshold: of M.
        compete: whether words compete for cells of M.
        adjectives: words of the prompt, one for each new word in their order, with + between them; none unless given.
            They are known words, and do not learn.
        contrast: the weight. It is small: a large one moves words apart and ruins pictures.
        temperature: of the contrast.
        options: of `Personal`.

    Raises:
        ValueError: for other numbers of adjectives, and for one that is not one token of the prompt or is bound twice.

    Source: Jin et al., "An Image is Worth Multiple Words: Learning Object Level Concepts using Multi-Concept Prompt
    Learning" (2023), arXiv 2310.12274: MCPL-one. Its code takes positives by position, which are other words for some
    sizes of batches, keeps all tokens in the softmax of competing words, and trains adjectives too.
    """

    family = "images"
    papers = ("mcpl",)
    tunable: ClassVar[Ranges] = {"contrast": (1e-5, 1e-2), "temperature": (0.05, 0.5)}

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        painter: str,
        masked: bool = True,
        threshold: Fraction = 0.3,
        compete: bool = True,
        adjectives: str = "",
        contrast: NonNegative = 7.5e-4,
        temperature: Positive = 0.3,
        **options: Unpack[PersonalOptions],
    ) -> None:
        super().__init__(towers, recipe, painter=painter, **options)
        self.masked, self.threshold, self.compete, self.weight = masked, threshold, compete, contrast
        self.adjectives = tuple(adjectives.split("+")) if adjectives else ()
        self.bound = self._tokens_of_adjectives()
        self.contrast = SupConLoss(temperature)

    def _tokens_of_adjectives(self) -> list[int]:
        words, tokens = self.learned.words, list[int]()
        if self.adjectives and len(self.adjectives) != len(self.words):
            raise ValueError(
                f"adjectives={'+'.join(self.adjectives)} are {len(self.adjectives)}, and the prompt has "
                f"{len(self.words)} new words"
            )
        prompt, begins = words.tokens([words.prompt])[0].tolist(), words.tokens([""]).shape[1] - 1
        for word in self.adjectives:
            own = words.tokens([word])[0, begins:-1].tolist()
            if len(own) != 1 or own[0] not in prompt or own[0] in tokens:
                raise ValueError(
                    f"adjectives={'+'.join(self.adjectives)}: {word!r} must be one token of the prompt "
                    f"{words.prompt!r}, and another one than those of other words"
                )
            tokens += own
        return tokens

    def encode(self, batch: Batch) -> Embeddings:
        reading = self.read(batch)
        z, errors, positions = self.features_of(reading), reading.errors(), reading.positions
        if self.masked:
            attended, size = reading.attended(reading.maps.sides[0]), reading.gaps.shape[-1]
            mask = mask_of_words(attended, size, self.threshold, compete=self.compete)
            errors = masked_errors(reading.gaps, mask)
        if self.bound:
            prompt = self.learned.words.tokens([self.learned.words.prompt]).to(positions)
            own = torch.stack([positions_of(prompt, it) for it in self.bound], 1)
            positions = torch.cat([positions, own.expand(len(positions), -1)], 1)
        rows = torch.arange(len(positions), device=positions.device)[:, None]
        return {**z, ERRORS + self.picture: errors, STATES + self.picture: reading.states[rows, positions]}

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        losses = {"noise": moments.mean(z[ERRORS + self.picture], ranks=Ranks.present())}
        if self.weight:
            states = F.normalize(z[STATES + self.picture], dim=-1)
            words = torch.arange(states.shape[1], device=states.device) % len(self.words)
            labels = words.repeat(len(states))
            losses["contrast"] = self.weight * self.contrast(states.flatten(0, 1), labels=labels)
        return losses
