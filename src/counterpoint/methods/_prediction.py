"""Predictions of what an example lacks from what it has: by read-only prompts and predictors, or by linear maps."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from functools import cache
from itertools import permutations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ..networks.base import Tower, Towers
from ..networks.heads import mlp
from ..pairwise import moments
from ..pairwise.ranks import Ranks
from ..types import Embeddings
from ._running import RunningMap

_LOG = logging.getLogger(__name__)
_BESIDE = ".prompts"
"""Ending of the name of what the prompts of a column have read."""

There = Mapping[str, Bool[Tensor, " B"]]
"""Masks of the examples that have each column."""


class Prompts(nn.Module):
    """Learned tokens that start from N(0, 0.02²)."""

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        self.tokens = nn.Parameter(torch.empty(count, width))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.normal_(self.tokens, std=0.02)


class Prediction(nn.Module):
    """``ĥ_b = mean over the columns a that are there of g_ab(r_a)``, g_ab a perceptron for each pair of columns.

    r_a is the mean of what the prompts have read in the tower of a; where the tower takes no prompts, as it has no
    tokens or is a library's, its feature, and a line of the log says so once.

    Args:
        towers: by column.
        width: of the features h that are predicted.
        hidden: of the perceptrons.
        prompts: how many there are of each column; 0 for none, so that features alone predict.

    Raises:
        ValueError: for a single column.
    """

    def __init__(self, towers: Towers, width: int, hidden: int, prompts: int) -> None:
        super().__init__()
        check_others("predicted", towers)
        self.columns = tuple(towers)
        self.prompts = nn.ModuleDict(
            {
                c: Prompts(prompts, tower.width)
                for c, tower in towers.items()
                if prompts and tower.takes_prompts
            }
        )
        for column in self.prompts:
            towers[column].read = True
        if prompts and (without := [column for column in towers if column not in self.prompts]):
            _say_without(tuple(without))
        self.predictors = nn.ModuleDict(
            {
                f"{a} to {b}": mlp(towers[a].width, hidden, width, layers=2, norm=False)
                for a, b in permutations(towers, 2)
            }
        )

    def outputs(self, column: str) -> tuple[str, ...]:
        """Return the names of what `seen` makes of a column."""
        return (column, column + _BESIDE) if column in self.prompts else (column,)

    def seen(self, column: str, tower: Tower, inputs: Tensor) -> Embeddings:
        """Return the features of a column, and what its prompts have read."""
        if column not in self.prompts:
            return {column: tower(inputs)}
        prompts = self.prompts[column]
        assert isinstance(prompts, Prompts)
        features, read = tower.prompted(inputs, prompts.tokens)
        return {column: features, column + _BESIDE: read.mean(1)}

    def of_pairs(self, z: Embeddings) -> dict[tuple[str, str], Float[Tensor, "B d"]]:
        """Return what each column predicts of each other one."""
        return {
            (a, b): self.predictors[f"{a} to {b}"](z[self.outputs(a)[-1]])
            for a, b in permutations(self.columns, 2)
        }

    def loss(
        self,
        of_pairs: Mapping[tuple[str, str], Tensor],
        h: Embeddings,
        masks: There,
        weights: tuple[float, float, float],
    ) -> Float[Tensor, ""]:
        """Compute VICReg between predictions and features, the mean over pairs, where an example has both columns."""
        invariance, variance, covariance = weights
        terms = [
            moments.vicreg(
                predicted,
                h[b],
                (masks[a] & masks[b]).to(predicted.dtype),
                invariance=invariance,
                variance=variance,
                covariance=covariance,
                ranks=Ranks.present(),
            )
            for (a, b), predicted in of_pairs.items()
        ]
        return torch.stack(terms).mean()


class LinearMaps(nn.Module):
    """Running least-squares maps (`RunningMap`) of the features h of each column on those of each other one.

    Args:
        columns: of the data.
        width: of the features.

    Raises:
        ValueError: for a single column.
    """

    def __init__(self, columns: Collection[str], width: int) -> None:
        super().__init__()
        check_others("linear", columns)
        self.pairs = tuple(permutations(columns, 2))
        self.maps = nn.ModuleDict({f"{a} to {b}": RunningMap(width, width) for a, b in self.pairs})

    def of_pairs(self, h: Embeddings) -> dict[tuple[str, str], Float[Tensor, "B d"]]:
        """Return what each column predicts of each other one."""
        return {(a, b): self.maps[f"{a} to {b}"](h[a]) for a, b in self.pairs}

    def add(self, h: Embeddings, masks: There) -> None:
        """Take in a step's features."""
        for a, b in self.pairs:
            of_pair = self.maps[f"{a} to {b}"]
            assert isinstance(of_pair, RunningMap)
            of_pair.add(h[a], h[b], masks[a] & masks[b])


def joined(
    of_pairs: Mapping[tuple[str, str], Tensor], masks: There
) -> tuple[dict[str, Float[Tensor, "B d"]], dict[str, Bool[Tensor, " B"]]]:
    """Return the mean prediction of each column by the others that are there, 0 without any; and where any is."""
    means, known = {}, {}
    for b in masks:
        others = [a for a in masks if a != b]
        has = torch.stack([masks[a] for a in others])
        stacked = torch.stack([of_pairs[a, b] for a in others])
        total = torch.where(has[..., None], stacked, 0.0).sum(0)
        means[b], known[b] = total / has.sum(0).clamp_min(1)[:, None], has.any(0)
    return means, known


def check_others(fill: str, columns: Collection[str]) -> None:
    """Refuse to predict a column from others where there is no other.

    Raises:
        ValueError: for a single column.
    """
    if len(columns) < 2:
        raise ValueError(
            f"fill={fill} predicts a column from others, and {' '.join(columns)} is the only one"
        )


@cache
def _say_without(columns: tuple[str, ...]) -> None:
    """Say once, and not again for every arm and run, whose features predict in place of prompts."""
    _LOG.warning(
        "no prompts read the towers of %s, which take none: their features predict what is missing",
        " and ".join(columns),
    )
