"""MLCD: clusters from a look, one sample of classes a batch with masks of each picture, and the known limits."""

from __future__ import annotations

import shutil
from dataclasses import replace
from inspect import unwrap
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from method_stubs import SIZE, All, build, loaded, teacher
from safetensors.torch import save_file
from torch import Tensor

from counterpoint.losses import MLCDLoss
from counterpoint.networks.clusters import nearest_centres
from counterpoint.networks.towers.transformer import VisionTransformer
from counterpoint.recipes import load as load_recipe
from counterpoint.recipes import override
from counterpoint.study.training.runner import run as carry_out
from counterpoint.training.loop import TrainingProgress
from counterpoint.training.run import Run
from counterpoint.training.start import load
from counterpoint.types import Batch, StepInfo

F64 = torch.float64
NOW = StepInfo(3, 10)


def looked(given: Batch, seed: int = 0, **options: Any) -> Any:
    method = build("mlcd", **{"clusters": 12, "positives": 3, **options}).to(given["image"].dtype)
    method.eval()
    torch.manual_seed(seed)
    with torch.no_grad():
        method.on_epoch_start(All(given), StepInfo(0, 10))
    return method.train()


@pytest.fixture(scope="module")
def given() -> Batch:
    return loaded(build("mlcd"), 40, dtype=F64)


def unit(n: int, d: int, seed: int = 0) -> Tensor:
    return F.normalize(torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=F64), dim=1)


def test_one_positive_is_a_softplus_of_its_own() -> None:
    z, w = unit(6, 5), unit(4, 5, 1)
    own = torch.arange(6) % 4
    s = 8 * (z @ w.T - 0.3)
    mine = F.one_hot(own, 4).bool()
    others = s.masked_fill(mine, -torch.inf).logsumexp(1)
    expected = (F.softplus(-s[mine]) + F.softplus(others)).mean()
    torch.testing.assert_close(MLCDLoss(8.0, 0.3)(z, w, positives=own[:, None]), expected)


def test_joint_form_circle_losss_without_weights_knows_no_shift() -> None:
    z, w = unit(6, 5), unit(4, 5, 1)
    positives = torch.tensor([[0, 1], [1, 2], [3, -1], [0, 3], [2, 1], [2, 2]])
    found = MLCDLoss(8.0, 0.3, joint=True)(z, w, positives=positives)
    torch.testing.assert_close(found, MLCDLoss(8.0, 0.0, joint=True)(z, w, positives=positives))
    terms = []
    for row, own in zip(8 * z @ w.T, positives.tolist(), strict=True):
        pairs = [row[n] - row[p] for n in range(4) if n not in own for p in set(own) if p >= 0]
        terms.append((1 + torch.stack(pairs).exp().sum()).log())
    torch.testing.assert_close(found, torch.stack(terms).mean())


def test_large_scales_stay_finite_in_half_precision() -> None:
    z = unit(6, 5).half().requires_grad_()
    loss = MLCDLoss(1000.0, 0.0)(z, unit(4, 5, 1).half(), positives=torch.arange(6)[:, None] % 4)
    (gradient,) = torch.autograd.grad(loss, z)
    assert loss.isfinite()
    assert gradient.isfinite().all()


def test_positives_are_nearest_clusters_of_encoder_as_it_begins(given: Batch) -> None:
    method = looked(given)
    torch.manual_seed(0)
    seed = int(torch.randint(2**31, ()))
    z = method.image_tower.linear(given["image"].flatten(1)).tanh().detach()
    expected = nearest_centres(z, 12, 3, seed=seed)
    assert torch.equal(method.items.recall(given.ids)[0].long(), expected)
    assert (expected.diff(dim=1) != 0).all()
    other = looked(replace(given, views={"image": given["image"].float()}), encoder=teacher())
    assert not torch.equal(other.items.recall(given.ids)[0].long(), expected)


