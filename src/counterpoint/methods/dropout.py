"""Rates of dropout by view: how one example passes through a tower several times, and differs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import BeforeValidator
from torch import Tensor

from ..forms import Fraction
from ..networks.base import Tower
from ..networks.towers.parts.blocks import dropout_layers, dropping
from ..types import Embeddings

Rates = Annotated[
    tuple[float, ...], BeforeValidator(lambda text: text.split("+") if isinstance(text, str) else text)
]
"""Rates of dropout, by view; as text they stand between plus signs."""


def listed(dropout: Fraction | Rates) -> tuple[float, ...]:
    """Return the rates of an option that is one or several.

    >>> listed(0.1), listed((0.1, 0.0))
    ((0.1,), (0.1, 0.0))
    """
    return dropout if isinstance(dropout, tuple) else (dropout,)


def stated(rates: tuple[float, ...]) -> str:
    """Return rates as an arm states them.

    >>> stated((0.1, 0.0))
    '0.1+0'
    """
    return "+".join(f"{rate:g}" for rate in rates)


def check_rates(rates: tuple[float, ...], tower: Tower) -> None:
    """Refuse rates that cannot be, or under which two views would be equal, and a tower without dropout."""
    if not all(0 <= rate <= 1 for rate in rates):
        raise ValueError(f"dropout={stated(rates)}: rates lie between 0 and 1")
    if rates.count(0.0) > 1:
        raise ValueError(
            f"dropout={stated(rates)}: two views without dropout are equal; let one at most have 0"
        )
    if not (tower.takes_dropout or dropout_layers(tower)):
        raise ValueError(f"dropout={stated(rates)}: the {tower.modality} tower {tower.name!r} has no dropout")


def dropped(tower: Tower, views: Mapping[str, Tensor], rates: tuple[float, ...]) -> Embeddings:
    """Return the features of views under their rates: of the tower's own layers, or where it has none of its blocks."""
    layers, features = dropout_layers(tower), {}
    for (name, inputs), rate in zip(views.items(), rates, strict=True):
        # Set for every view, also where it is the layers' own: what was set for the view before it is over.
        with dropping(layers, [rate] * len(layers)):
            features[name] = tower(inputs) if layers else tower(inputs, dropout=rate)
    return features
