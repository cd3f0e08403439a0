"""JEST: the choice of pairs that can teach most beside each other, and the reference that helps to choose."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
import torch.nn.functional as F
from method_stubs import RECIPE, StubSound, build, loaded, prepared
from select_jobs import judges

from counterpoint import methods
from counterpoint.data import load as load_data
from counterpoint.methods.jest import REFERENCE_TEXT
from counterpoint.pairwise import evaluate_with
from counterpoint.pairwise.joint_selection import Judge, select
from counterpoint.recipes import load as load_recipe
from counterpoint.recipes import override
from counterpoint.study.training.runner import run as carry_out
from counterpoint.training.loop import TrainingProgress
from counterpoint.training.run import Run
from counterpoint.training.start import load
from counterpoint.training.start import prepare as prepare_run
from counterpoint.types import Batch

F64 = torch.float64


def by_hand(count: int, chunks: int, *, averaged: bool = False) -> list[int]:
    """Choose from the whole matrix of scores, written from the paper's definition."""
    size = len(judges()[0].x)
    scores = torch.zeros(size, size, dtype=F64)
    for judge in judges():
        signs = 2 * torch.eye(size, dtype=F64) - 1
        scores += judge.weight * F.softplus(-signs * (judge.x @ judge.y.T + judge.bias), threshold=40)
    torch.manual_seed(0)
    chosen: list[int] = []
    while len(chosen) < count:
        logits = torch.empty(size, dtype=F64)
        for k in range(size):
            logits[k] = scores[k, k] + sum(scores[i, k] + scores[k, i] for i in chosen)
        logits /= 2 * len(chosen) + 1 if averaged else 1
        logits -= torch.empty(size, dtype=F64).exponential_().log()
        logits[chosen] = -1e8
        chosen += logits.topk(min(-(-count // chunks), count - len(chosen))).indices.tolist()
    return sorted(chosen)


@pytest.mark.parametrize(("count", "chunks"), [(10, 4), (12, 1), (7, 16), (40, 3)])
@pytest.mark.parametrize("averaged", [False, True])
def test_the_choice_is_that_of_the_matrix_of_all_scores(count: int, chunks: int, averaged: bool) -> None:
    expected = by_hand(count, chunks, averaged=averaged)
    assert len(set(expected)) == count
    for evaluator in ("dense", "tiled"):
        torch.manual_seed(0)
        with evaluate_with(evaluator, tile=7):
            assert select(judges(), count, chunks=chunks, averaged=averaged).tolist() == expected


def test_whoever_asks_for_all_gets_all_and_draws_nothing() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    assert torch.equal(select(judges(), 99), torch.arange(len(judges()[0].x)))
    assert torch.equal(before, torch.get_rng_state())


def test_the_first_chunk_may_be_drawn_regardless_of_scores() -> None:
    x = torch.eye(6, dtype=F64)
    easy = torch.tensor([1.0, -1, -1, -1, -1, -1], dtype=F64)[:, None]
    judge = Judge(1e4 * easy * x, x, torch.zeros((), dtype=F64))
    often = {"own": 0, "uniform": 0}
    for first in ("own", "uniform"):
        for seed in range(60):
            torch.manual_seed(seed)
            often[first] += 0 in select([judge], 1, first=first).tolist()
    assert often["own"] == 0
    assert often["uniform"] > 0


def test_with_the_models_exchanged_the_opposite_is_chosen() -> None:
    x = torch.eye(8, dtype=F64)
    half = torch.tensor([1.0] * 4 + [-1] * 4, dtype=F64)[:, None]
    good, bad = (
        Judge(1e4 * x, x, torch.zeros((), dtype=F64)),
        Judge(1e4 * half * x, x, torch.zeros((), dtype=F64)),
    )

    def chosen(learner: Judge, reference: Judge) -> set[int]:
        pair = [
            Judge(learner.x, learner.y, learner.bias),
            Judge(reference.x, reference.y, reference.bias, -1),
        ]
        return set(select(pair, 4, chunks=1).tolist())

    assert chosen(bad, good) == {4, 5, 6, 7}
    assert not chosen(good, bad) & {4, 5, 6, 7}


def asked(method: Any, given: Batch) -> list[Judge]:
    """Return the judges that a batch is chosen by."""
    with patch("counterpoint.methods.jest.select", return_value=torch.arange(2)) as chosen:
        prepared(method, given)
    judges: list[Judge] = chosen.call_args.args[0]
    return judges


def test_each_model_scores_with_its_own_scale_and_bias() -> None:
    method = build("jest", filter=0.5).double()
    (reference,) = method._reference
    with torch.no_grad():
        reference.objective.bias.fill_(-1.5)
        reference.objective.temperature.parameter.fill_(0.7)
    given = loaded(method, 12, dtype=F64)
    learner, other = asked(method, given)
    assert (learner.weight, other.weight) == (1, -1)
    for judge, model, text in ((learner, method, "text"), (other, reference, REFERENCE_TEXT)):
        x, y = model.embed_prepared("image", given["image"]), model.embed_prepared("text", given[text])
        one = torch.stack([model.objective(a[None], b[None]) for a, b in zip(x, y, strict=True)])
        torch.testing.assert_close(judge.own(), one)


def test_batch_is_cut_to_the_chosen_pairs_and_nothing_else_moves() -> None:
    method = build("jest", filter=0.75).train()
    given, state = loaded(method, 16), {k: v.clone() for k, v in method.state_dict().items()}
    some = prepared(method, given)
    assert len(some) == 4
    assert method.training
    assert set(some.views) == {"image", "text"}
    for row, id in enumerate(some.ids.tolist()):
        assert torch.equal(some["image"][row], given["image"][id])
        assert some.labels["group"][row] == given.labels["group"][id]
    assert all(torch.equal(v, state[k]) for k, v in method.state_dict().items())
    assert set(method.numbers()) == {"own loss/learner", "own loss/reference"}
    assert method.passes() == {"image": 2.25, "text": 2.25}


def test_without_reference_trained_method_has_loss_of_all_pairs() -> None:
    method = build("jest")
    given, method._reference = loaded(method), ()
    assert prepared(method, given) is given


def test_scores_may_come_from_one_model_alone() -> None:
    for score, weights in {"easy-reference": [-1], "hard-learner": [1]}.items():
        method = build("jest", score=score)
        assert [judge.weight for judge in asked(method, loaded(method))] == weights


@pytest.mark.parametrize(
    ("name", "size", "match"),
    [
        ("clip", 8, "was not trained by the sigmoid loss"),
        ("siglip", 24, r"24 pixels .* towers\.image_size=24"),
    ],
)
def test_a_reference_that_does_not_fit_is_refused(name: str, size: int, match: str) -> None:
    model = build(name)
    model.image_tower.size = size
    towers = {c: build("siglip").tower(c) for c in ("image", "text")}
    with patch("counterpoint.models.load", lambda path: model), pytest.raises(ValueError, match=match):
        methods.create("jest", towers, RECIPE, reference="runs/mine")


def test_reference_compares_no_pictures_with_texts_is_refused() -> None:
    towers = {c: build("siglip").tower(c) for c in ("image", "text")}
    model = methods.create("siglip", {"image": towers["image"], "audio": StubSound()}, RECIPE)
    refused = pytest.raises(ValueError, match="does not compare pictures with texts")
    with patch("counterpoint.models.load", lambda path: model), refused:
        methods.create("jest", towers, RECIPE, reference="runs/mine")


RECIPE_OF_RUNS = override(
    load_recipe("seconds"), {"steps": 4, "batch_size": 32, "towers.image_size": 8, "checkpoint_every": 2}
)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose vocabulary is another one than the learner's."""
    folder = tmp_path_factory.mktemp("runs") / "reference"
    carry_out(
        Run("siglip", "digits", override(RECIPE_OF_RUNS, {"towers.vocabulary": 300})), folder, test=False
    )
    return folder


def test_run_needs_reference_until_it_is_trained_and_no_more(reference: Path, tmp_path: Path) -> None:
    arm = f"jest,reference={reference},filter=0.5"
    planned = Run(arm, "digits", RECIPE_OF_RUNS, 1)
    carry_out(planned, tmp_path / "whole", test=False)
    trained = load(tmp_path / "whole")
    assert trained.embed("text", ["three"]).shape == (1, 64)
    assert not any("reference" in name for name in trained.state_dict())
    data = load_data("digits", 8)
    method, loader = prepare_run(planned, data)
    given = loader.batch(0)
    own, other = given["text"], given[REFERENCE_TEXT]
    assert method._reference[0].text_tower.tokenizer.vocabulary == 300
    assert method.text_tower.tokenizer.vocabulary > 300
    captions = [method.text_tower.tokenizer.decode(row) for row in own]
    assert captions == [method._reference[0].text_tower.tokenizer.decode(row) for row in other]
    gone = Run(arm.replace("reference=", "reference=/nowhere"), "digits", RECIPE_OF_RUNS, 1)
    with pytest.raises(ValueError, match=r"reference='/nowhere.*' cannot be read: .* is not a run folder"):
        prepare_run(gone, data)


def test_run_whose_reference_gone_says_and_goes_on_once_it_back(reference: Path, tmp_path: Path) -> None:
    copy, aside, folder = tmp_path / "reference", tmp_path / "aside", tmp_path / "run"
    shutil.copytree(reference, copy)
    planned = Run(f"jest,reference={copy},filter=0.5", "digits", RECIPE_OF_RUNS, 1)

    def stop(now: TrainingProgress) -> None:
        if now.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        carry_out(planned, folder, on_step=stop, test=False)
    copy.rename(aside)
    fault = (
        r"reference='.*' cannot be read: .* not a run folder: .*; a run that has begun needs the same one up"
    )
    with pytest.raises(ValueError, match=fault):
        carry_out(planned, folder, test=False)
    aside.rename(copy)
    assert carry_out(planned, folder, test=False).steps == RECIPE_OF_RUNS.steps
