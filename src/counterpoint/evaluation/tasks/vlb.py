"""Vision-language bootstrapping: the same answers, asked for in other words about changed pictures.

A static set of questions has one difficulty, and leaks. Here every item is asked again after operators changed the
picture (``V…``) or the question (``L…``), with a judge that lets pass only what leaves the answer right; what
counts is what a model loses by that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ...data.base import Rows
from ...data.embeddings import EmbeddingCache
from ...data.items import QuestionVariants, Sample
from ...data.pictured import PairedData
from ...data.rng import Rng
from ...registry import unknown
from ...types import Assistant, Embedder, Metric, Prompt, Scores, Turn
from ..item_scores import batches, beats
from ..prompts import prompt
from ..replies import HELD, is_right
from ..statistic import mean
from ..task import AnsweringTask, EmbedderTask, NotApplicableError, items_of, similarity, table

PAPERS = {"vlb": ("bootstrap", "AssistantJudge")}

NAME = "vlb"
VANILLA = "vanilla"
CONTROL = "pad"
SINGLE = ("V1", "V2", "V3", "L1", "L2", "L3", "L4")
PAIRS = tuple(f"{v}+{w}" for v in SINGLE[:3] for w in SINGLE[3:])
"""One operator on the picture with one on the question: twelve variants."""
VARIANTS = (*SINGLE, "V2+L3", "V1+L4", "V1+V3+L4", CONTROL)
"""Each operator alone, the easiest and the hardest pair, three hard ones, and the control of V3, which only pads."""
HARD = frozenset({"V1", "V3", "L1", "L2", "L4"})
CHECKED = 50
"""Rows whose answers are checked before training: a model's window must have room for them."""
TRIES = 5
"""Proposals that a judge is shown before an operator is given up."""

Judge = Callable[[Sample, Sample, str], bool]
"""A function of an item, the changed item and the changes in words; it says whether the answer is still right."""


def difficulty(variant: str) -> int:
    """Count the operators of a variant that make the question harder.

    >>> [difficulty(variant) for variant in ("V2+L3", "V1", "V1+V3+L4")]
    [0, 1, 3]
    """
    return sum(name in HARD for name in variant.split("+"))


def bootstrap(
    items: QuestionVariants[Any], position: int, variant: str, *, judge: Judge | None = None, edition: int = 0
) -> tuple[Sample, float]:
    """Return one item in one variant, and the share of the variant's operators that were given up.

    Operators act in the order of their names in the variant. Each proposes up to `TRIES` changes; the first that the
    judge lets pass against the item as it was is kept. An operator without one changes nothing, so no item is lost:
    what falls back dilutes the effect, and is counted.

    Args:
        items: of which.
        position: of the item.
        variant: names of operators with ``+`` between them; `VANILLA` is the item as it is.
        judge: instead of the items' own, which is exact on scenes.
        edition: of the proposals; another one is another benchmark of the same difficulty.

    Raises:
        UnknownNameError: for an operator that the items do not have.
    """
    before = now = items.sample(position)
    if variant == VANILLA:
        return now, 0.0
    judge, names = judge or items.judge, variant.split("+")
    given_up, done = 0, ""
    for name in names:
        if name not in items.operators:
            raise unknown("bootstrapping operator", name, items.operators)
        draws = Rng(edition, int(items.ids[position]), f"{variant} {name}")
        for attempt in range(TRIES):
            proposed = items.operators[name](now, draws.word(f"try {attempt}"))
            if proposed is None:
                continue
            so_far = f"{done}; {proposed[1]}" if done else proposed[1]
            if judge(before, proposed[0], so_far):
                now, done = proposed[0], so_far
                break
        else:
            given_up += 1
    return now, given_up / len(names)


@dataclass(frozen=True)
class AssistantJudge:
    """A judge that asks a vision-language model, for pictures of which nothing is known.

    It is shown the item with its answer, then the changed picture and what was done, and has to say yes or no.

    Attributes:
        assistant: that is asked. One that judges its own test is circular, and refused by `VLB`.
    """

    assistant: Assistant

    def __call__(self, before: Sample, after: Sample, done: str) -> bool:
        answer = before.question.answer
        text = (
            f"The picture and the question were changed: {done}. The question is now: {after.question.text} "
            f'Is "{answer}" still the right answer? Answer yes or no.'
        )
        shown = Turn(prompt(before.question), answer, before.picture)
        yes, no = self.assistant.word_logits([Prompt(text, after.picture, (shown,))], ("yes", "no"))[0]
        return bool(yes > no)


