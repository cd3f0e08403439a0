"""CCI: which views are positives and negatives, its control, and the labels that it takes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from method_stubs import LATE, batch, build

from counterpoint.losses import CCILoss
from counterpoint.registry import UnknownNameError


def test_view_of_the_same_class_and_domain_is_in_neither_set() -> None:
    z = F.normalize(torch.randn(4, 6, dtype=torch.float64), dim=-1)
    labels, domains = torch.tensor([0, 0, 0, 1]), torch.tensor([0, 0, 1, 0])

    # Rows 0 and 1 share class and domain: neither is in the other's terms.
    scores = z @ z.T / 0.5

    def term(i: int, j: int) -> torch.Tensor:
        return (scores[i, j].exp() + scores[i, 3].exp()).log() - scores[i, j]

    expected = (term(0, 2) + term(1, 2) + (term(2, 0) + term(2, 1)) / 2) / 3
    torch.testing.assert_close(CCILoss(0.5)(z, labels=labels, domains=domains), expected)


def test_one_domain_is_the_control() -> None:
    z = F.normalize(torch.randn(6, 4, dtype=torch.float64), dim=-1)
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    one = CCILoss()(z, labels=labels, domains=torch.ones(6, dtype=torch.long))
    torch.testing.assert_close(one, CCILoss()(z, labels=labels))


def test_domains_are_another_label_of_the_data() -> None:
    across, alone = build("cci", across="site").double(), build("cci").double()
    given = batch(alone, 8, dtype=torch.float64)
    sites = torch.tensor([0, 1, 2, 0, 1, 2, 1, 1])
    given = replace(given, labels={**given.labels, "group": torch.arange(8) % 2, "site": sites})
    z = across.encode(given)
    views = [F.normalize(across.projections["image"](z[name]), dim=-1) for name in across.views]
    expected = across.objective(*views, labels=given.labels["group"], domains=sites)
    torch.testing.assert_close(across.losses(z, given, LATE)["cci"], expected)
    assert not torch.allclose(alone.losses(z, given, LATE)["cci"], expected)
    with pytest.raises(UnknownNameError, match="sight"):
        build("cci", across="sight").double().losses(z, given, LATE)
