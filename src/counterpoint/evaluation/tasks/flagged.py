"""Which words of replies a judge flags as untrue of the picture."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, final

import numpy as np
from jaxtyping import Float

from ...data.base import Data, Rows
from ...data.embeddings import EmbeddingCache
from ...raw import changed_words
from ...types import Embedder, JudgesReplies, Metric, Prompt, Scores
from ..several import average_precision
from ..statistic import mean, share
from ..task import EmbedderTask, NotApplicableError, check_columns, check_rows, scatter, scores

THRESHOLD = 0.5
"""A word counts as true from above this probability."""
BATCH = 64
"""Rows whose replies are judged at once."""


class _Pair(NamedTuple):
    """Two replies to one request: a true one, and one with changed words.

    Attributes:
        row: its index among the rows that are asked about.
        prompt: with the picture.
        replies: the true reply, then the other.
        wrong: which words of each reply are changed.
    """

    row: int
    prompt: Prompt
    replies: tuple[str, str]
    wrong: tuple[list[bool], list[bool]]


@final
class Flagged(EmbedderTask):
    """Words of true replies and of replies with an error, and which of them a judge finds untrue of the picture.

    Of every row a true reply and one with changed words are judged. The second is the reply that the data makes itself
    (`counterpoint.data.Data.edited_reply`), or else that of the first further column of conversations. ``map`` is the
    average precision of the changed words among all words of all replies, ordered by the judge. Few words are changed,
    so ``base``, their share, is what an order by chance has. ``sentences`` and ``replies`` are the shares of sentences
    and replies that the judge decides rightly: one is untrue if any of its words has a probability of at most 1/2.

    Raises:
        NotApplicableError: for a model that judges no replies, or where no row has a picture and two replies.
        ValueError: for no rows.

    Source: Fu et al., "TLDR: Token-Level Detective Reward Model for Large Vision Language Models" (2024), arXiv
    2410.04734; described from memory.
    """

    family = "answering"
    name = "flagged"
    papers = ("tldr",)
    primary = "map"
    modalities = ("image",)
    reads = ("image", "talk")

    def __call__(self, model: Embedder, data: Data, rows: Rows) -> Scores:
        check_rows(data, rows, self.name)
        check_columns(self, data)
        self.check_model(model, data)
        judge: Any = _judge(model)
        used: list[int] = []
        doubts: list[np.ndarray] = []
        wrong: list[np.ndarray] = []
        decided: list[tuple[float, ...]] = []
        for pairs in self._pairs(data, rows):
            prompts = [pair.prompt for pair in pairs for _ in pair.replies]
            judged = iter(judge.judge(prompts, [reply for pair in pairs for reply in pair.replies]))
            for pair in pairs:
                rewards = [next(judged).double().numpy() for _ in pair.replies]
                truth = [
                    np.array(of[: len(reward)], bool) for of, reward in zip(pair.wrong, rewards, strict=True)
                ]
                used.append(pair.row)
                doubts.append(1 - np.concatenate(rewards))
                wrong.append(np.concatenate(truth))
                decided.append(_decided(pair.replies, truth, rewards))
        if not used:
            raise NotApplicableError(
                f"{self.name} asks about pictures with a true reply and one with an error, and no test row of "
                f"{data.name!r} has both"
            )
        size = max(map(len, wrong))
        columns = {
            **{f"wrong {k + 1}": _padded(wrong, k, -1.0) for k in range(size)},
            **{f"doubt {k + 1}": _padded(doubts, k, 0.0) for k in range(size)},
            "words": np.array([len(of) for of in wrong], float),
            "changed": np.array([of.sum() for of in wrong], float),
            **dict(zip(("sentences", "sentences right", "replies right"), np.array(decided).T, strict=True)),
        }
        metrics = {
            "map": Metric(
                tuple(f"{kind} {k + 1}" for kind in ("wrong", "doubt") for k in range(size)),
                average_precision,
            ),
            "base": Metric(("words", "changed"), share),
            "sentences": Metric(("sentences", "sentences right"), share),
            "replies": Metric("replies right", mean, chance=0.5),
        }
        outcomes = {name: scatter(of, np.array(used), len(rows)) for name, of in columns.items()}
        return scores(self.name, data, rows, outcomes, metrics)

    def _pairs(self, data: Data, rows: Rows) -> Iterator[list[_Pair]]:
        """Yield pairs of replies, of some rows at a time."""
        talks = [column for column, modality in data.columns.items() if modality == "talk"]
        index = np.flatnonzero(data.present("image", rows) & data.present(talks[0], rows))
        for start in range(0, len(index), BATCH):
            part = index[start : start + BATCH]
            pictures, good = data.read("image", rows[part]), data.read(talks[0], rows[part])
            others = data.read(talks[1], rows[part]) if len(talks) > 1 else [()] * len(part)
            pairs = []
            for row, picture, talk, further in zip(part.tolist(), pictures, good, others, strict=True):
                # The exchange whose reply the data can put an error into, or the first one.
                for exchange in talk:
                    edited = data.edited_reply(int(rows[row]), exchange.reply, 0)
                    if edited is not None:
                        break
                else:
                    exchange, edited = talk[0], further[0].reply if further else None
                changed = [] if edited is None else changed_words(exchange.reply, edited)
                if edited is not None and any(changed):
                    replies = exchange.reply, edited
                    clean = [False] * len(exchange.reply.split())
                    pairs.append(_Pair(row, Prompt(exchange.request, picture), replies, (clean, changed)))
            yield pairs

    def check_model(self, model: Any, data: Any) -> None:
        if not self.can_ask(model):
            raise NotApplicableError(
                f"{self.name} asks models that judge replies, as tldr trains them: leave the task out"
            )

    def can_ask(self, model: Any) -> bool:
        return isinstance(_judge(model), JudgesReplies)


def _decided(
    replies: tuple[str, str], wrong: list[np.ndarray], rewards: list[np.ndarray]
) -> tuple[float, float, float]:
    """Return the number of sentences, how many were decided rightly, and the share of replies that were."""
    sentences = right = 0
    of_replies = []
    for reply, truth, reward in zip(replies, wrong, rewards, strict=True):
        flagged = reward <= THRESHOLD
        of_replies.append(truth.any() == flagged.any())
        words = reply.split()[: len(truth)]
        ends = [k + 1 for k, word in enumerate(words) if word[-1] in ".!?" or k + 1 == len(words)]
        for first, end in zip([0, *ends], ends, strict=False):
            sentences += 1
            right += int(truth[first:end].any() == flagged[first:end].any())
    return float(sentences), float(right), float(np.mean(of_replies))


def _padded(rows: list[np.ndarray], k: int, missing: float) -> Float[np.ndarray, " n"]:
    """Return the number at a place of each row, another number where the row is shorter."""
    return np.array([of[k] if k < len(of) else missing for of in rows], float)


def _judge(model: Any) -> Any:
    return model.model if isinstance(model, EmbeddingCache) else model
