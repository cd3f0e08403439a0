"""Follow-up differential descriptions: zero-shot in two passes, the second among the likeliest classes."""

from __future__ import annotations

from typing import final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...data.base import Data, Rows
from ...data.embeddings import EmbeddingCache
from ...data.synthetic.scenes.words.descriptions import TEMPLATE
from ...forms import Count
from ...types import Embedder, Metric, Scores
from ..class_descriptions import Describe, from_grammar
from ..differential import Differential, by_name, likeliest, second_pass
from ..statistic import mean
from ..task import EmbedderTask, NotApplicableError, check_labels, check_rows, scatter, scores, top1


@final
class FuDD(EmbedderTask):
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
    Chance is 1/classes, of ``recall`` k/classes, of gains 0. Rows without the label, or a picture, have no outcome.

    Args:
        label: what to classify by.
        k: how many classes the second pass chooses among; all, where there are fewer.
        describe: what tells two classes apart, by their names (:mod:`counterpoint.evaluation.class_descriptions`).
        template: of the plain prompt. CLIP's tokenizer does not see the capital that the paper begins sentences with.

    Raises:
        NotApplicableError: if the data does not have the label, or fewer than two classes or no labelled picture of it.
        ValueError: for k below 1, or two classes of one name.

    Source: Esfandiarpoor and Bach, "Follow-Up Differential Descriptions: Language Models Resolve Ambiguities for Image
    Classification" (2023), arXiv 2311.07593.
    """

    family = "classification"
    name = "fudd"
    primary = "top1"
    modalities = ("image", "text")
    papers = ("fudd",)

    def __init__(
        self,
        label: str = "concept",
        k: Count = 10,
        describe: Describe = from_grammar,
        template: str = TEMPLATE,
    ) -> None:
        self.label = label
        self.labels: tuple[str, ...] = (label,)
        self.k, self.describe, self.template = k, describe, template

    def __call__(self, model: Embedder, data: Data, rows: Rows) -> Scores:
        check_rows(data, rows, self.name)
        (label,) = check_labels(data, self.labels, self.name)
        names, values = data.classes[label].names, data.classes[label].values[rows]
        labelled = np.flatnonzero((values >= 0) & data.present("image", rows))
        if len(names) < 2 or not len(labelled):
            raise NotApplicableError(
                f"{self.name} chooses among at least two classes for labelled pictures; {label!r} of {data.name!r} has "
                f"{len(names)} class(es), and {len(labelled)} of these {len(rows)} rows are labelled"
            )
        features = EmbeddingCache.of(model, data)
        among = Differential(names, self.describe, self.template)
        images, truth = features.images(rows[labelled]), torch.from_numpy(values[labelled])
        first = by_name(features, images, names, self.template)
        candidates = likeliest(first, self.k)
        second, counts = second_pass(features, images, candidates, among)
        is_true = candidates == truth[:, None]
        inside, position = is_true.any(1), is_true.long().argmax(1)
        lead = (
            _lead(first, truth)
            if self.k == 1
            else torch.where(inside, _lead(second, position), _lead(first, truth))
        )
        best = first.topk(2).values
        sure = (best[:, 0] - best[:, 1]).double().numpy()
        columns = {
            "first_top1": top1(first, truth),
            "top1": np.where(inside, top1(second, position), 0.0),
            "recall": inside.double().numpy(),
            "predicted": candidates.gather(1, second.argmax(1, keepdim=True))[:, 0].double().numpy(),
            "margin": lead.double().numpy(),
            "first_margin": sure,
            "sentences": counts.double().mean(1).numpy(),
            "described": np.array([among.described(tuple(classes)) for classes in candidates.tolist()]),
        }
        columns["gain"] = columns["top1"] - columns["first_top1"]
        close = sure <= np.median(sure)
        columns["gain_close"] = np.where(close, columns["gain"], np.nan)
        columns["gain_clear"] = np.where(close, np.nan, columns["gain"])
        chance = {"top1": 1 / len(names), "first_top1": 1 / len(names)}
        chance["recall"] = candidates.shape[1] / len(names)
        chance |= dict.fromkeys(("gain", "gain_close", "gain_clear"), 0.0)
        outcomes = {name: scatter(column, labelled, len(rows)) for name, column in columns.items()}
        metrics = {name: Metric(name, mean, chance=level) for name, level in chance.items()}
        return scores(self.name, data, rows, outcomes, metrics)


def _lead(similarities: Float[Tensor, "n k"], target: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Compute by how much the target leads the best of the other classes, of which there is at least one."""
    of_target = similarities.gather(1, target[:, None])[:, 0]
    others = similarities.scatter(1, target[:, None], -torch.inf)
    return of_target - others.amax(1)
