"""Arms that go on from an earlier run: what they take along, and what begins anew."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from method_stubs import build

from counterpoint.data.source import load_any
from counterpoint.files import write_json
from counterpoint.methods._captioning import CaptioningMethod
from counterpoint.methods.arm import Arm
from counterpoint.methods.origin import lend_heads
from counterpoint.methods.tower_method import TowerMethod
from counterpoint.networks.towers.trained import CheckpointWeights
from counterpoint.recipes import Recipe, override
from counterpoint.study.training.runner import run
from counterpoint.training.record.provenance import ChangedDataError, trained_on
from counterpoint.training.run import OtherRunError, Run
from counterpoint.training.start import load, prepare
from counterpoint.types import Embedder

PICTURES = torch.randint(
    0, 256, (3, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)
TEXTS = ["a small red circle", "a green square", "nothing of the kind"]


@pytest.fixture(scope="module")
def first(pairs: Path, recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of clip that has learned a little."""
    folder = tmp_path_factory.mktemp("runs") / "first"
    assert run(Run("clip", str(pairs), recipe, 3), folder, tasks=("retrieval",)).status == "finished"
    return folder


def begun(arm: str, data: str | Path, recipe: Recipe, seed: int = 0) -> TowerMethod:
    planned = Run(arm, str(data), recipe, seed)
    return prepare(planned, load_any(str(data)))[0].eval()


def same(one: Embedder, other: Embedder) -> bool:
    pairs = [(one.embed("image", PICTURES), other.embed("image", PICTURES))]
    pairs += [(one.embed("text", TEXTS), other.embed("text", TEXTS))]
    return all(torch.equal(a, b) for a, b in pairs)


def test_at_its_start_an_arm_embeds_as_the_run_did(first: Path, pairs: Path, recipe: Recipe) -> None:
    before = load(first)
    assert same(begun(f"clip,from={first}", pairs, recipe), before)
    assert same(begun(f"slip,from={first}", pairs, recipe, seed=4), before)
    assert not same(begun("clip", pairs, recipe, seed=4), before)


@pytest.mark.parametrize("captioner", ["coca", "cappa"])
def test_captioner_goes_on_with_its_decoder_and_from_pair_with_picture_tower(
    captioner: str, first: Path, pairs: Path, recipe: Recipe, tmp_path: Path
) -> None:
    short = override(recipe, {"steps": 2})
    assert (
        run(Run(captioner, str(pairs), short, 3), tmp_path / "run", tasks=("captions",)).status == "finished"
    )
    ended, goes_on = (
        load(tmp_path / "run"),
        begun(f"{captioner},from={tmp_path / 'run'}", pairs, recipe, seed=4),
    )
    assert isinstance(ended, CaptioningMethod)
    assert isinstance(goes_on, CaptioningMethod)
    assert torch.equal(ended.log_likelihood(PICTURES, TEXTS), goes_on.log_likelihood(PICTURES, TEXTS))
    of_pair = begun(f"{captioner},from={first}", pairs, recipe).image_tower.state_dict()
    assert all(torch.equal(of_pair[k], it) for k, it in load(first).image_tower.state_dict().items())


def test_sizes_vocabulary_and_width_are_those_of_the_run(first: Path, recipe: Recipe, tmp_path: Path) -> None:
    other = override(
        recipe,
        {"towers.image_size": 40, "towers.vocabulary": 300, "towers.text": "bag", "widths.embedding": 7},
    )
    # Other words than the run has read, whose own vocabulary would be another one.
    assert same(begun(f"clip,from={first}", "emoji", other), load(first))


def test_a_tower_that_the_arm_names_is_its_own(first: Path, pairs: Path, recipe: Recipe) -> None:
    method, before = begun(f"clip,from={first},image=patches", pairs, recipe), load(first)
    assert method.image_tower.name == "patches"
    assert torch.equal(method.embed("text", TEXTS), before.embed("text", TEXTS))


def test_learned_numbers_come_along_unless_they_are_stated(first: Path, pairs: Path, recipe: Recipe) -> None:
    name = "objective.temperature.parameter"
    learned = load(first).state_dict()[name]
    assert begun(f"clip,from={first}", pairs, recipe).state_dict()[name] == learned
    stated = begun(f"clip,from={first},temperature=0.3", pairs, recipe).state_dict()[name]
    assert stated == begun("clip,temperature=0.3", pairs, recipe).state_dict()[name] != learned


