"""V2C-CBM: a classifier of words that the pair sees in unlabelled pictures of each class."""

from __future__ import annotations

from copy import copy
from pathlib import Path
from typing import ClassVar, Literal, Self, Unpack

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..forms import Count, Positive
from ..networks.base import Towers
from ..recipes.schema import Recipe
from ..registry import unknown
from ..types import StepInfo, Target, TrainingExamples
from ._adapting import Adapting, AdaptingOptions, descend

_SCALE = 100.0
"""The scale of the logits."""


class V2CCBM(Adapting):
    """``s_c = 100 Σ_e softmax_e(W_c) v·t_e``: a linear layer on the cosines of a picture with some words, the concepts.

    The concepts come from a vocabulary. Each picture of a pool votes for the 5 words that are nearest to it, and the
    concepts of a class are the words with the most votes among the pictures that are nearest to the class. The pool are
    all training pictures, those without a label too: with ``shots`` these are the rows that were not drawn. The layer
    runs over the concepts of all classes. The softmax runs over the concepts of a class, so that their weights are
    positive and add up to 1. W starts at the votes of a class divided by the most votes of one word, and is learned by
    Adam from the labelled examples with cross-entropy. The names of classes are read by ``near=names`` and
    ``select=names`` alone.

    Words that are part of a class's name leave the vocabulary, as otherwise the name itself would be a concept.

    Args:
        towers: the tower of the pictures, and that of texts.
        recipe: gives the width of the pair's common space.
        target: the label.
        words: the vocabulary: a file ``….txt`` with a word or phrase a line, or words joined by ``+``. The file is read
            again whenever the model is loaded.
        near: what is near to a class: pictures with the highest mean cosine with its labelled examples, or with the
            highest cosine with its name.
        pictures: that are near to a class, at most half of the pool. The published script takes 500 of 1,000.
        concepts: of a class, at most.
        select: the concepts of a class: words by ``votes``; words nearest to the class's ``names``; ``random`` words.
            The others take as many words as votes give, and start as with ``start=binary``.
        start: of W at the concepts of a class: shares of ``votes``, or 1 as in the classifier's code (``binary``). It
            is 0 at others. The published code stops before this step.
        class_words: leave words of class names in the vocabulary.
        lr: the highest rate. The published rates are 1e-5 to 1e-4, for up to 5,000 epochs.
        epochs: over the labelled examples, in batches of 256.
        options: see `Adapting`. A word is read in the template. The published method takes the mean of 86 templates,
            and crops and flips the pictures that vote.

    Attributes:
        vocabulary: the words, without those of class names.
        chosen: which of them are concepts; all before the fit.

    Raises:
        ValueError: for a vocabulary of fewer than 5 words, or with a word twice.

    Source: He et al., "V2C-CBM: Building Concept Bottlenecks with Vision-to-Concept Tokenizer" (2025), arXiv
    2501.04975, and its code, riverback/V2C-CBM; the classifier is that of Yang et al. (2023), arXiv 2211.11158.
    """

    family = "few labels"
    papers = ("v2c-cbm",)
    starts_as_zero_shot = False
    unlabelled = True
    votes_of_picture: ClassVar[int] = 5
    word_texts: Tensor
    chosen: Tensor
    active: Tensor

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        words: str,
        target: Target | None = None,
        near: Literal["examples", "names"] = "examples",
        pictures: Count = 500,
        concepts: Count = 50,
        select: Literal["votes", "names", "random"] = "votes",
        start: Literal["votes", "binary"] = "votes",
        class_words: bool = False,
        lr: Positive = 1e-3,
        epochs: Count = 1000,
        **options: Unpack[AdaptingOptions],
    ) -> None:
        super().__init__(towers, recipe, target=target, **options)
        classes = self.required_target().classes
        self.vocabulary = _vocabulary(words, () if class_words else classes)
        if len(self.vocabulary) < self.votes_of_picture:
            raise ValueError(
                f"words={words} has {len(self.vocabulary)} words without those of class names: a picture votes for "
                f"{self.votes_of_picture}"
            )
        self.near, self.pictures, self.concepts, self.select = near, pictures, concepts, select
        self.start, self.lr, self.epochs = start, lr, epochs
        count = len(self.vocabulary)
        self.register_buffer("word_texts", torch.zeros(count, self.width))
        self.register_buffer("chosen", torch.ones(count, dtype=torch.bool))
        self.register_buffer("active", torch.ones(count, dtype=torch.bool))
        self.weight = nn.Parameter(torch.zeros(len(classes), count), requires_grad=False)

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.weight)

    def begin(self) -> None:
        super().begin()
        self.word_texts.copy_(self.class_features(self.vocabulary))

    def on_epoch_start(self, examples: TrainingExamples, clock: StepInfo) -> None:
        pool = examples.map(
            lambda batch: self.shared(self.seen(self.column, batch[self.column])[self.column])
        )
        self._pool = pool.to(self.texts)
        super().on_epoch_start(examples, clock)
        del self._pool

    def fit(self, z: Float[Tensor, "N w"], labels: Int[Tensor, " N"]) -> None:
        v = self.shared(z).detach()
        with torch.no_grad():
            start = self._start(v, labels)
            self.chosen.copy_((start > 0).any(0))
            self.active.fill_(True)
            self.weight.copy_(start)
        descend(
            [self.weight],
            lambda rows: F.cross_entropy(self._contributions(v[rows]).sum(2), labels[rows]),
            len(v),
            lr=self.lr,
            epochs=self.epochs,
            batch=256,
            optimizer=torch.optim.Adam,
        )

    def _start(self, v: Float[Tensor, "N d"], labels: Int[Tensor, " N"]) -> Float[Tensor, "C V"]:
        """Return where W starts: above 0 at the concepts of each class."""
        classes = len(self.texts)
        anchors = self.texts
        if self.near == "examples":
            members = F.one_hot(labels, classes).to(v)
            anchors = members.T @ v / members.sum(0).clamp_min(1)[:, None]
        votes = self._votes(anchors)
        width = min(self.concepts, votes.shape[1])
        if self.select == "votes":
            ranks = votes
        elif self.select == "names":
            ranks = self.texts @ self.word_texts.T
        else:
            ranks = torch.rand(votes.shape).to(votes)
        best = ranks.topk(width, dim=1).indices
        # As many words as votes give, for whatever they are selected by.
        taken = torch.arange(width, device=v.device) < (votes > 0).sum(1, keepdim=True)
        concepts = torch.zeros_like(votes, dtype=torch.bool).scatter(1, best, taken)
        if self.select == "votes" and self.start == "votes":
            return torch.where(concepts, votes / votes.amax(1, keepdim=True).clamp_min(1), 0.0)
        return concepts.to(v)

    def _votes(self, anchors: Float[Tensor, "C d"]) -> Float[Tensor, "C V"]:
        """Return how many of the pictures near to each class vote for each word."""
        pool = self._pool
        of_picture = (pool @ self.word_texts.T).topk(self.votes_of_picture, dim=1).indices
        ballots = torch.zeros(len(pool), len(self.word_texts)).to(pool).scatter(1, of_picture, 1.0)
        near = (anchors @ pool.T).topk(min(self.pictures, max(len(pool) // 2, 1)), dim=1).indices
        return ballots[near].sum(1)

    def scores(self, z: Float[Tensor, "B w"]) -> Float[Tensor, "B C"]:
        return self.contributions(z).sum(2)

    def contributions(self, z: Float[Tensor, "B w"]) -> Float[Tensor, "B C V"]:
        """Return what each word of the vocabulary adds to the logit of each class; 0 for words that are no concepts.

        Args:
            z: features of the tower of the column.
        """
        return self._contributions(self.shared(z))

    def _contributions(self, v: Float[Tensor, "B d"]) -> Float[Tensor, "B C V"]:
        weights = self.weight.masked_fill(~self.chosen, -torch.inf).softmax(1) * self.active
        return _SCALE * (v @ self.word_texts.T)[:, None] * weights

    def without(self, word: str) -> Self:
        """Return the same model without a concept: logits lose what it adds to them, and no other weight changes.

        Raises:
            UnknownNameError: for a word that is no concept.
        """
        concepts = [
            name for name, is_chosen in zip(self.vocabulary, self.chosen.tolist(), strict=True) if is_chosen
        ]
        if word not in concepts:
            raise unknown("concept", word, concepts)
        other = copy(self)
        other._buffers = dict(self._buffers)
        other.active = self.active & torch.tensor([name != word for name in self.vocabulary]).to(self.active)
        return other

    @torch.no_grad()
    def explain(self, z: Float[Tensor, "B w"], top: int = 5) -> list[list[tuple[str, float]]]:
        """Return the words that add most to the logit of the predicted class, with what they add, for each example.

        Args:
            z: features of the tower of the column.
            top: words of an example.
        """
        contributions = self.contributions(z)
        of_best = contributions[torch.arange(len(z)), contributions.sum(2).argmax(1)]
        best = of_best.topk(top, dim=1)
        return [
            [(self.vocabulary[k], value) for k, value in zip(words, values, strict=True)]
            for words, values in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ]


def _vocabulary(words: str, classes: tuple[str, ...]) -> tuple[str, ...]:
    """Return the words of a file or a list, but for those that share a word with a class's name.

    Raises:
        ValueError: for a word twice.
    """
    lines = (
        Path(words).read_text(encoding="utf-8").splitlines() if words.endswith(".txt") else words.split("+")
    )
    given = [line.strip() for line in lines if line.strip()]
    if len({*given}) < len(given):
        twice = next(word for word in given if given.count(word) > 1)
        raise ValueError(f"words={words} has {twice!r} twice")
    of_classes = {part for name in classes for part in name.lower().split()}
    return tuple(word for word in given if of_classes.isdisjoint(word.lower().split()))
