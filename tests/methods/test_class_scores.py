"""Methods of class scores: heads, blends, priors, and what an example without a class leaves alone."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from method_stubs import FIVE, LATE, RECIPE, batch, build, run
from torch import Tensor

from counterpoint.networks.mixup import PARTNER, SHARE
from counterpoint.types import Batch, StepInfo, Target

NAMES = ("cross-entropy", "logit-adjusted", "harmonic")
F64 = torch.float64
START = StepInfo(0, 10)


def loss_of(name: str, given: Batch | None = None, **options: Any) -> tuple[Any, Batch, Tensor]:
    method = build(name, **options).double()
    given = batch(method, 12, dtype=F64) if given is None else given
    return method, given, torch.stack(list(run(method, given).values())).sum()


def test_heads_score_by_inner_products_cosines_and_distances() -> None:
    for head in ("linear", "cosine", "distance"):
        method, given, loss = loss_of("cross-entropy", head=head)
        z, w = method.encode(given)["image"], method.head.weight
        scores = {
            "linear": z @ w.T,
            "cosine": F.normalize(z, dim=1) @ F.normalize(w, dim=1).T / 0.05,
            "distance": -0.5 * torch.cdist(z, w).square(),
        }[head]
        torch.testing.assert_close(loss, F.cross_entropy(scores, given.labels["group"]))
        found = method.float().classify({"image": (255 * given["image"]).to(torch.uint8)})
        assert found.shape == (12, 5)
        torch.testing.assert_close(found.sum(1), torch.ones(12))


def test_a_temperature_is_of_cosines() -> None:
    with pytest.raises(ValueError, match=r"temperature=0\.1 is of cosines"):
        build("cross-entropy", temperature=0.1)


@pytest.mark.parametrize("name", [*NAMES, "gml"])
def test_an_example_without_a_class_counts_for_nothing(name: str) -> None:
    method, given, _ = loss_of(name)
    some = replace(given, labels={"group": torch.where(torch.arange(12) % 3 == 1, -1, given.labels["group"])})
    here = torch.arange(12) % 3 != 1
    kept = Batch(
        given.ids[here], {n: v[here] for n, v in given.views.items()}, {"group": given.labels["group"][here]}
    )
    for term, value in run(method, some).items():
        torch.testing.assert_close(value, run(method, kept)[term])
    nobody = replace(given, labels={"group": torch.full((12,), -1)})
    assert all(value.item() == 0 for value in run(method, nobody).values())


@pytest.mark.parametrize("name", NAMES)
def test_blends_are_of_both_classes(name: str) -> None:
    method, given, _ = loss_of(name, mixup=0.5)
    share = given.labels[SHARE].to(F64)
    plain = build(name).double()
    z = plain.encode(given)["image"]

    def alone(row: int, label: Tensor) -> Tensor:
        one = Batch(given.ids[row : row + 1], {}, {"group": label[row : row + 1]})
        return next(iter(plain.losses({"image": z[row : row + 1]}, one, LATE).values()))

    both = (given.labels["group"], given.labels[PARTNER + "group"])
    parts = [alone(row, label) for label in both for row in range(12)]
    weights = torch.cat([share, 1 - share])
    expected = (torch.stack(parts) * weights).sum() / weights.sum()
    torch.testing.assert_close(next(iter(run(method, given).values())), expected)
    assert method.draws
    assert not plain.draws


def looked(*classes: int) -> Any:
    labels = {"group": torch.tensor(classes)}
    return SimpleNamespace(ids=torch.arange(len(classes)), labels=labels, map=lambda function: function)


def test_priors_counted_from_training_labels_stand_in_training() -> None:
    method, given, before = loss_of("logit-adjusted")
    method.on_epoch_start(looked(0, 0, 0, 0, 1, 1, 2, 3, -1), START)
    expected = torch.tensor([4, 2, 1, 1, 1], dtype=F64) / 9
    torch.testing.assert_close(method.prior, expected, rtol=1e-6, atol=0)
    logits = method.logits(method.encode(given), given)
    adjusted = F.cross_entropy(logits + method.prior.log(), given.labels["group"])
    torch.testing.assert_close(run(method, given)["logit_adjusted"], adjusted)
    torch.testing.assert_close(before, F.cross_entropy(logits, given.labels["group"]))


@pytest.mark.parametrize("name", NAMES)
def test_a_run_logs_the_mean_norm_of_the_class_vectors(name: str) -> None:
    method = build(name)
    with torch.no_grad():
        method.head.weight.zero_()[:, 0] = torch.arange(len(method.head.weight), dtype=torch.float32)
    assert method.numbers() == {"class_norm": (len(method.head.weight) - 1) / 2}


def test_harmonic_tells_the_nearest_centre() -> None:
    method = build("harmonic").eval()
    pictures = torch.randint(
        0, 256, (9, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    z = method.features("image", method.inputs["image"](pictures))
    found = method.classify({"image": pictures})
    assert torch.equal(found, method.classify(pictures))
    assert torch.equal(found.argmax(1), torch.cdist(z, method.head.weight).argmin(1))
    n = 12**0.5
    powers = (torch.cdist(z, method.head.weight).square() + 1e-4) ** (-n / 2)
    torch.testing.assert_close(found, powers / powers.sum(1, keepdim=True), rtol=1e-4, atol=1e-6)


# Tags


@pytest.mark.parametrize("name", ["bce", "asymmetric"])
def test_tags_asked_one_by_one_and_those_are_not_known_left_out(name: str) -> None:
    method, given, loss = loss_of(name)
    tags, logits = given.labels["tags"], method.logits(method.encode(given), given)
    costs = torch.where(tags == 1, method.objective.positive(logits), method.objective.negative(logits))
    rows = (tags >= 0).any(1)
    torch.testing.assert_close(loss, (costs * (tags >= 0)).sum(1)[rows].mean())
    nothing = replace(given, labels={"tags": torch.full_like(tags, -1)})
    assert next(iter(run(method, nothing).values())).item() == 0


def test_several_tags_may_be_likely() -> None:
    method = build("bce").eval()
    with torch.no_grad():
        method.head.bias.fill_(4.0)
        method.head.weight.mul_(0.01)
    pictures = torch.zeros(3, 3, 8, 8, dtype=torch.uint8)
    assert (method.classify({"image": pictures}) > 0.9).all()


def test_blends_of_tags_are_of_both_examples() -> None:
    method, given, loss = loss_of("bce", mixup=0.5)
    share = given.labels[SHARE].to(F64)
    tags = torch.cat([given.labels["tags"], given.labels[PARTNER + "tags"]])
    logits = method.logits(method.encode(given), given).repeat(2, 1)
    each = F.binary_cross_entropy_with_logits(logits, (tags == 1).to(F64), reduction="none")
    weights = torch.cat([share, 1 - share]) * (tags >= 0).any(1)
    expected = ((each * (tags >= 0)).sum(1) * weights).sum() / weights.sum()
    torch.testing.assert_close(loss, expected)


def softmax_of_tags(scores: Tensor, tags: Tensor, coupled: str) -> Tensor:
    """Compute what the tags of one example cost, by plain loops."""
    true, false = ([s for s, tag in zip(scores, tags.tolist(), strict=True) if tag == k] for k in (1, 0))
    if not true:
        return scores.sum() * 0
    others = false if coupled == "none" else [*true, *false]
    costs = [
        -(s.exp() / (torch.stack([*others, *([s] if coupled == "none" else [])]).exp().sum())).log()
        for s in true
    ]
    return torch.stack(costs).sum() / (1 if coupled == "sum" else len(costs))


@pytest.mark.parametrize("coupled", ["none", "sum", "mean"])
@pytest.mark.parametrize("head", ["cosine", "linear", "distance"])
def test_tags_compete_with_those_that_do_not_apply(coupled: str, head: str) -> None:
    method, given, loss = loss_of("decoupled-softmax", coupled=coupled, head=head)
    if method.head.bias is not None:
        with torch.no_grad():
            method.head.bias.uniform_(-1, 1)
        (loss,) = run(method, given).values()
    tags, logits = given.labels["tags"], method.logits(method.encode(given), given)
    costs = [
        softmax_of_tags(s, row, coupled) for s, row in zip(logits, tags, strict=True) if (row >= 0).any()
    ]
    torch.testing.assert_close(loss, torch.stack(costs).mean())
    nothing = replace(given, labels={"tags": torch.full_like(tags, -1)})
    assert next(iter(run(method, nothing).values())).item() == 0


@pytest.mark.parametrize("coupled", ["none", "sum", "mean"])
def test_with_one_tag_each_decoupled_softmax_is_cross_entropy(coupled: str) -> None:
    tags = build("decoupled-softmax", coupled=coupled, target=Target("tags", FIVE.classes, "tags")).double()
    classes = build("cross-entropy", head="cosine").double()
    classes.head.load_state_dict(tags.head.state_dict())
    given = batch(classes, 12, dtype=F64)
    group = torch.where(torch.arange(12) % 4 == 1, -1, given.labels["group"])  # some of nothing is known
    hot = torch.where(group[:, None] < 0, -1, F.one_hot(group.clamp_min(0), 5))
    found = []
    for method, labels in ((tags, {"tags": hot}), (classes, {"group": group})):
        (loss,) = run(method, replace(given, labels=labels)).values()
        found.append((loss, *torch.autograd.grad(loss, [method.head.weight, *method.towers.parameters()])))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-14)


def test_blends_of_tags_share_their_softmax() -> None:
    method, given, loss = loss_of("decoupled-softmax", mixup=0.5)
    share = given.labels[SHARE].to(F64)
    tags = torch.cat([given.labels["tags"], given.labels[PARTNER + "tags"]])
    logits = method.logits(method.encode(given), given).repeat(2, 1)
    costs = torch.stack([softmax_of_tags(s, row, "none") for s, row in zip(logits, tags, strict=True)])
    weights = torch.cat([share, 1 - share]) * (tags >= 0).any(1)
    torch.testing.assert_close(loss, (costs * weights).sum() / weights.sum())


def test_as_many_tags_are_likely_as_examples_have_on_average() -> None:
    method = build("decoupled-softmax", target=Target("tags", tuple("abcdef"), "tags")).eval()
    tags = torch.zeros(1000, 6, dtype=torch.int64)
    tags[:, :2], tags[::2, 2] = 1, 1
    tags[::3] = -1
    seen: Any = SimpleNamespace(ids=torch.arange(1000), labels={"tags": tags}, map=lambda function: function)
    method.on_epoch_start(seen, START)
    assert float(method.usual) == pytest.approx(2.5, abs=0.01)
    scores = torch.tensor([[14.0, 2.0, 8.0, -9.0, -15.0, -12.0]])
    for shift in (0.0, 40.0):  # the loss does not know it
        p = method.probabilities(scores + shift)[0]
        assert torch.equal(p.argsort(descending=True), scores[0].argsort(descending=True))
        assert float(p.sum()) == pytest.approx(float(method.usual), rel=1e-4)
        assert p[[0, 2]].min() > 0.99
        assert p[1] == pytest.approx(0.5, abs=0.01)
        assert p[3:].max() < 0.01
    alike = method.probabilities(torch.zeros(2, 6))
    torch.testing.assert_close(alike, (method.usual / 6).expand(2, 6))


# GML


def test_a_step_s_keys_are_met_and_then_kept_by_class() -> None:
    method, given, _ = loss_of("gml")
    method.on_epoch_start(looked(*[0] * 16, *[1] * 8, 2, 3, 4), START)
    assert method.queue.sizes.sum() == 40
    assert method.queue.sizes.tolist() == sorted(method.queue.sizes.tolist(), reverse=True)
    z = method.targets(given) | method.encode(given)
    k = z["momentum.image.2"]
    q = F.normalize(method.projection(z["image.1"]), dim=-1)
    alone = method.contrast(
        q, k, given.labels["group"], method.prior, given.ids, labels=given.labels["group"], ids=given.ids
    )
    torch.testing.assert_close(method.losses(z, given, LATE)["gml"], alone)
    method.after_step(z, given, LATE)
    held = method.queue.ids[method.queue.ids >= 0]
    assert set(held.tolist()) <= set(range(12))
    assert torch.equal(method.queue.labels[method.queue.ids >= 0], held % 5)
    method.on_epoch_start(looked(*[0] * 16, *[1] * 8, 2, 3, 4), START)
    assert torch.equal(method.queue.ids[method.queue.ids >= 0], held), (
        "the same priors leave the queue as it is"
    )


def test_a_queue_that_is_too_small_for_the_classes_is_refused() -> None:
    with pytest.raises(
        ValueError, match="a queue of 9 keys has not 2 for each of 5 classes: take 10 or more"
    ):
        build("gml", queue=9)


def test_without_a_label_it_says_how_to_name_one() -> None:
    from counterpoint.methods.cross_entropy import CrossEntropy

    made = build("cross-entropy", target=FIVE)
    with pytest.raises(ValueError, match="--labels NAME"):
        CrossEntropy({"image": made.tower("image")}, RECIPE)
