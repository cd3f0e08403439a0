"""Methods that look at all examples go on where they were stopped, to the last bit, and learn of labels by default."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from counterpoint.recipes import Recipe
from counterpoint.training.loop import Progress, fit
from counterpoint.training.run import Run
from counterpoint.training.start import prepare
from fixtures.tiny import TinyData

RECIPE = Recipe(batch_size=10, steps=9, checkpoint_every=2, towers={"image_size": 24})


def trained(
    arm: str, folder: Path | None, on_step: Callable[[Progress], None] | None = None
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
    def stop(now: Progress) -> None:
        if now.step == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(arm, tmp_path, stop)
    again, whole = trained(arm, tmp_path), trained(arm, None)
    assert again.keys() == whole.keys()
    assert all(torch.equal(again[name], value) for name, value in whole.items())
    if not arm.startswith("supcon"):
        assert len(whole["items.ids"]) > 20, "it has looked"
