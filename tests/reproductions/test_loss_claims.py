"""The mathematics of the claims about single contrastive losses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from counterpoint.data.source import load
from counterpoint.losses import InfoNCELoss, NTXentLoss
from counterpoint_reproductions import contrastive_loss_behaviour, dcl, diht, llave, macl
from counterpoint_reproductions.lab import data_skin_tones as tones
from counterpoint_reproductions.lab import gradients as gradients


def test_gradients_of_similarities_are_those_of_the_matrix() -> None:
    x, y = gradients.random_views(6, 4)
    s = x @ y.T
    expected = s.clone().requires_grad_()
    F.cross_entropy(expected / 0.1, torch.arange(6)).backward()
    found = gradients.of_similarities(InfoNCELoss(0.1, weights=(1.0, 0.0)).double(), s)
    assert expected.grad is not None
    assert torch.allclose(found, expected.grad)
    assert gradients.relative_error(1.5 * s, s) == pytest.approx(0.5)


def test_anchors_have_loss_of_ntxent_and_gradients_differ_by_q() -> None:
    x, y = gradients.random_views(8, 4)
    # NT-Xent is the mean of −log P(positive).
    positive, negatives = dcl.anchors(x, y)
    assert float(F.softplus(negatives - positive).mean()) == pytest.approx(
        float(NTXentLoss(dcl.TAU).double()(x, y))
    )
    assert dcl.coupled() < 1e-12


def test_macl_has_the_gradient_of_dcl() -> None:
    assert macl.decoupled() < 1e-12


def test_llave_has_the_gradient_of_a_weighted_softmax() -> None:
    assert llave.weighted_softmax() < 1e-12


def test_overlap_is_the_common_area_of_two_histograms() -> None:
    similarities = np.full((4, 4), 0.5)
    np.fill_diagonal(similarities, [0.5, 0.9, 0.9, 0.9])
    assert llave.overlap(similarities) == pytest.approx(0.25)
    assert llave.overlap(np.eye(5)) == 0.0


def test_names_in_every_tone_differ_in_the_tone_alone() -> None:
    labels = tones.TONES
    for row in tones.toned(tones.EMOJI.splits.train)[::50].tolist():
        every = tones.in_every_tone(row)
        assert every[labels.values[row]] == tones.TONED.captions(row)[0]
        assert len(set(every)) == 5
        assert {name.replace(tone, "") for name, tone in zip(every, labels.names, strict=True)} == {
            tones.toneless(row)
        }


def test_half_of_names_to_train_on_lack_tone_where_they_shared() -> None:
    rows = tones.TONED.splits.train
    shared = [
        row for row in rows.tolist() if list(tones.SHARED.captions(row)) != list(tones.TONED.captions(row))
    ]
    assert len(shared) == round(tones.SHARE * len(rows))
    assert all(list(tones.SHARED.captions(row)) == [tones.toneless(row)] for row in shared)
    held = tones.SHARED.splits.test[tones.COMPOSITIONS]
    assert all(tones.TONES.values[held] >= 0)
    assert not set(held.tolist()) & set(rows.tolist())


def test_a_filter_drops_generic_names_and_changes_nothing_else() -> None:
    everything, kept = (load(f"{diht.NAMES}:{name}") for name in ("EVERYTHING", "FILTERED"))
    generic = [row for row in everything.splits.train if "nature" in everything.captions(int(row))[0]]
    assert generic
    rows = set(kept.splits.train.tolist())
    assert rows < set(everything.splits.train.tolist())
    assert not rows & set(generic)
    assert [kept.captions(row) for row in range(0, len(kept), 50)] == [
        everything.captions(row) for row in range(0, len(kept), 50)
    ]


def test_classifier_learns_from_few_examples_starts_where_told() -> None:
    z, classes = torch.eye(4), torch.arange(4)
    start = F.normalize(torch.randn(4, 4, generator=torch.Generator().manual_seed(0)), dim=-1)
    assert torch.equal(diht.fine_tuned(start, z, classes, steps=0), start)
    tuned = diht.fine_tuned(start, z, classes, steps=200)
    assert torch.equal((z @ tuned.T).argmax(1), classes)


def test_what_is_exact_about_temperature() -> None:
    assert contrastive_loss_behaviour.identities(16) < 1e-10
    entropies = contrastive_loss_behaviour.entropies(16)
    assert (np.diff(entropies) > 0).all()
    assert entropies[-1] < np.log(15)
    triplet, simple = contrastive_loss_behaviour.limits(16)
    assert 0 <= triplet < 1e-4 * np.log(16)
    assert simple < 1e-3