@dataclass(frozen=True)
class Variants:
    """The variants of items that are asked, and the scoring of the answers.

    Attributes:
        names: of the variants, besides `VANILLA`.
        judge: instead of the items' own.
        edition: another one is another benchmark of the same difficulty.
    """

    names: tuple[str, ...] = VARIANTS
    judge: Judge | None = None
    edition: int = 0

    def scores(
        self,
        task: str,
        items: QuestionVariants[Any],
        positions: Int[np.ndarray, " k"],
        right: Callable[[list[Sample]], Bool[np.ndarray, " k"]],
    ) -> Scores:
        """Compute everything that is reported of a task, from a function that tells which samples a model has right."""
        guess = mean(np.array([1 / len(items.questions[k].options) for k in positions]))
        outcomes: dict[str, np.ndarray] = {}
        metrics: dict[str, Metric] = {}
        for variant in (VANILLA, *self.names):
            varied = [
                bootstrap(items, int(k), variant, judge=self.judge, edition=self.edition) for k in positions
            ]
            outcomes[variant] = right([sample for sample, _ in varied]).astype(float)
            metrics[variant] = Metric(variant, mean, chance=guess)
            outcomes[f"drop_{variant}"] = outcomes[VANILLA] - outcomes[variant]
            outcomes[f"fallback_{variant}"] = np.array([given_up for _, given_up in varied])
        del outcomes[f"drop_{VANILLA}"], outcomes[f"fallback_{VANILLA}"]
        for level in sorted({difficulty(name) for name in self.names}):
            same = [outcomes[name] for name in self.names if difficulty(name) == level and name != CONTROL]
            if same:
                outcomes[f"hard_{level}"] = np.mean(same, axis=0)
                metrics[f"hard_{level}"] = Metric(f"hard_{level}", mean, chance=guess)
        for name in self.names:
            for kind, chance, least in (("drop", 0.0, -1.0), ("fallback", None, 0.0)):
                metrics[f"{kind}_{name}"] = Metric(
                    f"{kind}_{name}", mean, higher_is_better=False, chance=chance, bounds=(least, 1.0)
                )
        return table(task, items.ids[positions], [items.kinds[k] for k in positions], outcomes, metrics)


