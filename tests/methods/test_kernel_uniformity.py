"""Decoupled uniformity under a kernel of labels: what the loss is given, its limits, labels that cannot be used."""

from __future__ import annotations

from dataclasses import replace
from operator import itemgetter
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from method_stubs import batch, build, run

from counterpoint.data.labels import Numbers
from counterpoint.losses import DecoupledUniformityLoss
from counterpoint.methods import Arm
from counterpoint.methods.kernel_uniformity import attributes
from counterpoint.pairwise.ranks import Ranks
from counterpoint.recipes import load as load_recipe
from counterpoint.recipes import override
from counterpoint.registry import UnknownNameError
from counterpoint.study.training.runner import run as carry_out
from counterpoint.training.run import Run, target_of
from fixtures.tiny import TinyData


def test_the_prior_is_a_column_for_every_class_and_tag() -> None:
    method = build("kernel-uniformity", on="images", prior="group+tags", sigma=0.7, t=3.0).double()
    given = batch(method, 12, dtype=torch.float64)
    given = replace(given, labels={**given.labels, "group": given.labels["group"].where(given.ids > 1, -1)})
    z = method.encode(given)
    (projection,) = method.projections.values()
    views = [F.normalize(projection(z[name]), dim=-1) for name in method.views]
    prior = torch.stack(
        [
            torch.tensor([float(group == kind) for kind in range(5)] + [float(tag == 1) for tag in tags])
            for group, tags in zip(given.labels["group"], given.labels["tags"], strict=True)
        ]
    )
    expected = DecoupledUniformityLoss(3.0, sigma=0.7)(*views, prior=prior)
    torch.testing.assert_close(run(method, given)["kernel-uniformity"], expected)


def test_narrow_kernel_leaves_the_plain_loss_of_shrunk_centroids() -> None:
    method = build("kernel-uniformity", on="images", prior="group", sigma=1e-3, ridge=1e-9).double()
    given = batch(method, 5, dtype=torch.float64)  # of five classes
    plain = build("decoupled-uniformity", on="images").double()
    torch.testing.assert_close(
        run(method, given)["kernel-uniformity"], run(plain, given)["decoupled-uniformity"], rtol=1e-7, atol=0
    )


def test_chance_hands_the_same_attributes_to_others() -> None:
    method = build("kernel-uniformity", on="images", prior="group", chance=True)
    own = build("kernel-uniformity", on="images", prior="group")
    given = batch(method, 40)
    shuffled, known = (some.loss_inputs({}, given)["prior"] for some in (method, own))
    assert not shuffled.equal(known)
    assert shuffled.sum(0).equal(known.sum(0))
    assert method.loss_inputs({}, given)["prior"].equal(shuffled)


def test_chance_hands_same_attributes_however_many_ranks_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    method = build("kernel-uniformity", on="images", prior="tags", chance=True)
    given = batch(method, 12)
    alone, known = method.loss_inputs({}, given)["prior"], attributes(given.labels["tags"])
    monkeypatch.setattr(Ranks, "counts", lambda self, n, device: [4, 8])
    monkeypatch.setattr(Ranks, "gather", lambda self, rows, counts: given.ids if rows.ndim == 1 else known)
    parts = []
    for rank, part in enumerate((slice(4), slice(4, None))):
        monkeypatch.setattr(Ranks, "present", lambda rank=rank: Ranks(rank, 2))
        parts.append(method.loss_inputs({}, given.map(itemgetter(part)))["prior"])
    assert torch.cat(parts).equal(alone)


def test_an_example_without_a_class_has_no_attribute() -> None:
    assert attributes(torch.tensor([-1, -1])).shape == (2, 1)
    assert not attributes(torch.tensor([-1, -1])).any()
    assert attributes(torch.tensor([[1, 0, -1]])).tolist() == [[1.0, 0.0, 0.0]]


def test_the_nouns_of_captions_are_attributes_too(tmp_path: Path) -> None:
    recipe = override(load_recipe("seconds"), {"steps": 2, "towers.vocabulary": 300})
    state = carry_out(
        Run("kernel-uniformity,on=images,prior=nouns+digit", "digits", recipe), tmp_path, test=False
    )
    assert state.status == "finished"


def test_labels_are_not_there_or_of_another_kind_are_refused() -> None:
    data = TinyData()
    data.labels = {**data.labels, "size": Numbers(np.arange(70.0))}
    assert target_of(Arm.parse("kernel-uniformity,on=images,prior=tone+gender"), "", data) is None
    with pytest.raises(UnknownNameError, match="unknown label 'tones': did you mean 'tone'"):
        target_of(Arm.parse("kernel-uniformity,on=images,prior=group+tones"), "", data)
    with pytest.raises(ValueError, match=r"size.*numbers.*classes"):
        target_of(Arm.parse("kernel-uniformity,on=images,prior=size"), "", data)
