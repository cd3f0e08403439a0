"""P-Former: what the queries are to say is learned from sentences first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ..forms import Fraction, NonNegative, Positive
from ..losses import InfoNCELoss
from ..networks.base import Towers
from ..networks.bridges.base import Given
from ..networks.masking import drawn_for_batch
from ..networks.sentence_prompts import SentencePrompts
from ..networks.towers.chat import EXCHANGE, REPLY, TOKEN
from ..pairwise import Temperature
from ..raw import Exchange
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo
from ._matching import mean_of_all
from ._speaking import TuneImage
from .base import Ranges
from .blip_2 import ALIGN, BLIP2, QUERIES, SPEAK

PROMPT = "prompt"
"""The stage on sentences alone."""
_PROMPTS, _SENTENCE, _TOKENS, _HIDDEN = "prompts.", "sentence.", "tokens.", ".hidden"


class PFormer(BLIP2):
    """`BLIP2` whose queries are also drawn to the prompts with which the language model says the sentence again.

    Prompt, on sentences alone: a transformer makes K prompts p(s) of a reply s, of which some tokens are hidden.

        L = −mean log p(token | p(s), request, earlier tokens) + C(f) + mean (sg e(p) − p)²

    f is an embedding of the sentence, C is InfoNCE of a batch with itself, from a single pass: it spreads sentences
    apart. e(p) is the vector of a word that is nearest to a prompt.

    Align and speak add to the losses of `BLIP2`:

        regression · mean (W_out queries − sg p(s))² / variance of the vectors of words

    s is the reply without hidden tokens, and W_out the linear layer into the language model. Query k is tied to prompt
    k. Sentences need no pictures: a first run on many of them lends its prompts to a run on a few pairs,
    ``p-former,from=RUN,prompt=0``.

    Args:
        towers: as for `BLIP2`.
        recipe: gives the widths of embeddings.
        prompt, align, speak: shares of the steps of the three stages; with 0 a stage is left out. Without the first the
            prompts are those of the run that lends them, or of random weights.
        regression: weight of the distance to the prompts. The published code has weights of 10 and 100 and does not
            divide by the variance: where words have a standard deviation of 0.03, 100 are 0.09 here.
        hidden: share of the tokens that are hidden in the first stage.
        matching, captioning, tokens, tune_image, temperature: as for `BLIP2`.

    Raises:
        ValueError: for three stages of 0.
        LookupError: for a picture tower without features of patches.

    Source: Jian et al., "Bootstrapping Vision-Language Learning with Decoupled Language Pre-training" (2023), arXiv
    2307.07063, and its code. There the transformer starts from BERT, and its layer into the language model is another
    one in the align stage.
    """

    family = "speaking"
    papers = ("p-former",)
    tunable: ClassVar[Ranges] = {**BLIP2.tunable, "regression": (0.01, 1.0)}

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        prompt: NonNegative = 1.0,
        align: NonNegative = 1.0,
        speak: NonNegative = 1.0,
        regression: NonNegative = 0.1,
        hidden: Fraction = 0.25,
        matching: NonNegative = 1.0,
        captioning: NonNegative = 1.0,
        tokens: int | None = None,
        tune_image: TuneImage | None = None,
        temperature: Positive = 0.07,
    ) -> None:
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
        self.regression, self.hidden = regression, hidden
        chat, bridge = self.language.chat, self.bridge
        made = SentencePrompts(
            chat.vocabulary,
            chat.context,
            self.language.width,
            bridge.tokens,
            recipe.widths.embedding,
            bridge.std,
        )
        # Named as heads are, so that a run on sentences lends it.
        self.prompt_projections = nn.ModuleDict({self.columns[self.talk]: made})
        self.spread = InfoNCELoss(Temperature(0.07, bounds=(0.01, 1.0)), label_smoothing=0.1)
        moves = {stage.name: stage.moves for stage in self.stages}
        self.set_stages(
            {
                PROMPT: (prompt, ("prompt_projections.", "spread.")),
                ALIGN: (align, (*moves[ALIGN], f"bridge_projections.{self.picture}.out.")),
                SPEAK: (speak, moves[SPEAK]),
            }
        )

    @property
    def prompts(self) -> SentencePrompts:
        """The transformer from sentences to prompts."""
        made = self.prompt_projections[self.columns[self.talk]]
        assert isinstance(made, SentencePrompts)
        return made

    @property
    def unread(self) -> dict[str, tuple[str, ...]]:
        return {PROMPT: (self.picture, self.text), ALIGN: (), SPEAK: (self.text,)}

    def prepare(self, batch: Batch, clock: StepInfo) -> Batch:
        """Draw the hidden tokens."""
        batch = super().prepare(batch, clock)
        if self.stage != PROMPT:
            return batch
        length = batch[self.talk].shape[2]
        hidden = drawn_for_batch(
            len(batch), batch.ids.device, lambda count: (torch.rand(count, length) < self.hidden).long()
        )
        return replace(batch, views={**batch.views, self.talk + _HIDDEN: hidden})

    @torch.no_grad()
    def targets(self, batch: Batch) -> Embeddings:
        if self.stage == PROMPT:
            return {}
        prompts, _ = self.prompts(*sentences(batch[self.talk]))
        return {_PROMPTS + self.talk: prompts}

    def encode(self, batch: Batch) -> Embeddings:
        if self.stage == ALIGN:
            return super().encode(batch)
        speaker, talk = self.speaker, batch[self.talk]
        if self.stage == SPEAK:
            patches = speaker.patches(batch[self.picture])
            given = speaker.given(patches)
            return {
                self.picture: patches.mean(1),
                self.talk: speaker.log_p(talk, given),
                _TOKENS + self.picture: given.tokens,
            }
        tokens, inside = sentences(talk)
        tokens = torch.where(batch[self.talk + _HIDDEN] > 0, self.prompts.mask, tokens)
        prompts, f = self.prompts(tokens, inside)
        log_p = speaker.log_p(talk, Given(prompts))
        return {self.talk: log_p, _PROMPTS + self.talk: prompts, _SENTENCE + self.talk: f}

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        prompts, words = z[_PROMPTS + self.talk], self._words
        if self.stage == PROMPT:
            f = z[_SENTENCE + self.talk]
            with torch.no_grad():
                nearest = words[torch.cdist(prompts.flatten(0, 1), words).argmin(1)].view_as(prompts)
            return {
                "words": self.mean_over_tokens(z[self.talk], batch[self.talk]),
                "spread": self.spread(f, f),
                "vocabulary": mean_of_all((nearest - prompts).square().mean((1, 2))),
            }
        losses = super().losses(z, batch, clock)
        if self.regression:
            tokens = z.get(_TOKENS + self.picture)
            said = self.bridge.out(z[QUERIES + self.picture]) if tokens is None else tokens
            error = (said - prompts).square().mean((1, 2)) / words.var()
            losses["regression"] = self.regression * mean_of_all(error)
        return losses

    @torch.no_grad()
    def reproduced(self, exchanges: Sequence[Exchange]) -> Float[Tensor, " n"]:
        """Return of each token of replies whether it is the likeliest behind the reply's prompts and earlier tokens."""
        talk = self.language.chat([(one,) for one in exchanges]).to(self._device)
        given = Given(self._evaluated(self.prompts, *sentences(talk))[0])
        states, tokens, _ = self._evaluated(self.speaker.reply_states, talk, given)
        return (self.language.head(states).argmax(-1) == tokens).float()

    @property
    def _words(self) -> Float[Tensor, "V W"]:
        """The language model's vectors of words."""
        vocabulary = torch.arange(self.language.chat.vocabulary, device=self._device)
        return self.language.embed(vocabulary[None])[0].detach()


def sentences(talk: Int[Tensor, "B 3 L"]) -> tuple[Int[Tensor, "B L"], Bool[Tensor, "B L"]]:
    """Return the tokens of conversations, and which of them are of replies."""
    return talk[:, TOKEN], (talk[:, REPLY] > 0) & (talk[:, EXCHANGE] > 0)
