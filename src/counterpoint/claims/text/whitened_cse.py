"""WhitenedCSE: whitening of shuffled groups of channels makes several views of a sentence, and spreads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ...catalog.evidence import Result
from ...losses import WhitenedCSELoss
from ...networks import GroupWhitening
from ..benches import glosses
from ..benches.glosses import DROPOUT, WIDTH, Encoder, Tokens, Views
from ..lab import Arrays, Lab, measure

CLAIM = (
    "With whitening in shuffled groups and three views, embeddings of glosses are more uniform than with "
    "SimCSE, with two views or three, and rank pairs at least as well as three views alone; whitening leaves "
    "each group the identity as covariance, keeps the order of channels and forgets affine maps of a group."
)
REFUTED = (
    "three views alone are as uniform or rank pairs better, SimCSE is as uniform, or whitening lacks one of "
    "these properties"
)


SEEDS, VIEWS = 5, 3
GROUPS = 8
WHITENING = GroupWhitening(WIDTH, GROUPS)


def two_views(encoder: Encoder, tokens: Tokens) -> list[Float[Tensor, "n d"]]:
    """Run two dropout passes (SimCSE)."""
    return [encoder(tokens, DROPOUT) for _ in range(2)]


def three_views(encoder: Encoder, tokens: Tokens) -> list[Float[Tensor, "n d"]]:
    """Run one dropout pass more than SimCSE, and no whitening."""
    return [encoder(tokens, DROPOUT) for _ in range(VIEWS)]


def whitened(encoder: Encoder, tokens: Tokens) -> list[Float[Tensor, "n d"]]:
    """Whiten dropout passes in the same groups."""
    return [WHITENING(h) for h in three_views(encoder, tokens)]


def shuffled(encoder: Encoder, tokens: Tokens) -> list[Float[Tensor, "n d"]]:
    """Whiten dropout passes, each under a shuffle of its own."""
    return [WHITENING(h, torch.randperm(WIDTH)) for h in three_views(encoder, tokens)]


ARMS: Mapping[str, Views] = {
    "WhitenedCSE": shuffled,
    "SimCSE": two_views,
    "SimCSE with three views": three_views,
    "whitening without shuffle": whitened,
}


def trained(rates: Mapping[str, Sequence[float]], seed: int, steps: int, pretraining: int) -> Arrays:
    """Pretrain one encoder, then train it on with each kind of views."""
    return glosses.compared(ARMS, WhitenedCSELoss(glosses.TEMPERATURE), rates, seed, steps, pretraining)


def properties() -> dict[str, float]:
    """Compare group whitening with what it should do, on random correlated features in float64 (claim 2)."""
    generator = torch.Generator().manual_seed(0)
    size, groups, n = 24, 4, 256

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    x = normal(n, size) @ normal(size, size) + normal(size)
    shuffle = torch.randperm(size, generator=generator)
    parts = GroupWhitening(size, groups)(x, shuffle)[:, shuffle].unflatten(1, (groups, -1)).transpose(0, 1)
    identity = torch.eye(size // groups, dtype=torch.float64)
    covariance = parts.mT @ parts / n
    alone = GroupWhitening(size, size)  # one channel a group: which is where does not matter
    exact = GroupWhitening(size, groups, eps=1e-12)
    mapped = torch.einsum(
        "ngi,gij->ngj", x.reshape(len(x), groups, -1), normal(groups, *identity.shape)
    ).flatten(1)
    one, two = (
        exact(part).reshape(len(x), groups, -1).transpose(0, 1) for part in (x, mapped + normal(size))
    )
    return {
        "covariance of a group against I": float((covariance - identity).abs().max()),
        "order of channels after a shuffle": float((alone(x, shuffle) - alone(x)).abs().max()),
        "inner products within a group under an affine map of it": float(
            (one @ one.mT - two @ two.mT).abs().max()
        ),
    }


def run(lab: Lab) -> Sequence[Result]:
    found = glosses.compare(lab, trained, list(ARMS), SEEDS)
    correlation = "Spearman's coefficient of cosine and Wu–Palmer similarity, held-out glosses"
    spread = "uniformity, t = 2, held-out glosses (lower is better)"
    near = f"mean squared distance of pairs at least {glosses.NEAR:g} similar (lower is better)"
    lab.note(
        f"{VIEWS} views but for SimCSE's two, {GROUPS} groups of {WIDTH // GROUPS} channels; the whitening matrix",
        "carries no gradient, as in the released code. 'At least as good' is less than 0.01 worse.",
    )
    baselines = list(ARMS)[1:]
    return [
        *(
            measure.over_seeds(
                f"1: uniformity, WhitenedCSE − {baseline}",
                spread,
                found.less("uniformity", "WhitenedCSE", baseline),
                expected="below",
                decides=baseline != "whitening without shuffle",
            )
            for baseline in baselines
        ),
        *(
            measure.over_seeds(
                f"1: WhitenedCSE − {baseline}",
                correlation,
                found.less("rank correlation", "WhitenedCSE", baseline),
                expected="above",
                bound=-0.01,
                decides=baseline == "SimCSE with three views",
            )
            for baseline in baselines
        ),
        *(
            measure.over_seeds(
                f"1: alignment, WhitenedCSE − {baseline}",
                near,
                found.less("alignment", "WhitenedCSE", baseline),
                expected="below",
                decides=False,
            )
            for baseline in baselines
        ),
        *(
            measure.exact(f"2: {name}", "largest absolute difference", error, expected="below", bound=1e-4)
            for name, error in properties().items()
        ),
    ]
