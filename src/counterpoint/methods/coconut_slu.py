"""COCONUT: spoken language understanding whose classes come in tasks, one after another, with a small memory."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ..forms import BelowOne, Count, NonNegative, Positive
from ..losses import SupConBanksLoss
from ..networks import MomentumCopy
from ..networks.base import Towers
from ..networks.caption_decoder import CaptionDecoder
from ..networks.heads import Linear
from ..networks.herding import remembered
from ..networks.state.item_state import ItemState
from ..networks.towers.parts.pooling import inside, pool
from ..networks.towers.parts.temporal import positions_of_times
from ..networks.towers.sound import SoundTower, inside_sound, mean_of_states
from ..raw import check_waves
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, Stage, StepInfo, Target, TrainingExamples
from ._captioning import begins_all, mean_over_tokens, tokenizer_alone
from .base import ONCE, Ranges
from .classifying import Classifying
from .needs import Needs

PREVIOUS = "previous."
"""Prefix of the name of the features of the frozen model of the last task."""
_UNUSED, _CURRENT, _REHEARSED = -1.0, 0.0, 1.0


class CoconutSLU(Classifying):
    """A decoder writes intent and transcript; tasks in turn, a memory, and contrast with the model of the last task.

        L = −Σ_t log p(y_t | y_<t, speech) + λ_MM [C(a, t) + C(t, a)] + λ_NSPT D,   y = intent, transcript
        C(x, z): anchors x of current rows, positives and negatives z of the batch
        D: anchors a of rehearsed rows, positives a' of rehearsed rows, negatives a of the batch

    The classes of the label, in their order, are divided into ``tasks`` parts of as many classes. Each part is a stage
    of the run, whose batches have the rows of its classes and those of the memory. At the start of each later stage,
    ``memory`` of the rows to train on, as many of every class and at least one, go into the memory of the task that has
    ended, and the model is copied. a is the mean of the states of a sound, projected, to unit norm; t that of the token
    embeddings of the decoder; a' is a of the copy, which is in evaluation mode and has no gradient. Both contrasts are
    `SupConBanksLoss`, with means over anchors in place of the sums of the paper. D is 0 in the first task. With
    ``negatives="teacher"`` (NTPT) the negatives of D are a', which the copy gives of classes that it never saw, too.

    With ``nspt=0,multimodal=0`` it is plain replay, and with ``memory=0`` beside them fine-tuning. `classify` gives the
    probability of each class as the first token, all classes of all tasks together, and `transcribe` the tokens behind
    it. The learning rate's schedule begins anew with each task.

    Args:
        towers: of sounds, with states, and of texts, of which only the tokenizer is used.
        recipe: gives the width of the projections. The decoder is as wide as the tower of sounds.
        target: the label of the intents.
        tasks: number of tasks.
        memory: share of the rows that is remembered once all tasks have ended.
        selection: ``"herding"`` adds the row that brings the mean of the features of a class's memory nearest to that
            of the class; ``"random"`` draws.
        balanced: half of each batch are rehearsed rows. Else all rows come equally often, as in the paper.
        nspt: λ_NSPT.
        negatives: of D: features of the model (``"student"``), or of its copy.
        multimodal: λ_MM.
        anchors: of C: ``"current"`` rows, or ``"all"``.
        temperature: τ of both contrasts; fixed.
        depth: blocks of the decoder.

    Raises:
        ValueError: for fewer classes than tasks, and a tower of texts with weights to start from; in a run for a task
            without rows.

    Source: Cappellazzo et al., "Continual Contrastive Spoken Language Understanding" (2023), arXiv 2310.02699, from
    descriptions of it. λ, τ and the share of rehearsed rows in a batch are chosen here.
    """

    family = "speech"
    papers = ("coconut-slu",)
    needs: ClassVar[Needs] = Needs(2, 2, modalities=("audio", "text"))
    tokenized: ClassVar[tuple[str, ...]] = ("text",)
    tunable: ClassVar[Ranges] = {"nspt": (0.01, 1.0), "multimodal": (0.01, 1.0), "temperature": (0.05, 0.5)}
    epoch_start_every = ONCE
    regroups = True
    group_sampler = "balanced"
    task: Tensor

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        target: Target | None = None,
        tasks: Count = 4,
        memory: BelowOne = 0.01,
        selection: Literal["herding", "random"] = "herding",
        balanced: bool = True,
        nspt: NonNegative = 0.1,
        negatives: Literal["student", "teacher"] = "student",
        multimodal: NonNegative = 0.1,
        anchors: Literal["current", "all"] = "current",
        temperature: Positive = 0.1,
        depth: Count = 2,
    ) -> None:
        super().__init__(towers, target)
        self.count = len(self.required_target().classes)
        if self.count < tasks:
            raise ValueError(f"tasks={tasks}: the label has {self.count} classes, and each task needs one")
        self.speech, self.text = towers
        self.tokenizer = tokenizer_alone(self, towers[self.text])
        self.use_input_alone(self.text)
        self.skipped, self.words = begins_all(self.tokenizer), self.tokenizer.vocabulary
        self.stages = tuple(Stage(f"task {number}", 1) for number in range(1, tasks + 1))
        self.memory, self.selection, self.balanced = memory, selection, balanced
        self.nspt, self.negatives, self.multimodal, self.anchors = nspt, negatives, multimodal, anchors
        width, length = towers[self.speech].width, self.tokenizer.context - self.skipped
        self.decoder = CaptionDecoder(
            self.words + self.count, length + 1, width, depth=depth, heads=math.gcd(width, 4)
        )
        self.projections = nn.ModuleDict(
            {column: Linear(width, recipe.widths.embedding) for column in self.columns}
        )
        # With a momentum of 1 it stays what it is until it is started again.
        self.previous = MomentumCopy(_SpeechVector(self.sounds, self.projections[self.speech]), 1.0)
        self.contrast = SupConBanksLoss(temperature)
        self.items = ItemState(group=_UNUSED)
        self.register_buffer("task", torch.zeros((), dtype=torch.int64))

    @property
    def context(self) -> int | None:
        return self.tokenizer.context

    @property
    def required(self) -> tuple[str, ...]:
        return (self.speech,)

    @property
    def sounds(self) -> SoundTower:
        """The tower of sounds."""
        return self._of_kind(SoundTower, "sounds")

    def on_epoch_start(self, examples: TrainingExamples, clock: StepInfo) -> None:
        """Remember rows of the task that has ended, copy the model, and group the rows of the next task."""
        number = next((n for n, stage in enumerate(self.stages) if stage.name == clock.stage), 0)
        ids, classes = examples.ids.to(self.items.ids.device), self.classes(examples).cpu()
        task = torch.where(classes < 0, -1, classes * len(self.stages) // self.count)
        if not (task == number).any():
            raise ValueError(f"no row to train on is of a class of {self.stages[number].name}")
        rehearsed = torch.zeros_like(task, dtype=torch.bool)
        if number:
            (group,) = self.items.recall(ids)
            rehearsed = (group == _REHEARSED).cpu()
            self.begin_task()
            if self.memory:
                rehearsed[self._remembered(examples, classes, task == number - 1)] = True
        group = torch.where(task == number, _CURRENT, _UNUSED)
        self.items.store(ids, group=torch.where(rehearsed, _REHEARSED, group).to(ids.device))

    def begin_task(self) -> None:
        """Make the model as it is the previous one."""
        self.task += 1
        self.previous.restart()

    def groups(self, ids: Int[Tensor, " N"]) -> Int[Tensor, " N"] | None:
        """Return 0 for rows of the task, 1 for those of the memory, −1 for all others, which are in no batch."""
        if len(self.items.ids) == 1:  # before the first task
            return None
        groups = self.items.recall(ids.to(self.items.ids.device))[0].long().cpu()
        return groups if self.balanced else groups.clamp(max=0)

    def targets(self, batch: Batch) -> Embeddings:
        if not self.nspt or self.task == 0:
            return {}
        # Every time, as train() of the method wakes all its parts.
        self.previous.eval()
        return {PREVIOUS + self.speech: self.previous(batch[self.speech])}

    def encode(self, batch: Batch) -> Embeddings:
        states = self.sounds.states(batch[self.speech])
        words, classes = batch[self.text][:, self.skipped :], self.classes(batch)
        mask = inside(words, self.tokenizer.end)
        # Intents are tokens behind the words; a row without an intent has its transcript alone.
        said = torch.cat([self.words + classes.clamp_min(0)[:, None], words], 1)
        predicted = torch.cat([classes[:, None] >= 0, mask], 1)
        likelihood = self.decoder.log_likelihood(said, predicted, _timed(states), seen=inside_sound(states))
        return {
            self.speech: mean_of_states(states),
            self.text: self._mean_embedding(words),
            f"likelihood.{self.text}": likelihood,
        }

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        audio, text = (
            F.normalize(self.project(column, z[column], "global"), dim=-1) for column in self.columns
        )
        classes = self.classes(batch)
        rehearsed = self.items.recall(batch.ids)[0] == _REHEARSED
        losses = {"slu": mean_over_tokens(z[f"likelihood.{self.text}"])}
        if self.multimodal:
            given = {"labels": classes, "anchor_mask": None if self.anchors == "all" else ~rehearsed}
            both = self.contrast(audio, text, **given) + self.contrast(text, audio, **given)
            losses["multimodal"] = self.multimodal * both
        if (teacher := z.get(PREVIOUS + self.speech)) is not None:
            masks = {"labels": classes, "anchor_mask": rehearsed, "positive_mask": rehearsed}
            if self.negatives == "teacher":
                distilled = self.contrast(audio, teacher, **masks)
            else:
                distilled = self.contrast(audio, audio, teacher, **masks)
            losses["nspt"] = self.nspt * distilled
        return losses

    def outputs(self, column: str) -> tuple[str, ...]:
        return (column,) if column == self.speech else ()

    def seen(self, column: str, inputs: Tensor) -> Embeddings:
        return {column: self.sounds.states(inputs)} if column == self.speech else {}

    def logits(self, z: Embeddings, batch: Batch) -> Float[Tensor, "B classes"]:
        """Return the logits of the intents as the first token."""
        states = z[self.speech]
        start = torch.full((len(states), 1), self.decoder.start, device=states.device)
        return self._next_logits(start, states)[:, self.words :]

    def features(self, column: str, inputs: Tensor) -> Float[Tensor, "B width"]:
        """Return the mean of the states of sounds, or of the token embeddings of texts."""
        if column == self.speech:
            return mean_of_states(self.sounds.states(inputs))
        return self._mean_embedding(inputs[:, self.skipped :])

    @torch.no_grad()
    def transcribe(self, sounds: Any) -> list[str]:
        """Return what is said in sounds: the likeliest token at a time behind the likeliest intent.

        Raises:
            ValueError: for inputs that are no sounds, or none.
            LookupError: for a tokenizer that cannot turn tokens into text again.
        """
        from ..networks.caption_generation import generate

        tokenizer: Any = self.tokenizer
        if not hasattr(tokenizer, "decode"):
            raise LookupError(f"{type(tokenizer).__name__} cannot turn tokens into text again")
        prepared = self.sounds.input(check_waves(sounds)).to(next(self.parameters()).device)
        was_training = self.training
        self.eval()
        try:
            states = self.sounds.states(prepared)
            tokens = generate(
                self._next_logits,
                states,
                prompts=torch.full((len(states), 1), self.decoder.start, device=states.device),
                end=self.tokenizer.end,
                length=self.decoder.length,
            )
        finally:
            self.train(was_training)
        return [tokenizer.decode(of_one[1:]) for of_one in tokens]

    def numbers(self) -> dict[str, float]:
        return {"memory": float((self.items.get_buffer("group") == _REHEARSED).sum())}

    def passes(self) -> dict[str, float]:
        counts = super().passes()
        return {**counts, "audio": counts["audio"] + (self.nspt > 0)}

    def passes_of_all(self) -> dict[str, float]:
        looks = len(self.stages) - 1 if self.memory and self.selection == "herding" else 0
        return {"audio": float(looks)}

    def _next_logits(
        self, tokens: Int[Tensor, "B L"], states: Float[Tensor, "B T W"]
    ) -> Float[Tensor, "B V"]:
        """Return the logits of the next token, which is an intent behind the start token and a word behind others."""
        decoded = self.decoder(tokens, _timed(states), seen=inside_sound(states))
        logits = self.decoder.head(decoded[:, -1])
        is_word = torch.arange(logits.shape[1], device=logits.device) < self.words
        return logits.masked_fill(is_word == (tokens.shape[1] == 1), -torch.inf)

    def _mean_embedding(self, words: Int[Tensor, "B L"]) -> Float[Tensor, "B W"]:
        return pool(self.decoder.token_embedding(words), inside(words, self.tokenizer.end), "mean")

    def _remembered(
        self, examples: TrainingExamples, classes: Int[Tensor, " N"], ended: Bool[Tensor, " N"]
    ) -> Int[Tensor, " m"]:
        """Return the numbers of the rows to remember, of those of the task that has ended."""
        each = max(round(self.memory * len(classes) / self.count), 1)
        if self.selection == "random":
            return remembered(classes, ended, each)
        z = examples.map(lambda batch: F.normalize(self.features(self.speech, batch[self.speech]), dim=-1))
        return remembered(classes, ended, each, z)


class _SpeechVector(nn.Module):
    """The unit-norm vector of a sound that contrast reads."""

    def __init__(self, tower: SoundTower, projection: nn.Module) -> None:
        super().__init__()
        self.tower, self.projection = tower, projection

    def forward(self, sounds: Float[Tensor, "B T"]) -> Float[Tensor, "B d"]:
        return F.normalize(self.projection(mean_of_states(self.tower.states(sounds))), dim=-1)


def _timed(states: Float[Tensor, "B T W"]) -> Float[Tensor, "B T W"]:
    """Return states with fixed positions of their times."""
    return states + positions_of_times(states.shape[1], states.shape[2]).to(states)
