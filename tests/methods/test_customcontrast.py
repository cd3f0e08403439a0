"""CustomContrast: what is cut out and detached, who is a negative, and what reaches which layer."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from method_stubs import build, loaded, run

from counterpoint.losses import AppearanceContrastLoss
from counterpoint.methods.customcontrast import APPEARANCE
from counterpoint.testing._stubs import LATE
from counterpoint.types import Batch

F64 = torch.float64


def given(method: Any, size: int = 12) -> Batch:
    return loaded(method, size, dtype=F64)


def test_appearances_are_those_of_cut_outs_and_know_no_background() -> None:
    method = build("customcontrast").double()
    batch = given(method)
    maps, pictures = batch["map"], batch["image"]
    changed = torch.where((maps == 0)[:, None], torch.rand_like(pictures), pictures)
    assert not torch.equal(changed, pictures)
    with torch.no_grad():
        seen, other = (
            method.targets(Batch(batch.ids, {**batch.views, "image": x}, batch.labels))
            for x in (pictures, changed)
        )
    torch.testing.assert_close(seen[APPEARANCE + "map"], other[APPEARANCE + "map"], rtol=0, atol=0)


def test_the_judge_neither_moves_nor_passes_gradient() -> None:
    method = build("customcontrast").double().train()
    terms = run(method, given(method))
    assert terms.keys() == {"text", "appearance"}
    torch.stack(list(terms.values())).sum().backward()
    assert all(p.grad is None and not p.requires_grad for p in method.judge.parameters())
    assert not method.judge.training
    assert all(layer.weight.grad.any() for layer in method.vectors)


def test_a_subject_is_never_its_own_negative() -> None:
    x = F.normalize(torch.randn(4, 5, dtype=F64), dim=1)
    loss, labels = AppearanceContrastLoss(0.2), torch.tensor([0, 0, 0, 0])
    assert loss(x, labels=labels).item() == 0  # without another subject nothing is pushed
    method = build("customcontrast").double()
    batch = given(method)
    same = Batch(batch.ids, batch.views, {**batch.labels, method.label: torch.zeros_like(batch.ids)})
    assert all(term.item() == pytest.approx(0, abs=1e-12) for term in run(method, same).values())


def test_subjects_that_look_alike_repel_less_and_weights_have_no_gradient() -> None:
    x = F.normalize(torch.randn(6, 5, dtype=F64), dim=1)
    labels = torch.arange(6) // 2
    looks = F.normalize(torch.rand(6, 3, dtype=F64), dim=1).requires_grad_()
    loss = AppearanceContrastLoss(0.2)
    value = loss(x.requires_grad_(), labels=labels, appearances=looks)
    assert value < loss(x, labels=labels)
    value.backward()
    assert looks.grad is None
    assert x.grad is not None


def test_without_scale_no_map_is_read_and_all_weights_are_one() -> None:
    method, plain = build("customcontrast").double(), build("customcontrast", scaled=False).double()
    plain.load_state_dict(method.state_dict())
    batch = given(method)
    assert "map" not in plain.views
    assert plain.targets(batch) == {}
    assert plain.passes()["image"] == method.passes()["image"] - 1
    z = plain.encode(batch)
    layers = plain.layer_vectors(z["image"]).unbind(1)
    expected = torch.stack(
        [AppearanceContrastLoss(0.1)(s, labels=batch.labels[plain.label]) for s in layers]
    ).mean()
    torch.testing.assert_close(plain.losses(z, batch, LATE)["appearance"], expected)


def test_the_embedding_is_the_vectors_of_all_layers() -> None:
    method = build("customcontrast", layers=2).double()
    picture = given(method)["image"]
    z = method.features("image", picture)
    vectors = method.layer_vectors(z)
    assert vectors.shape == (12, 2, method.text_tower.width)
    cosines = method.project("image", z, "global") @ method.project("image", z, "global").T
    torch.testing.assert_close(cosines, torch.einsum("ilw,jlw->ij", vectors, vectors) / 2)
    with pytest.raises(ValueError, match="learns from text"):
        method.embed("text", ["a cat"])
