"""FuseMix: mixtures of pairs, adapters, a temperature learned as it is, frozen towers."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from method_stubs import LATE, LOCKED, RECIPE, SIZE, batch, build, run, total
from torch import Tensor, nn

from counterpoint.losses import InfoNCELoss
from counterpoint.methods.fusemix import adapter
from counterpoint.recipes.schema import Recipe

F64 = torch.float64
PICTURES = torch.randint(0, 256, (6, 3, SIZE, SIZE), dtype=torch.uint8)


def latents(size: int = 8) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(0)
    return 5 * torch.randn(size, 12, generator=g, dtype=F64), torch.randn(size, 10, generator=g, dtype=F64)


def shares(mixed: Tensor, whole: Tensor) -> Tensor:
    """λ of every number of the mixtures of the halves of ``whole``."""
    one, other = whole.chunk(2)
    return (mixed - other) / (one - other)


def test_one_share_mixes_the_halves_of_both_modalities() -> None:
    method, (a, b) = build("fusemix"), latents()
    drawn = []
    for _ in range(3):
        mixed_a, mixed_b = method.mix(a, b)
        assert len(mixed_a) == len(mixed_b) == 4
        share = shares(mixed_a, a)[0, 0]
        torch.testing.assert_close(shares(mixed_a, a), share.expand(4, 12))
        torch.testing.assert_close(shares(mixed_b, b), share.expand(4, 10))
        assert 0 < share < 1
        drawn.append(share.item())
    assert len(set(drawn)) == 3


def test_independent_shares_break_the_pairs() -> None:
    method, (a, b) = build("fusemix", mixing="independent"), latents()
    mixed_a, mixed_b = method.mix(a, b)
    one, other = shares(mixed_a, a), shares(mixed_b, b)
    torch.testing.assert_close(one, one[0, 0].expand(4, 12))
    torch.testing.assert_close(other, other[0, 0].expand(4, 10))
    assert abs(one[0, 0] - other[0, 0]) > 1e-3


def test_nothing_is_mixed_on_request() -> None:
    a, b = latents(7)
    mixed = build("fusemix", mixing="none").mix(a, b)
    assert torch.equal(mixed[0], a)
    assert torch.equal(mixed[1], b)


def test_alpha_is_that_of_the_beta_distribution() -> None:
    a, b = torch.tensor([[1.0], [0.0]]).expand(-1, 12), torch.zeros(2, 10)
    torch.manual_seed(0)
    for alpha, variance in ((1.0, 1 / 12), (4.0, 1 / 36)):
        method = build("fusemix", alpha=alpha)
        drawn = torch.stack([method.mix(a, b)[0][0, 0] for _ in range(2000)])
        assert drawn.mean().item() == pytest.approx(0.5, abs=0.04)
        assert drawn.var().item() == pytest.approx(variance, rel=0.15)


def test_last_of_odd_batch_is_left_out_and_batch_of_one_refused() -> None:
    method, (a, b) = build("fusemix"), latents(9)
    torch.manual_seed(0)
    odd = method.mix(a, b)
    torch.manual_seed(0)
    even = method.mix(a[:8], b[:8])
    assert torch.equal(odd[0], even[0])
    assert torch.equal(odd[1], even[1])
    with pytest.raises(ValueError, match="got a batch of one; make it larger"):
        method.mix(a[:1], b[:1])


def test_the_loss_is_infonce_of_the_adapted_mixtures() -> None:
    method = build("fusemix", dropout=0.0, temperature=0.1).double()
    given = batch(method, dtype=F64)
    torch.manual_seed(0)
    loss = total(method, given)
    torch.manual_seed(0)
    a, b = method.mix(method.image_tower(given["image"]), method.text_tower(given["text"]))
    x, y = (F.normalize(method.adapters[m](t), dim=1) for m, t in (("image", a), ("text", b)))
    # The method holds its temperature in float32.
    torch.testing.assert_close(loss, InfoNCELoss(0.1)(x, y), rtol=1e-6, atol=0)


def test_adapters_alone_and_the_temperature_learn() -> None:
    method = build("fusemix").train()
    assert not any(m.training for m in method.towers.modules() if m is not method.towers)
    trained = {name.split(".")[0] for name, p in method.named_parameters() if p.requires_grad}
    assert trained == {"adapters", "objective"}
    total(method, batch(method)).backward()
    assert all(p.grad is None for p in method.towers.parameters())


def test_an_adapter_is_residual_blocks_a_norm_and_a_projection() -> None:
    made = adapter(6, 4, layers=2, dropout=0.6).double().eval()
    x = torch.randn(5, 6, dtype=F64)
    h = x
    for block in made[:2]:
        norm, up, _, drop, down = block.branch
        assert up.weight.shape == (24, 6)
        assert drop.p == 0.6
        h = h + down(F.gelu(up(norm(h))))
    torch.testing.assert_close(made(x), made[3](made[2](h)))
    assert isinstance(made[2], nn.LayerNorm)
    assert made[3].bias is not None


def test_dropout_off_in_evaluation_and_users_get_unmixed_latents() -> None:
    method = build("fusemix", dropout=0.6).train()
    latent = method.image_tower(method.image_tower.input(PICTURES))
    adapters = method.adapters["image"]
    assert not torch.equal(adapters(latent), adapters(latent))
    expected = F.normalize(adapters.eval()(latent), dim=1)
    adapters.train()
    torch.testing.assert_close(method.embed("image", PICTURES), expected.detach())


def test_temperature_learned_as_it_within_bounds_and_not_decayed() -> None:
    method = build("fusemix")
    parameter = method.objective.temperature.parameter
    assert parameter.item() == pytest.approx(0.07)
    assert parameter.ndim == 0  # the optimiser decays what has two axes or more
    for moved_to, kept in ((2.0, 0.5), (-1.0, 0.001)):
        parameter.data.fill_(moved_to)
        method.after_step({}, batch(method), LATE)
        assert parameter.item() == pytest.approx(kept)


def test_pictures_and_captions_are_not_augmented() -> None:
    method = build("fusemix")
    assert {view.augmentation for view in method.views.values()} == {"plain"}
    assert set(run(method, batch(method))) == {"fusemix"}


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (RECIPE, "image tower pretrained, but it is 'cnn'; name weights as image=NAME@WEIGHTS"),
        (LOCKED, "text tower pretrained, but it is 'transformer'; name weights as text=NAME@WEIGHTS"),
    ],
)
def test_both_towers_must_be_pretrained(recipe: Recipe, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build("fusemix", recipe=recipe)
