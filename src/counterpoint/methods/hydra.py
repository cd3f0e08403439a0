"""Hydra: examples of any two classes are positives, in the dimensions that a gate of the two classes leaves open."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from jaxtyping import Int
from torch import Tensor, nn

from ..forms import Positive
from ..losses import HydraLoss
from ..networks.base import Towers
from ..networks.heads import mlp
from ..networks.pair_gate import PairGate
from ..pairwise import Temperature, moments
from ..pairwise.ranks import Ranks
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, Target
from .base import Ranges
from .needs import Needs
from .single_loss import SingleLoss


class Hydra(SingleLoss):
    """`HydraLoss` of two views of each example, with a target class and a gate for each anchor.

        b = classes of the batch, permuted,   g_i = σ(MLP((e_{a_i} + e_{b_i}) / 2)),   z = nz(LayerNorm(MLP(f(view))))

    All gates open and arbitrary targets is contradictory, as everything attracts everything: ``gated=false`` is the
    control, and collapses. Where a gate closes all dimensions the loss is log(1 + negatives): ``open_dimensions``,
    the mean over anchors of Σ g, is logged, with the mean entropy of the gates. After training ``gate(a, b)`` in
    evaluation mode tells in how many dimensions classes a and b are alike.

    Batches hold several examples of a class where ``sampler=classes:K`` says so; a target of a single one is not rare
    otherwise, where there are many classes.

    Args:
        towers: of one column.
        recipe: gives the widths of the projector, of two layers.
        target: the label whose classes they are; ``group`` unless given.
        temperature: τ at first; it is learned.
        targets: classes of a permutation of the batch (``arbitrary``), the anchors' own (``identical``: supervised
            contrast with gates), or others, each as likely (``distinct``).
        gated: whether gates are learned; otherwise all are open.
        renormalised: whether similarities are cosines of gated vectors.

    Raises:
        ValueError: without a label of two classes or more, or for an option out of its range.

    Source: Wu et al., "Rethinking Positive Pairs in Contrastive Learning" (2024), arXiv 2410.18200.
    """

    family = "supervised"
    needs: ClassVar[Needs] = Needs(1, 1, prefers="image")
    learns = ("classes",)
    default_label = "group"
    papers = ("hydra",)
    draws = True
    tunable: ClassVar[Ranges] = HydraLoss.tunable

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        target: Target | None = None,
        temperature: Positive = 0.1,
        targets: Literal["arbitrary", "identical", "distinct"] = "arbitrary",
        gated: bool = True,
        renormalised: bool = False,
    ) -> None:
        if target is None or len(target.classes) < 2:
            raise ValueError(
                "hydra learns from pairs of classes: name a label of two or more with --labels NAME "
                "(counterpoint data describe lists them)"
            )
        loss = HydraLoss(Temperature(temperature), renormalised=renormalised)
        super().__init__(towers, recipe, loss, "hydra", target=target)
        ((column, tower),), out = towers.items(), recipe.widths.ssl_output
        projector = mlp(tower.width, recipe.widths.ssl_hidden, out, layers=2)
        self.projections = nn.ModuleDict({column: nn.Sequential(*projector, nn.LayerNorm(out))})
        self.count, self.targets_by = len(target.classes), targets
        self.gate = PairGate(self.count, out) if gated else None
        self.seen: dict[str, Tensor] = {}

    def loss_inputs(self, z: Embeddings, batch: Batch) -> dict[str, Tensor]:
        extras = super().loss_inputs(z, batch)
        classes = extras["labels"]
        extras["targets"] = self.chosen(classes)
        if self.gate is not None:
            gates = extras["gates"] = self.gate(classes, extras["targets"])
            g = gates.detach()
            entropy = torch.special.entr(g) + torch.special.entr(1 - g)
            of_all = moments.mean(torch.stack([g.sum(1), entropy.mean(1)], 1), ranks=Ranks.present())
            self.seen = dict(zip(("open_dimensions", "gate_entropy"), of_all, strict=True))
        return extras

    def chosen(self, classes: Int[Tensor, " B"]) -> Int[Tensor, " B"]:
        """Return the target class of each anchor, drawn for the rows of all ranks."""
        if self.targets_by == "identical":
            return classes
        ranks = Ranks.present()
        counts = ranks.counts(len(classes), classes.device)
        here = ranks.rows(counts)
        distinct, whole = self.targets_by == "distinct", sum(counts)
        drawn = torch.randint(1, self.count, (whole,)) if distinct else torch.randperm(whole)
        # The first rank's, as each draws others in a step: parts of several permutations are none.
        mine = ranks.stack(drawn.to(classes.device))[0][here]
        if distinct:
            return torch.where(classes < 0, -1, (classes + mine) % self.count)
        return ranks.gather(classes, counts)[mine]

    def numbers(self) -> dict[str, float]:
        return {name: float(value) for name, value in self.seen.items()}
