"""Limits: losses that equal another loss at some value of an option, value and gradients, in float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from counterpoint import losses as L
from counterpoint.losses.cwcl import Anchor
from counterpoint.losses.guided_ntxent import Rule
from counterpoint.losses.kernel_infonce import Mix
from counterpoint.losses.margin_ntxent import Margin
from counterpoint.losses.mil import Pooling
from counterpoint.losses.poly_view import PolyViewMode
from counterpoint_reproductions.lab.gradients import random_views, relative_error

Function = Callable[[Tensor, Tensor], Tensor]

BATCH, WIDTH, TAU = 12, 8, 0.2
IDS = torch.arange(BATCH)
QUEUE = random_views(40, WIDTH)[1]


@dataclass(frozen=True)
class Limit:
    """Two functions of unit vectors ``(B, d), (B, d)`` that are equal.

    Attributes:
        loss: a loss, at the end of an option's range.
        other: what it is there.
        bound: the largest relative error that counts as equal; larger than rounding where a limit is approached.
        gradient_only: the values differ, by a constant or because the loss is named by its gradient.
    """

    loss: Function
    other: Function
    bound: float = 1e-10
    gradient_only: bool = False

    def error(self) -> float:
        """Return the largest relative error of the value and of the gradients in both inputs."""
        ours, theirs = (_value_and_gradients(function) for function in (self.loss, self.other))
        parts = zip(ours, theirs, strict=True)
        return max(relative_error(a, b) for a, b in [*parts][self.gradient_only :] if a.any() or b.any())


def _value_and_gradients(function: Function) -> tuple[Tensor, ...]:
    inputs = [view.requires_grad_() for view in random_views(BATCH, WIDTH)]
    # Losses that were built with learnt scalars hold them in float32.
    value = (function.double() if isinstance(function, nn.Module) else function)(*inputs)
    return value.detach(), *torch.autograd.grad(value, inputs, allow_unused=True, materialize_grads=True)


def _times(factor: float, loss: Function) -> Function:
    return lambda x, y: factor * loss(x, y)


def _on_sphere(loss: Function) -> Function:
    """Leave out the radial part of gradients, by which functions may differ that are equal for unit vectors."""
    return lambda x, y: loss(F.normalize(x, dim=-1), F.normalize(y, dim=-1))


def _singly(loss: Callable[..., Tensor]) -> Function:
    """Make a bag of one of every example."""
    return lambda x, y: loss(x[:, None], y[:, None])


def _bags(loss: Callable[..., Tensor]) -> Function:
    """Make a bag of two of every example, the second with its coordinates in another order."""
    return lambda x, y: loss(*(torch.stack([v, v.roll(1, 1)], 1) for v in (x, y)))


def _queued(loss: Callable[..., Tensor]) -> Function:
    return lambda x, y: loss(x, y, QUEUE)


def _guided(rule: L.GuidedNTXentLoss, x: Tensor, y: Tensor) -> Tensor:
    teacher_x, teacher_y = random_views(BATCH, 5)
    return rule(x, y, teacher_x=teacher_x, teacher_y=teacher_y)


def _amcl(tau: float, beta: float = 0.0) -> Function:
    """Build AMCL of one head, and a network of temperatures that says τ of every pair."""
    loss = L.AMCLLoss(WIDTH, beta=beta, tau_min=tau / 2, tau_max=3 * tau / 2)
    for parameter in loss.phi.parameters():
        nn.init.zeros_(parameter)
    loss = loss.double()
    return lambda x, y: loss([x], [y])


def _macl(x: Tensor, y: Tensor) -> Tensor:
    return L.MACLLoss(TAU, alpha=0.7)(x, y)


def _dcl_at_macls_temperature(x: Tensor, y: Tensor) -> Tensor:
    return L.DCLLoss(L.MACLLoss(TAU, alpha=0.7).adapted(x, y).item())(x, y) / 2


def _m3co(x: Tensor, y: Tensor) -> Tensor:
    partners, whole = IDS.roll(1), torch.ones(BATCH, dtype=x.dtype)
    return L.M3CoLoss(TAU)(
        x,
        y,
        IDS,
        mixed_x=x,
        partners_x=partners,
        shares_x=whole,
        mixed_y=y,
        partners_y=partners,
        shares_y=whole,
    )


def _modular(x: Tensor, y: Tensor) -> Tensor:
    order = IDS.flip(0).roll(3)
    return L.ModularContrastLoss(TAU)(x, y[order], order, torch.ones(BATCH, dtype=torch.bool))


def _decoupled(x: Tensor, y: Tensor) -> Tensor:
    """Return InfoNCE in both directions, without the positive in the denominators."""
    s = x @ y.T / TAU
    negatives = s.masked_fill(torch.eye(len(s), dtype=torch.bool), -torch.inf)
    return (negatives.logsumexp(1) + negatives.logsumexp(0) - 2 * s.diagonal()).mean()


def _isogclr(x: Tensor, y: Tensor) -> Tensor:
    fixed = L.ISogCLRLoss(TAU, lowest=0.02, highest=1.0, gamma=1.0, adapt=False).double()
    return fixed(x, y, IDS) / TAU


def _alignment(x: Tensor, y: Tensor) -> Tensor:
    return (x - y).square().sum(1).mean()


def _of_equal_views(count: int) -> Function:
    return lambda x, y: L.DecoupledUniformityLoss(3.0)(*[x] * count)


def _uniformity(x: Tensor, y: Tensor) -> Tensor:
    return L.AlignUniformLoss(0.0, 1.0, t=3.0)(x, x)


_infonce = L.InfoNCELoss(TAU)
_both_ways = L.InfoNCELoss(TAU, weights=(1.0, 1.0))
_one_way = L.InfoNCELoss(TAU, weights=(1.0, 0.0))
_ntxent = L.NTXentLoss(TAU)
_moco = _queued(L.MoCoLoss(TAU))
_TRUE = torch.eye(BATCH, dtype=torch.bool)

_TAGS = (torch.arange(BATCH)[:, None] * torch.arange(1, BATCH + 1)) % 3 == 0


def _balanced(x: Tensor, y: Tensor) -> Tensor:
    loss = L.DistributionBalancedLoss(0.5, 0.0, kappa=0.0, negative_scale=1.0, gamma=0.0, balance=1.0)
    return loss(x, y, _TAGS.float().mean(0), targets=_TAGS)


def _paired_subjects(x: Tensor, y: Tensor) -> Tensor:
    """Two views of each subject, whose appearances are orthogonal to those of all others."""
    return L.AppearanceContrastLoss(TAU)(x, y, labels=IDS, appearances=torch.zeros(BATCH, 1))


LIMITS: Mapping[str, Limit] = {
    "align-uniform, no uniformity → alignment": Limit(L.AlignUniformLoss(uniformity=0.0), _alignment),
    "amcl → dcl": Limit(_amcl(TAU), _times(0.5, L.DCLLoss(TAU))),
    "amcl, constant regulariser → amcl": Limit(_amcl(TAU, beta=0.3), _amcl(TAU)),
    "appearance-contrast, pairs alike in nothing → ntxent": Limit(_paired_subjects, _ntxent),
    "distribution-balanced, equal weights → bce": Limit(
        _balanced, lambda x, y: L.BCELoss()(x, y, targets=_TAGS)
    ),
    "cacr, attraction alone → alignment": Limit(L.CACRLoss(beta=0.0), _alignment),
    "modular-contrast, one caption → infonce": Limit(_modular, _infonce),
    "contrastive-gap → infonce": Limit(L.ContrastiveGapLoss(TAU, alignment=0.0, uniformity=0.0), _infonce),
    "count-to-ten, no weight → infonce": Limit(
        lambda x, y: L.CountToTenLoss(0.0, temperature=TAU)(x, y, y.roll(1, 0)), _infonce
    ),
    "count-to-ten, nothing counted → infonce": Limit(
        lambda x, y: L.CountToTenLoss(temperature=TAU)(x, y, y.roll(1, 0), counting=IDS < 0), _infonce
    ),
    **{
        f"cwcl, {anchor} → infonce, both ways": Limit(
            L.CWCLLoss(TAU, gamma=1e6, weighted_anchor=anchor), _both_ways
        )
        for anchor in get_args(Anchor)
    },
    "decoupled-softmax, one label → infonce, one way": Limit(
        partial(L.DecoupledSoftmaxLoss(TAU), targets=_TRUE), _one_way
    ),
    **{
        f"decoupled-uniformity, {count} equal views → uniformity": Limit(_of_equal_views(count), _uniformity)
        for count in (1, 2, 3)
    },
    "diht → infonce, both ways": Limit(L.DiHTLoss(TAU, beta=0.0), _both_ways),
    "filip, single tokens → infonce": Limit(_singly(L.FILIPLoss(temperature=TAU)), _infonce),
    "secla, no agreement → filip, twice": Limit(
        _bags(L.SECLALoss(agreement=0.0, temperature=TAU)), _times(2, _bags(L.FILIPLoss(temperature=TAU)))
    ),
    "secla, single vectors → infonce, both ways": Limit(_singly(L.SECLALoss(temperature=TAU)), _both_ways),
    "grouped-infonce → infonce": Limit(L.GroupedInfoNCELoss(1, temperature=TAU), _infonce),
    **{
        f"guided-ntxent, {rule} → ntxent": Limit(
            partial(_guided, L.GuidedNTXentLoss(rule, ratio=0.04, temperature=TAU)), _ntxent
        )
        for rule in get_args(Rule)[1:]
    },
    "scav, squared, one vector → infonce": Limit(
        _on_sphere(_singly(L.SCAVLoss("squared", temperature=2 * TAU))), _on_sphere(_infonce)
    ),
    "hard-contrastive → infonce": Limit(L.HardContrastiveLoss(TAU, fraction=1.0), _infonce),
    "isogclr → decoupled infonce": Limit(_isogclr, _decoupled, gradient_only=True),
    "kernel-infonce → ntxent": Limit(
        _on_sphere(L.KernelInfoNCELoss(2.0, temperature=2 * TAU)), _on_sphere(_ntxent)
    ),
    "hydra, distinct classes, no gates → infonce, one way": Limit(
        partial(L.HydraLoss(TAU), labels=IDS), _one_way
    ),
    **{
        f"kernel-infonce, {mix} of itself → kernel-infonce": Limit(
            L.KernelInfoNCELoss(2.0, mix=mix, lam=0.3), L.KernelInfoNCELoss(2.0)
        )
        for mix in get_args(Mix)[1:3]
    },
    "llave → infonce": Limit(L.LLaVELoss(TAU, alpha=0.0), _infonce),
    "m3co, whole shares → infonce, both terms": Limit(_m3co, _times(2, _infonce)),
    "macl → ntxent": Limit(L.MACLLoss(TAU, alpha=0.0, reweight=False), _ntxent),
    "macl → dcl": Limit(_macl, _dcl_at_macls_temperature, gradient_only=True),
    **{
        f"margin-ntxent, {kind} → ntxent": Limit(L.MarginNTXentLoss(TAU, kind=kind, margin=0.0), _ntxent)
        for kind in get_args(Margin)
    },
    **{
        f"margin-ntxent, {kind}, one-sided → infonce, one way": Limit(
            L.MarginNTXentLoss(TAU, kind=kind, margin=0.0, two_sided=False), _one_way
        )
        for kind in get_args(Margin)
    },
    **{
        f"mil, {pooling}, single instances → infonce": Limit(
            _singly(L.MILLoss(pooling, temperature=TAU)), _infonce
        )
        for pooling in get_args(Pooling)[:4]
    },
    **{
        f"mil, lse at γ = {gamma:g} → {pooling}": Limit(
            _bags(L.MILLoss("lse", gamma=gamma, temperature=TAU)),
            _bags(L.MILLoss(pooling, temperature=TAU)),
            bound=1e-5,
        )
        for gamma, pooling in ((1e-6, get_args(Pooling)[0]), (1e9, get_args(Pooling)[1]))
    },
    "focal, γ = 0 → siglip, no bias": Limit(L.FocalLoss(TAU, gamma=0.0), L.SigLIPLoss(TAU, bias=0.0)),
    "mochi, no mixtures → moco": Limit(_queued(L.MoCHiLoss(TAU)), _moco),
    "moco, the batch as queue → infonce, one way": Limit(
        lambda x, y: L.MoCoLoss(TAU)(x, y.detach(), y.detach(), IDS, IDS),
        lambda x, y: _one_way(x, y.detach()),
    ),
    **{
        f"moco-dual-view, {taken} of 40 keys → moco": Limit(
            _queued(L.DualViewLoss(TAU, num_hard=taken)), _moco
        )
        for taken in (40, 41, 1e6, None)
    },
    "moco-dual-view, queue not full → moco": Limit(
        _queued(partial(L.DualViewLoss(TAU, num_hard=2, skip_top=1), filtered=False)), _moco
    ),
    "multi-label-softmax, one label → infonce, one way": Limit(
        partial(L.MultiLabelSoftmaxLoss(TAU), targets=_TRUE), _one_way
    ),
    **{
        f"poly-view, {mode}, two views → ntxent": Limit(L.PolyViewLoss(mode, temperature=TAU), _ntxent)
        for mode in get_args(PolyViewMode)
    },
    "rocket, no local views → infonce": Limit(L.GlobalLocalLoss(TAU), _infonce),
    "sbcl, one subclass a class, no coarse term → supcon": Limit(
        partial(L.SBCLLoss(TAU, beta=0.0), labels=IDS % 4, subclasses=IDS % 4),
        partial(L.SupConLoss(TAU), labels=IDS % 4),
    ),
    "cci, distinct classes → ntxent": Limit(partial(L.CCILoss(TAU), labels=IDS), _ntxent),
    "siglip, distinct ids → siglip": Limit(partial(L.SigLIPLoss(TAU).double(), ids=IDS), L.SigLIPLoss(TAU)),
    "simcse → infonce, one way": Limit(L.SimCSELoss(TAU), _one_way),
    **{
        f"supcon, {labels} → ntxent": Limit(partial(L.SupConLoss(TAU, inside=inside), labels=given), _ntxent)
        for labels, inside, given in (
            ("no labels", False, None),
            ("no labels, inside", True, None),
            ("no classes", False, torch.full((BATCH,), -1)),
            ("distinct classes", False, IDS),
        )
    },
    "supcon-banks, distinct classes → infonce, one way": Limit(
        partial(L.SupConBanksLoss(TAU), labels=IDS), _one_way
    ),
    "supcon-banks, distinct classes, the bank's own positives → infonce, one way": Limit(
        lambda x, y: L.SupConBanksLoss(TAU)(x, y, y, labels=IDS), _one_way
    ),
    "whitened-cse, two views → simcse": Limit(L.WhitenedCSELoss(TAU), L.SimCSELoss(TAU)),
}
"""Limits by name: ``"THING, option → OTHER"``."""
