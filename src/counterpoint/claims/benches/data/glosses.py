"""WordNet's glosses, a small encoder of them, and how well it ranks pairs by how alike their synsets are."""

from __future__ import annotations

import copy
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple, final

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from scipy import stats
from torch import Tensor, nn

from ....data.base import Data, Rows, Splits
from ....data.worlds.glosses.tree import PER_TENTH, nouns, similarities, some_of_each
from ....diagnostics import alignment, uniformity
from ....networks import initialise
from ....networks.towers.transformer import Embedding
from ....pairwise.loss import Loss
from ...lab import Arrays, Lab, Score, per_seed
from ..descent import minimise

WORDS, LENGTH, WIDTH = 4000, 16, 64
TRAINED, SPARE, TESTED = 20000, 500, 1500
"""Glosses to learn from, for validation and for the test."""
NEAR = 0.9
"""Pairs at least this similar are those that should lie together: most are siblings, or parent and child."""
DROPOUT = 0.1
TEMPERATURE = 0.05
RATES = (3e-4, 1e-3, 3e-3)
STEPS, PRETRAINING = 250, 700
TUNING_SEED = 1000
TESTS = ("validation", "test")

Tokens = Int[Tensor, "n l"]
Views = Callable[["Encoder", Tokens], list[Float[Tensor, "n d"]]]
"""From an encoder and glosses to the views that are contrasted, before the head."""


class Pairs(NamedTuple):
    """Glosses, and pairs of them with the similarity of their synsets.

    Attributes:
        tokens: of every gloss.
        first, second: a pair's glosses.
        similarity: Wu and Palmer's, in [0, 1].
    """

    tokens: Tokens
    first: Int[np.ndarray, " p"]
    second: Int[np.ndarray, " p"]
    similarity: Float[np.ndarray, " p"]


class Glosses(NamedTuple):
    """The glosses to learn from, and the pairs to judge by.

    Attributes:
        train, validation, test: the glosses as tokens.
        texts: the glosses themselves, those of ``train`` first, then those of ``validation`` and of ``test``.
    """

    train: Tokens
    validation: Pairs
    test: Pairs
    texts: tuple[str, ...]


@lru_cache(maxsize=1)
def glosses() -> Glosses:
    """Read WordNet's nouns whose gloss has 3 to 16 of the most frequent words, always the same ones.

    Raises:
        MissingPackage: if there is no WordNet.
    """
    texts = {name: re.findall("[a-z]+", synset.gloss.lower()) for name, synset in nouns().items()}
    hypernyms = {name: synset.above for name, synset in nouns().items()}
    counts = Counter(word for text in texts.values() for word in text)
    ids = {word: number + 1 for number, (word, _) in enumerate(counts.most_common(WORDS))}
    known = {synset: [ids[word] for word in text if word in ids] for synset, text in texts.items()}
    usable = [synset for synset, text in known.items() if 3 <= len(text) <= LENGTH]
    order = np.random.default_rng(0).permutation(len(usable))[: TRAINED + SPARE + TESTED]
    train, spare, test = np.split(order, [TRAINED, TRAINED + SPARE])

    def tokens(rows: Int[np.ndarray, " n"]) -> Tokens:
        return torch.tensor([(known[usable[i]] + [0] * LENGTH)[:LENGTH] for i in rows])

    def pairs(rows: Int[np.ndarray, " n"]) -> Pairs:
        return Pairs(tokens(rows), *some_of_each(similarities([usable[i] for i in rows], hypernyms)))

    return Glosses(tokens(train), pairs(spare), pairs(test), tuple(nouns()[usable[i]].gloss for i in order))


@final
class GlossData(Data):
    """The glosses as data for methods of texts."""

    columns: Mapping[str, str] = MappingProxyType({"text": "text"})

    def __init__(self) -> None:
        self.name, self.texts = "glosses", glosses().texts
        self.ids = np.arange(len(self.texts))
        train, spare, test = np.split(self.ids, [TRAINED, TRAINED + SPARE])
        self.splits = Splits(train, {"held out": spare}, {"held out": test})

    def read(self, column: str, rows: Rows) -> list[str]:
        return [self.texts[row] for row in rows]


