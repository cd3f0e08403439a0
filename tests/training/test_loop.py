"""The loop does what a hand-written one does, and stops loudly when the loss does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from counterpoint import trust
from counterpoint.data.loading.loader import Loader
from counterpoint.data.loading.order import SequentialOrder, ShuffledOrder
from counterpoint.methods.arm import Arm
from counterpoint.methods.base import Method
from counterpoint.pairwise import Loss
from counterpoint.recipes import Augmentation, Optimizer, Recipe, override
from counterpoint.study.training.runner import run
from counterpoint.training.loop import TrainingProgress, fit
from counterpoint.training.run import OtherRunError, Run
from counterpoint.training.saving import checkpoint as checkpoints
from counterpoint.training.saving import saver
from counterpoint.training.saving.checkpoint import CheckpointError
from counterpoint.training.step.optim import learning_rate, optimizer_of
from counterpoint.types import StepInfo, View
from fixtures.tiny import TinyData

CAPTIONS = [TinyData().captions(row)[0] for row in range(70)]


def loader_of(
    method: object,
    recipe: Recipe,
    rank: int = 0,
    world: int = 1,
    seed: int = 3,
    data: TinyData | None = None,
    tasks: int = 1,
) -> Loader:
    data = data or TinyData()
    orders = [ShuffledOrder(data.splits.train, recipe.batch_size, seed)] * tasks
    return Loader(
        data,
        SequentialOrder(orders) if tasks > 1 else orders[0],
        method.views,  # type: ignore[attr-defined]
        augmentation=recipe.augmentation,
        inputs=method.inputs,
        rank=rank,
        world=world,
    )


@pytest.mark.parametrize(("arm", "clip_norm"), [("clip", 0.1), ("byolip", 0.0), ("moco,queue=40", 0.0)])
def test_equals_a_plain_pytorch_loop(arm: str, clip_norm: float, recipe: Recipe) -> None:
    recipe = override(recipe, {"optimizer.clip_norm": clip_norm, "steps": 5})
    ours, plain = (Arm.parse(arm).build(recipe, {"text": CAPTIONS}, seed=0) for _ in range(2))
    fit(ours, loader_of(ours, recipe), recipe, seed=0)
    o = recipe.optimizer
    trained = [p for p in plain.parameters() if p.requires_grad]
    decayed, rest = [p for p in trained if p.ndim >= 2], [p for p in trained if p.ndim < 2]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": o.weight_decay}, {"params": rest, "weight_decay": 0.0}],
        lr=o.lr,
        betas=(o.beta1, o.beta2),
        eps=o.eps,
    )
    plain.train()
    batches = loader_of(plain, recipe)
    for step in range(recipe.steps):
        batch, clock = batches.batch(step), StepInfo(step, recipe.steps)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, recipe.steps, o)
        with torch.no_grad():
            z = plain.targets(batch)
        z |= plain.encode(batch)
        loss = torch.stack(list(plain.losses(z, batch, clock).values())).sum()
        optimizer.zero_grad()
        loss.backward()
        if clip_norm:  # the squares are summed in the optimiser's order
            assert torch.nn.utils.clip_grad_norm_([*decayed, *rest], clip_norm) > 2 * clip_norm
        optimizer.step()
        with torch.no_grad():  # momentum copies follow the weights after the step, and queues hold its keys
            plain.after_step({k: v.detach() for k, v in z.items()}, batch, clock)
    left = plain.state_dict()
    for name, value in ours.state_dict().items():
        assert torch.equal(value, left[name]), name


def test_dropout_follows_from_the_runs_seed(recipe: Recipe) -> None:
    recipe = override(recipe, {"options": {"clip-rocket": {"dropout": 0.5}}, "steps": 2})
    left = []
    for seed in (0, 0, 1):
        method = Arm.parse("clip-rocket").build(recipe, {"text": CAPTIONS}, seed=0)
        left.append(fit(method, loader_of(method, recipe), recipe, seed=seed).state_dict())
    one, again, other = left
    assert all(torch.equal(one[name], value) for name, value in again.items())
    assert not all(torch.equal(one[name], value) for name, value in other.items())


@pytest.mark.parametrize("name", ["adamw", "sgd", "lars"])
def test_vectors_and_scalars_are_not_decayed(name: str) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.LayerNorm(3))
    optimizer = optimizer_of(module, Optimizer(name=name, weight_decay=0.3))
    assert type(optimizer).__name__.lower() == name
    decayed, rest = optimizer.param_groups
    assert [p.ndim for p in decayed["params"]] == [2]
    assert decayed["weight_decay"] == 0.3
    assert [p.ndim for p in rest["params"]] == [1, 1, 1]
    assert rest["weight_decay"] == 0.0


@pytest.mark.parametrize("name", ["sgd", "lars"])
def test_momentum_of_other_optimisers_goes_on_where_run_stopped(
    name: str, recipe: Recipe, tmp_path: Path
) -> None:
    changes = {"optimizer.name": name, "optimizer.lr": 0.05, "steps": 6, "checkpoint_every": 3}
    recipe = override(recipe, changes)

    def stop(now: TrainingProgress) -> None:
        if now.step == 4:
            raise KeyboardInterrupt

    def trained(folder: Path | None, on_step: Callable[[TrainingProgress], None] | None = None) -> Method:
        method = Arm.parse("clip").build(recipe, {"text": CAPTIONS}, seed=0)
        return fit(method, loader_of(method, recipe), recipe, folder, on_step=on_step)

    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path, stop)
    again, whole = trained(tmp_path).state_dict(), trained(None).state_dict()
    assert all(torch.equal(whole[key], value) for key, value in again.items())


def test_a_method_that_trains_nothing_is_saved_as_it_starts(recipe: Recipe, tmp_path: Path) -> None:
    method = Arm.parse("clip").build(recipe, {"text": CAPTIONS}, seed=0).requires_grad_(False)
    start = {name: value.clone() for name, value in method.state_dict().items()}
    fit(method, loader_of(method, recipe), recipe, tmp_path)
    saved = checkpoints.load(tmp_path / "checkpoint")
    assert saved is not None
    assert saved.step == 0
    assert all(torch.equal(saved.model[name], value) for name, value in start.items())


def test_step_overflows_moves_neither_weights_nor_copies_nor(recipe: Recipe) -> None:
    recipe = override(recipe, {"precision": "16-mixed", "steps": 1})
    method = Arm.parse("moco,queue=40").build(recipe, {}, seed=0)
    losses, moved = method.losses, []
    method.after_step = lambda *args: moved.append(args)  # type: ignore[method-assign]
    for factor, taken in ((1e-9, True), (1e37, False)):
        method.losses = lambda z, b, c, factor=factor: {k: v * factor for k, v in losses(z, b, c).items()}  # type: ignore[method-assign,misc]
        before = {name: value.clone() for name, value in method.named_parameters()}
        fit(method, loader_of(method, recipe), recipe, accelerator="cpu")
        stayed = all(torch.equal(before[name], value) for name, value in method.named_parameters())
        assert stayed != taken
        assert bool(moved) == taken
        moved.clear()
    fit(method, loader_of(method, recipe, tasks=2), override(recipe, {"steps": 2}), accelerator="cpu")
    assert [clock.ends_task for _, _, clock in moved] == [True]


class Counting(Loss):
    """Counts calls and updates of its state."""

    def __init__(self) -> None:
        super().__init__()
        self.calls, self.updates = 0, list[int]()

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        self.calls += 1
        return -(x * y).sum(1).mean()

    def update_state(self) -> None:
        self.updates.append(self.calls)


@pytest.mark.parametrize("microbatch", [0, 4])
def test_a_loss_is_updated_once_after_each_step(microbatch: int, recipe: Recipe) -> None:
    method = Arm.parse("clip").build(recipe, {"text": CAPTIONS}, seed=0)
    method.objective = Counting()
    fit(method, loader_of(method, recipe), override(recipe, {"steps": 3, "microbatch": microbatch}))
    assert method.objective.updates == [1, 2, 3]


def test_batches_follow_from_seed_and_step(recipe: Recipe) -> None:
    method = Arm.parse("slip").build(recipe, {"text": CAPTIONS}, seed=0)
    one, two = loader_of(method, recipe), loader_of(method, recipe)
    started_late = dict(enumerate((batch for batch, _ in two.batches(2, 4)), start=2))
    for step, (batch, clock) in enumerate(one.batches(0, 4)):
        assert clock.step == step
        if step in started_late:
            assert torch.equal(batch.ids, started_late[step].ids)
            for view in batch.views:
                assert torch.equal(batch[view], started_late[step][view]), view


def test_the_order_of_batches_follows_from_the_seed(recipe: Recipe) -> None:
    method = Arm.parse("clip").build(recipe, {"text": CAPTIONS}, seed=0)
    ids = [loader_of(method, recipe, seed=seed).batch(0).ids for seed in (3, 3, 4)]
    assert torch.equal(ids[0], ids[1])
    assert set(ids[0].tolist()) != set(ids[2].tolist())


def test_views_follow_from_the_epoch(recipe: Recipe) -> None:
    class Several(TinyData):
        def training_captions(self, row: int) -> list[str]:
            return [f"{word} {row}" for word in ("one", "two", "three", "four", "five")]

    method = Arm.parse("clip").build(
        recipe, {"text": [f"one two three four five {n}" for n in range(70)]}, seed=0
    )
    loader = loader_of(method, override(recipe, {"batch_size": 30}), data=Several())
    assert loader.order.steps_per_epoch == 1
    first, second = loader.batch(0), loader.batch(1)
    there = [second.ids.tolist().index(i) for i in first.ids.tolist()]
    crops = (first["image"] != second["image"][there]).flatten(1).any(1)
    captions = [
        a.tolist() != b.tolist()[: len(a)] for a, b in zip(first["text"], second["text"][there], strict=True)
    ]
    assert crops.all()
    assert 15 < sum(captions) < 30, "four of five draw another"


def test_an_epoch_shows_every_example_once(recipe: Recipe) -> None:
    method = Arm.parse("clip").build(recipe, {"text": CAPTIONS}, seed=0)
    loader = loader_of(method, override(recipe, {"batch_size": 5}))
    seen = torch.cat([loader.batch(step).ids for step in range(loader.order.steps_per_epoch)])
    assert len(seen.unique()) == len(seen) == 30
    assert not torch.equal(loader.batch(0).ids, loader.batch(loader.order.steps_per_epoch).ids)


def test_ranks_share_a_batch(recipe: Recipe) -> None:
    method = Arm.parse("clip").build(recipe, {"text": CAPTIONS}, seed=0)
    whole = loader_of(method, recipe).batch(1)
    parts = [loader_of(method, recipe, rank, 3).batch(1) for rank in range(3)]
    assert sorted(whole.ids.tolist()) == sorted(i for part in parts for i in part.ids.tolist())
    for part in parts:
        for position, identity in enumerate(part.ids.tolist()):
            there = whole.ids.tolist().index(identity)
            assert torch.equal(part["image"][position], whole["image"][there])


def test_views_draw_a_caption_each_or_share_one(recipe: Recipe) -> None:
    class Several(TinyData):
        def training_captions(self, row: int) -> list[str]:
            return [f"{word} {row}" for word in ("one", "two", "three", "four", "five")]

    def texts(captions: str) -> list[list[str]]:
        seen: list[list[str]] = []

        class Listening:
            context, vocabulary, end = 8, 10, 9

            def __call__(self, given: list[str]) -> torch.Tensor:
                seen.append(list(given))
                return torch.zeros(len(given), 1, dtype=torch.long)

            def too_long(self, given: list[str]) -> torch.Tensor:
                return torch.zeros(len(given), dtype=torch.bool)

        data = Several()
        loader = Loader(
            data,
            ShuffledOrder(data.splits.train, 16, 0),
            {"text": View("text"), "text.1": View("text")},
            augmentation=Augmentation(captions=captions),  # type: ignore[arg-type] # one of the two
            inputs={"text": Listening()},
        )
        loader.batch(0)
        return seen

    first, second = texts("shared")
    assert first == second
    assert len({text.split()[0] for text in first}) > 1
    first, second = texts("each")
    assert first != second


def test_training_needs_two_examples(recipe: Recipe) -> None:
    method = Arm.parse("clip").build(recipe, {"text": CAPTIONS}, seed=0)
    with pytest.raises(ValueError, match="has 1 example"):
        Loader(
            TinyData(),
            ShuffledOrder(TinyData().splits.train[:1], 4, 0),
            method.views,
            augmentation=recipe.augmentation,
            inputs=method.inputs,
        )


def test_a_non_finite_loss_names_step_term_and_ids(pairs: Path, recipe: Recipe, tmp_path: Path) -> None:
    loss = tmp_path / "my_loss.py"
    loss.write_text(
        "import torch\n"
        "class Breaks(torch.nn.Module):\n"
        "    def __init__(self, after: int = 2):\n"
        "        super().__init__()\n"
        "        self.after, self.calls = after, 0\n"
        "    def forward(self, image, text):\n"
        "        self.calls += 1\n"
        "        return (image - text).square().sum() * (float('nan') if self.calls > self.after else 1.0)\n"
    )
    trust.given(f"{loss}:Breaks")
    state = run(Run(f"{loss}:Breaks,after=4", str(pairs), recipe, 0), tmp_path / "run", tasks=("retrieval",))
    assert state.status == "failed"
    assert state.steps == 4
    for part in ("not finite at step 4", "inputs are finite", "Ids of the batch: ["):
        assert part in state.reason


def test_another_run_in_the_folder(what: Run, tmp_path: Path) -> None:
    what.reserve(tmp_path)
    with pytest.raises(OtherRunError, match="holds another run"):
        Run("siglip", what.data, what.recipe, 0).reserve(tmp_path)


def test_weights_that_do_not_fit(recipe: Recipe, tmp_path: Path) -> None:
    small = Arm.parse("clip").build(recipe, {"text": CAPTIONS}, seed=0)
    wide = Arm.parse("clip").build(override(recipe, {"widths.embedding": 32}), {"text": CAPTIONS}, seed=0)
    saver.save(tmp_path, 1, small, None)
    saved = checkpoints.load(tmp_path)
    assert saved is not None
    with pytest.raises(CheckpointError, match="do not fit the model"):
        checkpoints.restore(saved, wide, None)


@pytest.mark.parametrize(("batch_size", "ranks"), [(1, 2), (2, 3)])
def test_a_batch_of_fewer_examples_than_ranks_is_refused(batch_size: int, ranks: int, recipe: Recipe) -> None:
    recipe = override(recipe, {"batch_size": batch_size})
    method = Arm.parse("byolip").build(recipe, {"text": CAPTIONS}, seed=0)
    for rank in range(ranks):  # on all of them: none waits for the others
        with pytest.raises(
            ValueError, match=f"a batch of {batch_size} cannot be shared by {ranks} ranks; make batch_"
        ):
            loader_of(method, recipe, rank, ranks)
    assert len(loader_of(method, override(recipe, {"batch_size": ranks}), 0, ranks).batch(0).ids) == 1
