"""CLIPPO: one tower and one head for pictures and drawn texts, one loss of the pairs of all sources."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
import torch
import torch.nn.functional as F
from method_stubs import LATE, RECIPE, ThroughImage, ThroughText, batch, build, run
from torch import nn

from counterpoint import methods
from counterpoint.losses import InfoNCELoss
from counterpoint.methods import Arm
from counterpoint.recipes import load as load_recipe
from counterpoint.recipes import override
from counterpoint.study.training.runner import run as carry_out
from counterpoint.training.run import Run
from counterpoint.training.start import load
from counterpoint.types import Batch


def test_two_columns_without_gaps_are_clip_exactly() -> None:
    (clippo, clip), found = (build(name, seed=2).double() for name in ("clippo", "clip")), []
    for method in (clippo, clip):
        (loss,) = run(method, batch(method, dtype=torch.float64)).values()
        loss.backward()
        found.append((loss, [p.grad for p in method.parameters()]))
    torch.testing.assert_close(found[0], found[1], rtol=1e-12, atol=1e-14)


def test_pairs_of_all_rows_are_each_others_negatives() -> None:
    towers = {"image": ThroughImage(6), "text": ThroughText(6), "answer": ThroughText(6)}
    method = methods.create("clippo", towers, RECIPE).double()
    method.projections = nn.ModuleDict({name: nn.Identity() for name in towers})
    z = {name: torch.randn(6, 6, dtype=torch.float64, requires_grad=True) for name in towers}
    present = {
        "image": torch.tensor([1, 1, 0, 0, 0, 1]).bool(),
        "text": torch.tensor([1, 1, 1, 1, 1, 0]).bool(),
        "answer": torch.tensor([0, 1, 1, 1, 0, 0]).bool(),
    }
    (loss,) = method.losses(z, Batch(torch.arange(6), dict(z), present=present), LATE).values()
    pairs = [("image", 0, "text"), ("image", 1, "text"), ("text", 2, "answer"), ("text", 3, "answer")]
    x, y = (F.normalize(torch.stack([z[pair[side]][pair[1]] for pair in pairs]), dim=-1) for side in (0, 2))
    assert loss.item() == pytest.approx(InfoNCELoss()(x, y).item(), rel=1e-12)
    loss.backward()
    assert not z["image"].grad[2:].any(), "of what is not there, and of a row with one column alone"
    assert not z["answer"].grad[[0, 1, 4, 5]].any(), "the third column of a row is not read"


def test_a_batch_without_a_pair_says_nothing() -> None:
    method = build("clippo")
    given = batch(method)
    none = Batch(given.ids, given.views, present={"image": torch.zeros(len(given), dtype=torch.bool)})
    (loss,) = run(method, none).values()
    loss.backward()
    assert loss == 0


def test_texts_are_drawn_unless_another_tower_is_named() -> None:
    assert Arm.parse("clippo").towers == {"text": "pixels"}
    assert Arm.parse("clippo,text=bag").towers == {"text": "bag"}
    assert Arm.parse("clip").towers == {}


@pytest.mark.slow
def test_trains_one_tower_pictures_with_texts_on_pairs_of_texts(tmp_path: Path) -> None:
    rows = [{"term": f"number {k}", "gloss": f"what follows {k - 1}"} for k in range(60)]
    pl.DataFrame(rows).write_csv(tmp_path / "words.csv")
    recipe = override(
        load_recipe("seconds"),
        {"steps": 2, "batch_size": 16, "towers.image": "vit-map", "towers.image_size": 16},
    )
    data = f"digits + {tmp_path / 'words.csv'},columns=term+gloss,share=0.5"
    done = carry_out(Run("clippo", data, recipe), tmp_path / "run", tasks=("retrieval",))
    assert done.status == "finished"
    model = load(tmp_path / "run")
    assert [*model.towers] == [*model.projections] == ["image"]
    assert set(model.columns) == {"image", "text", "term", "gloss"}
    assert torch.equal(model.embed("term", ["a three"]), model.embed("text", ["a three"]))
    scores = pl.read_parquet(tmp_path / "run" / "metrics.parquet")
    said = scores.filter(pl.col("name").str.contains("clippo"))
    assert len(said) > 0, scores
