"""Conversations and pictures of some training rows, for methods that learn from a few."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..networks.towers.chat import EXCHANGE
from ..pairwise.ranks import Ranks
from ..types import Batch, TrainingExamples
from ._rounds import reply_starts
from ._speaking import SpeakingMethod

PAPERS = {"multimodal-task-vectors": ("rows_with_replies",), "r2-t2": ("rows_with_replies",)}


def rows_with_replies(
    method: SpeakingMethod, examples: TrainingExamples, rows: Int[Tensor, " n"]
) -> tuple[Int[Tensor, "n 3 L"], Float[Tensor, "n p w"]]:
    """Return the conversations of some rows, and the patches of their pictures; the same on every rank.

    Args:
        method: reads them.
        examples: all training examples.
        rows: numbers of some.

    Raises:
        ValueError: for a row that is not one exchange with a reply.
    """
    ids, order = examples.ids[rows].sort()
    read: list[Tensor] = []

    def fill(batch: Batch) -> Tensor:
        slot = torch.searchsorted(ids, batch.ids.cpu()).clamp_max(len(ids) - 1)
        known = ids[slot] == batch.ids.cpu()
        pictures = batch[method.picture][known.to(batch[method.picture].device)]
        parts = [batch[method.talk].to(pictures), method.speaker.patches(pictures)]
        if not read:
            read.extend(part.new_zeros(len(ids), *part.shape[1:]) for part in parts)
            read.append(parts[0].new_zeros(len(ids)))
        ones = torch.ones(int(known.sum()))
        for whole, part in zip(read, (parts[0][known], parts[1], ones), strict=True):
            whole[slot[known]] = part.to(whole)
        return torch.zeros(len(batch), 1)

    examples.map(fill)
    talk, patches, times = (Ranks.present().sum(part) for part in read)
    back = order.argsort()
    talk, patches = ((part / times.view(-1, *[1] * (part.ndim - 1)))[back] for part in (talk, patches))
    talk = talk.round().long()
    if bool((talk[:, EXCHANGE].amax(1) != 1).any() or (reply_starts(talk) == 0).any()):
        name = type(method).__name__
        raise ValueError(f"{name} reads rows of one exchange with a reply, and a row has another form")
    return talk, patches