@final
class Encoder(nn.Module):
    """The mean of a gloss's word vectors and, added to it, a network with one hidden layer.

    Dropout acts on each word's vector and on the hidden layer.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.words = Embedding(WORDS + 1, WIDTH, std=0.1)
        self.up, self.down = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(2 * WIDTH, WIDTH)
        initialise(self, seed)

    def forward(self, tokens: Tokens, dropout: float = 0.0) -> Float[Tensor, "n d"]:
        there = (tokens > 0).float()[..., None]
        mean = (F.dropout(self.words(tokens), dropout) * there).sum(1) / there.sum(1).clamp_min(1)
        return mean + self.down(F.dropout(F.relu(self.up(mean)), dropout))


def pretrained(seed: int, steps: int) -> Encoder:
    """Train an encoder to name a word that is missing from a gloss."""
    encoder, tokens = Encoder(seed), glosses().train

    def loss(rng: np.random.Generator) -> Tensor:
        drawn = tokens[torch.from_numpy(rng.integers(0, len(tokens), 128))]
        missing = torch.from_numpy((rng.random(128) * (drawn > 0).sum(1).numpy()).astype(int))[:, None]
        h = encoder(drawn.scatter(1, missing, 0), DROPOUT)
        return F.cross_entropy(h @ encoder.words.weight[1:].T, drawn.gather(1, missing)[:, 0] - 1)

    minimise(loss, encoder.parameters(), steps=steps, lr=3e-3, seed=seed)
    return encoder


def contrasted(start: Encoder, views: Views, loss: Loss, *, steps: int, lr: float, seed: int) -> Encoder:
    """Train an encoder on from ``start``, under a head of one layer and tanh that is then left off."""
    encoder, tokens = copy.deepcopy(start), glosses().train
    head = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh())
    initialise(head, seed, "head")

    def step(rng: np.random.Generator) -> Tensor:
        drawn = tokens[torch.from_numpy(rng.choice(len(tokens), 64, replace=False))]
        return loss(*(F.normalize(head(h), dim=-1) for h in views(encoder, drawn)))

    minimise(step, [*encoder.parameters(), *head.parameters()], steps=steps, lr=lr, seed=seed)
    return encoder


@torch.no_grad()
def judged(encoder: Encoder, pairs: Pairs) -> dict[str, float]:
    """Judge the encoder by its embeddings of glosses, without dropout and head; see `judge`."""
    return judge(F.normalize(encoder(pairs.tokens), dim=-1), pairs)


def judge(z: Float[Tensor, "n d"], pairs: Pairs) -> dict[str, float]:
    """Judge unit-norm embeddings of the glosses of pairs.

    Returns:
        ``rank correlation`` (Spearman's) of the cosines of pairs with their similarity; ``alignment`` of pairs
        at least ``NEAR`` similar; ``uniformity``; ``first singular value``, as a share of the sum.
    """
    one, two = z[torch.from_numpy(pairs.first)], z[torch.from_numpy(pairs.second)]
    near = torch.from_numpy(pairs.similarity >= NEAR)
    values = torch.linalg.svdvals(z)
    return {
        "rank correlation": float(stats.spearmanr((one * two).sum(1).numpy(), pairs.similarity).statistic),
        "alignment": alignment(one[near], two[near]),
        "uniformity": uniformity(z),
        "first singular value": float(values[0] / values.sum()),
    }


def compared(
    arms: Mapping[str, Views],
    loss: Loss,
    rates: Mapping[str, Sequence[float]],
    seed: int,
    steps: int,
    pretraining: int,
) -> Arrays:
    """Pretrain once, then train on in the way of each arm at each of its rates.

    Returns:
        ``ARM RATE SET MEASURE`` of every one, and ``before 0 SET MEASURE``.
    """
    start = pretrained(seed, pretraining)
    encoders = {"before 0": start}
    for arm, lrs in rates.items():
        for lr in lrs:
            encoders[f"{arm} {lr:g}"] = contrasted(start, arms[arm], loss, steps=steps, lr=lr, seed=seed)
    return {
        f"{name} {which} {measure}": np.array(value)
        for name, encoder in encoders.items()
        for which in TESTS
        for measure, value in judged(encoder, getattr(glosses(), which)).items()
    }


class Outcome(NamedTuple):
    """The outcome of a comparison.

    Attributes:
        rates: the learning rate of every arm.
        values: arm, measure → one number per seed; the arm ``before`` is the encoder that all start from.
    """

    rates: dict[str, float]
    values: dict[tuple[str, str], Float[np.ndarray, " seeds"]]

    def score(self, measure: str, arm: str, metric: str) -> Score:
        """Return a measure of one arm, with what it is called in results."""
        return per_seed(arm, metric, self.values[arm, measure])


def compare(lab: Lab, cell: Callable[..., Arrays], arms: Sequence[str], seeds: int) -> Outcome:
    """Choose each arm's learning rate by validation and another seed, then run all seeds.

    Args:
        lab: where.
        cell: of a claim's module, from ``rates``, ``seed``, ``steps`` and ``pretraining`` to what `compared`
            gives.
        arms: their names.
        seeds: how many.
    """

    def runs(rates: Mapping[str, Sequence[float]], seeds: int | Sequence[int]) -> list[Arrays]:
        given = {arm: list(tried) for arm, tried in rates.items()}
        found = lab.grid(cell, {}, seeds=seeds, rates=given, steps=STEPS, pretraining=PRETRAINING)
        return list(found[()].values())

    (tuned,) = runs(dict.fromkeys(arms, RATES), (TUNING_SEED,))
    best = {
        arm: max(RATES, key=lambda lr: float(tuned[f"{arm} {lr:g} validation rank correlation"]))
        for arm in arms
    }
    found = runs({arm: [lr] for arm, lr in best.items()}, seeds)
    measures = ("rank correlation", "alignment", "uniformity", "first singular value")
    values = {
        (arm, measure): np.array([float(run[f"{arm} {lr:g} test {measure}"]) for run in found])
        for arm, lr in {"before": 0.0, **best}.items()
        for measure in measures
    }
    lab.note(
        f"Glosses of {TRAINED:,} of WordNet's nouns, in their {WORDS:,} most frequent words; the encoder is the mean",
        f"of word vectors and a network with one hidden layer, {WIDTH} wide, dropout {DROPOUT:g}, pretrained for",
        f"{PRETRAINING} steps to name a missing word (no transformer, and no order of words). All arms go on from",
        f"there for {STEPS} steps of Adam, batch 64, τ = {TEMPERATURE:g}, and are judged without the head on pairs of",
        f"{TESTED:,} other glosses, at most {PER_TENTH} of each tenth of Wu and Palmer's similarity; the intervals are",
        "over seeds, which share these pairs. Learning rates were chosen by other glosses and a seed that is not",
        f"among the tested ones ({', '.join(f'{arm}: {lr:g}' for arm, lr in best.items())}).",
        "Rank correlations: "
        + ", ".join(f"{arm} {values[arm, 'rank correlation'].mean():.3f}" for arm in ("before", *arms))
        + ".",
    )
    return Outcome(best, values)
