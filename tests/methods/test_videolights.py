"""VideoLights: matched spans, terms against loops, constant labels, empty spans, negatives that are positives."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch
from method_stubs import build, loaded, run
from torch import Tensor

from counterpoint.data.source import load_any
from counterpoint.evaluation.task import subsample_by_hash
from counterpoint.evaluation.tasks.moments import Moments, detected, highlighted, runs
from counterpoint.methods._moments import agreement, overlaps, ranked, separated, set_loss, spans_of
from counterpoint.networks.fusion.moments import SpanFeedback
from counterpoint.testing._stubs import INPUTS
from counterpoint.types import FindsMoments


def videolights(**options: Any) -> Any:
    return build("videolights", width=16, depth=1, queries=4, **options).eval()


def loop_iou(one: list[float], other: list[float]) -> float:
    inside = max(0.0, min(one[1], other[1]) - max(one[0], other[0]))
    union = one[1] - one[0] + other[1] - other[0] - inside
    hull = max(one[1], other[1]) - min(one[0], other[0])
    return inside / union - (hull - union) / hull


def test_set_loss_is_that_of_the_best_of_all_assignments() -> None:
    generator = torch.Generator().manual_seed(0)
    spans = 0.1 + 0.3 * torch.rand(1, 1, 4, 2, dtype=torch.float64, generator=generator)
    logits = torch.randn(1, 1, 4, dtype=torch.float64, generator=generator)
    truth = torch.tensor([[0.1, 0.3], [0.5, 0.9]], dtype=torch.float64)
    ends = [[float(c - w / 2), float(c + w / 2)] for c, w in spans[0, 0]]
    costs = []
    for choice in permutations(range(4), 2):
        cost = distance = 0.0
        for chosen, true in zip(choice, truth.tolist(), strict=True):
            centre, width = sum(true) / 2, true[1] - true[0]
            far = abs(float(spans[0, 0, chosen, 0]) - centre) + abs(float(spans[0, 0, chosen, 1]) - width)
            near = loop_iou(ends[chosen], true)
            cost += 10 * far - near - 4 / (1 + math.exp(-float(logits[0, 0, chosen])))
            distance += 10 * far + 1 - near
        costs.append((cost, distance / 2, choice))
    _, distance, choice = min(costs)
    weights = [1.0 if k in choice else 0.1 for k in range(4)]
    wrong = [math.log1p(math.exp(-float(s) if k in choice else float(s))) for k, s in enumerate(logits[0, 0])]
    expected = distance + 4 * sum(w * v for w, v in zip(weights, wrong, strict=True)) / sum(weights)
    values, _ = set_loss(spans, logits, [truth], torch.ones(1, dtype=torch.bool))
    assert values.item() == pytest.approx(expected, rel=1e-9)
    assert overlaps(torch.tensor([ends[0]]), truth[:1].float()).item() == pytest.approx(
        loop_iou(ends[0], truth[0].tolist()), rel=1e-5
    )


def test_clip_without_a_moment_has_the_classes_alone() -> None:
    spans, logits = torch.rand(1, 2, 3, 2), torch.zeros(1, 2, 3)
    values, _ = set_loss(spans, logits, spans_of(torch.zeros(1, 5)), torch.ones(1, dtype=torch.bool))
    assert values.item() == pytest.approx(2 * 4 * math.log(2), rel=1e-5)


def test_terms_are_those_of_loops() -> None:
    s = torch.tensor([[0.3, -0.1, 0.8, 5.0]], dtype=torch.float64)
    negative = torch.tensor([[0.2, 0.1, 0.0, 9.0]], dtype=torch.float64)
    label = torch.tensor([[2.0, 0.0, 4.0, 0.0]], dtype=torch.float64)
    known = torch.tensor([[True, True, True, False]])
    margin, has = separated(s, label, known, 0.2)
    pairs = [(0, 1), (2, 1), (2, 0)]
    assert margin.item() == pytest.approx(sum(max(0, 0.2 + float(s[0, j] - s[0, i])) for i, j in pairs) / 3)
    values, _ = ranked(s, negative, label, known, known)
    everything = math.log(sum(math.exp(2 * v) for v in (0.3, -0.1, 0.8, 0.2, 0.1, 0.0)))
    levels = [[0, 2], [0, 2], [2], [2]]
    assert values.item() == pytest.approx(
        sum(sum(everything - 2 * float(s[0, k]) for k in level) / len(level) for level in levels) / 4
    )
    cosine, squares, has = agreement(s, label, known)
    shifted, g = np.array([0.4, 0.0, 0.9]), np.array([2.0, 0.0, 4.0])
    shifted, g = shifted / np.linalg.norm(shifted), g / np.linalg.norm(g)
    assert cosine.item() == pytest.approx(1 - shifted @ g)
    assert squares.item() == pytest.approx(10 * ((shifted - g) ** 2).sum() / 3)
    assert has.all()


def test_constant_labels_have_no_order_to_agree_with() -> None:
    for value in (0.0, 3.0):
        label = torch.full((1, 3), value)
        s = torch.zeros(1, 3, requires_grad=True)
        known = torch.ones(1, 3, dtype=torch.bool)
        cosine, _, has = agreement(s, label, known)
        assert not has.any()
        assert not separated(s, label, known, 0.2)[1].any()
        torch.autograd.backward([cosine.sum()])
        assert s.grad is not None
        assert s.grad.isfinite().all()


def test_rows_of_one_text_are_no_negatives() -> None:
    method = videolights()
    batch = loaded(method, 4)
    texts = batch["text"].clone()
    texts[1:3] = texts[0]
    batch = replace(batch, views={**batch.views, "text": texts})
    for seed in range(5):
        torch.manual_seed(seed)
        pairs = method.pairs(method.encode(batch), batch)
        assert pairs["pair.clip"].tolist() == [0, 1, 2, 3]
        assert pairs["pair.query"][:3].tolist() == [3, 3, 3]
        assert pairs["pair.query"][3] != 3
    alone = replace(batch, views={**batch.views, "text": texts[:1].expand(4, -1)})
    losses = run(method, alone)
    assert losses["other query"].item() == 0
    assert all(loss.isfinite() for loss in losses.values())


def test_empty_span_reads_zeros_and_padding_does_not_count() -> None:
    feedback = SpanFeedback(4)
    frames, memory = torch.randn(1, 5, 4), torch.randn(1, 5, 4)
    none = torch.zeros(1, 5, dtype=torch.bool)
    assert feedback(frames, memory, none).isfinite().all()
    some = torch.tensor([[False, True, True, False, False]])
    longer = torch.cat([frames, torch.randn(1, 3, 4)], 1), torch.cat([memory, memory[:, :3]], 1)
    padded = feedback(*longer, torch.cat([some, torch.zeros(1, 3, dtype=torch.bool)], 1))
    torch.testing.assert_close(padded[:, :5], feedback(frames, memory, some))


def test_without_refinement_and_feedback_neither_is_built() -> None:
    method = videolights(refinement=0.0, feedback=0.0)
    assert {"feedback", "alignment"}.isdisjoint(run(method, loaded(method, 4)))
    assert (method.refine, method.again) == (None, None)


def test_moments_are_of_the_raw_clips() -> None:
    method = videolights()
    assert isinstance(method, FindsMoments)
    spans, saliency = method.find_moments({"video": INPUTS["video"], "text": INPUTS["text"]})
    assert spans.shape == (6, 4, 3)
    assert ((spans[..., 0] <= spans[..., 1]) & (spans >= 0).all(-1) & (spans <= 1).all(-1)).all()
    assert (~saliency.isnan()).sum(1).tolist() == INPUTS["video"].lengths.tolist()


def test_moments_of_a_few_clips_are_for_people_to_compare() -> None:
    data = load_any("clips:long,train=2,validation=2,test=8")

    class Finder:
        heads = ("default",)

        def embed(self, modality: str, inputs: Any, head: str = "default") -> Tensor:
            raise AssertionError("moments need no embeddings")

        def similarity(self, a: Tensor, b: Tensor) -> Tensor:
            return a @ b.T

        def find_moments(self, inputs: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
            lengths = inputs["video"].lengths
            places = torch.arange(int(lengths.max()))
            saliency = places.float().where(places < lengths[:, None], torch.nan)
            return torch.tensor([[[0.0, 0.5, 0.9]]]).expand(len(lengths), 1, 3), saliency

    rows = next(iter(data.splits.test.values()))
    model: Any = Finder()
    found = Moments()(model, data, rows).moments
    assert found is not None
    assert len(found.queries) == len(found.spans) == len(found.saliency) == len(found.true_spans) == 6
    assert set(found.queries) <= set(data.read("text", rows))
    chosen = subsample_by_hash(data, rows, 6, "moments")
    assert found.queries == tuple(data.read("text", rows[chosen]))
    np.testing.assert_array_equal(found.true_saliency, data.labels["saliency"].values[rows[chosen]])
    for drawn, true in zip(
        found.true_spans, runs(torch.from_numpy(data.labels["moments"].values[rows[chosen]])), strict=True
    ):
        np.testing.assert_allclose(drawn[: len(true)], true)
        assert np.isnan(drawn[len(true) :]).all()


def test_metrics_are_those_of_hand() -> None:
    truth = torch.tensor([[0.0, 0.5], [0.8, 1.0]])
    spans = torch.tensor([[0.0, 0.5, 0.2], [0.04, 0.5, 0.9], [0.8, 1.0, 0.5]])
    one, two, mean = detected(spans, truth)
    assert (one, two) == (1.0, 1.0)
    # The best span has IoU 0.92 with the first true one, the next but one has it exactly and finds it taken.
    taken, missed = (1 + 1) / 2, (1 / 2 + 2 / 3) / 2
    assert mean == pytest.approx((9 * taken + missed) / 10)
    assert math.isnan(detected(spans, truth[:0])[0])
    ap, hit = highlighted(np.array([0.9, 0.5, 0.7]), np.array([False, True, True]), np.ones(3, bool))
    assert ap == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert hit == 0
