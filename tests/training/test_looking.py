"""Methods that look at all examples go on where they were stopped, to the last bit, and learn of labels by default."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from torch import Tensor

from counterpoint.data.loading.loader import Loader
from counterpoint.recipes import Recipe
from counterpoint.training.loop import TrainingProgress, fit
from counterpoint.training.run import Run
from counterpoint.training.start import prepare
from counterpoint.types import StepInfo, TrainingExamples
from fixtures.tiny import TinyData

RECIPE = Recipe(batch_size=10, steps=9, checkpoint_every=2, towers={"image_size": 24})


def trained(
    arm: str, folder: Path | None, on_step: Callable[[TrainingProgress], None] | None = None
) -> dict[str, Tensor]:
    method, loader = prepare(Run(arm, "tiny", RECIPE), TinyData())
    assert loader.order.steps_per_epoch < 5, "so that it looks on the way"
    return fit(method, loader, RECIPE, folder, on_step=on_step).state_dict()


@pytest.mark.parametrize(
    "arm",
    [
        "sbcl,every=1,warmup=1,smallest=2",
        "m-dyr,warmup=0.3",
        "md-dyr,warmup=0.3",
        "mcl,on=images,stages=2,clusters=2",
        "mcl,base=clip,text=bag,stages=2,clusters=2",
        "supcon,on=images,sampler=balanced",
    ],
)
def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(arm: str, tmp_path: Path) -> None:
    def stop(now: TrainingProgress) -> None:
        if now.step == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(arm, tmp_path, stop)
    again, whole = trained(arm, tmp_path), trained(arm, None)
    assert again.keys() == whole.keys()
    assert all(torch.equal(again[name], value) for name, value in whole.items())
    if not arm.startswith("supcon"):
        assert len(whole["items.ids"]) > 20, "it has looked"


def test_a_method_looks_at_the_start_of_every_second_epoch() -> None:
    recipe = Recipe(batch_size=10, steps=14, towers={"image_size": 24})
    method, loader = prepare(Run("sbcl,every=2,warmup=1,smallest=2", "tiny", recipe), TinyData())
    looks: list[tuple[int, int]] = []
    look = method.on_epoch_start

    def recorded(examples: TrainingExamples, clock: StepInfo) -> None:
        looks.append((clock.step, clock.epoch))
        look(examples, clock)

    with patch.object(method, "on_epoch_start", recorded):
        fit(method, loader, recipe)
    assert loader.order.steps_per_epoch == 3
    # Epochs are counted from 0: the first, the third and the fifth.
    assert looks == [(0, 0), (6, 2), (12, 4)]


def test_rows_come_first_order_again_when_there_no_groups_more() -> None:
    def batches(loader: Loader) -> list[list[int]]:
        return [loader.batch(step).ids.tolist() for step in range(3)]

    def halves(ids: Tensor) -> Tensor:
        return (ids > ids.median()).long()

    _, loader = prepare(Run("mcl,on=images,stages=2,clusters=2", "tiny", RECIPE), TinyData())
    before = batches(loader)
    loader.regroup(halves)
    assert batches(loader) != before
    loader.regroup(lambda _: None)
    assert batches(loader) == before
