"""ILLUME: a model learns to give reasons from those of its own samples that a critic accepts."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from ..forms import Count, Fraction, NonNegative, Positive
from ..networks.base import Towers
from ..networks.speaker import replied
from ..networks.state.item_state import ItemState
from ..networks.towers.chat import REPLY, TOKEN
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo, TrainingExamples
from ._rounds import conversations_of, rouge_l, sampled_replies
from ._speaking import SpeakingMethod, TuneImage
from .base import Ranges
from .needs import Needs

_MOST = 4
"""Accepted reasons of a row, at most."""
_WEIGHTS = (1.0, 10.0)
"""Bounds of the weight of a round."""


class Illume(SpeakingMethod):
    """A model samples reasons for right answers, a critic accepts some of them, and the model is trained on these.

        L = NLL(answer | picture, question) + μ w NLL(reason | picture, question, answer)

    At the start of every ``every``-th epoch, the model as it is samples reasons for each row at two temperatures. The
    request for a reason contains the true answer. A reason is accepted where its ROUGE-L with the row's reference is at
    least ``threshold``. With ``threshold=1`` the critic asks for the words of the reference. Accepted reasons are
    stored without duplicates, up to 4 for a row, beside those of earlier rounds, and a step reads one of a row's in
    turn. A row without an accepted reason has no second term, and where the critic accepts nothing, which the number
    ``rows_with_reason`` says, the model learns answers alone. The model never learns from a reference itself, but the
    critic reads it, so that the reference is supervision.

    w is the number of rows without a reason divided by that of accepted reasons, between 1 and 10, and constant in a
    round. It balances the few reasons with the answers.

    The columns of conversations are the questions with their answers, and the requests for a reason, which repeat
    question and answer, with the references: ``illume,columns=image+talk+why,from=RUN``.

    Args:
        towers: of pictures, with features of patches, and of conversations, twice.
        recipe: unused: the bridge is as wide as the towers.
        weight: μ.
        every: epochs between two rounds.
        samples: of a row at each temperature and in each round.
        cool, warm: the temperatures.
        threshold: ROUGE-L above which the critic accepts a reason; 0 accepts every sample.
        length: tokens after which a reason is cut off.
        bridge, tokens, tune_image: as for `SFT`.

    Raises:
        UnknownNameError: for a bridge that there is none of.
        ValueError: for a number of tokens that the bridge cannot give.
        LookupError: for a picture tower without features of patches.

    Source: Brack et al., "ILLUME: Rationalizing Vision-Language Models through Human Interactions" (2022), arXiv
    2208.08241. The release reads about ten rows without a reason for each accepted one, which bounds w here; it chooses
    the epoch of a round by validation, and this does not.
    """

    family = "speaking"
    papers = ("illume",)
    needs: ClassVar[Needs] = Needs(3, 3, modalities=("image", "talk", "talk"))
    tunable: ClassVar[Ranges] = {"weight": (0.1, 10.0)}
    weight_of_round: Tensor
    accepted: Tensor

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        weight: NonNegative = 1.0,
        every: Count = 1,
        samples: Count = 5,
        cool: Positive = 0.3,
        warm: Positive = 0.8,
        threshold: Fraction = 0.7,
        length: Count = 64,
        bridge: str = "linear",
        tokens: int | None = None,
        tune_image: TuneImage | None = None,
    ) -> None:
        super().__init__(towers, bridge, tokens, tune_image)
        _, _, self.why = towers
        self.weight, self.threshold, self.length = weight, threshold, length
        self.temperatures = [cool] * samples + [warm] * samples
        self.epoch_start_every = every
        self.items = ItemState(reasons=[0.0] * (_MOST * self.language.chat.context))
        self.register_buffer("weight_of_round", torch.tensor(0.0))
        self.register_buffer("accepted", torch.tensor(0.0))

    def on_epoch_start(self, examples: TrainingExamples, clock: StepInfo) -> None:
        """Sample reasons, and store those that the critic accepts."""
        seed = int(torch.randint(1 << 31, ()))  # the same on every rank
        device = self.items.ids.device
        reasons = examples.map(lambda batch: self._reasons(batch, seed)).to(device)
        count = (reasons.view(len(reasons), _MOST, -1) != 0).any(2).sum(1)
        self.items.store(examples.ids.to(device), reasons=reasons)
        self.accepted.fill_(int((count > 0).sum()))
        self.weight_of_round.copy_(((count == 0).sum() / count.sum().clamp_min(1)).clamp(*_WEIGHTS))

    def prepare(self, batch: Batch, clock: StepInfo) -> Batch:
        """Put an accepted reason in the place of the reference, or nothing."""
        (reasons,) = self.items.recall(batch.ids)
        slots = reasons.view(len(batch), _MOST, -1)
        count = (slots != 0).any(2).sum(1)
        turn = clock.step % count.clamp_min(1)
        chosen = conversations_of(slots[torch.arange(len(batch)), turn], self.language.chat.padding)
        asked = batch[self.why].clone()
        asked[:, REPLY] = 0
        read = torch.where((count > 0)[:, None, None], chosen, asked)
        return replace(batch, views={**batch.views, self.why: read})

    def encode(self, batch: Batch) -> Embeddings:
        speaker = self.speaker
        patches = speaker.patches(batch[self.picture])
        given = speaker.given(patches)
        log_p = {column: speaker.log_p(batch[column], given) for column in (self.talk, self.why)}
        return {self.picture: patches.mean(1), **log_p}

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        reason = self.mean_over_tokens(z[self.why], batch[self.why])
        return {
            "answer": self.mean_over_tokens(z[self.talk], batch[self.talk]),
            "reason": self.weight * self.weight_of_round.to(reason.dtype) * reason,
        }

    def numbers(self) -> dict[str, float]:
        return {"rows_with_reason": float(self.accepted), "weight": float(self.weight_of_round)}

    def passes(self) -> dict[str, float]:
        # Each token that is sampled is a pass.
        sampled = self.length * len(self.temperatures) / self.epoch_start_every
        return {
            "image": super().passes()["image"] * (1 + 1 / self.epoch_start_every),
            "talk": 2 + sampled,
        }

    def _reasons(self, batch: Batch, seed: int) -> Float[Tensor, "B n"]:
        """Return the accepted reasons of rows as numbers, those of earlier rounds first."""
        chat, talk = self.language.chat, batch[self.why]
        references = [chat.decode(row[TOKEN][row[REPLY] > 0]) for row in talk]
        (stored,) = self.items.recall(batch.ids.to(self.items.ids.device))
        slots = stored.view(len(talk), _MOST, -1).to(talk.device, copy=True)
        texts = [[self._text(one) for one in row if bool((one != 0).any())] for row in slots]
        patches = self.speaker.patches(batch[self.picture])
        for number, temperature in enumerate(self.temperatures):
            written = sampled_replies(
                self.speaker,
                patches,
                talk,
                batch.ids,
                seed + number,
                temperature=temperature,
                length=self.length,
            )
            for row in (replied(talk) > 0).nonzero()[:, 0].tolist():
                text, known = self._text(written[row]), texts[row]
                new = len(known) < _MOST and text not in known and bool(text)
                if new and rouge_l(text, references[row]) >= self.threshold:
                    slots[row, len(known)] = written[row]
                    known.append(text)
        return slots.flatten(1)

    def _text(self, written: Float[Tensor, " L"]) -> str:
        return self.language.chat.decode(-written[written < 0].long() - 1).casefold()
