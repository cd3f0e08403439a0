"""Binding of new words: after pictures with invented names, which name does a further picture get?"""

from __future__ import annotations

from typing import final

import numpy as np
from jaxtyping import Int

from ...data.base import Data, Rows
from ...data.views import key
from ...forms import Count, Natural
from ...types import Assistant, Metric, Prompt, Scores, Turn
from ..replies import normalised
from ..statistic import mean
from ..task import (
    AnsweringTask,
    NotApplicableError,
    check_labels,
    check_rows,
    main_labels,
    scatter,
    scores,
    subsample_by_hash,
)

WORDS = ("dax", "blicket", "fep", "wug", "toma", "perpo", "slation", "zorgon")
"""Invented names."""
REQUEST = "What is this?"
_AT_ONCE = 64


@final
class Binding(AnsweringTask):
    """The share of pictures that get the invented name of their class, which earlier turns of the prompt show.

    An episode asks about one test picture. Its class and ``ways − 1`` others, drawn at random, get names of `WORDS`.
    In front stand ``shots`` other test pictures of each class, in a random order, each with `REQUEST` and its name. The
    reply is open: any text but the name is wrong, so that values below chance occur. ``accuracy`` is the share of right
    replies, ``named`` that of replies which are one of the episode's names.

    Args:
        ways: classes of an episode.
        shots: pictures of each class in front of the question.
        repeats: how often all of these are shown again.
        induction: the prompt begins with the names to choose from.
        label: whose classes are named; the first of the data unless given.
        episodes: test pictures that are asked about, at most.

    Raises:
        ValueError: for more ways than there are names, and for no rows.
        NotApplicableError: where fewer classes than ``ways`` have ``shots + 1`` test pictures.

    Source: Tsimpoukelli et al., "Multimodal Few-Shot Learning with Frozen Language Models" (2021), arXiv 2106.13884,
    Open-Ended miniImageNet.
    """

    family = "answering"
    name = "binding"
    primary = "accuracy"
    papers = ("frozen",)
    reads = ("image",)
    labels = ()
    draws = True

    def __init__(
        self,
        ways: Count = 2,
        shots: Count = 1,
        repeats: Natural = 0,
        induction: bool = True,
        label: str = "",
        episodes: Count = 1000,
    ) -> None:
        if not 2 <= ways <= len(WORDS):
            raise ValueError(f"ways={ways}: give 2 to {len(WORDS)}, the number of names")
        self.ways, self.shots, self.repeats = ways, shots, repeats
        self.induction, self.label, self.episodes = induction, label, episodes

    def __call__(self, assistant: Assistant, data: Data, rows: Rows, *, seed: int = 0) -> Scores:
        check_rows(data, rows, self.name)
        wanted = (self.label,) if self.label else ()
        check_labels(data, wanted, self.name)
        name = main_labels(data, wanted)[0]
        classes = np.where(data.present("image", rows), data.classes[name].values[rows], -1)
        counts = np.bincount(classes[classes >= 0])
        usable = np.flatnonzero(counts > self.shots)
        if len(usable) < self.ways:
            raise NotApplicableError(
                f"{self.name} needs {self.ways} classes of {name} with {self.shots + 1} test pictures each, and "
                f"{data.name!r} has {len(usable)}"
            )
        asked = np.flatnonzero(np.isin(classes, usable))
        asked = asked[subsample_by_hash(data, rows[asked], self.episodes, self.name)]
        right, named = np.zeros(len(asked)), np.zeros(len(asked))
        for start in range(0, len(asked), _AT_ONCE):
            part = asked[start : start + _AT_ONCE]
            episodes = [self._episode(data, rows, classes, usable, int(query), seed) for query in part]
            replies = assistant.reply([prompt for prompt, _ in episodes], seed=seed)
            for number, (reply, (_, words)) in enumerate(zip(replies, episodes, strict=True), start):
                right[number] = normalised(reply) == words[0]
                named[number] = normalised(reply) in words
        outcomes = {
            "accuracy": scatter(right, asked, len(rows)),
            "named": scatter(named, asked, len(rows)),
        }
        metrics = {"accuracy": Metric("accuracy", mean, chance=1 / self.ways), "named": Metric("named", mean)}
        return scores(self.name, data, rows, outcomes, metrics)

    def _episode(
        self,
        data: Data,
        rows: Rows,
        classes: Int[np.ndarray, " n"],
        usable: Int[np.ndarray, " k"],
        query: int,
        seed: int,
    ) -> tuple[Prompt, tuple[str, ...]]:
        """Return a prompt, and the names of its classes, that of the query first."""
        rng = np.random.default_rng(int(key(seed, 0, data.ids[rows[query]][None], self.name)[0]))
        others = rng.choice(usable[usable != classes[query]], self.ways - 1, replace=False).tolist()
        words = tuple(WORDS[n] for n in rng.permutation(len(WORDS))[: self.ways])
        support: list[tuple[int, str]] = []
        for of_class, word in zip([classes[query], *others], words, strict=True):
            members = np.flatnonzero(classes == of_class)
            members = members[members != query]
            support += [(int(n), word) for n in rng.choice(members, self.shots, replace=False)]
        order = [support[n] for n in rng.permutation(len(support))]
        pictures = data.read("image", rows[[*(n for n, _ in order), query]])
        turns = [
            Turn(REQUEST, word, picture) for (_, word), picture in zip(order, pictures, strict=False)
        ] * (1 + self.repeats)
        if self.induction:
            lead = f"Answer with {', '.join(sorted(words)[:-1])} or {sorted(words)[-1]}."
            turns[0] = Turn(f"{lead} {REQUEST}", turns[0].reply, turns[0].picture)
        return Prompt(REQUEST, pictures[-1], tuple(turns)), words
