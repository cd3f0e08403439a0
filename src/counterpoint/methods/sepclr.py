"""SepCLR: what all examples share in one code, and what some have beside it in another."""

from __future__ import annotations

from copy import deepcopy
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..forms import Count, NonNegative, Positive
from ..losses import AlignUniformLoss, JointEntropyLoss
from ..networks.base import Towers
from ..networks.heads import mlp
from ..pairwise import moments
from ..pairwise.inputs import squared_distance
from ..pairwise.ranks import Ranks
from ..recipes.schema import Recipe
from ..registry import unknown
from ..types import Batch, Embeddings, StepInfo, Target
from .base import Ranges
from .needs import Needs
from .tower_method import TowerMethod, contrasted


class SepCLR(TowerMethod):
    """Two towers on two views of each example: a code c of what is common, and a code s of what is salient.

    The label says which examples are of the background class, which has nothing salient, and which are targets, of any
    other class. With towers f and e, linear layers P and Q, projectors g and h, c_v = nz(g(P f(v))), s_v = h(Q e(v)),
    A(x, y) = mean ‖x − y‖² / 2τ and U(x) = log mean_{i ≠ j} exp(−‖x_i − x_j‖² / 2τ):

        L = A(c_1, c_2) + U(c_1) + U(c_2)                              all examples
          + w_s [A(s_1, s_2) over targets + U(s̃_1) + U(s̃_2)]
          + w_0 [A(0, s_1) + A(0, s_2)] / 2                            over the background
          + w_j [J(c_1, s̃_1) + J(c_2, s̃_2)] / 2

    s̃ is s with 0 in place of the background's codes, one more point that targets keep away from; J is
    `counterpoint.losses.JointEntropyLoss`, minus the joint entropy, so that less of c is in s̃ and the reverse. s is not
    normalised, since 0 is the code that says nothing. U(s̃) is at least the log of the share of background pairs.

    Head ``common`` is P f and head ``salient`` is Q e, as in the release: g and h are left off. Each is of ``size``
    numbers, which is less than a tower's width, so that P f must drop something to make the joint entropy large. What
    is common leaks into s nearly unhindered at these weights: w_s outweighs w_j there. Examples without a class take
    part in the first line alone. Views must keep what is salient: with small marks, take crops that are not.

    Args:
        towers: the tower f, by its column; e is another one like it, from other weights unless these are pretrained.
        recipe: gives the width of the projectors g and h inside: ``ssl_hidden``.
        target: the label.
        background: the class that has nothing salient; the first of the label unless given.
        size: the width of P f, Q e, c and s.
        temperature: τ.
        salient: w_s, of the salient term.
        silence: w_0, of what makes the background's salient code 0.
        joint: w_j, of the joint entropy.

    Raises:
        ValueError: without a label.
        UnknownNameError: for a background that is no class of the label.

    Source: Louiset et al., "Separating common from salient patterns with Contrastive Representation Learning" (2024),
    arXiv 2402.11928. Weights are those of the released scripts for pictures, where towers are as one learns alone.
    """

    family = "images"
    papers = ("sepclr",)
    needs: ClassVar[Needs] = Needs(1, 1, prefers="image")
    heads = ("common", "salient")
    learns = ("classes",)
    tunable: ClassVar[Ranges] = {"temperature": (0.1, 2.0), "joint": (1.0, 100.0)}

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        target: Target | None = None,
        background: str = "",
        size: Count = 32,
        temperature: Positive = 0.5,
        salient: NonNegative = 1000.0,
        silence: NonNegative = 1000.0,
        joint: NonNegative = 10.0,
    ) -> None:
        super().__init__(towers)
        if target is None:
            raise ValueError(
                "sepclr tells by a label which examples have something salient: name one with --labels NAME "
                "(counterpoint data describe lists them)"
            )
        self.background = background or target.classes[0]
        if self.background not in target.classes:
            raise unknown("class", background, target.classes)
        self.label, self.nothing = target.label, target.classes.index(self.background)
        ((self.column, tower),) = towers.items()
        self.views = contrasted(self.column, tower, 2)
        self.salient_tower = deepcopy(tower)
        self.salient_tower.weights_set = tower.pretrained  # else its start is drawn, by its own name
        hidden, self.each = recipe.widths.ssl_hidden, tower.width
        self.common_layer, self.salient_layer = nn.Linear(tower.width, size), nn.Linear(tower.width, size)
        self.common_head = mlp(size, hidden, size, layers=2)
        self.salient_head = mlp(size, hidden, size, layers=2)
        self.objective = AlignUniformLoss(1 / (2 * temperature), 2.0, t=1 / (2 * temperature))
        self.entropy = JointEntropyLoss(temperature)
        self.salient, self.silence, self.joint = salient, silence, joint

    def features(self, column: str, inputs: Tensor) -> Tensor:
        """Return the features of both towers, side by side."""
        return torch.cat([super().features(column, inputs), self.salient_tower(inputs)], 1)

    def project(self, column: str, features: Float[Tensor, "n w"], head: str) -> Float[Tensor, "n d"]:
        common, salient = features.tensor_split([self.each], 1)
        if head == "salient" and not salient.shape[1]:
            raise LookupError("places are those of the common tower: take head=common")
        return self.common_layer(common) if head == "common" else self.salient_layer(salient)

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        parts = [torch.split(z[view], self.each, 1) for view in self.views]
        c = [F.normalize(self.common_head(self.common_layer(common)), dim=-1) for common, _ in parts]
        s = [self.salient_head(self.salient_layer(salient)) for _, salient in parts]
        losses = {"common": self.objective(*c)}
        classes = batch.labels[self.label]
        known = classes >= 0
        c, s, target = [x[known] for x in c], [x[known] for x in s], classes[known] != self.nothing
        if self.objective.count(target) < 2:  # pairs of salient codes are of examples with a class
            return losses
        # A rank, or a batch, may have no target, or no background: a mean over all ranks, 0 where there is none.
        ranks, weight = Ranks.present(), self.objective.alignment
        targets = target.to(s[0].dtype)
        kept = [torch.where(target[:, None], x, 0.0) for x in s]
        aligned = moments.mean(squared_distance(*s), targets, ranks=ranks)
        silent = moments.mean(s[0].square().sum(1) + s[1].square().sum(1), 1 - targets, ranks=ranks) / 2
        spread = sum(self.objective.spread(x, x) for x in kept)
        entropy = sum(self.entropy(*both) for both in zip(c, kept, strict=True)) / 2
        return {
            **losses,
            "salient": self.salient * (weight * aligned + spread),
            "silence": self.silence * weight * silent,
            "joint": self.joint * entropy,
        }

    def passes(self) -> dict[str, float]:
        return {modality: 2 * count for modality, count in super().passes().items()}
