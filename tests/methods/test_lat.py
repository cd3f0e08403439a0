"""LaT: translators, cycles, and a score in two spaces that is one inner product."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from method_stubs import LATE, RECIPE, StubText, batch, build, run, total
from torch import Tensor, nn

from counterpoint.losses import InfoNCELoss
from counterpoint.methods.lat import LaT

F64 = torch.float64


def contrast(x: Tensor, y: Tensor, tau: float = 0.05) -> Tensor:
    logits = F.normalize(x, dim=1) @ F.normalize(y, dim=1).T / tau
    own = torch.arange(len(x))
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


def apart(x: Tensor, y: Tensor) -> Tensor:
    return (F.normalize(x, dim=1) - F.normalize(y, dim=1)).square().sum(1).mean()


@pytest.mark.parametrize(("cycle", "compare"), [("contrast", contrast), ("distance", apart)])
@pytest.mark.parametrize("weight", [1.0, 0.5])
def test_translation_and_cycle_are_those_of_the_definition(
    cycle: str, compare: object, weight: float
) -> None:
    method = build("lat", cycle=cycle, weight=weight).double()
    given = batch(method, dtype=F64)
    v, t = method.image_tower(given["image"]), method.text_tower(given["text"])
    there, here = method.translators["image"](v), method.translators["text"](t)
    translation = contrast(there, t) + contrast(here, v)
    back = compare(method.translators["text"](there), v) + compare(method.translators["image"](here), t)  # type: ignore[operator]
    losses = run(method, given)
    torch.testing.assert_close(losses["translation"], translation)
    torch.testing.assert_close(losses["cycle"], weight * back)


def test_without_weight_two_losses_translation_value_gradients() -> None:
    method = build("lat", weight=0.0).double()
    given = batch(method, dtype=F64)
    assert set(run(method, given)) == {"translation"}
    parameters = list(method.parameters())
    ours = torch.autograd.grad(total(method, given), parameters)
    z, loss = method.encode(given), InfoNCELoss(0.05)
    parent = sum(
        loss(F.normalize(method.translators[a](z[a]), dim=1), F.normalize(z[b], dim=1))
        for a, b in (("image", "text"), ("text", "image"))
    )
    for a, b in zip(ours, torch.autograd.grad(parent, parameters), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-14)


def test_inner_product_of_embeddings_mean_cosine_of_both_spaces() -> None:
    method = build("lat").double()
    given = batch(method, dtype=F64)
    v, t = method.image_tower(given["image"]), method.text_tower(given["text"])
    in_text = F.normalize(method.translators["image"](v), dim=1) @ F.normalize(t, dim=1).T
    in_image = F.normalize(v, dim=1) @ F.normalize(method.translators["text"](t), dim=1).T
    x, y = (method.embed_prepared(column, given[column]) for column in ("image", "text"))
    torch.testing.assert_close(x @ y.T, (in_text + in_image) / 2)
    torch.testing.assert_close(method.similarity(x, y), x @ y.T)
    assert method.float().width == v.shape[1] + t.shape[1]


def equally_wide() -> LaT:
    one, other = StubText(), StubText()
    return LaT({"question": one, "answer": other}, RECIPE).double()


def test_identities_are_the_joint_space() -> None:
    method = equally_wide()
    method.translators = nn.ModuleDict({column: nn.Identity() for column in method.columns})
    z = {column: torch.randn(6, 10, dtype=F64) for column in method.columns}
    x, y = (F.normalize(method.project(column, z[column], "global"), dim=1) for column in method.columns)
    u, w = (F.normalize(z[column], dim=1) for column in method.columns)
    torch.testing.assert_close(x @ y.T, u @ w.T)
    losses = method.losses(z, batch(method), LATE)
    torch.testing.assert_close(losses["translation"], 2 * InfoNCELoss(0.05)(u, w))


def test_translators_begin_near_identity_and_say_how_far_went() -> None:
    method = equally_wide()
    u = torch.randn(50, 10, dtype=F64)
    assert 0 < method.distance("question", u).item() < 0.3
    final = method.translators["question"].branch[-1]
    nn.init.zeros_(final.weight)
    assert method.distance("question", u).item() == pytest.approx(0, abs=1e-12)
    nn.init.constant_(final.bias, 1e9)
    unrelated = F.normalize(torch.ones(10, dtype=F64), dim=0) - F.normalize(u, dim=1)
    assert method.distance("question", u).item() == pytest.approx(
        unrelated.norm(dim=1).mean().item(), rel=1e-6
    )
    with pytest.raises(ValueError, match="spaces of image and text have different widths"):
        build("lat").distance("image", torch.randn(3, 12))


def test_columns_that_share_tower_are_translated_there_and_back() -> None:
    tower = StubText()
    method = LaT({"question": tower, "answer": tower}, RECIPE)
    assert set(method.translators) == {"question", "answer"}
    texts = ["a red cat", "an old hill"]
    x, y = (method.embed(column, texts) for column in ("question", "answer"))
    assert not torch.equal(x, y)


def test_a_detached_cycle_takes_what_it_returns_to_as_given() -> None:
    given = None
    gradients = []
    for detached in (False, True):
        method = build("lat", detached=detached).double()
        given = given or batch(method, dtype=F64)
        z = {name: value.detach().requires_grad_() for name, value in method.encode(given).items()}
        cycle = method.losses(z, given, LATE)["cycle"]
        gradients.append(torch.autograd.grad(cycle, [z["image"], method.translators["image"][0].weight]))
    torch.testing.assert_close(*(g[1] for g in gradients))  # what translates learns alike
    assert not torch.allclose(*(g[0] for g in gradients))
