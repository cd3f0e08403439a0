"""Distillation of a model that speaks: one divergence on the teacher's replies, another on the student's own."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ..forms import Count, Fraction, Positive
from ..losses import SkewedDivergenceLoss
from ..networks.base import Towers
from ..networks.speaker import Speaker, replied
from ..networks.state.item_state import ItemState
from ..networks.towers.chat import REPLY
from ..pairwise import moments
from ..pairwise.ranks import Ranks
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo, TrainingExamples
from ._rounds import conversations_of, sampled_replies
from ._speaking import SpeakingMethod, TuneImage
from .frozen import frozen

OWN, TAUGHT = ".own", "taught."
"""What is behind the name of the view of the student's replies, and before those of the teacher's states."""
_TILE = 1024
"""Tokens whose logits are in memory at once."""
Divergence = Literal["forward", "reverse", "none"]


class DistiLLM2(SpeakingMethod):
    """A skewed forward divergence on the teacher's replies, and a skewed reverse one on the student's.

        L = (2 − B) SKL_α(p, q; y_t) + B SRKL_α(p, q; y_s),   B = 1,  or 1 + min(step / steps, 1/2)

    See `counterpoint.losses.SkewedDivergenceLoss`. p is the teacher, q the student. y_t is the teacher's reply to a
    row's last request, sampled once before the first step. y_s is the student's, sampled anew at the start of every
    ``every``-th epoch from the model as it is; its tokens are constants. Each divergence is the mean over the tokens of
    a reply, then over replies. The replies of the data are not read. Logits are computed in tiles of tokens, and again
    in the backward pass.

    Args:
        towers: of pictures, with features of patches, and of conversations: the student's.
        recipe: unused: the bridge is as wide as the towers.
        teacher: a run of a method that speaks, with the same tokenizer.
        alpha: α of both divergences.
        on_teacher, on_student: the divergence on the replies of each; ``none`` leaves its term out.
        gradual: B rises to 1.5 in the first half of the run.
        every: epochs between two rounds of the student's replies.
        temperature: of the sampling.
        length: tokens after which a sampled reply is cut off.
        bridge, tokens, tune_image: as for `SFT`.

    Raises:
        UnknownNameError: for a bridge that there is none of.
        ValueError: for a number of tokens that the bridge cannot give, and for a teacher that cannot be read, does not
            speak, takes pictures of another size or has another tokenizer.
        LookupError: for a picture tower without features of patches.

    Source: Ko et al., "DistiLLM-2: A Contrastive Approach Boosts the Distillation of LLMs" (2025), arXiv 2503.07067.
    The skew of single samples is left out, as it is off in the release.
    """

    family = "speaking"
    papers = ("distillm-2",)
    consults: ClassVar[bool] = True

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        teacher: str,
        alpha: Fraction = 0.1,
        on_teacher: Divergence = "forward",
        on_student: Divergence = "reverse",
        gradual: bool = False,
        every: Count = 1,
        temperature: Positive = 0.8,
        length: Count = 64,
        bridge: str = "linear",
        tokens: int | None = None,
        tune_image: TuneImage | None = None,
    ) -> None:
        super().__init__(towers, bridge, tokens, tune_image)
        chat = self.language.chat
        self.teacher_name = teacher
        # In a tuple, and so no module of the method.
        self.teachers = frozen("teacher", teacher, self.picture_size)
        for model in self.teachers:
            if not isinstance(model, SpeakingMethod):
                raise ValueError(f"teacher={teacher!r} writes no replies; name a run of sft")
            theirs = model.language.chat
            if (theirs.tokenizer.get_vocab(), theirs.tokenizer.chat_template) != (
                chat.tokenizer.get_vocab(),
                chat.tokenizer.chat_template,
            ):
                raise ValueError(
                    f"teacher={teacher!r} has another tokenizer than the student; train both on the same conversations"
                )
        self.gradual, self.temperature, self.length = gradual, temperature, length
        self.epoch_start_every = every
        kinds = {self.talk: on_teacher, self.talk + OWN: on_student}
        self.objectives = torch.nn.ModuleDict(
            {
                _key(column): SkewedDivergenceLoss(alpha, reverse=kind == "reverse")
                for column, kind in kinds.items()
                if kind != "none"
            }
        )
        self.read = tuple(column for column, kind in kinds.items() if kind != "none")
        if not self.read:
            raise ValueError("on_teacher=none leaves nothing to learn from where on_student=none")
        self.views = {**self.views, self.talk + OWN: replace(self.views[self.talk], column=self.talk)}
        self.items = ItemState(taught=[0.0] * chat.context, own=[0.0] * chat.context)

    def on_epoch_start(self, examples: TrainingExamples, clock: StepInfo) -> None:
        """Sample replies: the teacher's before the first step, the student's in every round."""
        seed = int(torch.randint(1 << 31, ()))  # the same on every rank
        device = self.items.ids.device
        made = {}
        if clock.step == 0:
            made["taught"] = examples.map(lambda batch: self._written(self._teacher(batch), batch, seed))
        if self.talk + OWN in self.read:
            made["own"] = examples.map(lambda batch: self._written(self, batch, seed + 1))
        self.items.store(examples.ids.to(device), **{name: it.to(device) for name, it in made.items()})

    def prepare(self, batch: Batch, clock: StepInfo) -> Batch:
        """Put the sampled replies in place of those of the data."""
        padding = self.language.chat.padding
        sampled = dict(zip((self.talk, self.talk + OWN), self.items.recall(batch.ids), strict=True))
        views = {
            # A row that was not there in the last round has the reply of the data.
            view: torch.where(
                (written != 0).any(1)[:, None, None],
                conversations_of(written, padding),
                batch[view],
            )
            for view, written in sampled.items()
        }
        return replace(batch, views={**batch.views, **views})

    @torch.no_grad()
    def targets(self, batch: Batch) -> Embeddings:
        """Return the teacher's states that predict the tokens of replies."""
        states = self._states(self._teacher(batch).speaker, batch)
        return {TAUGHT + column: it for column, it in states.items() if column != self.picture}

    def encode(self, batch: Batch) -> Embeddings:
        return self._states(self.speaker, batch)

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        own = 1 + min(clock.progress, 0.5) if self.gradual else 1.0
        terms = {}
        for column in self.read:
            spoken, count = batch[column][:, REPLY] > 0, replied(batch[column])
            of_tokens = self._divergences(column, z[column][spoken], z[TAUGHT + column][spoken])
            summed = of_tokens.new_zeros(spoken.shape).masked_scatter(spoken, of_tokens).sum(1)
            mean = moments.mean(
                summed / count.clamp_min(1), (count > 0).to(summed.dtype), ranks=Ranks.present()
            )
            terms["teacher" if column == self.talk else "student"] = (
                2 - own if column == self.talk else own
            ) * mean
        return terms

    def passes(self) -> dict[str, float]:
        # The student reads as many replies as there are terms, and so does the teacher. Each token that is sampled is a
        # pass.
        rounds = (self.talk + OWN in self.read) / self.epoch_start_every
        image = super().passes()["image"]
        return {"image": image * (2 + rounds), "talk": 2 * len(self.read) + self.length * rounds}

    def passes_of_all(self) -> dict[str, float]:
        return {"image": super().passes()["image"], "talk": float(self.length)}

    def _written(self, model: SpeakingMethod, batch: Batch, seed: int) -> Float[Tensor, "B L"]:
        return sampled_replies(
            model.speaker,
            model.speaker.patches(batch[self.picture]),
            batch[self.talk],
            batch.ids,
            seed,
            temperature=self.temperature,
            length=self.length,
        )

    def _teacher(self, batch: Batch) -> SpeakingMethod:
        if not self.teachers:
            raise LookupError(f"teacher={self.teacher_name}: a trained method is read without its teacher")
        (model,) = self.teachers
        assert isinstance(model, SpeakingMethod)
        return model.to(batch[self.picture])

    def _states(self, speaker: Speaker, batch: Batch) -> Embeddings:
        """Return the state that predicts each token of a reply ``(B, L, W)``; 0 for all other tokens."""
        patches = speaker.patches(batch[self.picture])
        given = speaker.given(patches)
        z = {self.picture: patches.mean(1)}
        for column in self.read:
            states, _, where = speaker.reply_states(batch[column], given)
            z[column] = states.new_zeros(*where.shape, states.shape[1]).masked_scatter(
                where[..., None], states
            )
        return z

    def _divergences(
        self, column: str, student: Float[Tensor, "n W"], teacher: Float[Tensor, "n w"]
    ) -> Float[Tensor, " n"]:
        """Return the divergence at each token, some of them at a time."""
        objective = self.objectives[_key(column)]
        assert isinstance(objective, SkewedDivergenceLoss)
        (model,) = self.teachers
        assert isinstance(model, SpeakingMethod)
        own, theirs = self.language.logits, model.language.logits

        def of_tile(student: Tensor, teacher: Tensor) -> Tensor:
            with torch.no_grad():
                target = theirs(teacher)
            return objective.of_rows(own(student), target)

        tiles = zip(torch.split(student, _TILE), torch.split(teacher, _TILE), strict=True)
        return torch.cat([checkpoint(of_tile, *tile, use_reentrant=False) for tile in tiles])


def _key(column: str) -> str:
    return column.replace(".", "_")  # names of modules have no dots
