"""The robustness of a model on other pictures of the same things, or on sounds and series made worse."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...data.base import Data, ImageSource, Rows
from ...data.columns import ANY, TEXT, subject, words
from ...data.corruptions import STRENGTHS, Corruption
from ...data.embeddings import EmbeddingCache
from ...data.views import key
from ...modalities import MODALITIES, resolve
from ...types import Constant, Embedder, Metric, Scores
from ..statistic import always_commonest, mean
from ..task import (
    EmbedderTask,
    NotApplicableError,
    captions_of,
    check_rows,
    main_labels,
    row_chunks,
    scatter,
    scores,
    similarity,
    subsample_by_hash,
    top1,
)

WAYS = 100


class Shift(EmbedderTask):
    """Graded scores under distribution shift: corruptions, and whatever other pictures the data has.

    Over a whole gallery, R@1 across artists is near 0 for every small model, so two easier questions are
    asked of each picture. ``100way``: which of 100 captions is its own? The others are distinct captions of
    the test set, drawn by the hash of the example's id: the same for every model and seed (all of them, where
    there are fewer than 100); the best constant answer prefers the captions that most rows have. ``LABEL_top1``:
    zero-shot classification by every label of the data. Ties share the hit.

    Asked of the pictures as they are (``clean_100way``), of every shift of the data (``artist_100way``), and
    of blur, noise, contrast and JPEG (``blur_100way``: the mean over its three strengths, which are outcomes
    ``blur_1_100way`` …; see `counterpoint.data.corruptions`). ``corruption_100way``, the primary
    metric, and ``corruption_LABEL_top1`` are the means over all twelve. Only the first head is used. At most ``limit``
    pictures are asked, chosen by the hash of their ids; the others have no outcome.

    Where the data has no pictures, the first column that is no text takes their place, and the corruptions are those of
    its modality: of sounds noise, a narrower band, clipping and gain, of series noise, drift, dropped channels and
    a slower rate, of clips those of pictures and frames that stand still, each at three strengths.

    Args:
        limit: pictures of a test set at most; 100 keeps the fourteen passes of a demo within seconds.

    Raises:
        NotApplicableError: if data and model do not have such a column and texts both, or its modality has no
            corruptions.
        ValueError: if there are fewer than two distinct captions to choose from.
    """

    family = "classification"
    name = "shift"
    primary = "corruption_100way"
    modalities = (ANY, TEXT)
    reads = (ANY, ANY)
    least = 2

    def __init__(self, limit: int = 100) -> None:
        self.limit = limit

    def check_columns(self, data: Data) -> None:
        _columns(data.columns, data)

    def main_metrics(self, data: Data) -> tuple[str, ...]:
        return self.primary, *(f"corruption_{label}_top1" for label in main_labels(data, ()))

    def __call__(self, model: Embedder, data: Data, rows: Rows) -> Scores:
        check_rows(data, rows, self.name, self.least)
        features = EmbeddingCache.of(model, data)
        column, text_column, corruptions = _columns(features.shared, data)
        kept = np.flatnonzero(data.present(column, rows) & data.present(text_column, rows))
        if len(kept) < self.least:
            raise NotApplicableError(
                f"{self.name} asks about rows with {column} and {text_column}, and {data.name!r} has none"
            )
        chosen = subsample_by_hash(data, rows[kept], self.limit, self.name)
        candidates, gallery = _candidates(data, rows[kept], chosen, text_column)
        selected = kept[chosen]
        others = data.shifts()
        conditions = ["clean", *others, *corruptions, "corruption"]
        outcomes: dict[str, np.ndarray] = {}
        metrics: dict[str, Metric] = {}

        def add(question: str, hits: Mapping[str, np.ndarray], chance: float, constant: Constant) -> None:
            means = {
                kind: np.mean([hits[f"{kind}_{s + 1}"] for s in STRENGTHS], axis=0) for kind in corruptions
            }
            everything = {**hits, **means, "corruption": np.mean(list(means.values()), axis=0)}
            for condition, values in everything.items():
                outcomes[f"{condition}_{question}"] = scatter(values, selected, len(rows))
            for condition in conditions:
                name = f"{condition}_{question}"
                metrics[name] = Metric(name, mean, chance=chance, constant=constant)

        embedded = {
            condition: features.column(column, rows[selected]) if raw is None else features.raw(column, raw)
            for condition, raw in _conditions(data, column, rows[selected], others, corruptions)
        }
        captions = features.texts(gallery, column=text_column)
        by_corruption = {c: _hits(features, z, captions, candidates) for c, z in embedded.items()}
        preferred = scatter(
            _preferred(data, rows[kept], candidates, gallery, text_column), selected, len(rows)
        )
        add("100way", by_corruption, 1 / candidates.shape[1], lambda positions: mean(preferred[positions]))
        for name in main_labels(data, ()):
            labels = data.classes[name]
            classes, values = features.classes(labels), labels.values[rows]
            truth = torch.from_numpy(np.maximum(values[selected], 0))
            named = {c: top1(similarity(features, z, classes), truth) for c, z in embedded.items()}
            add(
                f"{name}_top1",
                {c: np.where(values[selected] >= 0, hits, np.nan) for c, hits in named.items()},
                1 / len(classes),
                always_commonest(values),
            )
        return scores(self.name, data, rows, outcomes, metrics)


def _columns(columns: Mapping[str, str], data: Data) -> tuple[str, str, Mapping[str, Corruption]]:
    """Return the column whose examples are made worse, that of their texts, and the ways to make them worse.

    Raises:
        NotApplicableError: if there is none of these.
    """
    column, text_column = subject(columns), words(columns)
    corruptions = None if column is None else resolve(MODALITIES.get(columns[column]).corruptions)
    if column is None or text_column is None or not corruptions:
        raise NotApplicableError(
            f"shift asks about pictures with captions, sounds, clips or series that can be made worse, with texts, and "
            f"{data.name!r} has the columns {', '.join(data.columns)}: leave the task out"
        )
    return column, text_column, corruptions


def _conditions(
    data: Data,
    column: str,
    rows: Rows,
    others: Mapping[str, ImageSource],
    corruptions: Mapping[str, Corruption],
) -> Iterator[tuple[str, Any]]:
    """Yield names and examples in their raw form; None for those of the data as they are."""
    yield "clean", None
    for name, source in others.items():
        yield name, source(rows)
    raw, ids = data.read(column, rows), torch.from_numpy(data.ids[rows])
    for kind, corrupt in corruptions.items():
        for strength in STRENGTHS:
            yield f"{kind}_{strength + 1}", corrupt(raw, ids, strength)


def _candidates(
    data: Data, rows: Rows, selected: Int[np.ndarray, " k"], column: str = TEXT
) -> tuple[Int[np.ndarray, "k ways"], list[str]]:
    """Draw for each asked row its own caption (first) and others, as positions in the captions."""
    by_row = captions_of(data, rows, column)
    gallery = list(dict.fromkeys(caption for captions in by_row for caption in captions))
    position = {caption: i for i, caption in enumerate(gallery)}
    correct = [[position[caption] for caption in by_row[i]] for i in selected]
    ways = min(WAYS, len(gallery) - max(len(set(c)) for c in correct) + 1)
    if ways < 2:
        raise ValueError(
            f"shift asks for the right one of several captions, and the test set of {data.name!r} has one"
        )
    candidates = np.zeros((len(selected), ways), dtype=np.int64)
    for i, hashed in enumerate(key(0, 0, data.ids[rows[selected]], "evaluation.shift.captions").tolist()):
        order = np.random.default_rng(hashed).permutation(len(gallery))
        others = order[~np.isin(order, correct[i])]
        candidates[i] = [correct[i][0], *others[: ways - 1]]
    return candidates, gallery


def _preferred(
    data: Data, rows: Rows, candidates: Int[np.ndarray, "k ways"], gallery: Sequence[str], column: str
) -> Float[np.ndarray, " k"]:
    """Return the hits of an answer that ignores the picture: the candidate that most rows of the test set have."""
    position = {caption: i for i, caption in enumerate(gallery)}
    have = np.bincount(
        [position[c] for captions in captions_of(data, rows, column) for c in captions],
        minlength=len(gallery),
    )
    counts = have[candidates]
    best = counts == counts.max(1, keepdims=True)
    return best[:, 0] / best.sum(1)


def _hits(
    features: EmbeddingCache,
    images: Float[Tensor, "k d"],
    captions: Float[Tensor, "m e"],
    candidates: Int[np.ndarray, "k ways"],
) -> Float[np.ndarray, " k"]:
    parts = []
    for part in row_chunks(len(images), len(captions)):
        panel = similarity(features, images[part], captions)
        among = panel.gather(1, torch.from_numpy(candidates[part]))
        parts.append(top1(among, torch.zeros(len(among), dtype=torch.long)))
    return np.concatenate(parts)
