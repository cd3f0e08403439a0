"""MCL: encoders one after another, of which each must tell apart what the earlier ones find alike."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..forms import Count
from ..networks import KeyQueue
from ..networks.base import Input, Towers
from ..networks.clusters import nearest_centres
from ..networks.state.item_state import ItemState
from ..networks.towers.parts.side_by_side import again, side_by_side
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, Stage, StepInfo, TrainingExamples
from ._registry import METHODS, create
from .base import ONCE
from .needs import Needs
from .options import read
from .single_loss import SingleLoss
from .tower_method import TowerMethod


class MCL(TowerMethod):
    """Stages of a contrastive method, each with an encoder of its own, whose embeddings stand side by side.

        c_s = k-means of nz(f_s(x)) over all training rows,   p_s = K p_{s−1} + c_s,   p_{−1} = 0
        stage s + 1: batches of one group p_s each, under the base's own loss,   z(x) = nz([f_0(x); …; f_S(x)])

    A difference that the earlier encoders see separates no negatives of a batch any more, so that something else
    must be learned. Groups are cumulative: rows share one if they shared the cluster in every stage. (The released
    script repeats the last stage's labels in place of the earlier ones.) The group's rows that do not fill a batch
    wait for another epoch, and a group smaller than a batch never comes: ``rows used``, which is logged with the
    number of ``groups``, is the share of the rows that an epoch has.

    With one cluster it is the base, as many times as there are stages, each from weights of its own. Every stage has an
    equal share of the steps, in which the base's clock, the learning rate and the optimiser begin anew, and starts from
    weights of its own; a pretrained tower starts each of them as it is. Groups are tight, so that false negatives are
    more frequent: a loss that no longer falls tells of it. Batch norms of a tower see one group at a time.

    Args:
        towers: of the columns that the base takes; on pairs the first one's embeddings are clustered.
        recipe: that of the base, whose options it may have; ``batch_size`` says which groups are large enough.
        base: a method that learns from no label, looks at nothing, and has neither stages nor a queue, which would hold
            rows of other groups.
        stages: S + 1, the encoders.
        clusters: K of every stage at most; fewer where there are no K^S batches of rows, which leave the groups of the
            last stage a batch on average.
        normalise: embeddings of stages to unit norm before they stand side by side; else a stage weighs as its norm.
        first: the first encoder is trained, or taken as it is ``given``: pretrained, as the paper has CLIP's.

    Raises:
        ValueError: for another base, and ``first=given`` of towers without weights.

    Source: Zhang et al., "Learning the Unlearned: Mitigating Feature Suppression in Contrastive Learning" (2024), arXiv
    2402.11816. Its sampler visits groups in turn, here their batches come at random.
    """

    family = "images"
    papers = ("mcl",)
    needs: ClassVar[Needs] = Needs(1, 2)
    epoch_start_every = ONCE
    regroups = True
    share: Tensor
    reached: Tensor
    began: Tensor

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        base: str = "ntxent",
        stages: Count = 3,
        clusters: Count = 10,
        normalise: bool = False,
        first: Literal["trained", "given"] = "trained",
    ) -> None:
        given = first == "given"
        if given and (stages == 1 or not all(tower.pretrained for tower in towers.values())):
            raise ValueError(
                "first=given takes the first encoder as it is: name weights of its towers after an @, and have at "
                "least 2 stages, or leave first out"
            )
        encoders = [towers, *(again(towers) for _ in range(stages - 1))]
        learners = [_learner(base, each, recipe) for each in encoders]
        super().__init__(side_by_side(encoders))
        self.learners = nn.ModuleList(learners)
        self.views, self.heads, self.draws = learners[0].views, learners[0].heads, learners[0].draws
        self._numbers = {f"stage {number}": number for number in range(given, stages)}
        self.stages = tuple(Stage(name, 1, (f"learners.{n}.",)) for name, n in self._numbers.items())
        self.rates = {f"learners.{n}.{of}": r for n in range(stages) for of, r in learners[0].rates.items()}
        self.clusters, self.batch, self.normalise = clusters, recipe.batch_size, normalise
        self.items, self.now = ItemState(group=0.0), stages - 1
        # The share of rows used, the encoders that count, and the first step of the stage.
        self.register_buffer("share", torch.tensor(1.0))
        self.register_buffer("reached", torch.tensor(stages))
        self.register_buffer("began", torch.tensor(0))

    @property
    def view_inputs(self) -> Mapping[str, Input]:
        return self._learners()[0].view_inputs

    @property
    def picture_size(self) -> int | None:
        return self._learners()[0].picture_size

    @property
    def context(self) -> int | None:
        return self._learners()[0].context

    def on_epoch_start(self, examples: TrainingExamples, clock: StepInfo) -> None:
        """Divide the groups by clusters of what the last stage says of all examples."""
        self.now = self._numbers[clock.stage]
        self.reached.fill_(self.now + 1)
        self.began.fill_(clock.step)
        clusters, device = self._most(len(examples.ids)), self.items.ids.device
        groups = torch.zeros_like(examples.ids)
        if self.now:
            (column, *_), last = self.columns, self._learners()[self.now - 1]
            z = examples.map(lambda batch: last.embed_prepared(column, batch[column]))
            seed = int(torch.randint(2**31, ()))  # the same on every rank
            assigned = nearest_centres(z, clusters, 1, seed=seed)[:, 0].cpu()
            earlier = self.items.recall(examples.ids.to(device))[0].long().cpu()
            # Numbered anew, as K^s soon is a larger number than a float holds.
            groups = torch.unique(earlier * clusters + assigned, return_inverse=True)[1]
        self.items.store(examples.ids.to(device), group=groups.float().to(device))
        self.share.fill_(float((groups.bincount() // self.batch).sum() * self.batch / len(groups)))

    def groups(self, ids: Int[Tensor, " N"]) -> Int[Tensor, " N"] | None:
        groups = self.items.recall(ids.to(self.items.ids.device))[0].long().cpu()
        return groups if groups.any() else None

    def prepare(self, batch: Batch, clock: StepInfo) -> Batch:
        self.now = self._numbers.get(clock.stage, len(self.learners) - 1)
        return self._learner.prepare(batch, self._stage_clock(clock))

    def targets(self, batch: Batch) -> Embeddings:
        return self._learner.targets(batch)

    def encode(self, batch: Batch) -> Embeddings:
        return self._learner.encode(batch)

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        return self._learner.losses(z, batch, self._stage_clock(clock))

    def after_step(self, z: Embeddings, batch: Batch, clock: StepInfo) -> None:
        self._learner.after_step(z, batch, self._stage_clock(clock))

    def project(self, column: str, features: Float[Tensor, "n w"], head: str) -> Float[Tensor, "n d"]:
        learners = self._learners()
        parts = torch.split(features, learners[0].tower(column).width, dim=-1)
        z = [learner.project(column, part, head) for learner, part in zip(learners, parts, strict=True)]
        if self.normalise:
            z = [F.normalize(part, dim=-1) for part in z]
        # Zeros for the stages that are still to come: they change no cosine.
        return torch.cat([part * (number < self.reached) for number, part in enumerate(z)], dim=-1)

    def numbers(self) -> dict[str, float]:
        groups = float(self.items.get_buffer("group").max()) + 1
        return {"groups": groups, "rows used": float(self.share), **self._learner.numbers()}

    def passes(self) -> dict[str, float]:
        return self._learners()[0].passes()

    def passes_of_all(self) -> dict[str, float]:
        # The stage of every encoder but the first begins with a look at what the one before it says.
        column, *_ = self.columns
        return {self.tower(column).modality: len(self.learners) - 1}

    def _learners(self) -> list[TowerMethod]:
        return [learner for learner in self.learners if isinstance(learner, TowerMethod)]

    @property
    def _learner(self) -> TowerMethod:
        return self._learners()[self.now]

    def _stage_clock(self, clock: StepInfo) -> StepInfo:
        """Return the clock of a stage, as a run of its own would have it."""
        if not clock.stage:
            return clock
        steps = round(clock.steps / len(self.stages))
        return replace(clock, step=clock.step - int(self.began), steps=steps, stage="")

    def _most(self, rows: int) -> int:
        """Return how many clusters leave the groups of the last stage a batch on average."""
        further = len(self.learners) - 1
        most = next(k for k in range(self.clusters, 0, -1) if k == 1 or k**further * self.batch <= rows)
        if further and most == 1 < self.clusters:
            warnings.warn(
                f"{rows} rows are too few for groups of {self.batch} in {further} further stages: every stage sees all "
                "of them, and encoders differ in their weights alone",
                stacklevel=2,
            )
        return most


def _learner(base: str, towers: Towers, recipe: Recipe) -> TowerMethod:
    """Build the base for one stage.

    Raises:
        UnknownNameError: for a base that there is not.
        ValueError: for one that cannot be taken in stages.
    """
    stated = {name: str(value) for name, value in recipe.options.get(base, {}).items()}
    options = read(base, METHODS.get(base), stated)
    learner = create(base, towers, recipe, **options)
    labels = bool(learner.learns) or (isinstance(learner, SingleLoss) and learner.needs_labels)
    queue = any(isinstance(part, KeyQueue) for part in learner.modules())
    for fault, why in {
        "learns from a label": labels,
        "has stages or looks of its own": learner.stages or learner.epoch_start_every,
        "has a queue, which holds rows of other groups": queue,
    }.items():
        if why:
            raise ValueError(f"base={base!r} {fault}; take another one, ntxent or clip say")
    return learner
