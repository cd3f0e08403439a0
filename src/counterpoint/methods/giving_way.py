"""Towers that nobody named, which give way where an option of an arm asks for what they have not."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from functools import cache

from ..modalities import MODALITIES
from ..networks.weights import Source

_LOG = logging.getLogger(__name__)


def giving_way(asked: Sequence[str], chosen: Mapping[str, str], nobodys: Collection[str]) -> dict[str, str]:
    """Return the towers that come in the place of others, by modality; none where one of those has what is asked.

    Args:
        asked: names of properties of `counterpoint.networks.base.Tower`, each of which one of the towers must have.
        chosen: the names of the towers by modality.
        nobodys: the modalities whose tower is the usual one, which nobody named.

    >>> giving_way(["drops_keys"], {"series": "dilated", "text": "transformer"}, {"series"})
    {'series': 'transformer'}
    """
    others: dict[str, str] = {}
    for what in asked:
        able = {modality: MODALITIES.get(modality).able.get(what, ()) for modality in chosen}
        if not any(Source.parse(chosen[modality]).form in them for modality, them in able.items()):
            others |= {modality: them[0] for modality, them in able.items() if them and modality in nobodys}
    return others


@cache
def say_taken(spec: str, modality: str, name: str) -> None:
    """Say once, and not again for every run, that a tower is none that anybody named."""
    _LOG.info(
        "arm %s: %s=%s, which has what its options ask for, in place of the usual tower", spec, modality, name
    )
