"""DiHT's distillation: the targets, what moves, and what counts as a concept."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from method_stubs import WordTokenizer, batch, build, run, teacher, total

from counterpoint.losses import DiHTLoss
from counterpoint.types import Batch

F64 = torch.float64


def test_is_hard_negatives_and_two_soft_cross_entropies() -> None:
    method = build("diht-distilled", weight=0.5, top=3, beta=0.5).double()
    given = batch(method, 6, dtype=F64)
    z = method.targets(given) | method.encode(given)
    losses = run(method, given)
    x, y = (F.normalize(method.projections[m](z[m]), dim=-1) for m in ("image", "text"))
    torch.testing.assert_close(losses["diht"], DiHTLoss(0.07, beta=0.5).double()(x, y), rtol=1e-6, atol=0)
    with torch.no_grad():
        seen = method.teacher_concepts(method.teacher(given["image"])).softmax(-1)
        student = method.student_concepts(z["image"]).log_softmax(-1)
    distilled, fitted = [], []
    for i in range(6):
        best = sorted(range(WordTokenizer.vocabulary), key=lambda c, i=i: -float(seen[i, c]))[:3]
        mass = sum(float(seen[i, c]) for c in best)
        distilled.append(-sum(float(seen[i, c]) / mass * float(student[i, c]) for c in best))
        own = {int(t) for t in given["text"][i] if int(t) != WordTokenizer.end}
        fitted.append(-sum(float(seen[i, c].log()) for c in own) / len(own))
    assert losses["concepts"].item() == pytest.approx(0.5 * sum(distilled) / 6, rel=1e-9)
    assert losses["teacher"].item() == pytest.approx(sum(fitted) / 6, rel=1e-9)


def test_the_teacher_stays_and_only_its_head_learns_of_captions() -> None:
    method = build("diht-distilled").train()
    given = batch(method, 6)
    losses = run(method, given)
    losses["concepts"].backward(retain_graph=True)
    assert method.teacher_concepts.weight.grad is None
    assert method.image_tower.linear.weight.grad is not None
    method.zero_grad()
    losses["teacher"].backward()
    assert method.teacher_concepts.weight.grad is not None
    assert method.image_tower.linear.weight.grad is None
    assert all(p.grad is None and not p.requires_grad for p in method.teacher.parameters())
    assert not any(module.training for module in method.teacher.modules())


def test_what_every_caption_says_is_no_concept() -> None:
    method = build("diht-distilled")
    end = WordTokenizer.end
    tokens = torch.tensor([[5, 7, end, 9], [5, 8, 7, end], [5, 8, 8, end]])
    there = method.concepts(tokens)
    assert [row.nonzero().flatten().tolist() for row in there] == [
        [7],
        [7, 8],
        [8],
    ]  # after the end is padding


def test_captions_without_concepts_cost_the_teacher_nothing() -> None:
    method = build("diht-distilled")
    given = batch(method, 4)
    same = Batch(given.ids, {**given.views, "text": given["text"][:1].expand(4, -1)})
    losses = run(method, same)
    assert losses["teacher"].item() == 0
    assert total(method, same).isfinite()


def test_more_concepts_than_there_are_are_all_of_them() -> None:
    few, all_ = (build("diht-distilled", top=k) for k in (WordTokenizer.vocabulary, 10_000))
    given = batch(few, 4)
    assert torch.equal(run(few, given)["concepts"], run(all_, given)["concepts"])


def test_a_teacher_without_weights_is_refused() -> None:
    with pytest.raises(ValueError, match="has no weights"):
        build("diht-distilled", teacher="vit")


def test_a_teacher_is_named_like_a_tower() -> None:
    assert teacher().startswith("vit@")
    with pytest.raises(ValueError, match="unknown image tower"):
        build("diht-distilled", teacher="vitt@file")
