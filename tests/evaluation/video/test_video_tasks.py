"""Tasks on videos: closed-form scores, who is blind to order, what the caption and what time tell."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from jaxtyping import Int, UInt8
from torch import Tensor

from counterpoint.data.embeddings import EmbeddingCache
from counterpoint.data.items import ContrastCaptions, GeneratedVideos
from counterpoint.data.synthetic.clips.world import VideoClips
from counterpoint.data.synthetic.sounds.world import Sounds
from counterpoint.evaluation import create, failures, inspection
from counterpoint.evaluation.task import NotApplicableError
from counterpoint.evaluation.video_embedding import embed_frames, embed_videos
from counterpoint.raw import check_clips
from counterpoint.registry import UnknownNameError
from counterpoint.types import Embedder, Scores
from fixtures.hand_made import Blind, ItemData, SimilarityTable, numbered

ALL = np.arange(2)


class HandContrasts(ContrastCaptions):
    """Item k has the frames 2k and 2k + 1."""

    def __init__(self, captions: Sequence[tuple[str, str]], kinds: Sequence[str]) -> None:
        self.captions, self.kinds, self.ids = captions, kinds, np.arange(len(captions))

    def frames(self, positions: Int[np.ndarray, " k"]) -> UInt8[Tensor, "k T 3 H W"]:
        numbers = np.stack([2 * positions, 2 * positions + 1], 1).reshape(-1)
        return numbered(numbers).view(len(positions), 2, 3, 8, 8)


def given(
    right: Sequence[float], wrong: Sequence[float], kinds: Sequence[str]
) -> tuple[ItemData, SimilarityTable]:
    """Data and a model in which each video has these similarities with its two captions."""
    n = len(right)
    captions = [(f"{k} true", f"{k} false") for k in range(n)]
    table = {}
    for k, pair in enumerate(captions):
        for text, value in zip(pair, (right[k], wrong[k]), strict=True):
            table[text] = torch.full((2 * n,), 0.99)  # what is not compared must not matter
            # The mean of two one-hot frames has length √½, so unit norm makes each count √½ times.
            table[text][2 * k : 2 * k + 2] = value / 2**0.5
    return ItemData(HandContrasts(captions, kinds)), SimilarityTable(table)


def test_the_auc_pools_videos_and_pairs_do_not() -> None:
    # Every video is right about its own captions, but the second one likes all captions.
    data, model = given([0.4, 0.9], [0.3, 0.8], ["flip", "flip"])
    scores = create("videocon")(model, data, ALL)
    assert scores.value("pairwise") == 1
    assert scores.value("auc") == pytest.approx(3 / 4)
    assert scores.examples["margin"].to_list() == pytest.approx([0.1, 0.1])


def test_there_is_an_auc_for_each_kind() -> None:
    data, model = given([0.9, 0.8, 0.1, 0.5], [0.3, 0.2, 0.6, 0.5], ["object", "object", "flip", "flip"])
    scores = create("videocon")(model, data, ALL)
    assert scores.value("auc_object") == 1
    assert scores.value("auc_flip") == pytest.approx(1 / 8)  # 0.1 loses twice, 0.5 ties once and loses once
    assert np.isnan(scores.value("text_only_auc"))  # fewer items than folds


class Bag:
    """Pictures by their mean colours, captions by the words that are in them, whatever their order."""

    heads: tuple[str, ...] = ("global",)

    def embed(self, modality: str, inputs: object, head: str = "default") -> Tensor:
        if modality == "image":
            assert isinstance(inputs, Tensor)
            z = F.adaptive_avg_pool2d(inputs.float(), 4).flatten(1)
        else:
            assert isinstance(inputs, Sequence)
            z = torch.stack([self._text(text) for text in inputs])
        return F.normalize(z, dim=-1)

    def _text(self, text: str) -> Tensor:
        words = sorted(text.replace(",", "").split())
        each = [torch.randn(48, generator=torch.Generator().manual_seed(sum(map(ord, w)))) for w in words]
        return torch.stack(each).sum(0)

    def similarity(self, a: Tensor, b: Tensor) -> Tensor:
        return a @ b.T


def clips(preset: str = "basic", more: str = "") -> VideoClips:
    size = "train=40,test=30,validation=2,pixels=16"
    options = dict(
        part.split("=") for part in f"{size}{more}".split(",")
    )  # of an option given twice the last
    return VideoClips.parse(",".join([f"clips:{preset}", *(f"{k}={v}" for k, v in options.items())]))


def test_bag_of_words_has_exactly_half_where_events_are_flipped() -> None:
    data = clips("order", ",events=2,frames=6")
    scores = create("videocon")(Bag(), data, data.splits.test["as trained"])
    assert scores.value("auc_flip") == 0.5
    assert scores.value("pairwise", "flip") == 0  # a tie is wrong


def test_clips_cannot_be_told_by_their_words() -> None:
    """Either clip of a contrast may be shown, so words say nothing, but where a hallucination adds some."""
    data = clips("basic", ",test=100")
    items = data.items(ContrastCaptions, data.splits.test["as trained"])
    said = [c for c, kind in zip(items.captions, items.kinds, strict=True) if kind != "hallucination"]
    first = np.mean([right < wrong for right, wrong in said])  # in the order of the alphabet
    assert abs(first - 0.5) < 3 * 0.5 / np.sqrt(len(said))


@pytest.mark.parametrize("way", ["mean", "sheet", "middle"])
def test_videos_reach_embedders_of_pictures(way: str) -> None:
    data = clips()
    items = data.items(ContrastCaptions, data.splits.test["as trained"][:5])
    features = EmbeddingCache(Bag(), data)
    z = embed_videos(features, items, way)
    assert z.shape == (5, 48)
    assert torch.allclose(z.norm(dim=1), torch.ones(5))
    if way == "mean":
        frames = items.frames(np.array([2]))[0]
        assert torch.allclose(z[2], F.normalize(Bag().embed("image", frames).mean(0), dim=0), atol=1e-5)
    with pytest.raises(UnknownNameError, match="did you mean 'mean'"):
        embed_videos(features, items, "means")


class Reel(Bag):
    """Clips by the mean colours of their first and their last frame, in this order, and captions as `Bag`."""

    embeds = ("video", "text")

    def embed(self, modality: str, inputs: object, head: str = "default") -> Tensor:
        if modality != "video":
            return super().embed(modality, inputs)
        clips = check_clips(inputs)
        ends = [clips.frames[:, 0], clips.frames[torch.arange(len(clips)), clips.lengths - 1]]
        means = [frames.float().mean((2, 3)).repeat(1, 8) for frames in ends]
        return F.normalize(torch.cat(means, 1), dim=-1)


def test_videos_reach_embedders_of_clips_whole() -> None:
    data = clips()
    items = data.items(ContrastCaptions, data.splits.test["as trained"][:5])
    features, frames = EmbeddingCache(Reel(), data), items.frames(np.arange(5))
    whole = Reel().embed("video", frames)
    torch.testing.assert_close(embed_videos(features, items, "mean"), whole)
    torch.testing.assert_close(embed_videos(features, items, "middle"), Reel().embed("video", frames[:, 6]))
    assert embed_frames(features, items).shape == (5, 12, 48)
    scores = create("videocon")(Reel(), data, data.splits.test["as trained"])
    assert 0 <= scores.value("auc") <= 1


class HandRenditions(GeneratedVideos):
    """Two frames and a caption each; of type ``still`` where both frames are alike."""

    def __init__(self, moves: Sequence[bool], said: Sequence[str], kinds: Sequence[str]) -> None:
        self.moves, self.captions, self.kinds = np.array(moves), said, kinds
        self.ids = np.arange(len(kinds))

    def frames(self, positions: Int[np.ndarray, " k"]) -> UInt8[Tensor, "k T 3 H W"]:
        first = np.zeros(len(positions), np.int64)
        second = first + 60 * self.moves[positions]
        return numbered(np.stack([second, first], 1).reshape(-1)).view(len(positions), 2, 3, 8, 8)


class TrainAndTest(ItemData):
    def __init__(self, items: GeneratedVideos) -> None:
        super().__init__(items)
        self.splits = type(self.splits)(np.arange(2), {}, {"all": np.arange(2)})


def vibe(moves: Sequence[bool], said: Sequence[str], kinds: Sequence[str], model: Embedder) -> Scores:
    return create("vibe")(model, TrainAndTest(HandRenditions(moves, said, kinds)), ALL)


def test_time_shows_in_several_frames_and_numbers_in_the_caption() -> None:
    model = Blind(pictures=False, texts=False)
    moves = [bool(k % 2) for k in range(40)]
    scores = vibe(moves, ["a cat"] * 40, ["vanishing" if m else "clean" for m in moves], model)
    assert scores.value("video_accuracy") == 1
    assert scores.value("video_macro_f1") == 1
    assert scores.value("frame_accuracy") == 0.5  # the last frame is always the same
    assert scores.value("majority") == 0.5
    said = ["two cats" if k % 2 else "three cats" for k in range(40)]
    scores = vibe([False] * 40, said, ["numeric" if k % 2 else "clean" for k in range(40)], model)
    assert scores.value("video_accuracy") == 0.5
    assert scores.value("prompted_accuracy") == 1
    assert scores.metrics["prompted_accuracy"].chance == 0.5


def test_vibe_needs_two_types_and_tasks_need_their_items() -> None:
    with pytest.raises(ValueError, match="show one type only, 'clean'"):
        vibe([False] * 4, ["a cat"] * 4, ["clean"] * 4, Blind())
    for task in ("videocon", "vibe"):
        with pytest.raises(NotApplicableError, match=f"{task} asks about"):
            create(task)(Blind(), ItemData(), ALL)


def test_vibe_runs_on_clips_and_failures_are_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = clips()
    rows = data.splits.test["as trained"]
    scores = create("vibe", limit=30)(Bag(), data, rows)
    assert len(scores.examples) == 30
    assert 0 <= scores.value("prompted_macro_f1") <= 1
    assert failures(scores, Bag(), data, rows, tmp_path / "vibe.png", most=2).stat().st_size > 0
    drawn: list[inspection.Exhibit] = []
    with monkeypatch.context() as only:
        only.setattr(inspection, "_draw", lambda title, exhibits, *rest: drawn.extend(exhibits))
        failures(scores, Bag(), data, rows, tmp_path / "vibe.png", most=5)
    types = set(data.items(GeneratedVideos, rows).kinds)
    for kind, _, taken in (exhibit.lines for exhibit in drawn):
        assert {kind[1:-1], taken[2:]} <= types, "its type and the one that it was taken for"
        assert kind[1:-1] != taken[2:]
    scores = create("videocon")(Bag(), data, rows)
    assert failures(scores, Bag(), data, rows, tmp_path / "videocon.png", most=2).stat().st_size > 0
    page = failures(scores, Bag(), data, rows, tmp_path / "videocon.html", most=2).read_text(encoding="utf-8")
    assert page.count('src="data:image/webp;base64,') == 2, "videos move on a page"


def test_compa_scores_squares_of_sounds() -> None:
    data = Sounds.parse("sounds:order,train=2,validation=2,test=20,pixels=24,as=pictures")
    scores = create("compa")(Bag(), data, data.splits.test["as trained"])
    assert scores.value("text") == scores.value("group") == 0  # the same words
    assert scores.metrics["audio"].chance == 0.25
    assert set(scores.examples["subset"]) <= {"order", "attribute"}