def test_a_number_is_stated_by_all_the_words_of_its_option() -> None:
    weights = CheckpointWeights(build("clip-rocket", temperature=0.5, local_temperature=0.6).state_dict())
    for stated, expected in (
        ((), (0.5, 0.6)),
        (("local_temperature",), (0.5, 0.3)),
        (("local_proj",), (0.5, 0.6)),
    ):
        method = build("clip-rocket", local_temperature=0.3)
        lend_heads(weights, method, {}, stated)
        found = [float(part.temperature.value) for part in (method.objective.global_, method.objective.local)]
        assert found == pytest.approx(expected)


def test_a_temperature_of_another_form_begins_anew() -> None:
    method, weights = build("fusemix"), CheckpointWeights(build("clip").state_dict())
    assert "objective.temperature.parameter" in weights.tensors.keys() & method.state_dict().keys()
    lend_heads(weights, method, {}, ())
    assert float(method.objective.temperature.value) == pytest.approx(0.07)


def test_what_the_run_has_no_place_for_begins_anew(first: Path, pairs: Path, recipe: Recipe) -> None:
    views, alone = (
        begun(f"ntxent,on=images,from={first}", pairs, recipe),
        begun("ntxent,on=images", pairs, recipe),
    )
    heads = [name for name in views.state_dict() if name.startswith("projections.")]
    assert heads
    assert all(torch.equal(views.state_dict()[name], alone.state_dict()[name]) for name in heads)
    assert torch.equal(next(views.image_tower.parameters()), next(load(first).image_tower.parameters()))


