"""Runs whose frozen towers answer from memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from counterpoint.data import load as load_data
from counterpoint.data.loading.features import InputDigests
from counterpoint.data.source import load_any
from counterpoint.networks import tune
from counterpoint.recipes import Recipe, load, override
from counterpoint.study.training.runner import run
from counterpoint.training.loop import fit
from counterpoint.training.record.metrics import read_metrics
from counterpoint.training.run import Run
from counterpoint.training.speed.feature_cache import remember
from counterpoint.training.start import prepare
from fixtures.tiny import TinyData

NAME = "test_resnet.r160_in1k"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    save_file(timm.create_model(NAME, num_classes=0).state_dict(), path)
    return path


def recipe(weights: Path, **changes: object) -> Recipe:
    towers = {"towers.image": f"timm:{NAME}@{weights}", "towers.text": "bag", "towers.tune": "frozen"}
    short = {"steps": 4, "batch_size": 16, "augmentation.paired": "plain", "towers.keep": True}
    return override(load("seconds"), towers | short | changes)


def losses(folder: Path) -> list[float]:
    return read_metrics(folder).filter(name="loss")["value"].to_list()


def test_what_is_kept_changes_nothing(
    weights: Path, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COUNTERPOINT_CACHE", str(tmp_path / "cache"))
    for name, keep in (("kept", True), ("plain", False)):
        asked = recipe(weights, **{"towers.keep": keep, "log_every": 1})
        run(Run("clip", str(pairs), asked), tmp_path / name, test=False)
    assert losses(tmp_path / "kept") == pytest.approx(losses(tmp_path / "plain"), rel=1e-5)
    assert list((tmp_path / "cache" / "features").iterdir())


def test_a_picture_is_drawn_once(
    weights: Path, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COUNTERPOINT_CACHE", str(tmp_path / "cache"))
    data, read = load_data(str(pairs)), []
    size = len(data.splits.train) // 2
    original = type(data).read_training

    def reading(self: object, column: str, rows: np.ndarray) -> object:
        read.extend(rows.tolist() if column == "image" else [])
        return original(self, column, rows)

    monkeypatch.setattr(type(data), "read_training", reading)
    _, loader = prepare(Run("clip", str(pairs), recipe(weights, batch_size=size)), data)
    batches = [loader.batch(step) for step in range(4)]  # two epochs of two batches
    assert len(read) == len(set(read))
    assert all(isinstance(batch["image"], InputDigests) for batch in batches)
    assert [len(batch) for batch in batches] == [size] * 4


def test_a_look_draws_nothing_that_was_drawn(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COUNTERPOINT_CACHE", str(tmp_path / "cache"))
    read: list[int] = []
    original = TinyData.read_training

    def reading(self: TinyData, column: str, rows: np.ndarray) -> object:
        read.extend(rows.tolist() if column == "image" else [])
        return original(self, column, rows)

    monkeypatch.setattr(TinyData, "read_training", reading)
    asked = recipe(weights, steps=12, **{"augmentation.contrasted": "plain"})
    method, loader = prepare(Run("sbcl,every=1,warmup=1,smallest=2", "tiny", asked), TinyData())
    fit(method, loader, asked)
    assert len(read) == len(set(read)) > 0


@pytest.mark.parametrize(
    "arm",
    [
        "jest,reference={run},filter=0.5",
        "guided-ntxent,on=images,teacher={run}",
        "mlcd,clusters=9,encoder={tower}",
        "moco,on=images",
    ],
)
def test_another_model_and_a_copy_see_the_inputs_themselves(
    arm: str, weights: Path, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COUNTERPOINT_CACHE", str(tmp_path / "cache"))
    asked = recipe(weights, log_every=1)
    run(Run("siglip", str(pairs), asked), tmp_path / "other", test=False)
    filled = arm.format(run=tmp_path / "other", tower=f"timm:{NAME}@{weights}")
    for name, keep in (("kept", True), ("plain", False)):
        shown = {"towers.keep": keep, "augmentation.contrasted": "plain"}
        run(Run(filled, str(pairs), override(asked, shown)), tmp_path / name, test=False)
    assert losses(tmp_path / "kept") == pytest.approx(losses(tmp_path / "plain"), rel=1e-5)


@pytest.mark.parametrize(
    "arm", ["albef,words=0,queue=0,alpha=0,text=reader", "cappa,parallel=0,text=transformer"]
)
def test_methods_that_read_patches_have_them_from_memory(
    arm: str, weights: Path, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COUNTERPOINT_CACHE", str(tmp_path / "cache"))
    for name, keep in (("kept", True), ("plain", False)):
        asked = recipe(weights, **{"towers.keep": keep, "log_every": 1, "towers.vocabulary": 300})
        run(Run(arm, str(pairs), asked), tmp_path / name, test=False)
    assert losses(tmp_path / "kept") == pytest.approx(losses(tmp_path / "plain"), rel=1e-3)
    assert list((tmp_path / "cache").glob("features/*/*/patches/*.npy"))


@pytest.mark.parametrize(
    ("arm", "message"),
    [("ebm", "ebm changes the pictures"), ("m-dyr", "towers.keep where pictures are mixed")],
)
def test_what_is_changed_cannot_be_kept(
    arm: str, message: str, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COUNTERPOINT_CACHE", str(tmp_path / "cache"))
    asked = recipe(weights)
    with pytest.raises(ValueError, match=message):
        fit(*prepare(Run(f"{arm},on=images", "tiny", asked), TinyData()), asked)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"towers.tune": "full"}, "no tower is frozen; add tune=frozen"),
        (
            {"augmentation.paired": "weak"},
            "pictures are looked at through 'weak', which is never twice the same; write augmentation.paired=plain, or",
        ),
    ],
)
def test_features_that_cannot_be_kept(
    changes: dict[str, str], message: str, weights: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        run(Run("clip", "digits", recipe(weights, **changes)), tmp_path / "run")


@pytest.mark.parametrize(
    ("noun", "arm", "data"),
    [
        ("sounds", "clip,text=bag", "sounds:basic"),
        ("series", "clip,columns=wrist+text,text=bag", "motions:basic"),
    ],
)
def test_what_was_recorded_is_same_every_time_where_it_is_plain(noun: str, arm: str, data: str) -> None:
    def keep(paired: str) -> None:
        planned = Run(
            arm, f"{data},train=16,validation=4,test=4", override(load("seconds"), {"batch_size": 8})
        )
        given = load_any(planned.data)
        method, _ = prepare(planned.on(given), given)
        for tower in method.towers.values():
            tune(tower, "frozen")
        remember(method, override(planned.recipe, {"augmentation.paired": paired}))

    with pytest.raises(
        ValueError, match=f"{noun} are .* twice the same; write augmentation.paired=plain, or leave"
    ):
        keep("weak")
    keep("plain")
