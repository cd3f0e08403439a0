"""The baseline of new words: the words that they begin as, without learning."""

from __future__ import annotations

from typing import ClassVar, Unpack

from ..networks.base import Towers
from ..recipes.schema import Recipe
from ._personal import Personal, PersonalOptions


class Kind(Personal):
    """New words that stay what they begin as, those of ``like``: the kind of the subject. A run of it takes no step.

    Args:
        towers, recipe, painter, options: as for `Personal`.
    """

    closed: ClassVar[bool] = True

    def __init__(
        self, towers: Towers, recipe: Recipe, *, painter: str, **options: Unpack[PersonalOptions]
    ) -> None:
        super().__init__(towers, recipe, painter=painter, **options)
        self.requires_grad_(False)
