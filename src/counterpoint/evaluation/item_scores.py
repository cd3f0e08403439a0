"""The functions that the tasks on items share: getting items, similarities within an item, comparing answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..data.base import Rows, SomeItems
from ..data.columns import TEXT
from ..data.embeddings import EmbeddingCache
from ..data.items import Choices, Items, MinimalPairs
from ..reasons import counted
from ..types import Metric, Scores
from .task import items_of as task_items
from .task import similarity, table

BATCH = 64
"""Items whose pictures are held at once."""

ROUNDING = 1e-6
"""Cosines of unit vectors in float32 that are closer than this are equal."""


def items_of(
    features: EmbeddingCache,
    form: type[SomeItems],
    rows: Rows,
    task: str,
    kinds: tuple[str, ...] | None = None,
) -> SomeItems:
    """Return the items of some rows of the features' data, the same for every task that asks.

    Raises:
        NotApplicableError: if these rows have none of this form.
        ValueError: if two items have the same id.
    """
    data = features.data
    items = features.once(
        ("items", form, rows.tobytes(), kinds), lambda: task_items(data, form, rows, task, kinds)
    )
    if len(np.unique(items.ids)) < len(items):
        raise ValueError(f"{task}: two {form.called} of {data.name!r} have the same id")
    return items


def item_scores(
    task: str,
    items: Items,
    outcomes: Mapping[str, np.ndarray],
    metrics: Mapping[str, Metric],
    subsets: Sequence[str] | None = None,
) -> Scores:
    """Wrap outcomes per item as `Scores`: an example is an item, its subset the item's kind unless given."""
    return table(task, items.ids, items.kinds if subsets is None else subsets, outcomes, metrics)


def batches(count: int, size: int = BATCH) -> Iterator[Int[np.ndarray, " k"]]:
    """Yield consecutive positions, ``size`` at a time."""
    for start in range(0, count, size):
        yield np.arange(start, min(start + size, count))


EMBEDDING = ""
"""The head of scores by embeddings, beside the joint scores that a model may have (`EmbeddingCache.pair_heads`)."""
Scored = tuple[Mapping[str, np.ndarray], Mapping[str, Metric]]
"""Outcomes by name, and the metrics made of them."""


def by_head(features: EmbeddingCache, score: Callable[[str], Scored]) -> Scored:
    """Return the outcomes and metrics of each head that a model has for pictures and texts.

    Names of joint scores end in the head, as in ``accuracy[joint]``. A model without embeddings of pictures or of texts
    has these alone.

    Args:
        features: of the model.
        score: from a head, `EMBEDDING` or a joint score, to outcomes and metrics.
    """
    outcomes: dict[str, np.ndarray] = {}
    metrics: dict[str, Metric] = {}
    embeds = {"image", TEXT} <= {*features.columns.values()} or not features.pair_heads
    for head in (EMBEDDING, *features.pair_heads) if embeds else features.pair_heads:
        suffix = f"[{head}]" if head else ""
        of_head, metrics_of_head = score(head)
        outcomes |= {f"{name}{suffix}": values for name, values in of_head.items()}
        for name, metric in metrics_of_head.items():
            columns = tuple(f"{column}{suffix}" for column in metric.names)
            one = isinstance(metric.columns, str)
            metrics[f"{name}{suffix}"] = replace(metric, columns=columns[0] if one else columns)
    return outcomes, metrics


def square_similarities(
    features: EmbeddingCache, items: MinimalPairs, head: str = EMBEDDING
) -> Float[Tensor, "n 2 2"]:
    """Return ``[k, i, c]``: how well picture i of item k goes with its caption c; nothing else is compared.

    Args:
        features: of the model.
        items: the squares.
        head: `EMBEDDING`, or a joint score of the model's.
    """
    if head == EMBEDDING:
        return features.once(("similarities", items), lambda: _square_similarities(features, items))
    scores = features.once(("joint", items), lambda: _joint_squares(features, items))
    return scores[..., features.pair_heads.index(head)]


def _joint_squares(features: EmbeddingCache, items: MinimalPairs) -> Float[Tensor, "n 2 2 heads"]:
    texts = features.pair_states(TEXT, [caption for pair in items.captions for caption in pair])
    # Picture and caption of each square, by their numbers in it.
    square = torch.cartesian_prod(torch.arange(2), torch.arange(2))
    scores = []
    for positions in batches(len(items)):
        pictures = features.pair_states("image", items.pictures(positions).flatten(0, 1))
        first = torch.stack([torch.arange(len(positions)), torch.from_numpy(positions)], 1)
        pairs = (2 * first[:, None] + square).flatten(0, 1)
        scores.append(features.pair_scores(pictures, texts, pairs).view(len(positions), 2, 2, -1))
    return torch.cat(scores)


