"""REBAR: the mask is on the query's path alone, the least error wins, and the loss is that of loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from counterpoint.methods.rebar import CONTRAST, REBAR, RECONSTRUCT
from counterpoint.networks.init import initialise
from counterpoint.networks.retrieval import RetrievalReconstruction
from counterpoint.networks.towers.series import DilatedTower, Standardised
from counterpoint.recipes import Recipe
from counterpoint.types import Batch, StepInfo


def method(**options: object) -> REBAR:
    tower = DilatedTower(Standardised(1000, (), [0.0] * 2, [1.0] * 2), width=8, dilations=(1,))
    made = REBAR({"series": tower}, Recipe(), **options).double()  # type: ignore[arg-type]
    initialise(made, 0)
    return made.double().eval()


def batch(*series: Tensor) -> Batch:
    return Batch(torch.arange(len(series)), {"series": torch.stack(series)})


def clock(stage: str) -> StepInfo:
    return StepInfo(0, 1, stage=stage)


@pytest.fixture
def network() -> RetrievalReconstruction:
    made = RetrievalReconstruction(2, width=16)
    initialise(made, 0)
    return made.double().eval()


def test_hidden_steps_of_query_do_not_matter_and_those_of_key_do(
    network: RetrievalReconstruction,
) -> None:
    query, key = torch.randn(2, 3, 20, 2, dtype=torch.float64)
    visible = torch.ones(3, 20, dtype=torch.bool)
    visible[:, 5:10] = False
    read = network.query(query, visible, torch.ones_like(visible))
    other = query.clone()
    other[:, 5:10] = 7.0
    torch.testing.assert_close(network.query(other, visible, torch.ones_like(visible)), read)
    changed = key.clone()
    changed[:, 5:10] += 1.0
    assert not torch.allclose(network(query, visible, changed), network(query, visible, key))


def test_where_nothing_is_visible_the_first_convolution_says_0(network: RetrievalReconstruction) -> None:
    visible = torch.zeros(1, 60, dtype=torch.bool)
    visible[:, :10] = True
    query = torch.randn(1, 60, 2, dtype=torch.float64)
    network.query.blocks = torch.nn.ModuleList()
    read = network.query(query, visible, torch.ones_like(visible))
    assert (read[:, :, 20:] == read[:, :, 20:21]).all(), (
        "the same everywhere, since nothing is seen from there"
    )


def test_partial_convolution_of_a_constant_is_that_of_all_of_it(network: RetrievalReconstruction) -> None:
    constant, inside = torch.ones(1, 60, 2, dtype=torch.float64), torch.ones(1, 60, dtype=torch.bool)
    seen = torch.zeros(1, 60, dtype=torch.bool)
    seen[:, ::2] = True
    network.query.first.weight.data.fill_(0.1)  # else the mask's pattern meets different weights
    whole, part = (network.query(constant, mask, inside) for mask in (inside, seen))
    torch.testing.assert_close(part, whole)


def test_padding_changes_nothing_and_constant_channel_is_finite(network: RetrievalReconstruction) -> None:
    query, key = torch.randn(2, 3, 20, 2, dtype=torch.float64)
    query[0, :, 0] = 4.0
    visible, also = torch.ones(3, 20, dtype=torch.bool), torch.ones(3, 7, dtype=torch.bool)
    visible[:, 5:10] = False
    made = network(query, visible, key)
    assert made.isfinite().all()
    gone = torch.full((3, 7, 2), torch.nan, dtype=torch.float64)
    longer = network(torch.cat([query, gone], 1), torch.cat([visible, also], 1), torch.cat([key, gone], 1))
    torch.testing.assert_close(longer[:, :20], made, rtol=1e-9, atol=1e-9)


def test_it_learns_to_retrieve() -> None:
    torch.manual_seed(0)
    made = RetrievalReconstruction(1, width=32, dropout=0.0)
    initialise(made, 0)
    optimizer = torch.optim.AdamW(made.parameters(), 3e-3)
    phase = torch.rand(32, 1)
    series = torch.sin(torch.arange(48) * 0.4 + 6.3 * phase)[..., None]
    visible = torch.ones(32, 48, dtype=torch.bool)
    visible[:, 20:26] = False
    errors = []
    for _ in range(40):
        error = (made(series, visible, series) - series)[:, 20:26].square().mean()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        errors.append(error.item())
    assert errors[-1] < 0.5 * errors[0]


def test_the_least_error_is_the_positive(monkeypatch: pytest.MonkeyPatch) -> None:
    model = method(candidates=3)
    # Of a network that says what the key shows the error is a distance.
    monkeypatch.setattr(model.retrieval, "forward", lambda query, visible, key: key)
    anchors = torch.zeros(2, 10, 2, dtype=torch.float64)
    others = torch.tensor([[3.0, 1.0, 2.0], [0.5, 1.0, 2.0]])[..., None, None].expand(2, 3, 10, 2)
    errors = model.errors(anchors, others.double(), torch.arange(5))
    assert errors.tolist() == [[9, 1, 4], [0.25, 1, 4]]
    anchors[:, 5:] = torch.nan  # of which nothing is known there counts for nothing
    assert model.errors(anchors, others.double(), torch.arange(8)).tolist() == [[9, 1, 4], [0.25, 1, 4]]


def ramps(rows: int = 4, steps: int = 100) -> Batch:
    """Series whose values say their row and their step."""
    return batch(
        *(torch.stack([torch.arange(steps).double(), torch.full((steps,), float(r))], 1) for r in range(rows))
    )


@pytest.mark.parametrize("overlap", [True, False])
def test_candidates_are_stretches_of_the_same_series(overlap: bool) -> None:
    model, closest = method(overlap=overlap, candidates=12), []
    for seed in range(20):
        torch.manual_seed(seed)
        given = model.prepare(ramps(), clock(CONTRAST))
        anchor, others = given["anchor"], given["others"]
        assert anchor.shape == (4, 25, 2)
        assert others.shape == (4, 12, 25, 2)
        assert (others[..., 1] == torch.arange(4)[:, None, None]).all()
        assert ((others[..., 0].diff(dim=2)) == 1).all()
        closest.append(float((others[..., 0, 0] - anchor[:, None, 0, 0]).abs().min()))
    assert (min(closest) >= 25) == (not overlap)


def test_a_series_of_other_length_has_stretches_within_it() -> None:
    given = ramps()
    given["series"][1, 60:] = torch.nan
    given["series"][2, 10:] = torch.nan
    for seed in range(10):
        torch.manual_seed(seed)
        cut = method(overlap=False).prepare(given, clock(CONTRAST))
        there = ~cut["others"].isnan().all(3)
        assert there[1].all(), "the series is longer than a stretch"
        assert (there[2].sum(1) == 10).all(), "all of it"


def test_rows_of_batch_candidates_where_there_one_stretch_each() -> None:
    model = method(candidates_from="batch", candidates=2)
    torch.manual_seed(0)
    given = model.prepare(ramps(), clock(CONTRAST))
    assert given["anchor"].shape == (4, 100, 2)
    assert given["others"].shape == (4, 1, 100, 2)
    partner = given["partner"]
    assert (given["others"][:, 0, 0, 1] == partner).all()
    assert (partner != torch.arange(4)).all()
    many = method(candidates_from="batch", candidates=20).prepare(ramps(), clock(CONTRAST))
    assert (many["partner"] != torch.arange(4)).all(), "there are no more than three"


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_the_loss_is_that_of_loops(alpha: float) -> None:
    model = method(alpha=alpha, temperature=0.5)
    anchor = torch.nn.functional.normalize(torch.randn(5, 8, dtype=torch.float64), dim=-1)
    others = torch.nn.functional.normalize(torch.randn(5, 3, 8, dtype=torch.float64), dim=-1)
    chosen, partner = torch.tensor([0, 2, 1, 1, 0]), torch.tensor([-1, 4, -1, 0, -1])
    met = others if alpha < 1 else others[torch.arange(5), chosen][:, None]
    found = model.objective(anchor, met, chosen, partner, alpha)

    def e(a: Tensor, b: Tensor) -> float:
        return math.exp(float(a @ b) / 0.5)

    terms = []
    for i in range(5):
        positive = e(anchor[i], others[i, chosen[i]])
        within = -math.log(positive / sum(e(anchor[i], other) for other in others[i]))
        rest = sum(e(anchor[i], anchor[j]) for j in range(5) if j not in (i, int(partner[i])))
        terms.append(alpha * -math.log(positive / (positive + rest)) + (1 - alpha) * within)
    assert float(found) == pytest.approx(np.mean(terms), rel=1e-9)


def test_one_candidate_is_no_choice() -> None:
    given = (model := method(candidates=1, alpha=0.0)).prepare(ramps(), clock(CONTRAST))
    assert model.losses(model.encode(given), given, clock(CONTRAST))["rebar"].item() == 0


def test_a_small_temperature_is_no_matter_of_16_bits() -> None:
    model = method(temperature=0.001).float()
    anchor = torch.nn.functional.normalize(torch.randn(5, 8), dim=-1).bfloat16()
    loss = model.objective(anchor, anchor[:, None], torch.zeros(5).long(), torch.full((5,), -1), 0.5)
    assert loss.dtype == torch.float32
    assert loss.isfinite()


def test_first_stage_reconstructs_a_span_from_the_same_stretch() -> None:
    model = method(window=0.5, span=0.2)
    given = model.prepare(ramps(), clock(RECONSTRUCT))
    hidden = ~given["visible"]
    assert set(given.views) == {"query", "visible"}
    assert (hidden.sum(1) == 10).all()
    assert (torch.nonzero(hidden[0])[:, 0].diff() == 1).all()
    terms = model.losses(model.encode(given), given, clock(RECONSTRUCT))
    assert set(terms) == {"reconstruction"}
    terms["reconstruction"].backward()
    moved = {name.partition(".")[0] for name, p in model.named_parameters() if p.grad is not None}
    assert moved == {"retrieval"}
    assert [stage.moves for stage in model.stages] == [("retrieval.",), ("towers.",)]


def test_what_leaves_no_room_is_refused() -> None:
    with pytest.raises(ValueError, match="at most 1/3"):
        method(overlap=False, window=0.5)
    with pytest.raises(ValueError, match="at least 2 rows"):
        method(candidates_from="batch").prepare(ramps(1), clock(CONTRAST))
