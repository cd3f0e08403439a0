"""Next tokens of pictures and of texts in one sequence, by one language model."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..forms import Count, NonNegative
from ..networks.base import Towers
from ..networks.picture_codes import CodeBridge
from ..networks.towers.chat import TOKEN
from ..networks.towers.language import Mamba, trimmed
from ..pairwise import moments
from ..pairwise.inputs import upcast
from ..pairwise.ranks import Ranks
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo, TrainingExamples
from ._speaking import SpeakingMethod
from .base import ONCE, Ranges

_CODES = "codes."
"""The beginning of the name of the log-probabilities of the codes of pictures."""
_PATCHES = 50_000
"""Patches that the centres of codes are fitted to, about."""


class NextToken(SpeakingMethod):
    """A language model that predicts the patches of a picture, as codes, and then the tokens of replies.

        L = −mean log p(reply token | those before, picture) − codes · mean log p(code | codes before)

    A code is the number of the nearest of K centres of features of patches, which k-means finds in the training
    pictures before the first step. The picture tower is frozen: of a ``patches`` tower with random weights, codes are
    of pixels. The codes stand behind the opening of the conversation, by the rows of the grid, so that a reply is read
    behind its picture; no code follows a request.

    With ``split``, projections of a Mamba have weights of their own for the tokens of pictures (Mixture-of-Mamba). The
    convolution and the recurrence stay shared, and each token costs what it does without. All weights together grow.
    Both kinds begin from equal weights, so that the first step is the dense model's; the paper draws each by itself.

    Args:
        towers: of pictures, with features of patches, and of conversations.
        recipe: unused: vectors of codes are as wide as the language model.
        vocabulary: K, the number of codes.
        codes: weight of the second term.
        split: projections with weights for pictures, of ``in``, ``x``, ``dt`` and ``out``, as ``in+x+dt+out``; none
            unless given.

    Raises:
        UnknownNameError: for another projection.
        ValueError: for ``split`` with a language model that is no built-in ``mamba``, and for fewer patches than codes.
        LookupError: for a picture tower without features of patches.

    Source: Liang et al., "Mixture-of-Mamba: Enhancing Multi-Modal State-Space Models with Modality-Aware Sparsity"
    (2025), arXiv 2501.16295: its setting with discrete tokens of pictures.
    """

    family = "speaking"
    papers = ("mixture-of-mamba",)
    tunable: ClassVar[Ranges] = {}
    epoch_start_every = ONCE

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        vocabulary: Count = 128,
        codes: NonNegative = 1.0,
        split: str = "",
    ) -> None:
        super().__init__(towers, "linear", tune_image="frozen")
        plain = self.speaker.bridge
        self.bridge_projections[self.picture] = CodeBridge(
            self.image_tower.width, self.language.width, plain.grid, plain.std, vocabulary
        )
        self.weight = codes
        if split:
            if not isinstance(self.language, Mamba):
                raise LookupError(
                    f"split={split} gives projections of a Mamba two sets of weights: take lm=mamba"
                )
            self.language.split(split.split("+"))

    @property
    def codes(self) -> CodeBridge:
        """What makes codes of patches, and vectors of codes."""
        bridge = self.bridge_projections[self.picture]
        assert isinstance(bridge, CodeBridge)
        return bridge

    def on_epoch_start(self, examples: TrainingExamples, clock: StepInfo) -> None:
        """Fit the centres of codes to patches of all pictures."""
        some = max(1, _PATCHES // max(1, len(examples.ids)))
        chosen = torch.randperm(self.codes.tokens)[:some]

        def patches(batch: Batch) -> Float[Tensor, "B m w"]:
            features = self.speaker.patches(batch[self.picture])
            return features[:, chosen.to(features.device)].float()

        seed = int(torch.randint(2**31, ()))  # the same on every rank
        self.codes.fit(examples.map(patches).flatten(0, 1), seed)

    def encode(self, batch: Batch) -> Embeddings:
        speaker = self.speaker
        patches = speaker.patches(batch[self.picture])
        given = speaker.given(patches)
        states = speaker.sequence_states(trimmed(batch[self.talk])[:, TOKEN], given)
        log_p = speaker.log_p(batch[self.talk], given, speaker.without_pictures(states, given))
        of_codes = self._of_codes(states, patches)
        return {self.picture: patches.mean(1), _CODES + self.picture: of_codes, self.talk: log_p}

    @torch.no_grad()
    def code_log_p(self, pictures: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B n"]:
        """Return the log-probability of each code of pictures, as the input of pictures gives them."""
        speaker = self.speaker
        patches = self._evaluated(speaker.patches, pictures.to(self._device))
        # What stands behind a picture changes nothing in front of it.
        opening = self.language.chat([()])[:, TOKEN, : self.language.chat.opening].to(patches.device)
        given = speaker.given(patches)
        states = self._evaluated(speaker.sequence_states, opening.expand(len(patches), -1), given)
        return self._of_codes(states, patches)

    def _of_codes(
        self, states: Float[Tensor, "B M W"], patches: Float[Tensor, "B n w"]
    ) -> Float[Tensor, "B n"]:
        # A state predicts the next token: the first code follows the opening.
        first = self.language.chat.opening - 1
        logits = upcast(states[:, first : first + self.codes.tokens] @ self.codes.embedding.weight.T)
        return -F.cross_entropy(logits.mT, self.codes.codes(patches), reduction="none")

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        of_pictures = -z[_CODES + self.picture].mean(1)
        return {
            "nll": self.mean_over_tokens(z[self.talk], batch[self.talk]),
            "codes": self.weight * moments.mean(of_pictures, ranks=Ranks.present()),
        }
