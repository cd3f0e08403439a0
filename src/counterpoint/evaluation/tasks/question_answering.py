"""Answering questions about pictures from frozen features: what a small head can read of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, final

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from ...data.base import Data, Rows
from ...data.embeddings import EmbeddingCache
from ...data.items import Question, Questions
from ...networks.heads import Linear
from ...networks.init import initialise, seeded
from ...types import Embedder, Metric, Scores
from ..item_scores import item_scores, items_of
from ..statistic import calibration_error, mean
from ..task import EmbedderTask, check_training, subsample_by_hash

BATCH, STEPS, WIDTH, LR, DECAY = 256, 400, 128, 3e-3, 1e-2
"""Settings of the head: its training, by AdamW on cross-entropy, and its hidden layer."""


class Fusion(nn.Module):
    """Answers from a picture's features and a bag of words: ``W [gelu(A x ∘ B q), B' q]``.

    The product lets a question choose what is read of the picture; the second part answers without looking.

    Args:
        picture: width of the picture's features.
        words: size of the bag.
        answers: number of classes.
    """

    def __init__(self, picture: int, words: int, answers: int) -> None:
        super().__init__()
        self.see, self.ask = Linear(picture, WIDTH, bias=True), Linear(words, WIDTH, bias=True)
        self.guess = Linear(words, WIDTH, bias=True)
        self.answer = Linear(2 * WIDTH, answers, bias=True)

    def forward(self, x: Float[Tensor, "n d"], q: Float[Tensor, "n w"]) -> Float[Tensor, "n answers"]:
        fused = torch.cat([F.gelu(self.see(x) * self.ask(q)), F.gelu(self.guess(q))], 1)
        return self.answer(fused)


@final
class QuestionAnswering(EmbedderTask):
    """Visual question answering from frozen features of pictures, by a small head that is the same for every model.

    A question is a bag of words and pairs of neighbouring words, the same for every model too, so that only what is
    read of pictures differs. The head is trained on the questions of at most ``limit`` training rows, a fixed choice;
    an answer is the likeliest of the question's options (of all known answers where it has none).

    ``accuracy``; ``question_only``, that of the same head without pictures, which is what the words give away;
    ``gain``, the difference, paired; ``calibration_error`` of the confidence in the answer, over 15 bins. Subsets are
    kinds of questions. An answer that no training question has cannot be given and counts as wrong. Chance is the mean
    of 1/options. Questions about rows without a picture count for nothing.

    Args:
        limit: training rows at most.
        seed: of the head.

    Raises:
        NotApplicableError: if the data has no questions.
        ValueError: if its training rows have none, or one answer only.

    Source: the evaluation of Roy et al. (2024), arXiv 2406.07450, and of Shevchenko et al. (2022), arXiv 2206.14355:
    a fixed picture encoder, a question encoder of its own and a fusion head; sizes are this package's.
    """

    family = "classification"
    name = "question_answering"
    primary = "accuracy"
    modalities = ("image",)
    learns = True
    form = Questions
    papers = ("medical-vl-benchmark", "ebm-vs-cl-vqa")

    def __init__(self, limit: int = 2000, seed: int = 0) -> None:
        self.limit, self.seed = limit, seed

    def __call__(self, model: Embedder, data: Data, rows: Rows) -> Scores:
        features = EmbeddingCache.of(model, data)
        check_training(self, data)
        train_rows, rows = (part[data.present("image", part)] for part in (data.splits.train, rows))
        train_rows = train_rows[subsample_by_hash(data, train_rows, self.limit, self.name)]
        train = items_of(features, Questions, train_rows, self.name)
        test = items_of(features, Questions, rows, self.name)
        answers = sorted({question.answer for question in train.questions})
        if len(answers) < 2:
            raise ValueError(
                f"{self.name}: all training questions of {data.name!r} have one answer, {answers[0]!r}"
            )
        words = Bag([question.text for question in train.questions])
        x, x_test = (features.images(items.rows) for items in (train, test))
        middle, scale = x.mean(0), x.std(0).clamp(min=1e-6)
        x, x_test = (x - middle) / scale, (x_test - middle) / scale
        q, q_test = (words([it.text for it in items.questions]) for items in (train, test))
        target = torch.tensor([answers.index(question.answer) for question in train.questions])
        outcomes: dict[str, np.ndarray] = {}
        for name, see in (("accuracy", 1.0), ("question_only", 0.0)):
            head = train_head(see * x, q, target, len(answers), self.seed)
            with torch.no_grad():
                logits = head(see * x_test, q_test)
            answered = [answer(row, it, answers) for row, it in zip(logits, test.questions, strict=True)]
            outcomes[name] = np.array([float(it.right) for it in answered])
            if name == "accuracy":
                sure = np.array([it.confidence for it in answered])
                outcomes["confidence"] = sure
                outcomes["margin"] = np.where(outcomes[name] > 0, sure, -sure)
        outcomes["gain"] = outcomes["accuracy"] - outcomes["question_only"]
        guess = mean(np.array([1 / (len(it.options) or len(answers)) for it in test.questions]))
        metrics = {name: Metric(name, mean, chance=guess) for name in ("accuracy", "question_only")}
        metrics["gain"] = Metric("gain", mean, chance=0.0)
        metrics["calibration_error"] = Metric(
            ("confidence", "accuracy"), calibration_error, higher_is_better=False
        )
        return item_scores(self.name, test, outcomes, metrics)


class Answered(NamedTuple):
    """The rightness of an answer, and its probability by the scores of the one that answered."""

    right: bool
    confidence: float


def answer(logits: Float[Tensor, " answers"], question: Question, answers: Sequence[str]) -> Answered:
    """Choose the likeliest of a question's options, or of all answers; options that no answer is cannot win.

    >>> answer(torch.tensor([2.0, 0.0, 5.0]), Question("", "", "no", ("yes", "no")), ("no", "yes", "two"))
    Answered(right=True, confidence=0.8807970285415649)
    """
    options = [option for option in question.options or answers if option in answers]
    if not options:
        return Answered(False, 1 / len(question.options))
    p = logits[[answers.index(option) for option in options]].softmax(0)
    return Answered(options[int(p.argmax())] == question.answer, float(p.max()))


def train_head(
    x: Float[Tensor, "n d"], q: Float[Tensor, "n w"], target: Int[Tensor, " n"], answers: int, seed: int
) -> Fusion:
    """Train a head on some questions; the same arguments give the same head."""
    with torch.inference_mode(False), torch.enable_grad():  # in which an evaluation may be
        x, q, target = (tensor.clone() for tensor in (x, q, target))
        head = Fusion(x.shape[1], q.shape[1], answers)
        initialise(head, seed, "question answering")
        optimizer = torch.optim.AdamW(head.parameters(), LR, weight_decay=DECAY)
        with seeded(seed, "question answering"):
            for _ in range(STEPS):
                rows = torch.randint(len(x), (min(BATCH, len(x)),))
                optimizer.zero_grad(set_to_none=True)
                torch.autograd.backward(F.cross_entropy(head(x[rows], q[rows]), target[rows]))
                optimizer.step()
    return head.eval()


class Bag:
    """Questions as counts of words and of pairs of neighbouring words, of unit norm.

    Args:
        texts: whose words are known.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        from sklearn.feature_extraction.text import CountVectorizer

        self.counts = CountVectorizer(ngram_range=(1, 2), token_pattern=r"\w+").fit(texts)

    def __call__(self, texts: Sequence[str]) -> Float[Tensor, "n w"]:
        return F.normalize(torch.from_numpy(self.counts.transform(texts).toarray()).float(), dim=-1)
