"""Long sounds and series are embedded by windows that are spread over them."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from method_stubs import RECIPE

from counterpoint import methods
from counterpoint.networks.towers.series import DilatedTower, Standardised
from counterpoint.raw import Series


def test_an_embedding_is_the_mean_of_those_of_windows() -> None:
    tower = DilatedTower(Standardised(20, (), [0.0], [1.0]), width=8)
    method = methods.create("ntxent", {"series": tower}, RECIPE)
    draws = np.random.default_rng(0)
    short, long = draws.normal(size=(20, 1)), draws.normal(size=(50, 1))
    found = method.embed("series", Series.of([short, long]))
    alone = method.embed("series", Series.of([short]))
    windows = method.embed("series", Series.of([long[start : start + 20] for start in (0, 15, 30)]))
    torch.testing.assert_close(found[:1], alone)
    torch.testing.assert_close(found[1], F.normalize(windows.mean(0), dim=0))
    assert not torch.allclose(found[1], windows[0])
