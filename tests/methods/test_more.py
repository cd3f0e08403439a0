"""MoRE: CLIP's loss of each pair with the hub, over the rows that have both; DropKey in attention."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from method_stubs import RECIPE, SIZE, ThroughImage, ThroughText, batch, build, run
from torch import Tensor, nn

from counterpoint import methods
from counterpoint.losses import InfoNCELoss
from counterpoint.methods.arm import Arm
from counterpoint.methods.tower_names import say_taken
from counterpoint.modalities import MODALITIES
from counterpoint.networks.init import initialise
from counterpoint.networks.towers.parts.attentive import SeriesTransformer
from counterpoint.networks.towers.series import DilatedTower, SeriesTower, Standardised
from counterpoint.networks.towers.transformer import VisionTransformer, keys_seen
from counterpoint.raw import Series
from counterpoint.recipes import override
from counterpoint.registry import UnknownNameError
from counterpoint.types import Batch

NAN = float("nan")


class ThroughSeries(SeriesTower):
    """A tower whose input is its output."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, series: Tensor) -> Tensor:
        return series


def three(width: int = 6, **options: Any) -> Any:
    """The method on three columns whose features a test chooses, its heads the identity."""
    towers = {"image": ThroughImage(width), "series": ThroughSeries(width), "text": ThroughText(width)}
    method = methods.create("more", towers, RECIPE, **options)
    method.projections = nn.ModuleDict({name: nn.Identity() for name in towers})
    return method.double()


def given(size: int = 7, **present: list[int]) -> Batch:
    generator = torch.Generator().manual_seed(3)
    views = {
        name: torch.randn(size, 6, generator=generator, dtype=torch.float64)
        for name in ("image", "series", "text")
    }
    return Batch(
        torch.arange(size),
        views,
        present={name: torch.tensor([row in rows for row in range(size)]) for name, rows in present.items()},
    )


def clip_of(a: Tensor, b: Tensor) -> Tensor:
    """CLIP's loss of two columns in plain operations."""
    scores = F.normalize(a, dim=-1) @ F.normalize(b, dim=-1).T / 0.07
    own = torch.arange(len(a))
    return (F.cross_entropy(scores, own) + F.cross_entropy(scores.T, own)) / 2


def test_a_hub_of_two_columns_is_clip_exactly() -> None:
    (more, clip), found = (build(name, seed=2).double() for name in ("more", "clip")), []
    assert more.state_dict().keys() == clip.state_dict().keys()
    for method in (more, clip):
        (loss,) = run(method, batch(method, dtype=torch.float64)).values()
        loss.backward()
        found.append((loss, [p.grad for p in method.parameters()]))
    assert torch.equal(found[0][0], found[1][0])
    assert all(torch.equal(a, b) for a, b in zip(found[0][1], found[1][1], strict=True))


def test_terms_are_of_hub_with_each_other_column_or_of_all_pairs() -> None:
    whole = given()
    pairs = {
        "text": ("image-text", "series-text"),
        "series": ("image-series", "series-text"),
        "none": ("image-series", "image-text", "series-text"),
    }
    for hub, names in pairs.items():
        losses = run(three(hub=hub), whole)
        assert tuple(losses) == names
        for name, loss in losses.items():
            a, b = name.split("-")
            torch.testing.assert_close(loss, clip_of(whole[a], whole[b]))
    assert tuple(run(three(), whole)) == pairs["text"]


def test_term_takes_rows_have_both_whatever_stands_in_others() -> None:
    whole = given(image=[0, 1, 2, 3], text=[2, 3, 4, 5, 6])
    losses = run(three(hub="none"), whole)
    for name, rows in {
        "image-text": [2, 3],
        "image-series": [0, 1, 2, 3],
        "series-text": [2, 3, 4, 5, 6],
    }.items():
        a, b = name.split("-")
        torch.testing.assert_close(losses[name], clip_of(whole[a][rows], whole[b][rows]))
    image = whole["image"].clone()
    image[4:] = NAN
    spoilt = Batch(whole.ids, {**whole.views, "image": image}, present=whole.present)
    assert all(
        torch.equal(a, b)
        for a, b in zip(run(three(hub="none"), spoilt).values(), losses.values(), strict=True)
    )


def test_columns_that_no_row_has_both_have_no_part_in_gradient() -> None:
    whole = given(image=[0, 1, 2], series=[3, 4, 5, 6])
    for view in whole.views.values():
        view.requires_grad_()
    losses = run(three(hub="series"), whole)
    assert losses["image-series"].item() == 0
    torch.stack(list(losses.values())).sum().backward()
    assert torch.equal(whole["image"].grad, torch.zeros_like(whole["image"]))
    assert float(whole["text"].grad.abs().sum()) > 0


