"""Methods of sensors choose the same on any ranks, and learn the same from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from rank_pool import RankPool
from sensor_jobs import job_mmd, job_step


@pytest.mark.parametrize(
    ("name", "stage", "options"),
    [
        ("collossl", "", {}),
        ("collossl", "", {"positive": "random"}),
        ("rebar", "reconstruct", {}),
        ("rebar", "contrast", {}),
        ("rebar", "contrast", {"candidates_from": "batch", "candidates": 4}),
        ("rebar", "contrast", {"nearest": False, "alpha": 0.0}),
    ],
)
def test_a_step_on_ranks_is_the_step_of_one_process(
    name: str, stage: str, options: dict[str, Any], rank_pool: Callable[[int], RankPool]
) -> None:
    loss, gradients = job_step(0, 1, name, stage, options)
    assert gradients
    for found, its in rank_pool(2).run(job_step, name, stage, options):
        assert found == pytest.approx(loss, rel=1e-9)
        assert its.keys() == gradients.keys()
        for parameter, gradient in gradients.items():
            torch.testing.assert_close(its[parameter], gradient, rtol=1e-8, atol=1e-11, msg=parameter)


def test_discrepancies_are_of_all_ranks(rank_pool: Callable[[int], RankPool]) -> None:
    assert rank_pool(2).run(job_mmd) == pytest.approx(2 * [job_mmd(0, 1)], rel=1e-10)
