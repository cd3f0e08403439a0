"""MCL: batches of cumulative groups, encoders side by side, and the base itself where there is one cluster."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

import pytest
import torch
import torch.nn.functional as F
from method_stubs import SIZE, All, build, loaded, teacher
from torch import Tensor

from counterpoint.methods.tower_method import TowerMethod
from counterpoint.recipes import Recipe
from counterpoint.training.loop import TrainingProgress, fit
from counterpoint.training.run import Run
from counterpoint.training.start import prepare
from counterpoint.types import Batch, StepInfo
from fixtures.tiny import TinyData

STEPS = 4
"""Steps of each stage."""


def recipe(stages: int, **changes: Any) -> Recipe:
    towers = {"image_size": 24}
    return Recipe(**{"batch_size": 4, "steps": STEPS * stages, "log_every": 1, "towers": towers, **changes})


@dataclass
class Trained:
    method: Any
    order: Any
    seen: list[tuple[str, Tensor]]
    numbers: list[dict[str, float]]
    looked: int = 0


@pytest.fixture(scope="module")
def trained() -> Trained:
    method, loader = prepare(Run("mcl,on=images,image=mlp,clusters=2", "tiny", recipe(3)), TinyData())
    given, orders = Trained(method, loader.order, [], []), []
    own = method.prepare

    def told(batch: Batch, clock: StepInfo) -> Batch:
        given.seen.append((clock.stage, batch.ids))
        return own(batch, clock)

    embed = TowerMethod.embed_prepared

    def embedded(learner: TowerMethod, column: str, inputs: Tensor) -> Tensor:
        given.looked += len(inputs)
        return embed(learner, column, inputs)

    def on_step(_: TrainingProgress) -> None:
        given.numbers.append(method.numbers())
        orders.append(loader.order)

    with patch.object(method, "prepare", told), patch.object(TowerMethod, "embed_prepared", embedded):
        fit(method, loader, recipe(3), on_step=on_step)
    given.order = orders
    return given


def test_batches_are_of_one_group_and_share_of_rows_used_is_told(trained: Trained) -> None:
    rows = len(TinyData().splits.train)
    assert [stage for stage, _ in trained.seen] == [f"stage {n}" for n in range(3) for _ in range(STEPS)]
    for _, ids in trained.seen[2 * STEPS :]:
        assert len(trained.method.items.recall(ids)[0].unique()) == 1
    everything = torch.cat([ids for _, ids in trained.seen])
    assert len(trained.method.items.recall(everything)[0].unique()) > 1
    for numbers, order in zip(trained.numbers, trained.order, strict=True):
        assert numbers["rows used"] == pytest.approx(order.steps_per_epoch * 4 / rows)
    assert [numbers["groups"] for numbers in trained.numbers[::STEPS]] == sorted(
        numbers["groups"] for numbers in trained.numbers[::STEPS]
    )


def test_all_rows_are_passed_at_start_of_every_stage_but_first(trained: Trained) -> None:
    assert trained.method.passes_of_all() == {"image": 2}
    assert trained.looked == 2 * len(TinyData().splits.train)
    assert build("mcl", base="clip", stages=4).passes_of_all() == {"image": 3}, "of pairs those of one column"


def test_rows_of_a_batch_are_alike_to_the_first_encoder(trained: Trained) -> None:
    data = TinyData()
    row_of = {int(number): row for row, number in enumerate(data.ids_of(data.splits.train))}

    def cosine(batches: list[tuple[str, Tensor]]) -> float:
        found = []
        for _, ids in batches:
            rows = data.splits.train[[row_of[int(number)] for number in ids]]
            z = trained.method.learners[0].embed("image", data.images(rows))
            found.append(((z @ z.T).sum() - len(z)) / (len(z) ** 2 - len(z)))
        return float(torch.stack(found).mean())

    assert cosine(trained.seen[STEPS : 2 * STEPS]) > cosine(trained.seen[:STEPS])


def test_embeddings_of_stages_stand_side_by_side() -> None:
    method = build("mcl", on="images", stages=3)
    pictures = torch.randint(256, (5, 3, SIZE, SIZE), dtype=torch.uint8)
    x = method.inputs["image"](pictures)
    parts = [learner.features("image", x) for learner in method.learners]
    assert not torch.allclose(parts[0], parts[1]), "each starts at weights of its own"
    torch.testing.assert_close(method.embed("image", pictures), F.normalize(torch.cat(parts, 1), dim=1))
    method.normalise = True
    each = torch.cat([F.normalize(part, dim=1) for part in parts], 1)
    torch.testing.assert_close(method.embed("image", pictures), each / 3**0.5)
    method.reached.fill_(2)
    z = method.embed("image", pictures)
    assert z.shape == each.shape, "as wide as at the end"
    torch.testing.assert_close(z @ z.T, (each[:, : -parts[2].shape[1]] @ each[:, : -parts[2].shape[1]].T) / 2)


def test_groups_are_cumulative_over_stages() -> None:
    method = build("mcl", stages=4, clusters=3)
    method.batch = 1
    given = loaded(method, 40)
    clusters = torch.randint(3, (3, 40), generator=torch.Generator().manual_seed(0))
    with patch("counterpoint.methods.mcl.nearest_centres") as found, torch.no_grad():
        for stage in range(4):
            found.return_value = clusters[stage - 1][:, None]
            method.eval().on_epoch_start(All(given), StepInfo(10 * stage, 40, stage=f"stage {stage}"))
            groups = method.groups(given.ids)
            if stage == 0:
                assert groups is None
                continue
            code = torch.zeros(40, dtype=torch.int64)
            for own in clusters[:stage]:
                code = 3 * code + own
            assert torch.equal(groups[:, None] == groups, code[:, None] == code)
    assert len(groups.unique()) > 3, "and not those of the last stage alone"


def test_with_one_cluster_a_stage_is_the_base() -> None:
    """Bit by bit; heads, whose names differ and with them their start, are made the same."""
    method, loader = prepare(
        Run("mcl,on=images,image=mlp,stages=2,clusters=1", "tiny", recipe(2)), TinyData()
    )
    plain, other = prepare(Run("ntxent,on=images,image=mlp", "tiny", recipe(1)), TinyData())
    plain.load_state_dict(method.learners[0].state_dict())
    fit(method, loader, recipe(2))
    assert loader.order.steps_per_epoch == other.order.steps_per_epoch
    fit(plain, other, recipe(1))
    for name, value in plain.state_dict().items():
        assert torch.equal(method.learners[0].state_dict()[name], value), name


def test_pairs_pictures_make_groups_columns_stand_side_by_side() -> None:
    arm = "mcl,base=clip,image=mlp,text=bag,stages=2,clusters=2"
    few = recipe(2, towers={"image_size": 24, "vocabulary": 300})
    method, loader = prepare(Run(arm, "tiny", few), TinyData())
    plain, _ = prepare(Run("clip,image=mlp,text=bag", "tiny", few), TinyData())
    given = loader.batch(0)
    clock = StepInfo(0, 2 * STEPS, stage="stage 0")
    plain.load_state_dict(method.learners[0].state_dict())
    method.prepare(given, clock)
    own, theirs = (m.losses(m.encode(given), given, clock) for m in (method, plain))
    assert own.keys() == theirs.keys()
    assert all(torch.equal(own[name], value) for name, value in theirs.items())
    seen: list[tuple[str, Tensor]] = []
    prepared = method.prepare

    def told(batch: Batch, clock: StepInfo) -> Batch:
        seen.append((clock.stage, batch.ids))
        return prepared(batch, clock)

    with patch.object(method, "prepare", told):
        fit(method, loader, few)
    groups = [method.items.recall(ids)[0].unique() for stage, ids in seen if stage == "stage 1"]
    assert [len(group) for group in groups] == [1] * STEPS
    data = TinyData()
    rows = data.splits.train
    everything = method.items.recall(torch.from_numpy(data.ids_of(rows)))[0]
    assert len(everything.unique()) == 2
    # Of the pictures, as the first stage's encoder has them.
    z = method.learners[0].embed("image", data.images(rows))
    means = torch.stack([z[everything == group].mean(0) for group in everything.unique()])
    assert ((z @ F.normalize(means, dim=1).T).argmax(1) == everything).float().mean() > 0.9
    texts, pictures = ["a red ring", "a large cross"], data.images(rows[:2])
    for column, inputs in (("image", pictures), ("text", texts)):
        each = torch.cat([learner.embed(column, inputs) for learner in method.learners], 1) / 2**0.5
        method.normalise = True
        torch.testing.assert_close(method.embed(column, inputs), each)


def test_an_encoder_that_is_given_stays_as_it_is() -> None:
    arm = f"mcl,on=images,image={teacher()},first=given,stages=2,clusters=2"
    method, loader = prepare(Run(arm, "tiny", recipe(1, towers={"image_size": SIZE})), TinyData())
    first, second = (learner.towers.state_dict() for learner in method.learners)
    before = {name: value.clone() for name, value in first.items()}
    assert all(torch.equal(value, second[name]) for name, value in before.items()), "both begin there"
    fit(method, loader, recipe(1))
    assert all(torch.equal(first[name], value) for name, value in before.items())
    assert not all(torch.equal(second[name], value) for name, value in before.items())
    assert method.numbers()["groups"] == 2, "clusters were there before the first step"


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"base": "supcon"}, "'supcon' learns from a label"),
        ({"base": "sbcl"}, "'sbcl' learns from a label"),
        ({"base": "mlcd"}, "'mlcd' has stages or looks"),
        ({"base": "moco"}, "'moco' has a queue"),
        ({"base": "ntxnet"}, "did you mean 'ntxent'"),
        ({"first": "given"}, "name weights of its towers"),
    ],
)
def test_bases_that_cannot_be_taken_in_stages_are_refused(options: dict[str, str], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        build("mcl", on="images", **options)


def test_clusters_leave_the_last_groups_a_batch_on_average() -> None:
    method = build("mcl", stages=3, clusters=4)
    method.batch = 4
    assert [method._most(rows) for rows in (64, 63, 36, 16)] == [4, 3, 3, 2]
    with pytest.warns(UserWarning, match="15 rows are too few for groups of 4"):
        assert method._most(15) == 1


def test_rows_that_come_in_an_order_of_their_own_are_refused() -> None:
    data = TinyData()
    data.splits = replace(data.splits, tasks=(data.splits.train[:15], data.splits.train[15:]))
    with pytest.raises(ValueError, match="batches of groups that it finds, and the rows of 'tiny'"):
        prepare(Run("mcl,on=images,image=mlp", "tiny", recipe(3)), data)
