"""Zero-shot classification by a frozen pair, as an arm beside others that learn from a few labels."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor

from ._adapting import Adapting


class ZeroShotPair(Adapting):
    """``s_c = v·t_c / τ``: v is the unit-norm feature of an example, t_c that of the name of class c.

    Nothing is learned. τ is the pair's own. It is the first baseline of every study with few labels. With tags it has
    one intercept for all tags, so that probabilities are calibrated on average.

    Args:
        towers: the tower of the column, and that of texts.
        recipe: gives the width of the pair's common space.
        target: the label.
        template: the text that names a class.

    Source: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision" (2021),
    arXiv 2103.00020.
    """

    family = "few labels"
    learns = ("classes", "tags")
    renames = True

    def fit(self, z: Float[Tensor, "N w"], labels: Int[Tensor, "N ..."]) -> None:
        if self.of_tags:
            self.calibrate(self.shared(z), labels)

    def scores(self, z: Float[Tensor, "B w"]) -> Float[Tensor, "B C"]:
        return self.zero_shot_scores(self.shared(z))