def test_the_temperature_learns_unlike_the_releases() -> None:
    method = three()
    torch.stack(list(run(method, given()).values())).sum().backward()
    assert all(float(p.grad.abs()) > 0 for p in method.objective.parameters())
    assert isinstance(method.objective, InfoNCELoss)


def test_a_hub_must_be_a_column_and_dropkey_needs_attention() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'text'"):
        three(hub="txt")
    with pytest.raises(ValueError, match="none of the towers of image, series, text can drop keys"):
        three(dropkey=0.3)


def built(arm: str, columns: tuple[str, ...], **towers: str) -> Any:
    of = {
        "image": None,
        "text": ["a curve", "another"],
        "series": Series.of([np.random.default_rng(0).normal(size=(50, 2))]),
    }
    recipe = override(RECIPE, {f"towers.{modality}": name for modality, name in towers.items()})
    return Arm.parse(arm).build(recipe, {c: of[c] for c in columns}, 0, columns={c: c for c in columns})


def test_an_arm_that_drops_keys_has_towers_that_do(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "counterpoint")
    say_taken.cache_clear()
    assert isinstance(built("more", ("series", "text")).tower("series"), DilatedTower)
    assert not caplog.records
    method = built("more,dropkey=0.3", ("series", "text"))
    assert isinstance(method.tower("series"), SeriesTransformer)
    assert method.tower("series").name == "transformer"
    assert method.tower("series").dropkey == 0.3
    assert [record.getMessage() for record in caplog.records] == [
        "arm more,dropkey=0.3: series=transformer, which has what its options ask for, in place of the usual tower"
    ]


def test_towers_that_somebody_chose_do_not_give_way() -> None:
    every = ("image", "text", "series")
    # One that drops keys is enough.
    assert isinstance(built("more,dropkey=0.3,image=vit", every).tower("series"), DilatedTower)
    assert isinstance(built("more,dropkey=0.3", every, image="vit-map").tower("series"), DilatedTower)
    with pytest.raises(ValueError, match="none of the towers of series, text can drop keys"):
        built("more,dropkey=0.3,series=dilated", ("series", "text"))
    method = built("more,dropkey=0.3", every, image="mlp")
    assert isinstance(method.tower("series"), SeriesTransformer)
    assert not method.tower("image").drops_keys


@pytest.mark.parametrize(
    ("modality", "name"),
    [(it.name, name) for it in MODALITIES for name in it.able.get("drops_keys", ())],
)
def test_a_tower_that_is_said_to_drop_keys_does(modality: str, name: str) -> None:
    assert built("clip", (modality, "text"), **{modality: name}).tower(modality).drops_keys


def test_dropped_keys_leave_softmax_over_others_none_sees_none() -> None:
    torch.manual_seed(0)
    inside = torch.tensor([[True] * 12, [True] * 3 + [False] * 9])
    seen = keys_seen(inside, heads=40, rate=0.3)
    assert seen.shape == (2, 40, 12, 12)
    assert seen.any(-1).all()
    assert not seen[1, ..., 3:].any()
    # Of keys inside, three of ten are dropped: 5,760 draws, four deviations either way.
    assert abs(float(seen[0].double().mean()) - 0.7) < 4 * (0.3 * 0.7 / 5760) ** 0.5
    assert keys_seen(inside, 1, rate=1 - 1e-9)[0].all()  # where all were dropped, all are seen


@pytest.mark.parametrize("kind", ["image", "series"])
def test_dropkey_acts_in_training_alone(kind: str) -> None:
    tower: Any = VisionTransformer(SIZE, patch=4, width=16, depth=2)
    x = torch.rand(3, 3, SIZE, SIZE)
    if kind == "series":
        tower = SeriesTransformer(Standardised(40, (), (0.0, 0.0), (1.0, 1.0)), width=16, depth=2)
        x = torch.randn(3, 40, 2)
    initialise(tower, 0)
    plain = tower(x)
    tower.dropkey = 0.5
    assert not torch.allclose(tower(x), plain)
    assert torch.equal(tower.eval()(x), plain)


def test_padding_does_not_change_series_one_of_nothing_finite() -> None:
    tower = SeriesTransformer(Standardised(40, (), (0.0, 0.0), (1.0, 1.0)), width=16, depth=2)
    initialise(tower, 0)
    series = torch.randn(3, 17, 2)
    longer = F.pad(series, (0, 0, 0, 20), value=NAN)
    torch.testing.assert_close(tower(longer), tower(series), rtol=0, atol=1e-5)
    states = tower.states(longer)
    assert states.shape == (3, 8, 16)
    assert (states[:, 4:] == 0).all()
    assert tower(torch.full((2, 10, 2), NAN)).isfinite().all()
