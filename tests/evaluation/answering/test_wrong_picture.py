"""Replies that are right for another picture, counted by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from counterpoint.data.source import load_any
from counterpoint.evaluation.task import NotApplicableError
from counterpoint.evaluation.tasks import WrongPicture
from counterpoint.types import Prompt

SOURCE = "scenes:tiny,objects=1,train=12,validation=4,test=40,pixels=16,talk=captions"


class Told:
    """An assistant whose replies are known beforehand."""

    def __init__(self, replies: Sequence[str]) -> None:
        self.replies, self.asked = list(replies), list[Prompt]()

    def reply(self, prompts: Sequence[Prompt], *, seed: int = 0) -> list[str]:
        self.asked += prompts
        return [self.replies.pop(0) for _ in prompts]

    def word_logits(self, prompts: Sequence[Prompt], words: Sequence[str]) -> Tensor:
        raise NotImplementedError


@pytest.mark.parametrize("form", ["sequence", "collage"])
def test_replies_that_are_right_for_another_picture_are_counted(form: str) -> None:
    data: Any = load_any(f"{SOURCE},albums={form}", 8)
    (rows,) = data.splits.test.values()
    good = [talk[0].reply for talk in data.read("talk", rows)]
    parts = [data.asked_part(int(row)) for row in rows]
    others = [part.others[0][0].reply for part in parts]
    differ = [
        any(talk[0].reply != own for talk in part.others) for own, part in zip(good, parts, strict=True)
    ]
    # By turns the right reply, another picture's, and neither.
    kinds = np.arange(len(rows)) % 3
    said = [
        (own.upper() + ".", other, "a green zebra")[kind]
        for kind, own, other in zip(kinds, good, others, strict=True)
    ]
    assistant = Told(said)
    scores = WrongPicture()(assistant, data, rows)
    # Prompts of an album have pictures.
    assert all(prompt.picture.ndim == (4 if form == "sequence" else 3) for prompt in assistant.asked)  # type: ignore[union-attr]
    same = [own == other for own, other in zip(good, others, strict=True)]
    right = [kind == 0 or (kind == 1 and it) for kind, it in zip(kinds, same, strict=True)]
    confused = [kind == 1 and not it for kind, it in zip(kinds, same, strict=True)]
    assert scores.value("accuracy") == pytest.approx(np.mean(right))
    assert scores.value("confused") == pytest.approx(np.mean(np.array(confused)[differ]))
    assert scores.metrics["confused"].higher_is_better is False
    assert WrongPicture()(Told(good), data, rows).value("accuracy") == 1


def test_data_without_albums_is_not_asked() -> None:
    data: Any = load_any(SOURCE, 8)
    (rows,) = data.splits.test.values()
    with pytest.raises(NotApplicableError, match="asks about one of several pictures, and no test row"):
        WrongPicture()(Told([]), data, rows)
