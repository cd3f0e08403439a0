"""Follow-up differential descriptions: zero-shot in two passes, the second among the likeliest classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import NamedTuple, final

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ...data.base import PairedData, Rows
from ...data.embeddings import EmbeddingCache
from ...data.worlds.scenes.words.descriptions import TEMPLATE
from ...types import Embedder, Metric, Scores
from ..statistic import mean
from ..task import Task, check_labels, check_rows, scatter, scores, similarity, top1
from .sources import Describe, Told, from_grammar, numbered

Among = Callable[[tuple[int, ...]], Sequence[Sequence[str]]]
"""A function from the numbers of some classes, in rising order, to the sentences about each of these classes."""


@final
class FuDD(Task):
    """Zero-shot classification in two passes: by name, then by what tells the likeliest classes apart.

    With v the embedding of a picture and t(·) that of a sentence, of unit norm:

        first pass    A = the k classes of highest v · t("a picture of {c}")
        second pass   the class c of A of highest v · t'_c,
                      t'_c = normalise(mean of t(s) over D_c),  D_c = ∪ over b ∈ A, b ≠ c, of what c has and b lacks

    The sentences of D_c count once each. A pair of which nothing is known gives both classes their plain prompt; where
    A is all classes there is no first pass, and such a pair gives nothing unless D_c would be empty.

    Metrics: ``top1``; ``first_top1``, of the first pass; ``recall``, whether the true class is in A, which ``top1``
    cannot exceed; ``gain``, top1 − first_top1, also over the half of the pictures of which the first pass was less
    sure (``gain_close``) and more sure (``gain_clear``), by its lead of the first class over the second. Outcomes
    besides: ``sentences``, the mean size of D_c, which grows with k and should be the same where two sources of
    descriptions are compared; ``described``, the share of the pairs in A of which something is known; ``margin``, the
    lead of the true class over the best other one in the pass that decided about it. Classes that tie share the hit.
    Chance is 1/classes, of ``recall`` k/classes, of gains 0.

    Args:
        label: what to classify by.
        k: how many classes the second pass chooses among; all, where there are fewer.
        describe: what tells two classes apart, by their names (:mod:`counterpoint.evaluation.describing.sources`).
        template: of the plain prompt. CLIP's tokenizer does not see the capital that the paper begins sentences with.

    Raises:
        NotApplicable: if the data does not have the label.
        ValueError: for k below 1, fewer than two classes, two classes of one name, or no labelled row.

    Source: Esfandiarpoor and Bach, "Follow-Up Differential Descriptions: Language Models Resolve Ambiguities for Image
    Classification" (2023), arXiv 2311.07593.
    """

    name = "fudd"
    primary = "top1"
    modalities = ("image", "text")
    papers = ("fudd",)

    def __init__(
        self,
        label: str = "concept",
        k: int = 10,
        describe: Describe = from_grammar,
        template: str = TEMPLATE,
    ) -> None:
        if k < 1:
            raise ValueError(f"k={k}: the second pass chooses among at least one class")
        self.label = label
        self.labels: tuple[str, ...] = (label,)
        self.k, self.describe, self.template = k, describe, template

    def __call__(self, model: Embedder, data: PairedData, rows: Rows) -> Scores:
        check_rows(data, rows, self.name)
        (label,) = check_labels(data, self.labels, self.name)
        names, values = data.labels[label].names, data.labels[label].values[rows]
        labelled = np.flatnonzero(values >= 0)
        if len(names) < 2 or not len(labelled):
            raise ValueError(
                f"{self.name} chooses among at least two classes for labelled pictures; {label!r} of {data.name!r} has "
                f"{len(names)} class(es), and {len(labelled)} of these {len(rows)} rows are labelled"
            )
        features = EmbeddingCache.of(model, data)
        among = Differential(names, self.describe, self.template)
        images, truth = features.images(rows[labelled]), torch.from_numpy(values[labelled])
        first = by_name(features, images, names, self.template)
        candidates = likeliest(first, self.k)
        second, said = second_pass(features, images, candidates, among)
        is_true = candidates == truth[:, None]
        inside, place = is_true.any(1), is_true.long().argmax(1)
        lead = (
            _lead(first, truth)
            if self.k == 1
            else torch.where(inside, _lead(second, place), _lead(first, truth))
        )
        best = first.topk(2).values
        sure = (best[:, 0] - best[:, 1]).double().numpy()
        found = {
            "first_top1": top1(first, truth),
            "top1": np.where(inside, top1(second, place), 0.0),
            "recall": inside.double().numpy(),
            "predicted": candidates.gather(1, second.argmax(1, keepdim=True))[:, 0].double().numpy(),
            "margin": lead.double().numpy(),
            "first_margin": sure,
            "sentences": said.double().mean(1).numpy(),
            "described": np.array([among.described(tuple(classes)) for classes in candidates.tolist()]),
        }
        found["gain"] = found["top1"] - found["first_top1"]
        close = sure <= np.median(sure)
        found["gain_close"] = np.where(close, found["gain"], np.nan)
        found["gain_clear"] = np.where(close, np.nan, found["gain"])
        chance = {"top1": 1 / len(names), "first_top1": 1 / len(names)}
        chance["recall"] = candidates.shape[1] / len(names)
        chance |= dict.fromkeys(("gain", "gain_close", "gain_clear"), 0.0)
        outcomes = {name: scatter(column, labelled, len(rows)) for name, column in found.items()}
        metrics = {name: Metric(name, mean, chance=level) for name, level in chance.items()}
        return scores(self.name, data, rows, outcomes, metrics)


@final
class Differential:
    """Sentences that tell each of some classes from the others. Every pair of classes is asked about once at most.

    Args:
        names: of all classes.
        describe: what tells two of them apart.
        template: what is said where nothing is known.

    >>> among = Differential(["a lemon", "a carrot", "a pear"], from_grammar)
    >>> among((0, 1))[0][:2]
    ('a picture of a lemon, which is yellow', 'a picture of a lemon, which is oval')
    """

    def __init__(self, names: Sequence[str], describe: Describe, template: str = TEMPLATE) -> None:
        numbered(names)
        self.names, self.describe, self.template = tuple(names), describe, template
        self._known: dict[tuple[int, int], Sequence[Told]] = {}

    def __call__(self, classes: tuple[int, ...]) -> list[tuple[str, ...]]:
        said: dict[int, list[str]] = {c: [] for c in classes}
        plain = {c: self.template.format(self.names[c]) for c in classes}
        everything = len(classes) == len(self.names)
        for a, b in combinations(classes, 2):
            told = self._pair(a, b)
            said[a] += [first for _, first, _ in told]
            said[b] += [second for _, _, second in told]
            if not told and not everything:
                said[a].append(plain[a])
                said[b].append(plain[b])
        return [tuple(dict.fromkeys(said[c] or [plain[c]])) for c in classes]

    def described(self, classes: tuple[int, ...]) -> float:
        """Return the share of the pairs of some classes with a known difference; 1 for a class alone."""
        pairs = [bool(self._pair(a, b)) for a, b in combinations(classes, 2)]
        return float(np.mean(pairs)) if pairs else 1.0

    def _pair(self, a: int, b: int) -> Sequence[Told]:
        if (a, b) not in self._known:
            self._known[a, b] = self.describe(self.names[a], self.names[b])
        return self._known[a, b]


class SecondPass(NamedTuple):
    """The similarities of pictures with their candidate classes.

    Attributes:
        similarities: of each picture and candidate.
        sentences: how many each candidate's embedding is the mean of.
    """

    similarities: Float[Tensor, "n k"]
    sentences: Int[Tensor, "n k"]


def by_name(
    features: EmbeddingCache, images: Float[Tensor, "n d"], names: Sequence[str], template: str = TEMPLATE
) -> Float[Tensor, "n C"]:
    """The first pass: the similarity of pictures and plain prompts."""
    prompts = F.normalize(features.texts([template.format(name) for name in names]), dim=-1)
    return similarity(features, images, prompts)


def likeliest(first: Float[Tensor, "n C"], k: int) -> Int[Tensor, "n k"]:
    """The numbers of the k classes of highest similarity (all, if there are fewer), in rising order.

    Of classes that tie for the last place those of lower number are taken.

    >>> likeliest(torch.tensor([[0.1, 0.9, 0.5, 0.5]]), 2).tolist()
    [[1, 2]]
    """
    return first.sort(dim=1, descending=True, stable=True).indices[:, :k].sort(dim=1).values


def second_pass(
    features: EmbeddingCache, images: Float[Tensor, "n d"], candidates: Int[Tensor, "n k"], among: Among
) -> SecondPass:
    """The similarity of each picture and its candidates, each the normalised mean of the sentences said of it.

    Args:
        features: of the model.
        images: embeddings of pictures.
        candidates: the numbers of the classes that each could be, in rising order.
        among: what is said of some classes: `Differential`, or another source to compare it with.
    """
    sets, which = torch.unique(candidates, dim=0, return_inverse=True)
    said = [among(tuple(classes)) for classes in sets.tolist()]
    features.texts(
        [sentence for each in said for sentences in each for sentence in sentences]
    )  # in full batches
    similarities = torch.empty(candidates.shape)
    for number, of_each in enumerate(said):
        means = [F.normalize(features.texts(sentences), dim=-1).mean(0) for sentences in of_each]
        classes = F.normalize(torch.stack(means), dim=-1)
        chosen = which == number
        similarities[chosen] = similarity(features, images[chosen], classes)
    counts = torch.tensor([[len(sentences) for sentences in of_each] for of_each in said])
    return SecondPass(similarities, counts[which])


def _lead(similarities: Float[Tensor, "n k"], target: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Compute by how much the target leads the best of the other classes, of which there is at least one."""
    own = similarities.gather(1, target[:, None])[:, 0]
    others = similarities.scatter(1, target[:, None], -torch.inf)
    return own - others.amax(1)
