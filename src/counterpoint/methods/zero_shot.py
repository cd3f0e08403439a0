"""Zero-shot classification by a frozen pair, as an arm beside others that learn from a few labels."""

from __future__ import annotations

from typing import Literal, Unpack

from jaxtyping import Float, Int
from torch import Tensor

from ..networks.base import Towers
from ..recipes.schema import Recipe
from ..types import Target
from ._adapting import Adapting, AdaptingOptions

_SHARPNESS = 20.0
"""The scale of cosines in the softmax over patches."""


class ZeroShotPair(Adapting):
    """``s_c = v·t_c / τ``: v is the unit-norm feature of an example, t_c that of the name of class c.

    Nothing is learned. τ is the pair's own. It is the first baseline of every study with few labels. With tags it has
    one intercept for all tags, so that probabilities are calibrated on average.

    With ``reads=patches`` the cosine is a mean over the patches p_l of a picture, weighted for each class:
    ``Σ_l w_l p_l·t_c`` with ``w = softmax_l(20 p_l·t_c)``, the pooling of DualCoOp.

    Args:
        towers: the tower of the column, and that of texts.
        recipe: gives the width of the pair's common space.
        target: the label.
        reads: ``feature`` for the features of whole pictures, ``patches`` for those of their patches.
        options: see `Adapting`.

    Raises:
        LookupError: with ``reads=patches``, for a tower without features of patches.

    Source: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision" (2021),
    arXiv 2103.00020; the weights of patches are those of Sun et al. (2022), arXiv 2206.09541.
    """

    family = "few labels"
    learns = ("classes", "tags")
    renames = True

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        target: Target | None = None,
        reads: Literal["feature", "patches"] = "feature",
        **options: Unpack[AdaptingOptions],
    ) -> None:
        super().__init__(towers, recipe, target=target, **options)
        if reads == "patches":
            self.read_patches()

    def fit(self, z: Float[Tensor, "N *p w"], labels: Int[Tensor, "N ..."]) -> None:
        if self.of_tags:
            self.set_intercept(self.objective(self._cosines(z)), labels)

    def scores(self, z: Float[Tensor, "B *p w"]) -> Float[Tensor, "B C"]:
        return self.objective(self._cosines(z)) + self.intercept

    def _cosines(self, z: Float[Tensor, "B *p w"]) -> Float[Tensor, "B C"]:
        if self.reads == "feature":
            return self.shared(z) @ self.texts.T
        cosines = self.shared_patches(z)[:, 1:] @ self.texts.T
        return ((_SHARPNESS * cosines).softmax(1) * cosines).sum(1)
