"""The modality importance score as a task: which of video and text do a model's answers need?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...data.base import Data, Rows
from ...data.columns import ANY
from ...data.embeddings import EmbeddingCache
from ...data.items import Narrations
from ...data.views import key
from ...reasons import counted
from ...types import Embedder, Metric, Scores
from ..item_scores import answer_shares, item_scores, items_of
from ..modality_importance import (
    COMPLEMENTARY,
    CORRECT,
    INCORRECT,
    OTHER,
    guessing,
    modality_importance,
    question_types,
)
from ..statistic import macro_f1, mean
from ..task import EmbedderTask, similarity
from ..video_embedding import embed_videos

VIDEO, TEXT = frozenset({"video"}), frozenset({"text"})
BOTH = VIDEO | TEXT
SHOWN = {"video": VIDEO, "text": TEXT, "both": BOTH}
TYPES = ("video-biased", "text-biased", COMPLEMENTARY, CORRECT, INCORRECT, OTHER)
NEEDS = {"video": "video-biased", "text": "text-biased", "both": COMPLEMENTARY, "either": CORRECT}
"""The type that each kind of question should turn out to be."""
PERMUTATIONS = 5


@final
class ModalityImportance(EmbedderTask):
    """Answers with video alone, text alone and both, and what each question therefore needs.

    An option is a statement; the answer is the one most similar to what is shown: to the video
    (:func:`counterpoint.evaluation.video_embedding.embed_videos`), to what is said, or to both by the sum of the two
    similarities. Options that are equally near, up to rounding, share the answer.

    ``video_accuracy``, ``text_accuracy``, ``both_accuracy``; ``nothing_accuracy`` is that of the question alone, which
    the score does not use. ``video_importance`` and ``text_importance`` are the mean
    `counterpoint.evaluation.modality_importance.modality_importance`, ``share_TYPE`` how many questions are of
    each type. Where the data says what a question needs, ``type_accuracy`` and ``type_macro_f1`` tell how often the
    model's answers show it. ``video_permuted`` and ``text_permuted`` are accuracies with both shown, one of them
    another question's.

    Chance is what independent guesses come to. The score is of a question and a model: to a model that cannot see,
    a question about the video is one that nothing helps with.

    Args:
        way: how a video reaches the embedder: ``mean``, ``sheet`` or ``middle``.

    Raises:
        NotApplicableError: if the data has no narrations.
        ValueError: for fewer than two of them, or one with fewer than two options.

    Source: Park et al., "Assessing Modality Bias in Video Question Answering Benchmarks with Multimodal Large Language
    Models" (2024), arXiv 2408.12763, which asks a language model.
    """

    family = "video"
    name = "modality_importance_score"
    primary = "type_accuracy"
    modalities = (ANY, "text")
    reads = (ANY, "text")
    form = Narrations
    papers = ("modality-importance-score",)

    def __init__(self, way: str = "mean") -> None:
        self.way = way

    def __call__(self, model: Embedder, data: Data, rows: Rows) -> Scores:
        features = EmbeddingCache.of(model, data)
        items = items_of(features, Narrations, rows, self.name)
        counts = np.array([len(options) for options in items.options])
        if len(items) < 2 or counts.min() < 2:
            raise ValueError(
                f"{self.name} of {data.name!r} needs two questions at least, of two options at least: got "
                f"{counted(len(items), 'question')}, of {counted(int(counts.min()), 'option')} or more"
            )
        options = [features.texts(words) for words in items.options]
        seen = embed_videos(features, items, self.way)
        heard, questions = features.texts(items.narrations), features.texts(items.questions)

        def to_options(z: Float[Tensor, "n d"]) -> list[Float[Tensor, " options"]]:
            return [similarity(features, one[None], some)[0] for one, some in zip(z, options, strict=True)]

        def right(near: Sequence[Float[Tensor, " options"]]) -> Float[np.ndarray, " n"]:
            return np.array([answer_shares(s)[a] for s, a in zip(near, items.answers, strict=True)])

        def summed(z: Float[Tensor, "n d"], other: Float[Tensor, "n d"]) -> list[Float[Tensor, " options"]]:
            return [a + b for a, b in zip(to_options(z), to_options(other), strict=True)]

        answers = {
            VIDEO: right(to_options(seen)),
            TEXT: right(to_options(heard)),
            BOTH: right(summed(seen, heard)),
        }
        types = question_types(answers)
        orders = [_permutation(items.ids, shift) for shift in range(1, PERMUTATIONS + 1)]
        outcomes = {f"{name}_accuracy": answers[shown] for name, shown in SHOWN.items()}
        outcomes["nothing_accuracy"] = right(to_options(questions))
        outcomes["video_permuted"] = np.mean([right(summed(seen[order], heard)) for order in orders], axis=0)
        outcomes["text_permuted"] = np.mean([right(summed(seen, heard[order])) for order in orders], axis=0)
        guess = mean(1 / counts)
        metrics = {name: Metric(name, mean, chance=guess) for name in outcomes}
        for modality, score in modality_importance(answers).items():
            outcomes[f"{modality}_importance"] = score
            metrics[f"{modality}_importance"] = Metric(f"{modality}_importance", mean, chance=0.0)
        of_count = {count: guessing({"video", "text"}, count) for count in set(counts.tolist())}
        guessed = [of_count[count] for count in counts.tolist()]
        for name in TYPES:
            chance = float(np.mean([shares.get(name, 0.0) for shares in guessed]))
            outcomes[f"share_{name}"] = (types == name).astype(float)
            metrics[f"share_{name}"] = Metric(f"share_{name}", mean, chance=chance)
        known = np.array([kind in NEEDS for kind in items.kinds])
        if known.any():
            needed = [NEEDS.get(kind, OTHER) for kind in items.kinds]
            hit = np.array(
                [kind == expected for kind, expected in zip(types.tolist(), needed, strict=True)], float
            )
            outcomes["type"] = np.where(known, hit, np.nan)
            outcomes["needed_type"] = np.where(known, _numbers(needed), np.nan)
            outcomes["found_type"] = _numbers(types.tolist())
            chance = float(np.mean([g[n] for g, n, k in zip(guessed, needed, known, strict=True) if k]))
            metrics["type_accuracy"] = Metric("type", mean, chance=chance)
            metrics["type_macro_f1"] = Metric(("needed_type", "found_type"), macro_f1)
        return item_scores(self.name, items, outcomes, metrics)


def _numbers(types: Sequence[str]) -> Int[np.ndarray, " n"]:
    return np.array([TYPES.index(name) for name in types], np.int64)


def _permutation(ids: Int[np.ndarray, " n"], shift: int) -> Int[Tensor, " n"]:
    """Return another item for each: the one that comes ``shift`` later in a fixed random order, round in a circle."""
    order = np.argsort(key(0, 0, ids, "permuted"), kind="stable")
    partner = np.empty(len(ids), np.int64)
    partner[order] = np.roll(order, -(1 + (shift - 1) % (len(ids) - 1)))
    return torch.from_numpy(partner)
