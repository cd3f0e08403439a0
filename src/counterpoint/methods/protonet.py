"""Prototypical networks on episodes, and SuSana Distancia: two more losses on distances."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from ..data.loading.samplers import occurrences
from ..forms import Count, NonNegative, Positive
from ..losses import ICNNLoss, ProtoNetLoss, ProtoTripletLoss
from ..networks.base import Towers
from ..pairwise.inputs import upcast
from ..pairwise.ranks import Ranks
from ..recipes.schema import Recipe
from ..registry import unknown
from ..types import Batch, Embeddings, StepInfo, Target
from .base import Ranges
from .needs import Needs
from .tower_method import TowerMethod, paired

Term = Literal["cross", "triplet", "triplet-all", "icnn", "icnn-supports", "icnn-queries"]


class ProtoNet(TowerMethod):
    """Each batch is an episode: a few rows of each of its classes are shown, and the others are to find their class.

    P classes × (K + Q) rows come in a batch (``sampler=classes:K+Q``, of itself). The first K rows of a class are its
    supports, the mean of whose features f(x) is its prototype p_c; the others are queries. The loss is the mean of

    =================  ====================================================================================
    ``cross``          `ProtoNetLoss` of queries and prototypes
    ``triplet``        `ProtoTripletLoss` of queries and prototypes
    ``triplet-all``    the same against all other prototypes, not the nearest alone
    ``icnn``           `ICNNLoss` of supports and queries in one set, its pool K + Q
    ``icnn-supports``  `ICNNLoss` of the supports: without a neighbour of the own class where K is 1
    ``icnn-queries``   `ICNNLoss` of queries among the supports
    =================  ====================================================================================

    ``protonet`` has the first, ``susana`` the first three. Features are not normalised in training; a user gets them
    as unit vectors. A class with fewer rows than K + Q comes with some of them again, in views of their own. The paper
    trains with more classes an episode than it tests with, and 15 queries of each.

    Args:
        towers: of one column.
        recipe: unused: prototypes are as wide as the tower.
        target: the label whose classes they are; ``group`` unless given.
        terms: which.
        support: K.
        queries: Q.
        temperature: T of ``cross``.
        margin: of ``triplet`` and ``triplet-all``.
        neighbours: of ``icnn``.
        detached: of ``icnn``, whether its normalisers carry no gradient.

    Raises:
        ValueError: for no term, or one that comes twice.

    Source: Snell, Swersky and Zemel, "Prototypical Networks for Few-shot Learning" (2017), arXiv 1703.05175;
    Méndez-Ruiz et al., "SuSana Distancia is all you need" (2023), arXiv 2305.09062.
    """

    family = "supervised"
    needs: ClassVar[Needs] = Needs(1, 1, prefers="image")
    papers = ("susana-distancia",)
    learns = ("classes",)
    default_label = "group"
    ordered = True

    @classmethod
    def searched(cls, options: Mapping[str, Any]) -> Ranges:
        margin = ProtoTripletLoss.tunable
        of_terms = {"cross": ProtoNetLoss.tunable, "triplet": margin, "triplet-all": margin}
        terms = [term for term in of_terms if term in options.get("terms", ("cross",))]
        return {name: span for term in terms for name, span in of_terms[term].items()}

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        target: Target | None = None,
        terms: tuple[Term, ...] = ("cross",),
        support: Count = 1,
        queries: Count = 5,
        temperature: Positive = 1.0,
        margin: NonNegative = 0.5,
        neighbours: Count = 4,
        detached: bool = False,
    ) -> None:
        super().__init__(towers)
        if not terms or len(set(terms)) < len(terms):
            raise ValueError(f"terms={'/'.join(terms)}: name each term once, and one at least")
        self.terms, self.support = terms, support
        self.sampler = f"classes:{support + queries}"
        self.views = paired(towers)
        self.labels = self.default_label if target is None else target.label
        self.cross, self.triplet = ProtoNetLoss(temperature), ProtoTripletLoss(margin)
        self.triplet_all = ProtoTripletLoss(margin, others="all")
        self.icnn = ICNNLoss(neighbours, pool=support + queries, detached=detached)
        self.icnn_near = ICNNLoss(neighbours, detached=detached)

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        ((name, _),) = self.views.items()
        if self.labels not in batch.labels:
            raise unknown("label", self.labels, batch.labels)
        x, labels, ranks = upcast(z[name]), batch.labels[self.labels], Ranks.present()
        here, of_all = ranks.rows(ranks.counts(len(x), x.device)), ranks.everyones(labels)
        turn = torch.from_numpy(occurrences(of_all.cpu().numpy())).to(x.device)
        known, shown = labels >= 0, ((turn < self.support) & (of_all >= 0))[here]
        queries = known & ~shown
        supports, classes = ranks.everyones(x[shown]), ranks.everyones(labels[shown])
        names, numbers = torch.unique(classes, return_inverse=True)
        sums = x.new_zeros(len(names), x.shape[1]).index_add(0, numbers, supports)
        prototypes = sums / numbers.bincount()[:, None]
        answers = torch.where(queries, torch.searchsorted(names, labels), -1)
        losses = {
            "cross": lambda: self.cross(x, prototypes, labels=answers),
            "triplet": lambda: self.triplet(x, prototypes, labels=answers),
            "triplet-all": lambda: self.triplet_all(x, prototypes, labels=answers),
            "icnn": lambda: self.icnn(x[known], labels=labels[known]),
            "icnn-supports": lambda: self.icnn_near(x[shown], labels=labels[shown]),
            "icnn-queries": lambda: self.icnn_near(x[queries], supports, classes, labels=labels[queries]),
        }
        return {term: losses[term]() / len(self.terms) for term in self.terms}