def test_one_sample_classes_serves_batch_positive_one_negative(
    given: Batch,
) -> None:
    method = looked(given, share=0.1, scale=4.0, clusters=30)
    few = next(given.split(4))
    torch.manual_seed(1)
    method.prepare(few, NOW)
    positives = method.items.recall(few.ids)[0].long()
    sample = method._sample.tolist()
    assert set(positives.flatten().tolist()) == set(sample), "positives are more than a tenth of the classes"
    z = F.normalize(method.features("image", few["image"]), dim=1)
    s = 4 * (z @ F.normalize(method.classes.weight, dim=1).T - 0.25)
    terms = []
    for row, own in zip(s, positives.tolist(), strict=True):
        others = [c for c in sample if c not in own]
        terms.append((1 + (-row[own]).exp().sum()).log() + (1 + row[others].exp().sum()).log())
    found = method.losses(method.encode(few), few, NOW)["mlcd"]
    torch.testing.assert_close(found, torch.stack(terms).mean())


def test_the_sample_is_drawn_anew_and_holds_all_positives(given: Batch) -> None:
    method = looked(given, clusters=30, positives=1, share=0.6)
    few = next(given.split(4))
    there = set(method.items.recall(few.ids)[0].long().flatten().tolist())
    samples = []
    for seed in range(3):
        torch.manual_seed(seed)
        method.prepare(few, NOW)
        samples.append(frozenset(method._sample.tolist()))
        assert len(samples[-1]) == 18
        assert there <= samples[-1]
    assert len(set(samples)) == 3


def test_clusters_are_saved_with_the_model_and_looked_for_once(given: Batch) -> None:
    method, other = looked(given), build("mlcd", clusters=12, positives=3).double()
    other.load_state_dict(method.state_dict())
    assert torch.equal(other.items.recall(given.ids)[0], method.items.recall(given.ids)[0])
    assert method.epoch_start_every > 10**6
    assert method.passes() == method.passes_of_all() == {"image": 1}


def test_what_makes_no_clusters_is_refused(given: Batch) -> None:
    with pytest.raises(ValueError, match="positives=12 of clusters=12"):
        build("mlcd", clusters=12, positives=12)
    with pytest.raises(ValueError, match="40 vectors cannot make 50 clusters"):
        looked(given, clusters=50)
    with pytest.raises(ValueError, match="'cnn' has no weights"):
        build("mlcd", encoder="cnn")
    with pytest.raises(ValueError, match="some integers each"):
        unwrap(MLCDLoss.forward)(
            MLCDLoss(), unit(3, 5), unit(4, 5), positives=torch.zeros(3, dtype=torch.int64)
        )


RUN = override(
    load_recipe("seconds"), {"steps": 4, "batch_size": 32, "towers.image_size": SIZE, "checkpoint_every": 2}
)


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ("clusters=1001", "clusters=1001 of 1,000 rows to train on: .* give clusters=1000 or less"),
        (
            "encoder=cnn@/nowhere",
            r"encoder='cnn@/nowhere' cannot be read: .* no file or folder /nowhere; name weights",
        ),
        (
            "encoder={wider}",
            r"encoder='.*' cannot be read: .* \(4, 192\), not \(1, 192\)\); name the tower and its",
        ),
    ],
)
def test_would_fail_at_look_is_refused_before_folder_is_taken(
    options: str, fault: str, tmp_path: Path
) -> None:
    wider = tmp_path / "wider.safetensors"
    save_file(VisionTransformer(2 * SIZE).state_dict(), wider)
    arm = f"mlcd,{options.format(wider=f'vit@{wider}')}"
    with pytest.raises(ValueError, match=fault):
        carry_out(Run(arm, "digits", RUN), tmp_path / "run", test=False)
    assert not (tmp_path / "run").exists()


def test_a_run_needs_its_encoder_for_its_look_alone(tmp_path: Path) -> None:
    encoder, folder = tmp_path / "encoder.safetensors", tmp_path / "run"
    shutil.copy(teacher().removeprefix("vit@"), encoder)
    planned = Run(f"mlcd,clusters=8,positives=2,encoder=vit@{encoder}", "digits", RUN)

    def stop(now: TrainingProgress) -> None:
        if now.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        carry_out(planned, folder, on_step=stop, test=False)
    encoder.unlink()
    assert carry_out(planned, folder, test=False).steps == RUN.steps
    assert int((load(folder).items.get_buffer("positives") >= 0).sum()) == 2 * 1000
