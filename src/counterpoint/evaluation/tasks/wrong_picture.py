"""Requests about one of several pictures: are the replies about that one?"""

from __future__ import annotations

from typing import final

import numpy as np
import torch

from ...data.base import Data, Rows
from ...data.items import AskedPart, Question
from ...types import Assistant, Metric, Prompt, Scores
from ..replies import HELD, is_right
from ..statistic import mean
from ..task import AnsweringTask, NotApplicableError, check_columns, check_rows, scatter, scores


@final
class WrongPicture(AnsweringTask):
    """Replies to requests about one of several pictures, and whether they are right for it or for another one.

    ``confused`` is the share of requests whose reply is right for another picture of the same request and wrong for the
    one that is asked about. Requests that have the same reply for all pictures do not count there. ``accuracy`` is the
    share of right replies. Case, punctuation and a leading article do not count. The data are albums (``,albums=…``,
    `counterpoint.data.derived.albums`). A row with several requests counts by its mean.

    Raises:
        NotApplicableError: where no row has a request about one of several pictures.
        ValueError: for no rows, and for a model that reads another number of pictures.

    Source: Liu et al., "MIA-DPO: Multi-Image Augmented Direct Preference Optimization For Large Vision-Language Models"
    (2024), arXiv 2410.17637, which calls such errors sequence confusion.
    """

    family = "answering"
    name = "wrong_picture"
    papers = ("mia-dpo",)
    primary = "confused"
    reads = ("image", "talk")

    def __call__(self, assistant: Assistant, data: Data, rows: Rows, *, seed: int = 0) -> Scores:
        check_rows(data, rows, self.name)
        check_columns(self, data)
        parts = {number: data.asked_part(int(row)) for number, row in enumerate(rows)}
        asked = {number: part for number, part in parts.items() if part is not None}
        if not asked:
            raise NotApplicableError(
                f"{self.name} asks about one of several pictures, and no test row of {data.name!r} has several: write "
                ",albums=sequence, collage or inset behind the data"
            )
        used = np.array([*asked])
        right, confused = np.zeros(len(used)), np.zeros(len(used))
        for start in range(0, len(used), HELD):
            index = used[start : start + HELD]
            judged = self._judged(assistant, data, rows[index], [asked[int(n)] for n in index], seed)
            right[start : start + HELD], confused[start : start + HELD] = np.array(judged).T
        outcomes = {"right": right, "confused": confused}
        metrics = {
            "confused": Metric("confused", mean, higher_is_better=False),
            "accuracy": Metric("right", mean),
        }
        spread = {name: scatter(of, used, len(rows)) for name, of in outcomes.items()}
        return scores(self.name, data, rows, spread, metrics)

    def _judged(
        self, assistant: Assistant, data: Data, rows: Rows, parts: list[AskedPart], seed: int
    ) -> list[tuple[float, float]]:
        """Return the share of right and of confused replies of each row."""
        columns = parts[0].columns
        shown = [data.read(column, rows) for column in columns]
        talks = data.read("talk", rows)
        prompts = []
        for talk, *pictures in zip(talks, *shown, strict=True):
            picture = torch.stack(pictures) if len(pictures) > 1 else pictures[0]
            prompts += [Prompt(exchange.request, picture) for exchange in talk]
        replies = iter(assistant.reply(prompts, seed=seed))
        judged = []
        for talk, part in zip(talks, parts, strict=True):
            right, confused = [], []
            for exchange in talk:
                reply = next(replies)
                right.append(_says(reply, exchange.request, exchange.reply))
                others = [
                    other
                    for other in part.replies_to(exchange.request)
                    if not _says(other, exchange.request, exchange.reply)
                ]
                if others:
                    wrong = not right[-1]
                    confused.append(wrong and any(_says(reply, exchange.request, other) for other in others))
            judged.append((float(np.mean(right)), float(np.mean(confused)) if confused else np.nan))
        return judged


def _says(reply: str, request: str, answer: str) -> bool:
    return is_right(reply, Question("", request, answer))
