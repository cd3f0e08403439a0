"""Tables of scenes' attributes: what they hold, which rows lack one, and that nothing else moves for them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from counterpoint.data.synthetic.scenes.world import Scenes

SIZES = "train=60,validation=6,test=40"


def test_a_row_says_what_its_scene_shows() -> None:
    world = Scenes.parse(f"scenes:basic,table=things+x+colour+background,{SIZES}")
    assert dict(world.columns) == {"image": "image", "text": "text", "table": "table"}
    rows = np.array([3, 0, 7])
    for row, told in zip(rows, world.read("table", rows).rows(), strict=True):
        scene = world.scene(int(row))
        assert told["things"] == str(len(scene.subjects))
        assert float(told["x"]) == pytest.approx(np.mean([t.x for t in scene.subjects]), abs=0.01)
        assert told["colour"] == (scene.subjects[0].colour or "")
        assert told["background"] == scene.background


def test_pictures_captions_and_labels_stay_as_they_are() -> None:
    plain, tabled = (
        Scenes.parse(f"scenes:basic{more},{SIZES}") for more in ("", ",table=x,missing_tables=0.5")
    )
    assert dict(plain.columns) == {"image": "image", "text": "text"}
    rows = np.arange(12)
    assert torch.equal(plain.images(rows), tabled.images(rows))
    assert [plain.training_captions(r) for r in range(12)] == [tabled.training_captions(r) for r in range(12)]
    for name, labels in plain.labels.items():
        assert np.array_equal(labels.values, tabled.labels[name].values)
    with pytest.raises(ValueError, match="unknown column of scenes:basic"):
        plain.read("table", rows)


def test_rows_lack_table_class_others_another_class_where() -> None:
    world = Scenes.parse("scenes:gaps,train=300,validation=6,test=200")
    count = np.array([len(world.scene(row).subjects) for row in range(len(world))])
    for rows, of_class, share in (
        (world.splits.train, 2, 0.8),
        (world.splits.test["as trained"], 2, 0.8),
        (world.splits.test["reversed"], 1, 0.8),
        (world.splits.test["whole"], 2, 0.0),
    ):
        there, own = world.present("table", rows), count[rows] == of_class
        assert there[~own].all()
        # Binomial, 5 standard deviations.
        assert abs((~there[own]).mean() - share) <= 5 * (share * (1 - share) / own.sum()) ** 0.5
        told = world.read("table", rows)
        assert torch.equal(told.cells.isnan().all(1), torch.from_numpy(~there))
        assert world.present("image", rows).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("table=x+siez", "unknown attribute of scenes 'siez': did you mean 'size'"),
        ("table=x,lacking=shade:red", "unknown label in lacking 'shade'"),
        ("table=x,lacking=count", "unknown count in lacking ''"),
        ("table=x,lacking=count:two", "unknown count in lacking 'two'"),
        ("table=x,lacking=colour:redd", "unknown colour in lacking 'redd': did you mean 'red'"),
    ],
)
def test_what_cannot_be_is_refused(options: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Scenes.parse(f"scenes:basic,{options}")
