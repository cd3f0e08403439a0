"""Ranks: their parts."""

from __future__ import annotations

from typing import Any

import pytest
import torch.distributed as dist

from counterpoint.pairwise.ranks import Ranks


def test_groups_of_parts_are_formed_once_however_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    formed: list[Any] = []
    monkeypatch.setattr(dist, "new_group", lambda members: formed.append(members) or members)
    for _ in range(2):
        part = Ranks(69, 100).part([1] * 100)
        assert (part.rank, part.size, part.group) == (0, 1, [69])
    assert len(formed) == 100
