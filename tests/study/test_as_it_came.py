"""The model as it came joins a study of speaking arms that go on from it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from counterpoint.networks.towers.trained import CheckpointWeights
from counterpoint.recipes import load, override
from counterpoint.study.as_it_came import added_in_words, with_models_as_they_came
from counterpoint.study.design import Design
from counterpoint.study.training.study import compare
from counterpoint.training.run import Run
from fixtures.speaking import RECIPE, speaking

DATA = "scenes:tiny,talk=captions,train=32,validation=8,test=8"
SPEAK = override(load("speak"), {"steps": 1, "batch_size": 8, "log_every": 1})


def begun(folder: Path, arm: str) -> str:
    """Write the folder of a run, which a design reads the arm of."""
    Run(arm, DATA, SPEAK).reserve(folder)
    return str(folder)


def joined(*arms: str, existing: Design | None = None) -> Design:
    return with_models_as_they_came(Design(arms, data=DATA, seeds=(0, 1), recipe=SPEAK), existing)


def test_the_model_joins_once_with_its_own_bridge(tmp_path: Path) -> None:
    first = begun(tmp_path / "first", "dpo,worse=random,bridge=resampler,tokens=4,tune_image=full")
    whole = f"sft,bridge=resampler,tokens=4,from={first},tune=none"
    given = (f"sft,from={first}", f"cal,from={first},tune=lora", "sft")
    design = joined(*given)
    assert (design.arms, design.added) == ((whole, *given), (whole,))
    assert design.seeds_of(whole) == (0,), "one run stands for all seeds"
    assert list(added_in_words(design)) == [
        f"{whole} was added: the model that other arms go on from, as it came, which nothing was trained of"
    ]
    # Again into the folder's study, where it is already.
    assert joined(f"cal,from={first}", existing=design).added == ()
    again = joined(f"cal,from={first}", existing=design).joined(design, tmp_path)
    assert again.arms == (whole, *given, f"cal,from={first}")
    assert again.added == (whole,)
    assert Design.fields_of(design.plain())["added"] == [whole]


def test_nothing_joins_that_nobody_goes_on_from(tmp_path: Path) -> None:
    first, other = begun(tmp_path / "first", "sft"), begun(tmp_path / "other", "clip")
    stated = f"cal,from={first},tune=none"
    assert joined(f"sft,from={first}", stated).added == ()
    assert joined("sft", "cal").added == ()
    assert joined(f"sft,from={other}").added == (), "its model writes no replies"
    assert joined(f"sft,from={tmp_path / 'gone'}").added == ()
    assert joined(f"moco,from={first}").added == (), "it learns from pictures alone"


def test_a_method_with_a_bridge_of_its_own_stands_for_itself(tmp_path: Path) -> None:
    begun(tmp_path / "seed-0", "blip-2,tokens=4")
    assert joined(f"blip-2,from={tmp_path}/seed-{{seed}},tokens=4").added == (
        f"blip-2,tokens=4,from={tmp_path}/seed-{{seed}},tune=none",
    )


def test_an_untrained_bridge_is_no_model_as_it_came(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    method = speaking("sft,bridge=resampler,tokens=2", "talk").float()
    saved = CheckpointWeights(dict(method.state_dict()))
    monkeypatch.setattr(CheckpointWeights, "of_run", classmethod(lambda *_: saved))
    (tmp_path / "inputs").mkdir()
    method.language.chat.save(tmp_path / "inputs" / "chat.json")
    lent = {"image": f"vit@{tmp_path}", "talk": f"llama@{tmp_path}"}
    recipe = RECIPE.model_copy(update={"towers": RECIPE.towers.model_copy(update=lent)})
    arm = f"sft,bridge=resampler,tokens=2,from={tmp_path},tune=none"
    whole = speaking(arm, "talk", recipe=recipe).float()
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, saved.tensors[name])
    assert not any(weight.requires_grad for weight in whole.parameters())
    with pytest.raises(ValueError, match="has no such bridge: give the options of that run's arm"):
        speaking(f"sft,from={tmp_path},tune=none", "talk", recipe=recipe)


@pytest.mark.slow
def test_the_added_arm_is_evaluated_as_the_others(tmp_path: Path) -> None:
    options = {"data": DATA, "recipe": SPEAK, "seeds": 1, "jobs": 1, "tasks": ["likelihood"]}
    first = compare("sft", folder=tmp_path / "first", **options)
    run = next((first.folder / "runs").glob("*/seed-0"))
    study = compare(f"sft,from={run}", folder=tmp_path / "second", **options)
    (added,) = study.summary.warnings[:1]
    assert added.startswith(f"sft,from={run},tune=none was added")
    assert added.split(": ")[1] in (study.folder / "report.html").read_text()
    untouched, trained = study.summary.arms
    assert (untouched.cost.passes.get("image", 0), trained.cost.passes["image"]) == (0, 8)
    key = study.summary.primary.key
    assert untouched.score(key).mean == first.summary.arms[0].score(key).mean != trained.score(key).mean
    assert study.sentences
