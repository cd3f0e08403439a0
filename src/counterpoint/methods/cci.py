"""CCI: features of pictures that tell classes apart and are alike across domains, to choose examples in context by."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from ..forms import Positive
from ..losses import CCILoss
from ..networks.base import Towers
from ..recipes.schema import Recipe
from ..registry import unknown
from ..types import Batch, Embeddings, Target
from .needs import Needs
from .single_loss import Head, SingleLoss


class CCI(SingleLoss):
    """`CCILoss` of augmented views of each example, whose domains are a further label of the data.

    ``cci,across=LABEL`` has the classes of another label as domains. Without it all examples are of one domain, the
    control that differs in nothing else. With ``sampler=balanced`` all classes come equally often. A user gets the
    tower's own features, and `counterpoint.evaluation.InContext` shows the examples that are nearest by them.

    Args:
        towers: of one column.
        recipe: gives the widths of the head.
        target: the label whose classes they are; ``group`` unless given.
        across: the label whose classes are domains.
        temperature: τ.
        head: as for `SingleLoss`.

    Raises:
        ValueError: for an option out of its range.

    Source: Zhou et al., "Adapting Large Multimodal Models to Distribution Shifts: The Role of In-Context Learning"
    (2024), arXiv 2405.12217: InvariantSelectPR; see `CCILoss`.
    """

    family = "supervised"
    needs: ClassVar[Needs] = Needs(1, 1, prefers="image")
    papers = ("invariantselectpr",)
    learns = ("classes",)
    default_label = "group"
    tunable = CCILoss.tunable

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        target: Target | None = None,
        across: str = "",
        temperature: Positive = 0.1,
        head: Head = "mlp",
    ) -> None:
        super().__init__(towers, recipe, CCILoss(temperature), "cci", target=target, head=head)
        self.across = across

    def loss_inputs(self, z: Embeddings, batch: Batch) -> dict[str, Tensor]:
        extras = super().loss_inputs(z, batch)
        if not self.across:
            return extras
        if self.across not in batch.labels:
            raise unknown("label", self.across, batch.labels)
        return extras | {"domains": batch.labels[self.across]}
