"""Queues of keys: none is longer than the data has rows, and a trained one is read again as long as it was."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from counterpoint import trust
from counterpoint.networks.state.queue import Queue
from counterpoint.recipes import Recipe
from counterpoint.study.training.runner import run as carry_out
from counterpoint.training import start
from counterpoint.training.run import Run
from counterpoint.training.saving.checkpoint import Checkpoint, CheckpointError, restore
from counterpoint.training.start import build, load, prepare
from fixtures.tiny import TinyData

RECIPE = Recipe(batch_size=10, steps=2, towers={"image_size": 24, "vocabulary": 300})
ROWS = len(TinyData().splits.train)
FAULT = "a queue of {:,} keys is longer than the 30 rows to train on; give queue=30 or less"


def lengths(arm: str, recipe: Recipe = RECIPE) -> set[int]:
    method, _ = prepare(Run(arm, "tiny", recipe), TinyData())
    return {len(module) for module in method.modules() if isinstance(module, Queue)}


@pytest.mark.parametrize("name", ["moco", "mochi", "moco-dual-view", "sy-con", "brivl", "swav", "gml"])
def test_queue_longer_than_rows_refused_where_somebody_asked_for(name: str) -> None:
    assert lengths(f"{name},queue={ROWS}") == {ROWS}
    with pytest.raises(ValueError, match=FAULT.format(4096)):
        lengths(f"{name},queue=4096")
    with pytest.raises(ValueError, match=FAULT.format(ROWS + 1)):
        lengths(name, RECIPE.model_copy(update={"options": {name: {"queue": ROWS + 1}}}))


@pytest.mark.parametrize("name", ["moco", "mochi", "moco-dual-view", "sy-con", "brivl", "gml"])
def test_the_usual_queue_is_cut_to_the_rows_with_a_note(name: str, caplog: pytest.LogCaptureFixture) -> None:
    arm = f"{name},momentum=0.987"  # an arm of this test alone, as each is told of once
    caplog.set_level("INFO", "counterpoint")
    start._say_cut.cache_clear()
    assert lengths(arm) == lengths(arm) == {ROWS}
    told = f"arm {arm}: a queue of 30 keys in place of the usual 1,024, as there are 30 rows to train on"
    assert caplog.messages.count(told) == 1


def test_queue_of_classes_has_the_fewest_keys_that_it_works_with() -> None:
    assert lengths("gml,least=20") == {40}, "of two classes"
    assert lengths("gml,least=20,queue=40") == {40}


def test_options_that_do_not_suit_the_shorter_queue_are_refused() -> None:
    with pytest.raises(ValueError, match="skip_top=30 leaves none of the 30 keys"):
        prepare(Run("moco-dual-view,skip_top=30", "tiny", RECIPE), TinyData())


@pytest.mark.parametrize("arm", ["moco", "gml"])
def test_a_run_is_read_again_with_the_queue_that_it_had(arm: str, tmp_path: Path) -> None:
    folder, data = tmp_path / "run", "scenes:basic,train=20,validation=4,test=4"
    recipe = RECIPE.model_copy(update={"batch_size": 8, "validate_every": 100})
    carry_out(Run(arm, data, recipe, labels="colour"), folder, test=False)
    trained = load(folder)
    assert len(trained.queue) == 20
    assert (trained.queue.ids >= 0).any()


@pytest.mark.parametrize("arm", ["moco", "gml"])
def test_a_run_that_began_with_a_longer_queue_goes_on_with_it(arm: str) -> None:
    run = Run(arm, "tiny", RECIPE).on(TinyData())
    began = build(run, {})
    saved = Checkpoint(1, 0.0, began.state_dict(), None, {})
    now, _ = prepare(run, TinyData())
    assert (len(began.queue), len(now.queue)) == (1024, ROWS)
    restore(saved, now, None)
    assert all(torch.equal(value, began.state_dict()[name]) for name, value in now.state_dict().items())
    saved.model["queue.keys"] = saved.model["queue.keys"][:, :-1]
    with pytest.raises(CheckpointError, match=r"other shapes \['queue.keys'\]"):
        restore(saved, now, None)


@pytest.mark.parametrize("arm", ["moco", "moco,queue=1024"])
def test_a_resumed_run_does_not_warn_about_its_queue_again(
    arm: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    start._say_cut.cache_clear()
    caplog.set_level("INFO", "counterpoint")
    (tmp_path / "checkpoint" / "step-0000001").mkdir(parents=True)
    prepare(Run(arm, "tiny", RECIPE), TinyData(), tmp_path)
    assert not [message for message in caplog.messages if "keys" in message]


def test_queue_of_a_loss_of_the_user_s_own_is_as_long_as_it_says(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        """
import torch
from counterpoint.networks.state.queue import KeyQueue

class Mine(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.past = KeyQueue(64, 4)

    def forward(self, x, y):
        return (x - y).square().mean()
"""
    )
    trust.given(f"{tmp_path / 'mine.py'}:Mine")
    assert lengths(f"{tmp_path / 'mine.py'}:Mine") == {64}
