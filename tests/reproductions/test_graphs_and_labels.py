"""The mathematics of claims about graphs of pairs, groups of a batch, temperatures of items and many labels."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from counterpoint.losses import DecoupledSoftmaxLoss, MultiLabelSoftmaxLoss
from counterpoint_reproductions import dexml, isogclr, kernel_infonce, m2_encoder, mmcl_generalization
from counterpoint_reproductions.lab import data_emoji as small
from counterpoint_reproductions.lab import data_zipf as zipf


def test_a_graph_of_three_nodes_by_hand() -> None:
    pi = torch.tensor([[0.0, 1.0, 0.0], [0.5, 0.0, 0.5], [0.0, 1.0, 0.0]], dtype=torch.float64)
    z = torch.tensor([[0.0], [1.0], [2.0]], dtype=torch.float64)
    near, far = math.exp(-1), math.exp(-4)  # at τ = ½
    expected = -2 * math.log(near / (near + far)) - math.log(0.5)
    for form in (kernel_infonce.cross_entropy, kernel_infonce.spectral, kernel_infonce.enumerated):
        assert form(pi, z) == pytest.approx(expected, rel=1e-12)


def test_drawn_graphs_do_not_follow_graph_of_pairs_are_found_out() -> None:
    pi, z = kernel_infonce.random_graph(30, 0)
    assert abs(kernel_infonce.sampled(pi, z, 2000, 0)) < 3
    other, _ = kernel_infonce.random_graph(30, 1)
    losses = kernel_infonce.cross_entropy(other, z) - kernel_infonce.cross_entropy(pi, z)
    assert abs(losses) > 0.1


def test_planted_blocks_have_more_edges_within_than_between() -> None:
    blocks, graph = kernel_infonce.planted(0, 400)
    assert (graph == graph.T).all()
    assert not graph.diagonal().any()
    same = blocks[:, None] == blocks[None]
    assert graph[same & ~np.eye(400, dtype=bool)].mean() == pytest.approx(kernel_infonce.INSIDE, abs=0.02)
    assert graph[~same].mean() == pytest.approx(kernel_infonce.BETWEEN, abs=0.01)


def test_view_white_white_but_noise_figure_moves_with_colours() -> None:
    white = torch.ones(50, 3 * small.SIDE**2)
    seen = small.view(white, np.random.default_rng(0))
    assert float((seen - 1).abs().max()) < 1
    picture = white.clone().reshape(50, 3, small.SIDE, small.SIDE)
    picture[:, :, 8, 8] = -9
    seen = small.view(picture.flatten(1), np.random.default_rng(0)).reshape(50, 3, -1)
    places = seen.argmin(2)
    found = seen.amin((1, 2)) < -5  # not among the blanks
    assert 25 < int(found.sum()) < 50
    assert (places[found] == places[found][:, :1]).all()
    moved = places[found][:, 0]
    assert (
        set((moved // small.SIDE - 8).tolist()) == set((moved % small.SIDE - 8).tolist()) == {-2, -1, 0, 1, 2}
    )


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_similarities_and_their_products_fall_with_the_groups(groups: int) -> None:
    products, kept = m2_encoder.cost(groups, 32, 5)
    # Both directions from one product forward, and two backward.
    assert products == 3 * 32 * 32 * 5 // groups
    assert kept % (32 * 32 // groups) == 0
    assert kept > 0


def test_best_temperature_softmax_as_far_from_uniform_as_radius() -> None:
    # Of two, p and 1 − p with p = 0.9: log 2 less the entropy.
    tau = isogclr.best_temperature(
        np.array([0.0, -1.0]), math.log(2) + 0.9 * math.log(0.9) + 0.1 * math.log(0.1)
    )
    assert tau == pytest.approx(1 / math.log(9), rel=1e-9)


def test_queries_one_to_twenty_labels_of_first_most_frequent() -> None:
    numbers, true = zipf.drawn(20_000, 50, 0)
    assert numbers.shape == (20_000, zipf.WIDTH)
    targets = torch.from_numpy(true)
    counts = targets.sum(1)
    assert int(counts.min()) == 1
    assert int(counts.max()) == 20
    frequency = targets.double().mean(0)
    assert int(frequency.argmax()) == 0
    alone = targets[counts == 1].double().mean(0)  # one draw: Zipf's law itself
    assert float(alone[0] / alone[1]) == pytest.approx(2, rel=0.3)


def test_softmax_lowers_true_label_that_has_more_than_its_share() -> None:
    logits = torch.tensor([[4.0, 1.0, 0.0]])
    targets = torch.tensor([[True, True, False]])
    p = logits.double().softmax(1)[0, 0]
    share, largest = dexml.pushed(MultiLabelSoftmaxLoss(), logits, targets)
    assert share == 1
    assert largest == pytest.approx(float(2 * p - 1), rel=1e-6)
    share, largest = dexml.pushed(DecoupledSoftmaxLoss(), logits, targets)
    assert share == 0
    assert largest < 0


def test_noise_gives_a_share_of_the_rows_the_caption_of_another() -> None:
    rows = small.emoji_inputs()[0].splits.train
    assert (mmcl_generalization.sources(0.0, 0) == rows).all()
    said = mmcl_generalization.sources(0.5, 0)
    assert (said != rows).mean() == pytest.approx(0.5, abs=0.01)
    assert sorted(said) == sorted(rows)


def test_free_vectors_find_singular_vectors_of_a_planted_table() -> None:
    p = mmcl_generalization.planted(12, 9, 0)
    assert float(p.sum()) == pytest.approx(1)
    angle, rest = mmcl_generalization.factorised(p, 3, 0)
    assert angle < 1e-3
    assert rest < 1e-6