def test_copies_follow_what_the_run_lends(first: Path, pairs: Path, recipe: Recipe) -> None:
    method = begun(f"byol,from={first}", pairs, recipe)
    (tower, *_) = method.towers.values()
    slow = dict(method.named_parameters())
    theirs = [value for name, value in slow.items() if name.startswith("momentum.module.0.")]
    assert len(theirs) == len(list(tower.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(theirs, tower.parameters(), strict=True))


def test_nothing_is_trained_of_an_arm_that_shows_the_run(first: Path, pairs: Path, recipe: Recipe) -> None:
    method = begun(f"clip,from={first},tune=none", pairs, recipe)
    assert same(method, load(first))
    assert not any(p.requires_grad for p in method.parameters())


def test_a_model_outlives_the_run_that_it_began_from(
    first: Path, pairs: Path, recipe: Recipe, tmp_path: Path
) -> None:
    lent, folder = tmp_path / "lent", tmp_path / "run"
    shutil.copytree(first, lent)
    planned = Run(f"clip,from={lent},tune=frozen", str(pairs), override(recipe, {"towers.image_size": 40}))
    assert run(planned, folder, tasks=("retrieval",)).status == "finished"
    before = load(folder)
    earlier, newest = sorted((lent / "checkpoint").iterdir())
    shutil.rmtree(newest)
    earlier.rename(newest)
    with pytest.raises(ChangedDataError, match=r"lent changed since the run in .*run began"):
        run(planned, folder, tasks=("retrieval",))
    shutil.rmtree(lent)
    assert same(load(folder), before)
    assert run(planned, folder, tasks=("retrieval",)).status == "finished", "asked again"
    with pytest.raises(OtherRunError, match="another recipe"):
        run(replace(planned, recipe=override(planned.recipe, {"steps": 3})), folder, tasks=("retrieval",))


def test_what_the_run_was_trained_on_counts_as_seen(
    first: Path, pairs: Path, recipe: Recipe, tmp_path: Path
) -> None:
    data, folder = load_any(str(pairs)), tmp_path / "run"
    planned = Run(f"clip,from={first}", "emoji", override(recipe, {"steps": 2}))
    assert run(planned, folder, tasks=("retrieval",)).status == "finished"
    assert set(data.splits.train) <= set(trained_on(folder, data)) == set(trained_on(first, data))


def test_a_checkpoint_is_a_place_to_go_on_from(first: Path, pairs: Path, recipe: Recipe) -> None:
    newest = max((first / "checkpoint").iterdir())
    assert same(begun(f"clip,from={newest}", pairs, recipe), load(first))


def test_a_tower_alone_may_be_that_of_a_run(first: Path, pairs: Path, recipe: Recipe) -> None:
    name = load(first).text_tower.name
    method = begun(f"clip,text={name}@{first}", pairs, recipe, seed=4)
    theirs = dict(load(first).text_tower.named_parameters())
    assert all(torch.equal(p, theirs[n]) for n, p in method.text_tower.named_parameters())
    weights = next((first / "checkpoint").rglob("model.safetensors"))
    with pytest.raises(ValueError, match=r"go with the tokenizer.json .* name the folder of the run"):
        begun(f"clip,text={name}@{weights}", pairs, recipe)


def test_a_tower_that_the_arm_names_has_its_own_vocabulary(
    first: Path, pairs: Path, recipe: Recipe, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    planned = Run("clip", "emoji", override(recipe, {"steps": 2}))
    assert run(planned, other, tasks=("retrieval",)).status == "finished"
    name = load(other).text_tower.name
    borrowed = begun(f"clip,from={first},text={name}@{other}", pairs, recipe).text_tower
    fresh = begun(f"clip,from={first},text={name}", pairs, recipe).text_tower
    of_other, of_first, of_pairs = (
        model.text_tower.tokenizer(TEXTS)
        for model in (load(other), load(first), begun("clip", pairs, recipe))
    )
    assert torch.equal(borrowed.tokenizer(TEXTS), of_other)
    assert not torch.equal(of_other, of_first)
    assert torch.equal(fresh.tokenizer(TEXTS), of_pairs)


@pytest.mark.parametrize(
    ("arm", "message"),
    [
        ("clip,from={nowhere}", "arm .* is neither a run's folder nor one of its checkpoints"),
        ("clip,from={running}", "the run has not finished .*'running'"),
        (
            "clip,from={first},image=patches,text=bag",
            "has towers of image and text, and none of these is one that",
        ),
    ],
)
def test_refuses_runs_that_cannot_be_gone_on_from(
    arm: str, message: str, first: Path, pairs: Path, recipe: Recipe, tmp_path: Path
) -> None:
    running = tmp_path / "running"
    shutil.copytree(first, running)
    write_json(running / "run.json", {"status": "running"})
    with pytest.raises(ValueError, match=message):
        begun(arm.format(nowhere=tmp_path / "nowhere", running=running, first=first), pairs, recipe)


def test_columns_may_have_other_names(first: Path, recipe: Recipe) -> None:
    lent = Run.read(first).lends(recipe, str(first))
    # Without an example: what a tokenizer is fitted on is the run's.
    method = (
        Arm.parse(f"clip,from={first}").build(lent, {}, 0, columns={"photo": "image", "note": "text"}).eval()
    )
    before = load(first)
    assert torch.equal(method.embed("photo", PICTURES), before.embed("image", PICTURES))
    assert torch.equal(method.embed("note", TEXTS), before.embed("text", TEXTS))


@pytest.mark.slow
def test_wise_lies_between_the_run_and_what_was_trained(
    first: Path, pairs: Path, recipe: Recipe, tmp_path: Path
) -> None:
    def trained(wise: str) -> TowerMethod:
        planned = Run(f"clip,from={first}{wise}", str(pairs), recipe, 4)
        assert run(planned, tmp_path / f"run{wise}", tasks=("retrieval",)).status == "finished"
        return load(tmp_path / f"run{wise}")

    whole = trained("")
    assert same(trained(",wise=0"), load(first))
    assert same(trained(",wise=1"), whole)
    start, end, half = (m.state_dict() for m in (load(first), whole, trained(",wise=0.5")))
    for name in ("towers.image.head.weight", "projections.text.weight"):
        name = name if name in end else next(n for n in end if n.endswith("weight"))
        assert not torch.equal(start[name], end[name])
        torch.testing.assert_close(half[name], (start[name] + end[name]) / 2)


@pytest.mark.parametrize(
    ("arm", "message"),
    [
        ("clip,wise=0.5", "this one continues from none"),
        ("clip,wise=1.5", "wise must be a number from 0 to 1, got '1.5'"),
        ("clip,wise=half", "wise must be a number from 0 to 1, got 'half'"),
    ],
)
def test_wise_that_cannot_be_is_refused(arm: str, message: str, pairs: Path, recipe: Recipe) -> None:
    with pytest.raises(ValueError, match=message):
        begun(arm, pairs, recipe)
