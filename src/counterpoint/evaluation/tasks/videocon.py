"""VideoCon: does a video entail a caption, or the same caption with one thing wrong?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...data.base import Data, Rows
from ...data.columns import ANY, TEXT
from ...data.embeddings import EmbeddingCache
from ...data.items import ContrastCaptions
from ...types import Embedder, Metric, Scores
from ..auc import auc_components
from ..item_scores import ROUNDING, beats, item_scores, items_of
from ..statistic import mean
from ..task import EmbedderTask, similarity
from ..video_embedding import embed_videos

FOLDS = 5


@final
class VideoCon(EmbedderTask):
    """VideoCon's entailment scores: ROC-AUC of s(V, T) against s(V, C), over all items and by kind of contrast.

        auc = P( s(V, T) > s(V', C') ) + ½ P( s(V, T) = s(V', C') ),   pairwise = mean [ s(V, T) > s(V, C) ]

    With T the caption of a video V and C its contrast, ``auc`` is the probability that a random s(V, T) is above a
    random s(V', C'), ties counted half; a similarity that is higher for some videos than for others lowers it, though
    every video may be right about its own two captions, so ``pairwise``, the share of items with s(V, T) > s(V, C), is
    there besides. ``auc_KIND`` is the AUC among the items of a kind. ``text_only_auc`` is that of a logistic
    regression on the captions' embeddings alone, each fifth of the items scored by what learned from the others: far
    from 1/2, the contrasts can be told by their words. A hallucination adds words, so it always can to some extent.

    The AUC is a mean of one component per item (`counterpoint.evaluation.auc`); within a subset, read ``auc_KIND``.
    All chance levels are 1/2. An embedder that adds up words has exactly 1/2 where events are flipped.

    Args:
        way: how a video reaches the embedder: ``mean``, ``sheet`` or ``middle``
            (:func:`counterpoint.evaluation.video_embedding.embed_videos`).

    Raises:
        NotApplicableError: if the data has no contrasts.

    Source: Bansal et al., "VideoCon: Robust Video-Language Alignment via Contrast Captions" (2023), arXiv 2311.10111;
    s is the embedder's similarity, where the paper asks a generative model and takes p(Yes) / (p(Yes) + p(No)).
    """

    family = "video"
    name = "videocon"
    primary = "auc"
    modalities = (ANY, TEXT)
    reads = (ANY, TEXT)
    form = ContrastCaptions
    papers = ("videocon",)

    def __init__(self, way: str = "mean") -> None:
        self.way = way

    def __call__(self, model: Embedder, data: Data, rows: Rows) -> Scores:
        features = EmbeddingCache.of(model, data)
        items = items_of(features, ContrastCaptions, rows, self.name)
        videos = embed_videos(features, items, self.way)
        texts = features.texts([caption for pair in items.captions for caption in pair])
        texts = texts.view(len(items), 2, -1)
        s = torch.stack([similarity(features, v[None], t)[0] for v, t in zip(videos, texts, strict=True)])
        outcomes = entailments(s, texts, items.kinds, np.argsort(np.argsort(items.ids)))
        metrics = {
            "auc": Metric("auc", mean, chance=0.5),
            "pairwise": Metric("right", mean, chance=0.5),
            "text_only_auc": Metric("text_only_auc", mean, chance=0.5),
        }
        for kind in dict.fromkeys(items.kinds):
            metrics[f"auc_{kind}"] = Metric(f"auc_{kind}", mean, chance=0.5)
        return item_scores(self.name, items, outcomes, metrics)


def entailments(
    s: Float[Tensor, "n 2"],
    texts: Float[Tensor, "n 2 d"],
    kinds: Sequence[str],
    order: Int[np.ndarray, " n"] | None = None,
) -> dict[str, np.ndarray]:
    """Return the task's outcomes: ``right``, ``margin``, and components of every AUC, NaN where there is none.

    Args:
        s: the similarity of each video with its caption and with its contrast.
        texts: the embeddings of both.
        kinds: of the contrasts.
        order: of the items in an order that does not depend on how they come, which fixes the folds of the classifier
            of captions; as they come unless given.
    """
    s = s.double()
    # Captions of the same words differ in their last digits only, which must not decide.
    entailed, contradicted = (np.round(s[:, i].numpy() / ROUNDING) for i in (0, 1))
    outcomes = {
        "right": beats(s[:, 0], s[:, 1]).double().numpy(),
        "margin": (s[:, 0] - s[:, 1]).numpy(),
        "auc": auc_components(entailed, contradicted),
        "text_only_auc": _text_only(texts, np.arange(len(texts)) if order is None else order),
    }
    for kind in dict.fromkeys(kinds):
        its = np.asarray(kinds) == kind
        outcomes[f"auc_{kind}"] = np.full(len(kinds), np.nan)
        outcomes[f"auc_{kind}"][its] = auc_components(entailed[its], contradicted[its])
    return outcomes


def _text_only(texts: Float[Tensor, "n 2 d"], order: Int[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Return AUC components of scores that see captions only; NaN where there are fewer items than folds."""
    from sklearn.linear_model import LogisticRegression

    z = texts.numpy()
    n, fold = len(z), order % FOLDS
    if n < FOLDS:
        return np.full(n, np.nan)
    decisions = np.empty((n, 2))
    for k in range(FOLDS):
        train = z[fold != k]
        classes = np.tile([1, 0], len(train))
        classifier = LogisticRegression(max_iter=1000).fit(train.reshape(-1, z.shape[2]), classes)
        decisions[fold == k] = classifier.decision_function(z[fold == k].reshape(-1, z.shape[2])).reshape(
            -1, 2
        )
    decisions = np.round(decisions / ROUNDING)
    return auc_components(decisions[:, 0], decisions[:, 1])
