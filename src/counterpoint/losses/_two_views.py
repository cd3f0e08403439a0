"""Shared parts of the symmetric contrast between two views of one model and of its predecessor."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ..forms import Positive
from ..pairwise.inputs import paired
from ..pairwise.loss import PairwiseLoss
from ..pairwise.temperature import Temperature


class TwoTerms(PairwiseLoss):
    """The shared base of both forms: a temperature for plasticity and one for stability."""

    papers = ("sy-con",)

    def __init__(
        self,
        temperature: Positive | Temperature = 0.2,
        *,
        stability_temperature: Positive | Temperature = 0.2,
    ) -> None:
        super().__init__()
        self.temperature = Temperature.of(temperature, Temperature(0.2))
        self.stability_temperature = Temperature.of(stability_temperature, Temperature(0.2))


def check_two(**named: Sequence[Tensor] | None) -> None:
    """Refuse another number of views of what is given."""
    for name, views in named.items():
        if views is not None and len(views) != 2:
            raise ValueError(f"Sy-CON takes two views, got {len(views)} of {name}")


def two_views(**named: Sequence[Tensor]) -> list[tuple[Tensor, ...]]:
    """Check two views of each, as `counterpoint.pairwise.paired` checks pairs.

    Raises:
        ValueError: for another number of views, or views that do not pair up.
    """
    check_two(**named)
    flat = paired(
        **{f"{name} of view {v}": views[i] for name, views in named.items() for i, v in enumerate("AB")}
    )
    return [flat[start : start + 2] for start in range(0, len(flat), 2)]
