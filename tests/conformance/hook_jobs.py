"""A run of a method that has every hook: it chooses, it looks, it has stages and rates."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from training_jobs import DoubleLoader

from counterpoint.data.loading.order import ShuffledOrder
from counterpoint.methods.arm import Arm
from counterpoint.methods.clip import CLIP
from counterpoint.pairwise.ranks import Ranks
from counterpoint.recipes import Recipe, load, override
from counterpoint.training.loop import TrainingProgress, fit
from counterpoint.types import Batch, Embeddings, Stage, StepInfo, TrainingExamples
from fixtures.tiny import TinyData

STEPS, BATCH = 8, 8
"""Three steps are an epoch, and three the first stage."""


class Hooked(CLIP):
    """CLIP on pictures mixed with the next ones of the batch, drawn towards the mean of all pictures' features."""

    epoch_start_every = 1
    stages = (Stage("heads", 1, ("projections.",)), Stage("all", 2))
    centre: Tensor

    def begin(self) -> Hooked:
        """Become the method, of a CLIP that is built."""
        self.rates = {"towers.": 0.5, "towers.text.": 2.0}
        self.register_buffer("centre", torch.zeros(self.tower("image").width, dtype=torch.float64))
        self.looked: list[int] = []
        self.told: list[StepInfo] = []
        return self

    def on_epoch_start(self, examples: TrainingExamples, clock: StepInfo) -> None:
        assert not self.training
        assert not torch.is_grad_enabled()
        features = examples.map(lambda batch: self.features("image", batch["image"].double()))
        assert len(features) == len(examples.ids) == len(examples.labels["group"])
        self.centre.copy_(features.mean(0) + 0.01 * torch.randn(features.shape[1]))
        self.looked.append(clock.step)

    def prepare(self, batch: Batch, clock: StepInfo) -> Batch:
        assert not torch.is_grad_enabled()
        self.told.append(clock)
        ranks = Ranks.present()
        counts = ranks.counts(len(batch), batch.ids.device)
        pictures = ranks.gather(batch["image"], counts)
        share = torch.rand(len(pictures), 1, 1, 1, dtype=torch.float64)
        mixed = share * pictures + (1 - share) * pictures.roll(1, 0)
        return replace(batch, views={**batch.views, "image": mixed[ranks.rows(counts)]})

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        return super().losses({**z, "image": z["image"] + self.centre}, batch, clock)


def hooked_recipe(microbatch: int = 0) -> Recipe:
    changes = {"steps": STEPS, "batch_size": BATCH, "microbatch": microbatch, "checkpoint_every": 1}
    return override(load("cpu"), {**changes, "towers.image_size": 24, "towers.vocabulary": 300})


def hooked(recipe: Recipe) -> Hooked:
    data = TinyData()
    method = Arm.parse("clip").build(recipe, {"text": [data.captions(row)[0] for row in range(70)]}, seed=0)
    method.__class__ = Hooked
    assert isinstance(method, Hooked)
    return method.double().begin()


def job_hooked(
    rank: int, size: int, microbatch: int = 0, folder: Path | None = None, until: int = 0
) -> tuple[list[float], dict[str, Tensor], list[int], list[str]]:
    """Return the losses of a run, the state that it leaves, the steps of its looks and the stages of its steps."""
    recipe, losses = hooked_recipe(microbatch), []
    method = hooked(recipe)
    data = TinyData()
    loader = DoubleLoader(
        data,
        ShuffledOrder(data.splits.train, BATCH, 0),
        method.views,
        augmentation=recipe.augmentation,
        inputs=method.inputs,
        rank=rank,
        world=size,
    )

    def told(progress: TrainingProgress) -> None:
        losses.append(progress.loss)
        if progress.step == until + 1 > 1:  # it is told before its checkpoint is written
            raise _Stop

    with suppress(_Stop):
        fit(method, loader, recipe, folder, accelerator="cpu", on_step=told)
    assert all(p.requires_grad for p in method.parameters()), "as it was before the run"
    return losses, method.state_dict(), method.looked, [clock.stage for clock in method.told]


class _Stop(Exception):
    """The end of a run in the midst of it."""