def _square_similarities(features: EmbeddingCache, items: MinimalPairs) -> Float[Tensor, "n 2 2"]:
    texts = _in_pairs(features.texts([caption for pair in items.captions for caption in pair]))
    similarities = []
    for positions in batches(len(items)):
        pictures = _in_pairs(features.pictures(items.pictures(positions).flatten(0, 1)))
        pairs = zip(pictures, texts[torch.from_numpy(positions)], strict=True)
        similarities += [similarity(features, a, b) for a, b in pairs]
    return torch.stack(similarities)


def _in_pairs(z: Float[Tensor, "m d"]) -> Float[Tensor, "n 2 d"]:
    return z.view(len(z) // 2, 2, -1)


def option_similarities(
    features: EmbeddingCache, items: Choices, head: str = EMBEDDING
) -> list[Float[Tensor, " _"]]:
    """Compute the similarity of each item's picture with each of the item's options.

    Args:
        features: of the model.
        items: the choices.
        head: `EMBEDDING`, or a joint score of the model's.

    Raises:
        ValueError: if an item has fewer than two options, or its answer is none of them.
    """
    for k, (options, answer) in enumerate(zip(items.options, items.answers, strict=True)):
        if len(options) < 2 or not 0 <= answer < len(options):
            raise ValueError(
                f"item {items.ids[k]} offers {counted(len(options), 'option')} and says that number {answer} is right: "
                "a choice is between two at least, one of which is right"
            )
    if head == EMBEDDING:
        return features.once(("similarities", items), lambda: _option_similarities(features, items))
    scores = features.once(("joint", items), lambda: _joint_options(features, items))
    return [of_item[:, features.pair_heads.index(head)] for of_item in scores]


def _joint_options(features: EmbeddingCache, items: Choices) -> list[Float[Tensor, "_ heads"]]:
    scores: list[Tensor] = []
    for positions in batches(len(items)):
        pictures = features.pair_states("image", items.pictures(positions))
        options = [items.options[k] for k in positions]
        texts = features.pair_states(TEXT, [option for of_item in options for option in of_item])
        counts = torch.tensor([len(of_item) for of_item in options])
        picture = torch.repeat_interleave(torch.arange(len(options)), counts)
        pairs = torch.stack([picture, torch.arange(len(picture))], 1)
        scores += torch.split(features.pair_scores(pictures, texts, pairs), counts.tolist())
    return scores


def _option_similarities(features: EmbeddingCache, items: Choices) -> list[Float[Tensor, " _"]]:
    similarities = []
    for positions in batches(len(items)):
        pictures = features.pictures(items.pictures(positions))
        similarities += [
            similarity(features, picture[None], features.texts(items.options[k]))[0]
            for k, picture in zip(positions, pictures, strict=True)
        ]
    return similarities


def beats(right: Float[Tensor, "*n"], wrong: Float[Tensor, "*n"]) -> Bool[Tensor, "*n"]:
    """Return whether the right answer is truly more similar than a wrong answer; equal up to rounding does not count.

    So a model that cannot tell two captions apart gets none of them right, rather than what chance gives.

    >>> beats(torch.tensor([0.5, 0.5]), torch.tensor([0.4, 0.5])).tolist()
    [True, False]
    """
    scale = torch.maximum(right.abs(), wrong.abs()).clamp(min=1)
    return right - wrong > ROUNDING * scale


def right_and_margin(
    similarities: Sequence[Float[Tensor, " _"]], answers: Int[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Return 1 where the right option beats all others, else 0, and its lead over the best of the others."""
    of_answer = torch.stack([s[a] for s, a in zip(similarities, answers, strict=True)])
    best = torch.stack(
        [torch.cat([s[:a], s[a + 1 :]]).max() for s, a in zip(similarities, answers.tolist(), strict=True)]
    )
    return beats(of_answer, best).double().numpy(), (of_answer - best).double().numpy()


def classes(kinds: Sequence[str]) -> Int[np.ndarray, " n"]:
    """Number each kind among all that occur, in alphabetical order.

    >>> classes(["swap", "add", "swap"]).tolist()
    [1, 0, 1]
    """
    numbers: np.ndarray = np.unique(np.asarray(kinds, dtype=str), return_inverse=True)[1]
    return numbers.astype(np.int64)


def answer_shares(similarities: Float[Tensor, " options"]) -> Float[np.ndarray, " options"]:
    """Divide one answer among the options of highest similarity; NaN where similarities are unknown."""
    if torch.isnan(similarities).any():
        return np.full(len(similarities), np.nan)
    best = similarities > similarities.max() - ROUNDING
    return (best.double() / best.sum()).numpy()
