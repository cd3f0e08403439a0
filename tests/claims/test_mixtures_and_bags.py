"""The worlds of claims about frozen spaces, mixtures of pairs, and bags of regions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from counterpoint.claims.benches import vectors
from counterpoint.claims.benches.towers import recipe
from counterpoint.claims.fusion import fusemix, m3col
from counterpoint.claims.pairs import cwcl, mil_multimodal
from counterpoint.methods.arm import Arm
from counterpoint.methods.fusion.m3col import M3Col
from counterpoint.types import Batch, Clock, Embeddings, Target


def test_one_hot_weights_make_cwcl_infonce_and_full_shares_make_m3co_infonce() -> None:
    assert cwcl.one_hot() < 1e-12
    assert m3col.unmixed() < 1e-12


def test_both_latents_tell_the_shared_factors_and_not_each_other_s_private_ones() -> None:
    rng = np.random.default_rng(0)
    shared = rng.standard_normal((4000, fusemix.SHARED))
    a, b = (side.double().numpy() for side in fusemix.latents(shared, rng))
    a, b = a - a.mean(0), b - b.mean(0)
    q, r = np.linalg.qr(a)[0], np.linalg.qr(b)[0]
    canonical = np.linalg.svd(q.T @ r, compute_uv=False)
    assert canonical[fusemix.SHARED - 1] > 0.5
    assert canonical[fusemix.SHARED] < 0.3


def test_a_diverse_choice_covers_what_a_random_one_misses() -> None:
    rng = np.random.default_rng(0)
    centres = 10 * rng.standard_normal((12, 4))
    cluster = np.repeat(np.arange(12), [180, *[2] * 11])
    pool = centres[cluster] + 0.1 * rng.standard_normal((len(cluster), 4))
    covered = {}
    for choice in fusemix.CHOICES:
        rows = fusemix.choose(choice, pool, 24, 0)
        assert len(set(rows.tolist())) == len(rows) <= 24
        covered[choice] = len(set(cluster[rows]))
    assert covered["diverse"] > covered["random"] > covered["redundant"] == 1


def test_arms_of_cwcl_freeze_the_tower_that_they_are_given() -> None:
    arms = [Arm.parse(arm) for arm in cwcl.into("frozen=image,image=mlp@runs/one").values()]
    assert {arm.towers["image"] for arm in arms} == {"mlp@runs/one"}
    assert {arm.options["frozen"] for arm in arms} == {"image"}


def test_the_limits_of_log_sum_exp() -> None:
    assert mil_multimodal.limits() < 1e-5


def test_a_name_loses_words_but_never_all(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    words = m3col.words

    def note(captions: list[str]) -> torch.Tensor:
        seen.extend(captions)
        return words(captions[:1]).expand(len(captions), -1)  # hashing them all takes seconds

    monkeypatch.setattr(m3col, "words", note)
    m3col.inputs.__wrapped__(0.7)
    data = m3col.emoji_inputs()[0]
    full = [data.evaluation_captions(row)[0].split() for row in range(len(data))]
    kept = [name.split() for name in seen]
    assert all(len(k) >= 1 and set(k) <= set(f) for k, f in zip(kept, full, strict=True))
    long = [(len(k) - 1) / (len(f) - 1) for k, f in zip(kept, full, strict=True) if len(f) >= 4]
    assert np.mean(long) == pytest.approx(0.3, abs=0.03)  # one word is certain


def test_a_method_learns_from_vectors_alone() -> None:
    g = torch.Generator().manual_seed(0)
    classes = torch.arange(60) % 3
    x, y = (torch.eye(3)[classes] + 0.1 * torch.randn(60, 3, generator=g) for _ in range(2))
    towers = vectors.FirstTower(nn.Linear(3, 8), 8), vectors.SecondTower(nn.Linear(3, 8), 8)
    method = M3Col(
        dict(zip(("image", "text"), towers, strict=True)),
        recipe(False),
        target=Target("kind", ("a", "b", "c")),
    )
    clocks: list[Clock] = []

    def batch_of(rows: np.ndarray) -> Batch:
        ids = torch.from_numpy(rows)
        return Batch(ids, {"image": x[ids], "text": y[ids]}, {"kind": classes[ids]})

    def losses(z: Embeddings, batch: Batch, clock: Clock) -> dict[str, torch.Tensor]:
        clocks.append(clock)
        return method.losses(z, batch, clock)

    vectors.train(
        method,
        lambda rng: batch_of(rng.choice(60, 16, replace=False)),
        steps=60,
        lr=1e-2,
        seed=0,
        losses=losses,
    )
    assert [clock.step for clock in clocks] == list(range(60))
    assert not method.training
    with torch.no_grad():
        tested = batch_of(np.arange(60))
        found = method.logits(method.encode(tested), tested).argmax(1)
    assert (found == classes).double().mean() > 0.95
