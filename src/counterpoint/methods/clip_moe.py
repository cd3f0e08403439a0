"""CLIP-MoE: experts that are feed-forward networks of one CLIP, each trained on what the earlier ones find alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..forms import BelowOne, Count, NonNegative, Positive
from ..losses import InfoNCELoss
from ..networks.base import TextTower, Towers
from ..networks.clusters import nearest_centres
from ..networks.experts import MixtureBlock, Routing, balance_of_votes, recorded_routings, votes
from ..networks.heads import Linear
from ..networks.state.item_state import ItemState
from ..networks.towers.parts.pooling import inside
from ..networks.towers.transformer import TextTransformer, TransformerBlock, VisionTransformer
from ..pairwise import Temperature
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, Stage, StepInfo, TrainingExamples
from .base import ONCE
from .dual_encoder import linear_heads
from .needs import Needs
from .tower_method import TowerMethod, paired

_ROUTING, _ROUTERS = "routing.", "routers"
"""The beginning of the names of what routers decided; the name of their stage, and of the module that holds them."""


class CLIPMoE(TowerMethod):
    """The feed-forward networks of all blocks become experts, of which each token is served by a few.

        u = norm(h),   w = the k largest of softmax(G u), divided by their sum,   block: h + Σ_e w_e FFN_e(u)

    Experts come from clusters: expert 0 is that of the towers as they are. In the stage of expert s, it starts as a
    copy of expert s − 1, and it alone is trained and used, by contrast within groups::

        c_s = k-means of [nz(picture); nz(text)] under expert s − 1,   p_s = K p_{s−1} + c_s,   batches of one group p_s

    In the last stage only the routers G are trained, on batches of all rows, by

        L = InfoNCE + balance · (LB_image + LB_text / 2),   LB = E Σ_e f_e P_e

    f_e is the share of tokens that choose expert e, of all layers, choices added up, and P_e the mean probability. The
    balanced value of LB is k. Heads, temperature, attention and norms stay as they are.

    With copies for experts, the control of the paper (sparse upcycling), all experts start as copies of the towers'
    networks and are trained together with the routers, for as many steps as the stages of experts have together.

    Args:
        towers: built-in transformers of pictures and texts, which a run has trained: ``from=RUN``.
        recipe: ``batch_size`` says which groups are large enough.
        experts: E.
        choices: k.
        clusters: K at most; fewer where groups of the last expert would not fill a batch on average.
        source: where experts come from.
        balance: the weight of the load balance.
        label_smoothing: of InfoNCE.
        temperature: τ, where no run lends one.

    Raises:
        LookupError: for towers without the blocks of a built-in transformer.
        ValueError: for fewer than 2 choices, whose one weight would be 1 and teach the router nothing.

    Source: Zhang et al., "CLIP-MoE: Towards Building Mixture of Experts for CLIP with Diversified Multiplet Upcycling"
    (2024), arXiv 2409.19291, and its code. There experts drop out a tenth of their features and padding has a part in
    the load balance of texts; here neither is so. The code keeps only the last stage's clusters, its notebook all.
    """

    family = "two towers"
    papers = ("clip-moe",)
    needs: ClassVar[Needs] = Needs(modalities=("image", "text"))
    asks: ClassVar[Mapping[str, str]] = {"": "takes_masks"}  # which the vit does, and the cnn does not
    epoch_start_every = ONCE
    regroups = True

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        experts: Count = 4,
        choices: Count = 2,
        clusters: Count = 4,
        source: Literal["clusters", "copies"] = "clusters",
        balance: NonNegative = 0.01,
        label_smoothing: BelowOne = 0.1,
        temperature: Positive = 0.07,
    ) -> None:
        super().__init__(towers)
        if choices < 2:
            raise ValueError("choices=1 gives a weight of 1 whatever the router says; take 2 or more")
        self.views = paired(towers)
        self.experts, self.clusters, self.source, self.balance = experts, clusters, source, balance
        self.batch_size = recipe.batch_size
        self.routers = nn.ModuleList()
        for tower in self.towers.values():
            if not isinstance(tower, VisionTransformer | TextTransformer):
                raise LookupError("clip-moe makes experts of the blocks of the built-in vit and transformer")
            blocks = [block for block in tower.blocks if isinstance(block, TransformerBlock)]
            routers = [Linear(tower.width, experts) for _ in blocks]
            tower.blocks = nn.ModuleList(
                MixtureBlock(block, experts, choices, router)
                for block, router in zip(blocks, routers, strict=True)
            )
            # Not within the tower, whose weights are set already.
            self.routers.extend(routers)
        self.projections = nn.ModuleDict(linear_heads(towers, recipe.widths.embedding))
        self.objective = InfoNCELoss(
            Temperature(temperature, bounds=(0.01, 1.0)), label_smoothing=label_smoothing
        )
        prefixes = [
            f"{name}.mixture.experts."
            for name, part in self.named_modules()
            if isinstance(part, MixtureBlock)
        ]
        if source == "clusters":
            stages = [
                Stage(f"expert {n}", 1, tuple(f"{prefix}{n}." for prefix in prefixes))
                for n in range(1, experts)
            ]
        else:
            stages = [Stage("experts", experts - 1, (*prefixes, _ROUTERS))]
        self.stages = (*stages, Stage(_ROUTERS, 1, (_ROUTERS,)))
        self.items = ItemState(group=0.0)

    @property
    def blocks(self) -> list[MixtureBlock]:
        """The blocks of both towers."""
        return [block for block in self.towers.modules() if isinstance(block, MixtureBlock)]

    def on_epoch_start(self, examples: TrainingExamples, clock: StepInfo) -> None:
        """Begin the stage of an expert: copy the one before it, and divide the groups by clusters of what it says."""
        groups = torch.zeros_like(examples.ids)
        if clock.stage.startswith("expert "):
            expert = int(clock.stage.removeprefix("expert "))
            groups = self._groups(examples, expert)
            for block in self.blocks:
                block.mixture.copy_expert(expert - 1, [expert])
        ids = examples.ids.to(self.items.ids.device)
        self.items.store(ids, group=groups.to(ids).float())

    def _groups(self, examples: TrainingExamples, expert: int) -> Int[Tensor, " N"]:
        """Return groups of all rows: those of the stage before, divided by the clusters of what its expert says."""
        clusters = max(
            k
            for k in range(1, self.clusters + 1)
            if k == 1 or k ** (self.experts - 1) * self.batch_size <= len(examples.ids)
        )
        with self._using(expert - 1):
            z = examples.map(
                lambda batch: torch.cat([self.embed_prepared(c, batch[c]) for c in self.columns], 1)
            )
        seed = int(torch.randint(2**31, ()))
        assigned = nearest_centres(z, clusters, 1, seed=seed)[:, 0].cpu()
        earlier = self.items.recall(examples.ids.to(self.items.ids.device))[0].long().cpu()
        return torch.unique(earlier * clusters + assigned, return_inverse=True)[1]

    def groups(self, ids: Int[Tensor, " N"]) -> Int[Tensor, " N"] | None:
        groups = self.items.recall(ids.to(self.items.ids.device))[0].long().cpu()
        return groups if groups.any() else None

    def prepare(self, batch: Batch, clock: StepInfo) -> Batch:
        stage = clock.stage
        active = int(stage.removeprefix("expert ")) if stage.startswith("expert ") else None
        for block in self.blocks:
            block.active = active
        return batch

    def encode(self, batch: Batch) -> Embeddings:
        z = {}
        for column in self.columns:
            with recorded_routings(block.mixture for block in self.blocks) as routings:
                z[column] = self.features(column, batch[column])
            if routings:
                z[f"{_ROUTING}{column}"] = self._totals(column, batch[column], routings)
        return z

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        x, y = (F.normalize(self.project(column, z[column], "global"), dim=-1) for column in self.columns)
        losses = {"contrast": self.objective(x, y)}
        for column, weight in zip(self.columns, (1.0, 0.5), strict=True):
            if f"{_ROUTING}{column}" in z:
                balance = balance_of_votes(z[f"{_ROUTING}{column}"])
                losses[f"balance_{column}"] = self.balance * weight * balance
        return losses

    def _totals(self, column: str, inputs: Tensor, routings: Sequence[Routing]) -> Float[Tensor, "B parts"]:
        """Return, row by row, sums over tokens and layers: probabilities, choices of each expert, tokens."""
        tower = self.tower(column)
        if isinstance(tower, TextTower):  # whose blocks see the tokens of all texts without padding
            row = inside(inputs, tower.tokenizer.end).nonzero()[:, 0]
        else:
            row = torch.arange(len(inputs), device=inputs.device)
            row = row.repeat_interleave(len(routings[0].chosen) // max(len(inputs), 1))
        return votes(routings, row, len(inputs))

    def passes_of_all(self) -> dict[str, float]:
        # The stage of every expert but the first begins with what the one before it says of all rows.
        looks = self.experts - 1 if self.source == "clusters" else 0
        return {self.tower(column).modality: float(looks) for column in self.columns}

    @contextmanager
    def _using(self, expert: int) -> Iterator[None]:
        """Let one expert alone serve all tokens, inside a ``with`` block."""
        before = [block.active for block in self.blocks]
        for block in self.blocks:
            block.active = expert
        try:
            yield
        finally:
            for block, active in zip(self.blocks, before, strict=True):
                block.active = active
