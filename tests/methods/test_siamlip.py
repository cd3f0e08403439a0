"""SiamLIP and BYOLIP against the card: directions, stop-gradients, batch norms, momentum copies."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from method_stubs import LATE, batch, build, features, run, through, total
from torch import Tensor, nn

F64 = torch.float64
both = pytest.mark.parametrize("name", ["siamlip", "byolip"])


def random_views(a_views: int, size: int = 12, width: int = 8) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(0)
    names = ["image", "text", *(f"{m}.{a}" for m in ("image", "text") for a in range(1, a_views + 1))]
    return {name: torch.randn(size, width, generator=g, dtype=F64) for name in names}


def distance(p: Tensor, v: Tensor) -> Any:
    cosines = [(p[i] @ v[i].detach()) / (p[i].norm() * v[i].detach().norm()) for i in range(len(p))]
    return 2 - 2 * sum(cosines) / len(cosines)


def bare(method: Any) -> Any:
    """The same method with the identity as projectors, norms and predictors."""
    for heads in (method.term.projector, method.term.norm, method.term.predictor):
        for stream in heads.values():
            for modality in stream:
                stream[modality] = nn.Identity()
    if method.momentum is not None:
        method.momentum.module["term"] = copy.deepcopy(method.term)
    return method


@both
@pytest.mark.parametrize("a_views", [0, 1, 2])
def test_term_is_the_mean_over_all_pairs_and_both_directions(name: str, a_views: int) -> None:
    method = bare(through(name, views=a_views))
    views = random_views(a_views)
    terms = [distance(views["image"], views["text"]), distance(views["text"], views["image"])]
    for a in range(1, a_views + 1):
        for b in range(1, a_views + 1):
            terms.append(distance(views[f"image.{a}"], views[f"text.{b}"]))
            terms.append(distance(views[f"text.{a}"], views[f"image.{b}"]))
    assert len(terms) == 2 + 2 * a_views**2
    torch.testing.assert_close(run(method, features(**views))[name], sum(terms) / len(terms))


@both
@pytest.mark.parametrize(("turn", "expected"), [("same", 0.0), ("opposite", 4.0), ("orthogonal", 2.0)])
def test_distance_reaches_from_0_to_4(name: str, turn: str, expected: float) -> None:
    x = torch.eye(8, dtype=F64)
    y = {"same": x, "opposite": -x, "orthogonal": x.roll(1, 0)}[turn]
    loss = run(bare(through(name)), features(image=x, text=y))[name]
    assert loss.item() == pytest.approx(expected, abs=1e-6)


def test_images_predictor_predicts_text_and_only_predictor_moves() -> None:
    method = bare(through("siamlip"))
    image, text = (nn.Linear(8, 8, bias=False, dtype=F64) for _ in range(2))
    method.term.predictor["global"]["image"], method.term.predictor["global"]["text"] = image, text
    views = {k: v.requires_grad_() for k, v in random_views(0).items()}
    loss = run(method, features(**views))["siamlip"]
    to_text, to_image = image(views["image"]), text(views["text"])
    expected = (distance(to_text, views["text"]) + distance(to_image, views["image"])) / 2
    torch.testing.assert_close(loss, expected)
    # `distance` detaches its target: equal gradients mean that nothing flows into the targets here either.
    for ours, theirs in zip(
        torch.autograd.grad(loss, list(views.values())),
        torch.autograd.grad(expected, list(views.values())),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


def test_heads_are_the_cards() -> None:
    term = build("siamlip").term
    for modality in ("image", "text"):
        projector = term.projector["global"][modality]
        assert [type(layer).__name__ for layer in projector] == ["Linear", "BatchNorm1d", "ReLU", "Linear"]
        assert projector[0].bias is None
        assert projector[3].bias is None
        assert not term.norm["global"][modality].affine
        predictor = term.predictor["global"][modality]
        assert [type(layer).__name__ for layer in predictor] == ["Linear", "BatchNorm1d", "ReLU", "Linear"]
        assert predictor[3].bias is not None
    assert isinstance(build("siamlip", last_norm=False).term.norm["global"]["image"], nn.Identity)


@both
def test_streams_share_weights_but_not_the_last_norm(name: str) -> None:
    method = build(f"{name}-rocket")
    term = method.term
    assert set(term.projector) == set(term.predictor) == {"global"}
    run(method, batch(method))
    for modality in ("image", "text"):
        inner, outer = term.projector["global"][modality][1], term.norm
        assert int(inner.num_batches_tracked) == 3
        assert int(outer["global"][modality].num_batches_tracked) == 1
        assert int(outer["local"][modality].num_batches_tracked) == 2
        assert not torch.allclose(
            outer["global"][modality].running_mean, outer["local"][modality].running_mean
        )


@both
def test_the_local_stream_may_have_heads_of_its_own(name: str) -> None:
    method = build(f"{name}-rocket", separate_proj_child=True)
    term = method.term
    run(method, batch(method))
    assert set(term.projector) == set(term.predictor) == {"global", "local"}
    assert not torch.equal(
        term.projector["global"]["image"][0].weight, term.projector["local"]["image"][0].weight
    )
    assert int(term.projector["global"]["image"][1].num_batches_tracked) == 1
    assert int(term.predictor["local"]["text"][1].num_batches_tracked) == 2


@both
def test_a_batch_of_one_has_no_batch_statistics(name: str) -> None:
    method = build(name)
    with pytest.raises(ValueError, match="needs batch_size of 2 or more"):
        run(method, batch(method, 1))


@both
@pytest.mark.parametrize("recipe", ["", "-rocket"])
def test_weight_0_leaves_the_contrastive_loss(name: str, recipe: str) -> None:
    method, parent = build(name + recipe, ssl_weight=0.0), build("clip" + recipe)
    given = batch(method)
    torch.testing.assert_close(total(method, given), total(parent, given), rtol=0, atol=0)


@both
def test_terms_add_up_with_the_weight(name: str) -> None:
    once, thrice = build(name), build(name, ssl_weight=3.0)
    given = batch(once)
    torch.testing.assert_close(run(thrice, given)[name], 3 * run(once, given)[name])


def step(method: Any, given: Any) -> None:
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=0.1)
    total(method, given).backward()
    optimizer.step()
    method.after_step({}, given, LATE)


@pytest.mark.parametrize("name", ["byolip", "byolip-rocket"])
def test_the_copy_follows_the_parameters_alone(name: str) -> None:
    method = build(name)
    online = nn.ModuleDict({"towers": method.towers, "term": method.term})
    start = {k: v.clone() for k, v in online.state_dict().items()}
    for key, value in method.momentum.module.state_dict().items():
        assert torch.equal(value, start[key])
    given = batch(method)
    step(method, given)
    now, slow = online.state_dict(), method.momentum.module.state_dict()
    for key, _ in online.named_parameters():
        if now[key].ndim > 1:
            assert not torch.equal(now[key], start[key])
        torch.testing.assert_close(slow[key], 0.99 * start[key] + 0.01 * now[key])
    assert not any(p.requires_grad or p.grad is not None for p in method.momentum.parameters())


def test_the_copys_batch_norms_keep_their_own_statistics() -> None:
    method = build("byolip")
    given = batch(method)
    for _ in range(3):
        step(method, given)
    with torch.no_grad():
        for buffer_name, buffer in method.term.named_buffers():
            if "running" in buffer_name:
                buffer.fill_(100.0)
    slow = method.momentum.module["term"]
    before = {k: v.clone() for k, v in slow.named_buffers()}
    method.after_step({}, given, LATE)
    assert all(torch.equal(v, before[k]) for k, v in slow.named_buffers())
    for modality in ("image", "text"):
        assert int(slow.projector["global"][modality][1].num_batches_tracked) == 3  # of its own passes
        assert int(slow.predictor["global"][modality][1].num_batches_tracked) == 0  # nobody reads it


def test_targets_are_the_copys_projections_of_the_same_views() -> None:
    method = build("byolip-rocket")
    given = batch(method)
    for _ in range(2):
        step(method, given)
    method.train()
    copied = copy.deepcopy(method.momentum.module)
    targets = method.targets(given)
    assert set(targets) == {f"momentum.{name}" for name in method.views}
    for name, view in method.views.items():
        modality = view.modality
        hidden = copied["term"].projector["global"][modality](copied["towers"][modality](given[name]))
        assert copied.training
        mean, deviation = hidden.mean(0), hidden.var(0, unbiased=False)
        torch.testing.assert_close(
            targets[f"momentum.{name}"], (hidden - mean) / (deviation + 1e-5).sqrt(), rtol=1e-4, atol=1e-5
        )


def test_the_loss_reads_the_given_targets() -> None:
    method = bare(through("byolip"))
    views = random_views(0)
    z = method.encode(features(**views))
    z |= {"momentum.image": views["text"], "momentum.text": views["image"]}
    loss = method.losses(z, features(**views), LATE)["byolip"]
    assert loss.item() == pytest.approx(0, abs=1e-9)


def test_the_copy_costs_a_second_pass_and_shares_the_mode() -> None:
    for name, count in (("byolip", 1), ("byolip-rocket", 3)):
        method = build(name)
        run(method, batch(method, 5))
        assert method.passes() == {"image": 2 * count, "text": 2 * count}
        assert method.image_tower.calls == [5] * count
        assert method.momentum.module["towers"]["image"].calls == [5] * count
        assert not any(m.training for m in method.eval().modules())
    assert build("siamlip").passes() == {"image": 1, "text": 1}


def test_momentum_1_never_moves_and_0_follows_at_once() -> None:
    for m in (1.0, 0.0):
        method = build("byolip", momentum=m)
        start = method.momentum.module["towers"]["image"].linear.weight.clone()
        step(method, batch(method))
        now = method.towers["image"].linear.weight.detach()
        assert torch.equal(method.momentum.module["towers"]["image"].linear.weight, start if m else now)


def test_byolip_starts_as_siamlip() -> None:
    siamlip, byolip = build("siamlip"), build("byolip")
    given = batch(siamlip)
    torch.testing.assert_close(run(byolip, given)["byolip"], run(siamlip, given)["siamlip"])


def test_a_projection_that_has_collapsed_shows_in_its_spread() -> None:
    method = build("siamlip")
    z = method.encode(batch(method, 256))
    v = F.normalize(method.term.project(z)["image"], dim=-1)
    healthy = v.shape[1] ** -0.5
    assert healthy / 2 < float(v.detach().std(0).mean()) < 1.1 * healthy
