"""A model that answers questions about small scenes, small enough for a claim of minutes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple, final

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from counterpoint.data.base import Rows
from counterpoint.data.items import Question, Questions
from counterpoint.data.synthetic.scenes.items.forms import items_of
from counterpoint.data.synthetic.scenes.world import Scenes
from counterpoint.evaluation.prompts import prompt
from counterpoint.networks.base import ImageTower
from counterpoint.networks.heads import Linear
from counterpoint.networks.init import initialise
from counterpoint.networks.towers.transformer import Embedding

from .descent import minimise

SIDE = 32
"""Pixels of a side of the pictures."""
WIDTH = 128
UNKNOWN, PADDING = 1, 0


class QuestionSet(NamedTuple):
    """Questions about scenes, drawn small.

    Attributes:
        pictures: one a question.
        questions: what is asked.
        kinds: of the questions.
    """

    pictures: UInt8[Tensor, "n 3 S S"]
    questions: list[Question]
    kinds: list[str]

    def first(self, count: int) -> QuestionSet:
        """Return the first ``count`` questions, with their pictures and kinds."""
        return QuestionSet(self.pictures[:count], self.questions[:count], self.kinds[:count])


@lru_cache(maxsize=8)
def world_of(source: str) -> Scenes:
    """Build a world whose pictures are drawn small."""
    return Scenes.parse(f"{source},pixels={SIDE}")


@lru_cache(maxsize=8)
def question_set(source: str, split: str, count: int, kinds: tuple[str, ...] | None = None) -> QuestionSet:
    """Return the questions that can be asked about the first rows of a split.

    Args:
        source: the world, as a user writes it.
        split: ``"train"``, or the name of a test split.
        count: of rows; some have two questions, some none.
        kinds: of questions; all unless given.
    """
    world = world_of(source)
    rows: Rows = (world.splits.train if split == "train" else world.splits.test[split])[:count]
    items = items_of(world, Questions, rows, kinds)
    pictures = [items.pictures(part) for part in np.array_split(np.arange(len(items)), 16) if len(part)]
    return QuestionSet(torch.cat(pictures), list(items.questions), list(items.kinds))


def words_of(text: str) -> list[str]:
    return re.findall(r"\w+|[^\w\s]", text.lower())


@final
class SmallVQA(nn.Module):
    """Convolutions, a recurrent reader of the question, their product, and a choice among known answers.

        h = gelu(A · grid(picture)),   q = GRU(question),   logits = W [h ∘ B q, C q]

    The grid is not pooled, so that it matters where things are.

    Args:
        image: the tower; it is trained along.
        questions: whose words and answers are known.
        seed: of the other weights.
    """

    def __init__(self, image: ImageTower, questions: Sequence[Question], seed: int) -> None:
        super().__init__()
        known = sorted({word for question in questions for word in words_of(prompt(question))})
        self.places = {word: k + 2 for k, word in enumerate(known)}
        self.answers = sorted({question.answer for question in questions})
        self.image = image
        with torch.no_grad():
            grid = image.patches(torch.zeros(1, 3, SIDE, SIDE)).numel()
        self.table = Embedding(len(known) + 2, 64, std=0.1)
        self.reader = nn.GRU(64, WIDTH, batch_first=True)
        self.see, self.ask = Linear(grid, WIDTH, bias=True), Linear(WIDTH, WIDTH, bias=True)
        self.guess, self.answer = (
            Linear(WIDTH, WIDTH, bias=True),
            Linear(2 * WIDTH, len(self.answers), bias=True),
        )
        for name, module in self.named_children():
            if module is not image:
                initialise(module, seed, name)

    def tokens(self, texts: Sequence[str]) -> Int[Tensor, "n L"]:
        """Number words, padded on the left, so that the reader ends with the question's end."""
        numbers = [[self.places.get(word, UNKNOWN) for word in words_of(text)] for text in texts]
        longest = max(map(len, numbers))
        return torch.tensor([[PADDING] * (longest - len(row)) + row for row in numbers])

    def forward(
        self, pictures: UInt8[Tensor, "n 3 S S"], tokens: Int[Tensor, "n L"]
    ) -> Float[Tensor, "n answers"]:
        h = F.gelu(self.see(self.image.patches(pictures.float() / 255).flatten(1)))
        _, last = self.reader(self.table(tokens))
        q = last[0]
        return self.answer(torch.cat([h * self.ask(q), F.gelu(self.guess(q))], 1))

    def targets(self, questions: Sequence[Question]) -> Int[Tensor, " n"]:
        """Return the numbers of the answers; −1 for one that is not known."""
        known = {answer: k for k, answer in enumerate(self.answers)}
        return torch.tensor([known.get(question.answer, -1) for question in questions])

    @torch.no_grad()
    def logits(self, pictures: UInt8[Tensor, "n 3 S S"], texts: Sequence[str]) -> Float[Tensor, "n answers"]:
        """Compute the logits in parts, for any number of questions."""
        tokens = self.tokens(texts)
        parts = zip(torch.split(pictures, 256), torch.split(tokens, 256), strict=True)
        return torch.cat([self(*part) for part in parts])


def train(model: SmallVQA, data: QuestionSet, *, steps: int, batch: int, lr: float, seed: int) -> list[float]:
    """Train on all questions by Adam, the image tower too; the loss of every step."""
    tokens = model.tokens([prompt(question) for question in data.questions])
    targets = model.targets(data.questions)

    def step(rng: np.random.Generator) -> Tensor:
        rows = torch.from_numpy(rng.choice(len(targets), min(batch, len(targets)), replace=False))
        return F.cross_entropy(model(data.pictures[rows], tokens[rows]), targets[rows])

    losses = minimise(step, model.train().parameters(), steps=steps, lr=lr, seed=seed)
    model.eval()
    return losses


class AnswerOutcomes(NamedTuple):
    """The answers of a model, one entry a question: whether the answer is right, and how sure the model is."""

    right: Float[np.ndarray, " n"]
    confidence: Float[np.ndarray, " n"]


def answer(model: SmallVQA, data: QuestionSet, blind: bool = False) -> AnswerOutcomes:
    """Answer questions; ``blind``: about pictures of other questions, which is to guess."""
    pictures = data.pictures.roll(len(data.pictures) // 2, 0) if blind else data.pictures
    p = model.logits(pictures, [prompt(question) for question in data.questions]).softmax(1)
    sure, chosen = p.max(1)
    right = (chosen == model.targets(data.questions)).double()
    return AnswerOutcomes(right.numpy(), sure.double().numpy())
