"""The mathematics of the claims about queues of keys."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F

from counterpoint.data import load as load_data
from counterpoint.losses import MoCoLoss
from counterpoint.losses.mochi import draw
from counterpoint.training.start import load as load_run
from counterpoint_reproductions import brivl, mochi, moco, moco_dual_view, sy_con
from counterpoint_reproductions.lab import Lab, TrainingComparison
from counterpoint_reproductions.lab.gradients import queue_gradients
from counterpoint_reproductions.lab.queries import queries_and_queue


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(*shape, generator=generator, dtype=torch.float64), dim=-1)


def test_queue_takes_batches_of_size_keeps_last_keys_in_order() -> None:
    assert moco.misplaced(7, [3, 3, 3, 5, 7, 2, 9]) == 0


def test_moco_cross_entropy_one_k_logits_gradient_in_queries() -> None:
    error, reached = queue_gradients(MoCoLoss(moco.TAU), moco.reference)
    assert error < 1e-13
    assert reached == 0.0


def test_mixtures_lie_between_what_they_are_mixed_of() -> None:
    q, hardest = unit(3, 5), unit(3, 4, 5, seed=1)
    drawn = draw(q, 4, 6, 6, torch.Generator().manual_seed(0))
    of_keys, with_query = mochi.mixtures(q, hardest, drawn)
    for b in range(3):
        for m in range(6):
            i, j = drawn["pairs"][b, m].tolist()
            share = drawn["shares"][b, m]
            expected = share * hardest[b, i] + (1 - share) * hardest[b, j]
            assert torch.allclose(of_keys[b, m], expected / expected.norm())
            share, j = drawn["query_shares"][b, m], int(drawn["partners"][b, m])
            expected = share * q[b] + (1 - share) * hardest[b, j]
            assert torch.allclose(with_query[b, m], expected / expected.norm())


def test_mixtures_with_query_never_lose_similarity_loss_counts() -> None:
    lost, difference = mochi.exactness()
    assert lost == 0.0
    assert difference < 1e-12


def test_hardness_of_a_queue_of_one_key_over_and_over() -> None:
    key = unit(1, 5)
    of_keys, with_query = mochi.hardness(unit(20, 5, seed=1), key.expand(mochi.HARDEST, 5), seed=0)
    assert with_query > 0.9  # every step towards the query is harder
    assert of_keys < 0.6  # the same point up to rounding


def test_queries_of_trained_model_meet_queue_that_it_ended_with(tmp_path: Path) -> None:
    small = TrainingComparison(
        {"m = 0": "moco,momentum=0,queue=64"}, {"probe": ()}, changes={"steps": 3, "batch_size": 16}, seeds=1
    )
    folder, data = Lab(tmp_path).study(small).folder("m = 0", 0), load_data("digits")
    q, queue = queries_and_queue(folder, data, "held out")
    assert int(queue.filled) == 3 * 16
    model = load_run(folder)
    pictures = model.image_tower.input(data.images(data.splits.test["held out"]))
    torch.testing.assert_close(q, F.normalize(model.momentum(pictures), dim=-1))  # at m = 0 the copy is equal


def test_dual_view_without_parts_moco_and_frozen_anchor_attracts() -> None:
    reduced, added = moco_dual_view.exactness()
    assert reduced < 1e-13
    assert added < 1e-10


def test_pictures_meet_queue_of_texts_and_texts_that_of_pictures() -> None:
    error, reached = brivl.exactness(pairs=5, keys=9)
    assert error < 1e-13
    assert reached == 0.0


def test_sy_con_is_two_losses_of_moco_on_both_queues() -> None:
    assert sy_con.exactness() < 1e-13
