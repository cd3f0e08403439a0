"""WhitenedCSE's method: a shuffle for each view, a head for training alone."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from method_stubs import StubText, batch, build, run, through, total
from torch import Tensor

from counterpoint.losses import SimCSELoss
from counterpoint.methods import Arm
from counterpoint.networks import GroupWhitening
from counterpoint.types import Batch

CAPTIONS = ["a red cat", "the old hill", "a green hill runs"]


def by_hand(method: object, views: list[Tensor], shuffles: list[Tensor], temperature: float) -> Tensor:
    linear, whiten = method.head[0], GroupWhitening(8, 2)  # type: ignore[attr-defined]
    anchor, *others = (
        F.normalize(torch.tanh(linear(whiten(z, shuffle))), dim=-1)
        for z, shuffle in zip(views, shuffles, strict=True)
    )
    return torch.stack([SimCSELoss(temperature)(anchor, other) for other in others]).sum()


def test_each_view_is_whitened_under_a_shuffle_of_its_own() -> None:
    method = through("whitened-cse", groups=2, temperature=0.2)
    given = batch(method, dtype=torch.float64)
    torch.manual_seed(5)
    loss = run(method, given)["whitened-cse"]
    torch.manual_seed(5)
    shuffles = [torch.randperm(8) for _ in range(3)]
    assert not torch.equal(shuffles[0], shuffles[1])
    views = [given[f"text.{v}"] for v in (1, 2, 3)]
    torch.testing.assert_close(loss, by_hand(method, views, shuffles, 0.2), rtol=1e-12, atol=0)
    shared = by_hand(method, views, [shuffles[0]] * 3, 0.2)
    assert abs(loss.item() - shared.item()) > 1e-3


def test_without_groups_simcse_and_without_shuffles_groups_stay() -> None:
    for options, whiten in (({"groups": 0}, torch.nn.Identity()), ({"shuffle": False}, GroupWhitening(8, 1))):
        method = through("whitened-cse", temperature=0.2, **{"groups": 1, **options})
        given = batch(method, dtype=torch.float64)
        anchor, *others = (
            F.normalize(torch.tanh(method.head[0](whiten(given[f"text.{v}"]))), dim=-1) for v in (1, 2, 3)
        )
        expected = torch.stack([SimCSELoss(0.2)(anchor, other) for other in others]).sum()
        torch.testing.assert_close(run(method, given)["whitened-cse"], expected, rtol=1e-12, atol=0)


def test_the_same_seed_draws_the_same_shuffles() -> None:
    method = build("whitened-cse")
    given = batch(method)
    losses = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        losses.append(total(method, given).item())
    assert losses[0] == losses[1] != losses[2]


def test_order_of_batch_does_not_matter_under_the_same_shuffles() -> None:
    method = build("whitened-cse", dropout=0.0).double()
    given = batch(method, dtype=torch.float64)
    order = torch.randperm(len(given), generator=torch.Generator().manual_seed(3))
    shuffled = Batch(given.ids[order], {name: view[order] for name, view in given.views.items()})
    losses = []
    for one in (given, shuffled):
        torch.manual_seed(0)
        losses.append(total(method, one))
    torch.testing.assert_close(*losses)


def test_step_lowers_the_loss_of_its_batch_under_the_same_draws() -> None:
    method = build("whitened-cse")
    given = batch(method)
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=1e-3)
    torch.manual_seed(0)
    before = total(method, given)
    before.backward()
    optimizer.step()
    torch.manual_seed(0)
    assert total(method, given) < before


def test_passes_are_dropout_passes_of_the_text_tower_alone() -> None:
    method = build("whitened-cse", views=4, dropout=0.3)
    given = batch(method)
    total(method, given).backward()
    assert isinstance(method.text_tower, StubText)
    assert method.text_tower.dropouts == [0.3] * 4
    assert set(method.towers) == {"text"}
    assert method.passes() == {"text": 4}
    same = given[next(iter(method.views))]
    z = method.encode(Batch(given.ids, dict.fromkeys(method.views, same)))
    assert not torch.equal(z["text.1"], z["text.2"])


def test_whitening_and_head_are_left_off_for_a_user() -> None:
    method = build("whitened-cse")
    features = method.text_tower.eval()(method.text_tower.tokenizer(CAPTIONS))
    torch.testing.assert_close(method.embed("text", CAPTIONS), F.normalize(features, dim=-1))
    torch.testing.assert_close(method.embed("text", CAPTIONS[2:]), F.normalize(features[2:], dim=-1))


def test_on_images_the_views_are_augmentations_of_the_picture() -> None:
    method = build("whitened-cse", on="images", views=2)
    assert {(view.modality, view.augmentation) for view in method.views.values()} == {("image", "simclr")}
    total(method, batch(method)).backward()
    assert set(method.towers) == {"image"}
    assert all(p.grad is not None for p in method.image_tower.parameters())


def test_modalities_of_an_arm_are_known_without_building_it() -> None:
    assert Arm.parse("whitened-cse").reads() == {"text": "text"}
    assert Arm.parse("whitened-cse,on=images").reads() == {"image": "image"}


@pytest.mark.parametrize(("width", "groups"), [(10, 1), (12, 2), (768, 128), (128, 16), (5, 1)])
def test_groups_are_of_six_channels_or_next_size_divides_width(width: int, groups: int) -> None:
    assert through("whitened-cse", width=width).whitening.groups == groups


def test_the_matrix_is_detached_unless_told() -> None:
    assert build("whitened-cse").whitening.detach
    assert not build("whitened-cse", detach_whitening=False).whitening.detach


def test_groups_of_unequal_size_are_refused() -> None:
    with pytest.raises(ValueError, match="groups must divide the width of 10, got 4"):
        build("whitened-cse", groups=4)


def test_dropout_of_a_tower_that_takes_no_rate_is_refused() -> None:
    with pytest.raises(ValueError, match=r"dropout=0.3: the image tower .* takes no rate"):
        build("whitened-cse", on="images", dropout=0.3)
    assert build("whitened-cse", on="images", dropout=None).dropout == 0.0
    assert build("whitened-cse", dropout=None).dropout == 0.1
