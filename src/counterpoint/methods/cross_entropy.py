"""Cross-entropy: a classifier on the features of one column, trained with its tower."""

from __future__ import annotations

from typing import Unpack

from jaxtyping import Float
from torch import Tensor

from ..forms import Fraction
from ..losses import CrossEntropyLoss
from ..networks.base import Towers
from ..recipes.schema import Recipe
from ..types import Target
from ._scores import ClassScores, ScoreOptions


class CrossEntropy(ClassScores):
    """``L = CE(s, y)``; s_c is what class c scores on the features f(x) of a column: pictures, unless another is named.

    ============  =================================
    ``linear``    ``<f(x), w_c> + b_c``
    ``cosine``    ``cos(f(x), w_c) / τ``
    ``distance``  ``−½ ‖f(x) − w_c‖²``
    ============  =================================

    It learns the label that is named (``--labels``, or ``cross-entropy,labels=NAME``), ``group`` unless one is;
    examples without a class count for nothing. A user gets the tower's own features (`embed`) and the classes
    (`classify`); a run logs the mean norm of the class vectors, ``class_norm``. With ``mixup`` each step is of examples
    blended two by two, see `counterpoint.networks.mixup.mixup`. With several rates of dropout an example has a view
    under each, as in `counterpoint.methods.single_loss.SingleLoss`, and L is the mean over views:
    ``cross-entropy,on=text,dropout=0.1+0+0.05+0.2``.

    Args:
        towers: the tower, by its column.
        recipe: unused: the head is as wide as the tower.
        target: the label that is learned.
        smoothing: the part of the target that all classes share.
        options: what follows.
        head: how classes score.
        temperature: τ, of cosines; 0.05 unless given.
        mixup: α; 0 for no blends.
        dropout: of the tower, a rate or one for each view; none unless given.
        start: the folder of a run that classified by nouns, as `CatLIP` does: the head starts from its vectors of the
            classes that are called so.

    Raises:
        ValueError: without a label, for a temperature of another head than cosines, and for rates of a tower that
            cannot drop anything, or of which two are 0.

    Source: the baseline of Baek et al., "Harmonic Loss Trains Interpretable AI Models" (2025), arXiv 2502.01628, and of
    most papers on labels.
    """

    family = "supervised"
    papers = ("harmonic-loss",)
    name = "cross_entropy"

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        target: Target | None = None,
        smoothing: Fraction = 0.0,
        **options: Unpack[ScoreOptions],
    ) -> None:
        super().__init__(towers, recipe, target=target, **options)
        self.objective = CrossEntropyLoss(smoothing)

    def loss(
        self, features: Float[Tensor, "B W"], labels: Tensor, weights: Float[Tensor, " B"] | None
    ) -> Float[Tensor, ""]:
        return self.objective(*self.head(features), labels=labels, weights=weights)
