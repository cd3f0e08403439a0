"""Finding the caption of a picture, and the picture of a caption."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from jaxtyping import Float, Int

from ....data.base import PairedData, Rows
from ....data.embeddings import EmbeddingCache
from ....types import Embedder, Metric, Scores
from ...statistic import mean, median
from ...task import EmbedderTask, captions_of, check_rows, scores
from ._ranking import best_answers, rank

KS = (1, 5, 10)


class Retrieval(EmbedderTask):
    """Image-to-text and text-to-image retrieval among the pictures and captions of the test set.

    Image to text (``i2t``): a picture ranks the distinct captions of the test set; its own are correct. Text
    to image (``t2i``): a caption ranks the pictures; every picture that has this very caption is correct. So
    two rows with the same caption are correct for each other, and the best-ranked correct answer counts. A
    row with several captions scores their mean. Answers of equal similarity are taken in random order, and an
    outcome is its expectation over that order: a model that maps everything to one point scores chance. The
    ranks are exact; no N × N matrix is formed.

    Metrics for each direction: ``R@1``, ``R@5``, ``R@10`` (the fraction of queries with a correct answer
    among the first K) and ``median_rank`` (1 is best). Chance is a random order of the answers. The best constant
    answer to R@K are the K captions, or pictures, that are right for most queries: where many pictures have one
    caption it scores far above chance. Outcomes besides: ``i2t_top`` and ``t2i_top``, the id of the example whose
    caption or picture came first. Heads after the first are scored too: ``i2t_R@1[local]``.

    Raises:
        ValueError: for fewer than two rows, among which there is nothing to find, or a row without caption.
    """

    name = "retrieval"
    primary = "i2t_R@1"
    modalities = ("image", "text")
    least = 2

    def __call__(self, model: Embedder, data: PairedData, rows: Rows) -> Scores:
        check_rows(data, rows, self.name, self.least)
        features = EmbeddingCache.of(model, data)
        captions = captions_of(data, rows)
        texts = list(dict.fromkeys(caption for each in captions for caption in each))
        position = {text: i for i, text in enumerate(texts)}
        texts_of = [[position[caption] for caption in mine] for mine in captions]
        pictures_of: list[list[int]] = [[] for _ in texts]
        for i, mine in enumerate(texts_of):
            for caption in mine:
                pictures_of[caption].append(i)
        ids = data.ids[rows]
        owner = np.array([ids[pictures[0]] for pictures in pictures_of])

        def unchanged(values: np.ndarray) -> np.ndarray:
            return values

        def per_row(values: np.ndarray) -> np.ndarray:
            return np.array([values[mine].mean() for mine in texts_of])

        constants = {
            "i2t": lambda k, some: best_answers(
                pictures_of, np.isin(np.arange(len(rows)), some) / len(some), k
            ),
            "t2i": lambda k, some: best_answers(texts_of, _weights(texts_of, some, len(texts)), k),
        }
        outcomes: dict[str, np.ndarray] = {}
        metrics: dict[str, Metric] = {}
        for number, head in enumerate(features.heads):
            suffix = "" if number == 0 else f"[{head}]"
            images, sentences = features.images(rows, head), features.texts(texts, head)
            i2t = rank(features, images, sentences, texts_of)
            t2i = rank(features, sentences, images, pictures_of)
            for direction, ranking, to_rows in (("i2t", i2t, unchanged), ("t2i", t2i, per_row)):
                for k in KS:
                    name = f"{direction}_R@{k}{suffix}"
                    outcomes[name] = to_rows(ranking.hit(k))
                    metrics[name] = Metric(
                        name,
                        mean,
                        chance=mean(to_rows(ranking.chance_hit(k))),
                        constant=partial(constants[direction], k),
                    )
                outcomes[f"{direction}_rank{suffix}"] = to_rows(ranking.rank())
                metrics[f"{direction}_median_rank{suffix}"] = Metric(
                    f"{direction}_rank{suffix}",
                    median,
                    higher_is_better=False,
                    chance=median(to_rows(ranking.chance_rank())),
                )
            if number == 0:
                outcomes["i2t_top"] = owner[i2t.top]
                outcomes["t2i_top"] = ids[t2i.top[[mine[0] for mine in texts_of]]]
        return scores(self.name, data, rows, outcomes, metrics)


def _weights(
    of_image: Sequence[Sequence[int]], some: Int[np.ndarray, " k"], texts: int
) -> Float[np.ndarray, " texts"]:
    """Return what every caption counts for in the mean over some rows of the mean over their captions."""
    weights = np.zeros(texts)
    for row in some:
        weights[of_image[row]] += 1 / (len(of_image[row]) * len(some))
    return weights
