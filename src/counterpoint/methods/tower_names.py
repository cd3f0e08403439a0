"""Names of an arm's towers, where they differ from the recipe; those that nobody named may give way to others."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from functools import cache

from ..modalities import MODALITIES
from ..networks.weights import TowerSource

_LOG = logging.getLogger(__name__)


def tower_names(
    own: Mapping[str, str], asked: Sequence[str], of_recipe: Mapping[str, str], modalities: Iterable[str]
) -> dict[str, str]:
    """Return the names of an arm's towers by modality, where they differ from the recipe.

    Where no tower has what an option asks for, those that are the first of their modality, and so nobody's choice, give
    way to others that have it.

    Args:
        own: the towers that the arm names, by modality.
        asked: what its options ask for, see `counterpoint.methods.arm.Arm.asked`.
        of_recipe: the towers that the recipe names.
        modalities: of the columns that the arm reads.

    >>> recipe = {"series": "dilated", "text": "bag"}
    >>> tower_names({}, ["drops_keys"], recipe, recipe), tower_names({}, [], recipe, recipe)
    ({'series': 'transformer'}, {})
    """
    names, entries = dict(own), {modality: MODALITIES.get(modality) for modality in modalities if asked}
    for what in asked:
        chosen = {it: {**of_recipe, **names}.get(it, of.towers[0]) for it, of in entries.items()}
        if any(TowerSource.parse(chosen[it]).form in of.able.get(what, ()) for it, of in entries.items()):
            continue
        for it, of in entries.items():
            if what in of.able and it not in own and chosen[it] == of.towers[0]:
                names[it] = of.able[what][0]
    return names


@cache
def say_taken(spec: str, modality: str, name: str) -> None:
    """Say once, and not again for every run, that a tower is none that anybody named."""
    _LOG.info(
        "arm %s: %s=%s, which has what its options ask for, in place of the usual tower", spec, modality, name
    )
