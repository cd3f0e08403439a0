"""ViBe: what is wrong with a generated video, if anything?"""

from __future__ import annotations

from typing import final

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float

from ...data.base import Data, Rows
from ...data.columns import ANY, TEXT
from ...data.embeddings import EmbeddingCache
from ...data.items import GeneratedVideos
from ...types import Embedder, Metric, Scores
from ..classifiers import logistic
from ..item_scores import item_scores, items_of
from ..statistic import macro_f1, mean, weighted_f1
from ..task import EmbedderTask, subsample_by_hash
from ..video_embedding import embed_frames, embed_videos


@final
class ViBe(EmbedderTask):
    """ViBe's task: the type of hallucination of a video, read from frozen embeddings by a logistic regression.

        video = [ nz(mean_t z_t), sd_t z_t, mean_t |z_{t+1} − z_t| ],   prompted = [ video, y, y · nz(mean_t z_t) ]

    z_t is the embedding of a frame, y that of the caption. What the classifier sees: ``frame``, the middle frame;
    ``video``, mean and standard deviation of the frames' embeddings and the mean size of their changes from one frame
    to the next; ``prompted``, that with the caption's embedding and its product with the mean. For each there are
    ``SEEN_accuracy``, ``SEEN_macro_f1`` and ``SEEN_weighted_f1``; ``majority`` is the accuracy of the most frequent
    type of training. Types that need the caption (a wrong number, an omission) can only be guessed from the video
    alone. By type, an accuracy is a recall.

    Trained on at most ``limit`` training rows (the same for every model and seed), tested on the test rows. Chance is
    1/types.

    Args:
        limit: training rows at most.

    Raises:
        NotApplicableError: if the data has no generated videos.
        ValueError: if the training rows show fewer than two types.

    Source: Rawte et al., "ViBe: A Text-to-Video Benchmark for Evaluating Hallucination in Large Multimodal Models"
    (2024), arXiv 2411.10867. Whether its F1 is macro or weighted is not known, so both are given; its set has no
    clean videos, without which it cannot be told whether there is a hallucination at all.
    """

    family = "video"
    name = "vibe"
    primary = "prompted_accuracy"
    modalities = (ANY, TEXT)
    reads = (ANY, TEXT)
    learns = True
    form = GeneratedVideos
    papers = ("vibe",)

    def __init__(self, limit: int = 1000) -> None:
        self.limit = limit

    def __call__(self, model: Embedder, data: Data, rows: Rows) -> Scores:
        features = EmbeddingCache.of(model, data)
        items = items_of(features, GeneratedVideos, rows, self.name)
        learned = data.splits.train[subsample_by_hash(data, data.splits.train, self.limit, self.name)]
        training = items_of(features, GeneratedVideos, learned, self.name)
        types = sorted({*items.kinds, *training.kinds})
        truth, classes = (np.array([types.index(kind) for kind in it.kinds]) for it in (items, training))
        if len(np.unique(classes)) < 2:
            raise ValueError(
                f"vibe: the training rows of {data.name!r} show one type only, {training.kinds[0]!r}"
            )
        majority = int(np.bincount(classes).argmax())
        outcomes = {"type": truth, "majority": (truth == majority).astype(float)}
        metrics = {"majority": Metric("majority", mean, chance=1 / len(types))}
        seen, learned_from = _seen(features, items), _seen(features, training)
        places = {kind: number for number, kind in enumerate(sorted(set(items.kinds)))}
        for name in seen:  # the last one is what the main metric is about
            predicted = logistic(learned_from[name], classes, seen[name], len(types))
            outcomes[f"{name}_right"] = (predicted == truth).astype(float)
            outcomes[f"{name}_type"] = predicted
            metrics[f"{name}_accuracy"] = Metric(f"{name}_right", mean, chance=1 / len(types))
            metrics[f"{name}_macro_f1"] = Metric(("type", f"{name}_type"), macro_f1)
            metrics[f"{name}_weighted_f1"] = Metric(("type", f"{name}_type"), weighted_f1)
        outcomes["predicted"] = np.array([places.get(types[k], np.nan) for k in predicted])
        return item_scores(self.name, items, outcomes, metrics)


def _seen(features: EmbeddingCache, items: GeneratedVideos) -> dict[str, Float[np.ndarray, "n _"]]:
    """Compute the features of each item that a classifier sees."""
    frames, texts = embed_frames(features, items), features.texts(items.captions)
    mean_frame = F.normalize(frames.mean(1), dim=-1)
    changes = frames.diff(dim=1).abs().mean(1)
    video = torch.cat([mean_frame, frames.std(1, correction=0), changes], 1)
    prompted = torch.cat([video, texts, texts * mean_frame], 1)
    frame = embed_videos(features, items, "middle")
    return {"frame": frame.numpy(), "video": video.numpy(), "prompted": prompted.numpy()}
