"""CompA's losses: plain loops, the stages, tiles, and the mask that must not be a factor."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from counterpoint.losses.modular_contrast import ModularContrastLoss

TAU = 0.5
# Sounds 0, 1, 2 with two, one and two true captions and two, none and one false ones, not in order.
OWNER = torch.tensor([1, 0, 0, 2, 0, 2, 0, 2])
TRUE = torch.tensor([True, True, False, True, True, False, False, True])


def unit(seed: int, n: int) -> Tensor:
    drawn = torch.randn(n, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return F.normalize(drawn, dim=-1)


def looped(x: Tensor, c: Tensor, hidden: Tensor | None = None) -> float:
    """The definition, term by term; ``hidden[i, c]``: caption c is true of sound i, which is not its owner."""
    s = (x @ c.T / TAU).tolist()
    first = {i: min(k for k in range(8) if OWNER[k] == i and TRUE[k]) for i in range(3)}

    def sees(i: int, k: int) -> bool:
        return hidden is None or not bool(hidden[i, k])

    to_captions = 0.0
    for i in range(3):
        own = [k for k in range(8) if OWNER[k] == i]
        others = [first[j] for j in range(3) if j != i and sees(i, first[j])]
        total = torch.tensor([s[i][k] for k in own + others]).logsumexp(0).item()
        true = [k for k in own if TRUE[k]]
        to_captions += (total - sum(s[i][k] for k in true) / len(true)) / 3
    to_sounds = []
    for k in range(8):
        if TRUE[k]:
            i = int(OWNER[k])
            seen = [s[j][k] for j in range(3) if j == i or sees(j, k)]
            to_sounds.append(torch.tensor(seen).logsumexp(0).item() - s[i][k])
    return (to_captions + sum(to_sounds) / len(to_sounds)) / 2


def test_it_is_what_the_loops_say() -> None:
    x, c = unit(0, 3), unit(1, 8)
    found = ModularContrastLoss(TAU)(x, c, OWNER, TRUE)
    assert found.item() == pytest.approx(looped(x, c), rel=1e-6)


def test_captions_true_of_another_sound_are_not_held_against_it() -> None:
    x, c = unit(0, 3), unit(1, 8)
    generator = torch.Generator().manual_seed(2)
    has, needs = ((torch.rand(n, 4, generator=generator) < p).double() for n, p in ((3, 0.7), (8, 0.4)))
    hidden = has @ needs.T == needs.sum(1)
    assert hidden.any()
    assert not hidden.all()
    found = ModularContrastLoss(TAU)(x, c, OWNER, TRUE, has=has, needs=needs)
    assert found.item() == pytest.approx(looped(x, c, hidden), rel=1e-6)


@pytest.mark.parametrize("tile", [1, 2, 5])
def test_tiles_give_the_same_value_and_gradient(tile: int) -> None:
    has, needs = torch.ones(3, 2), torch.tensor([[1.0, 2.0]] * 8)  # two of a feature: true of none
    grads = []
    for evaluated in (ModularContrastLoss(TAU), ModularContrastLoss(TAU).evaluated("tiled", tile)):
        x, c = unit(0, 3).requires_grad_(), unit(1, 8).requires_grad_()
        evaluated(x, c, OWNER, TRUE, has=has, needs=needs).backward()
        assert x.grad is not None
        assert c.grad is not None
        grads.append((x.grad, c.grad))
    for a, b in zip(*grads, strict=True):
        assert torch.allclose(a, b, atol=1e-12)


def test_factor_place_of_mask_fails_where_similarities_negative() -> None:
    """The trap: a logit of −1 times −100,000 is no mask, but the largest of all."""
    x = torch.eye(2, dtype=torch.float64)
    c = torch.stack([x[0], -x[1], x[1]])  # the false caption of sound 0 is the opposite of sound 1
    owner, true = torch.tensor([0, 0, 1]), torch.tensor([True, False, True])
    s = x @ c.T / TAU
    foreign = torch.tensor([[False, False, False], [False, True, False]])
    additive = s.masked_fill(foreign, -torch.inf).logsumexp(1)
    multiplied = torch.where(foreign, s * -1e5, s).logsumexp(1)
    assert multiplied[1] > 1e5
    own = torch.stack([s[0, 0], s[1, 2]])
    columns = s[:, [0, 2]].logsumexp(0) - own
    expected = ((additive - own).mean() + columns.mean()) / 2
    assert ModularContrastLoss(TAU)(x, c, owner, true).item() == pytest.approx(expected.item(), rel=1e-9)


def test_more_false_captions_cost_more_and_only_their_own_sound() -> None:
    x, c = unit(0, 3), unit(1, 3)
    own, true = torch.arange(3), torch.ones(3, dtype=torch.bool)
    plain = ModularContrastLoss(TAU)(x, c, own, true)
    wrong = torch.cat([c, x[:1]]), torch.cat([own, own[:1]]), torch.cat([true, ~true[:1]])
    s = torch.cat([x[0] @ c.T, x[0] @ x[:1].T]) / TAU
    more = (s.logsumexp(0) - s[:3].logsumexp(0)) / 6
    assert ModularContrastLoss(TAU)(x, *wrong).item() == pytest.approx((plain + more).item(), rel=1e-9)


def test_bad_captions_are_refused() -> None:
    x, c = unit(0, 2), unit(1, 3)
    with pytest.raises(ValueError, match="rows of x, 0 to 1, got 0 to 2"):
        ModularContrastLoss()(x, c, torch.tensor([0, 1, 2]), torch.ones(3, dtype=torch.bool))
    with pytest.raises(ValueError, match="row 1 of x has no true caption"):
        ModularContrastLoss()(x, c, torch.tensor([0, 0, 1]), torch.tensor([True, True, False]))
    for alone in ({"has": torch.ones(2, 4)}, {"needs": torch.ones(3, 4)}):
        with pytest.raises(
            ValueError, match="has and needs are compared with each other: give both, or neither"
        ):
            ModularContrastLoss()(x, c, torch.tensor([0, 0, 1]), torch.ones(3, dtype=torch.bool), **alone)
