"""Tasks in which an example chooses between its own and its twin, or its own backwards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from counterpoint.data.base import Data, Rows, Splits
from counterpoint.data.items import Items, TwinItems
from counterpoint.data.synthetic.clips.world import VideoClips
from counterpoint.evaluation import create
from counterpoint.evaluation.task import NotApplicableError
from counterpoint.raw import Clips as RawClips
from counterpoint.types import Embedder

WORLD = VideoClips.parse("clips:sounding,train=2,validation=2,test=12,pixels=16,frames=6")
ROWS = WORLD.splits.test["twins in order"]
FRAMES = 4


class Seen(Embedder):
    """The frames of a clip one behind another, or their sum."""

    heads = ("default",)
    embeds = ("video", "other")

    def __init__(self, ordered: bool) -> None:
        self.ordered = ordered

    def embed(self, column: str, inputs: Any, head: str = "default") -> Tensor:
        frames = inputs.frames.flatten(2).double()
        return F.normalize(frames.flatten(1) if self.ordered else frames.sum(1), dim=-1)

    def similarity(self, a: Tensor, b: Tensor) -> Tensor:
        return a @ b.T


class Twice(Data):
    """The same clips in two columns; the twin of a clip has its first two frames in each other's place."""

    columns: ClassVar[Mapping[str, str]] = {"video": "video", "other": "video"}
    name = "twice"

    def __init__(self, gaps: bool = False) -> None:
        self.ids = np.arange(6) + 10
        self.splits = Splits(self.ids[:0], {}, {"all": np.arange(6)})
        self.gaps = gaps
        generator = torch.Generator().manual_seed(0)
        self.frames = torch.randint(0, 256, (6, FRAMES, 3, 2, 2), generator=generator, dtype=torch.uint8)

    def read(self, column: str, rows: Rows) -> RawClips:
        return RawClips(self.frames[rows], torch.full((len(rows),), FRAMES))

    def present(self, column: str, rows: Rows) -> np.ndarray:
        return rows % 2 == 0 if self.gaps and column == "other" else super().present(column, rows)

    def items(self, form: Any, rows: Rows, kinds: Any = None) -> Any:
        return Exchanged(self, rows)


class Exchanged(TwinItems):
    def __init__(self, data: Twice, rows: Rows) -> None:
        self.data, self.rows, self.ids, self.kinds = data, rows, data.ids[rows], ["order"] * len(rows)

    def read(self, column: str, positions: np.ndarray) -> RawClips:
        clips = self.data.read(column, self.rows[positions])
        return clips.with_values(clips.frames[:, [1, 0, *range(2, FRAMES)]])


@pytest.mark.parametrize("task", ["twins", "time_reversal"])
@pytest.mark.parametrize(("ordered", "expected"), [(True, 1.0), (False, 0.5)])
def test_order_is_everything(task: str, ordered: bool, expected: float) -> None:
    scores = create(task)(Seen(ordered), Twice(), np.arange(6))
    assert scores.examples["example"].to_list() == list(range(10, 16))
    assert set(scores.metrics) == {"video2other_accuracy", "other2video_accuracy"}
    for name in scores.metrics:
        assert scores.examples[name].to_list() == [expected] * 6


@pytest.mark.parametrize("task", ["twins", "time_reversal"])
def test_a_row_that_lacks_a_column_has_no_outcome(task: str) -> None:
    scores = create(task)(Seen(True), Twice(gaps=True), np.arange(6))
    assert scores.examples["video2other_accuracy"].to_list() == [1.0, None] * 3


def test_the_twin_of_a_clip_is_the_row_beside_it() -> None:
    items = WORLD.items(TwinItems, ROWS)
    assert isinstance(items, Items)
    assert items.rows.tolist() == ROWS.tolist()
    partners = ROWS.reshape(-1, 2)[:, ::-1].ravel()
    positions = np.arange(len(ROWS))
    assert torch.equal(items.read("video", positions).frames, WORLD.read("video", partners).frames)
    assert torch.equal(items.read("audio", positions).samples, WORLD.read("audio", partners).samples)
    assert items.read("text", positions) == WORLD.read("text", partners)


def test_clips_of_one_event_have_no_twin() -> None:
    lonely = VideoClips.parse("clips:sensors,train=2,validation=2,test=4,pixels=16")
    with pytest.raises(NotApplicableError, match="has anything to make twins of"):
        create("twins")(Seen(True), lonely, lonely.splits.test["as trained"])


def test_what_has_no_length_cannot_be_turned_round() -> None:
    class Pictures(Twice):
        columns: ClassVar[Mapping[str, str]] = {"image": "image", "text": "text"}

    with pytest.raises(NotApplicableError, match="turns clips, sounds or series round"):
        create("time_reversal").check_columns(Pictures())