@final
class VLB(EmbedderTask, AnsweringTask):
    """Vision-language bootstrapping of questions.

    A model that answers in words is asked; for one that embeds, the options of a question, each said as a caption,
    compete for the picture, and the right one must beat all others. Questions of yes or no are left out there, since
    no caption says "no".

    =====  =================================  =====  ======================================
    V1     something is added                 L1     synonyms
    V2     something is removed (easier)      L2     the question is put in another way
    V3     more is shown around the picture   L3     something relevant is said (easier)
    pad    V3's control: shrunk and framed    L4     something irrelevant is said
    =====  =================================  =====  ======================================

    Metrics: ``vanilla``, the share of questions answered rightly as they are; one named by each variant; what is lost
    by it, ``drop_V1+L4 = mean(vanilla − V1+L4)``, paired; ``fallback_V1``, the share of operators that found nothing
    the judge let pass; ``hard_k``, the mean over variants with k operators that make it harder. Subsets are kinds of
    questions. Chance is the mean of 1/options. Replies are read as by the task ``answers``.

    V3 changes the scale of everything: compare it with ``pad``.

    Args:
        variants: names of operators, several with ``+`` between them; see `PAIRS` for all pairs.
        judge: instead of the data's own, which is exact on scenes; see `AssistantJudge`.
        edition: another one is another benchmark of the same difficulty.

    Raises:
        NotApplicableError: if the data has no questions that can be asked again, or, for a model that embeds, none with
            options in words.
        UnknownNameError: for an operator that the data does not have.
        ValueError: if the model is to judge its own test, or its window cuts off what comes after the context, so that
            all options are one text.

    Source: Yang et al., "Dynamic Multimodal Evaluation with Flexible Complexity by Vision-Language Bootstrapping"
    (2024), arXiv 2410.08695.
    """

    family = "answering"
    name = NAME
    asks = ("embedder", "assistant")
    primary = "V1+L4"
    modalities = ("image", "text")
    form = QuestionVariants
    papers = ("vlb",)

    def __init__(
        self, variants: Sequence[str] = VARIANTS, judge: Judge | None = None, edition: int = 0
    ) -> None:
        self.variants = Variants(tuple(variants), judge, edition)

    def __call__(self, model: Embedder | Assistant, data: PairedData, rows: Rows, *, seed: int = 0) -> Scores:
        if isinstance(model, Assistant):
            return self._answered(model, data, rows, seed)
        return self._chosen(EmbeddingCache.of(model, data), data, rows)

    def _answered(self, assistant: Assistant, data: PairedData, rows: Rows, seed: int) -> Scores:
        if isinstance(self.variants.judge, AssistantJudge) and self.variants.judge.assistant is assistant:
            raise ValueError(
                f"{self.name}: the model would judge its own test; give another one as its judge"
            )
        items = items_of(data, QuestionVariants, rows, self.name)

        def right(samples: list[Sample]) -> Bool[np.ndarray, " k"]:
            answered = []
            for part in batches(len(samples), HELD):
                prompts = [Prompt(prompt(samples[k].question), samples[k].picture) for k in part]
                replies = assistant.reply(prompts, seed=seed)
                answered += [
                    is_right(reply, samples[k].question) for k, reply in zip(part, replies, strict=True)
                ]
            return np.array(answered)

        return self.variants.scores(self.name, items, np.arange(len(items)), right)

    def _chosen(self, features: EmbeddingCache, data: PairedData, rows: Rows) -> Scores:
        items = items_of(data, QuestionVariants, rows, self.name)
        worded = np.array([len(items.sample(k).captions) > 1 for k in range(len(items))])
        if not worded.any():
            raise NotApplicableError(
                f"{self.name}: no question of {data.name!r} has answers that a caption could say"
            )
        vanilla = [texts_of(features, items.sample(int(k))) for k in np.flatnonzero(worded)]
        apart = np.array([told_apart(z) for z in vanilla])

        def right(samples: list[Sample]) -> Bool[np.ndarray, " k"]:
            chosen = []
            for part in batches(len(samples)):
                pictures = features.pictures(torch.stack([samples[k].picture for k in part]))
                for k, picture in zip(part, pictures, strict=True):
                    z, sample = texts_of(features, samples[k]), samples[k]
                    if apart[k] and not told_apart(z):
                        raise _cut_off(sample)
                    near = similarity(features, picture[None], z)[0]
                    answer = sample.question.options.index(sample.question.answer)
                    others = torch.cat([near[:answer], near[answer + 1 :]])
                    chosen.append(bool(beats(near[answer], others.max())))
            return np.array(chosen)

        return self.variants.scores(self.name, items, np.flatnonzero(worded), right)

    def check_model(self, model: Embedder, data: PairedData) -> None:
        """Raise ValueError for a model, trained or not, whose window cuts off some of the first answers."""
        features = EmbeddingCache.of(model, data)
        items = items_of(data, QuestionVariants, next(iter(data.splits.test.values()))[:CHECKED], self.name)
        operators = {
            part for variant in self.variants.names for part in variant.split("+") if part.startswith("L")
        }
        for position in range(len(items)):
            if not told_apart(texts_of(features, items.sample(position))):
                continue
            for operator in sorted(operators):
                sample, _ = bootstrap(items, position, operator, edition=self.variants.edition)
                if not told_apart(texts_of(features, sample)):
                    raise _cut_off(sample)


def _cut_off(sample: Sample) -> ValueError:
    return ValueError(
        f"{NAME}: the text encoder embeds {sample.captions[0]!r} like the other answers: its window cuts them off. "
        "Train with a longer --towers.context, or leave out L3 and L4"
    )


def texts_of(features: EmbeddingCache, sample: Sample) -> Float[Tensor, "options d"]:
    """Return the embeddings of a sample's captions, one for each option."""
    return features.texts(list(sample.captions))


def told_apart(z: Float[Tensor, "options d"]) -> bool:
    """Return whether the embeddings of some texts differ; if all are equal, the model cannot tell the texts apart."""
    return not torch.allclose(z, z[:1].expand_as(z), atol=1e-6)
