"""A modality that the package does not know, registered here: methods train on it, alone and beside texts.

It is also the shortest example of such a registration.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import counterpoint as cp
from counterpoint.data.base import Data, Rows, Splits
from counterpoint.data.fingerprint import Fingerprint
from counterpoint.data.labels import Classes
from counterpoint.data.source import _slot, load_any
from counterpoint.data.views import uniform
from counterpoint.diagnostics.report import network
from counterpoint.methods import Arm
from counterpoint.modalities import MODALITIES, Modality
from counterpoint.networks.base import Tower
from counterpoint.networks.towers.build import Start
from counterpoint.networks.weights import TowerSource
from counterpoint.recipes import Recipe, load, override
from counterpoint.study.layout import run_folder
from counterpoint.study.report.diagnosis import diagnose_model
from counterpoint.study.scored import read_scores
from counterpoint.study.side_by_side import evaluate
from counterpoint.study.training.runner import run
from counterpoint.training.loop import TrainingProgress, fit
from counterpoint.training.record.provenance import ChangedDataError, counts, trained_on
from counterpoint.training.run import Run
from counterpoint.training.start import prepare
from counterpoint.trust import given

STEPS, TRAIN = 40, 64
SHAPES = {"slow wave": 1.0, "fast wave": 3.0, "faster wave": 5.0, "noise": 0.0}


# The registration: a check, a view, an input, a tower.


def check_ring(raw: object) -> np.ndarray:
    if not isinstance(raw, np.ndarray) or raw.ndim != 2:
        raise ValueError("series must be an array (n, T)")
    return raw


class Standard:
    """The input: series in units of their own standard deviation."""

    def __call__(self, raw: np.ndarray) -> Tensor:
        return torch.from_numpy(raw / raw.std(1, keepdims=True)).float()


class Wobbly:
    """The view: some noise, drawn for each example by its key."""

    def __init__(self, strength: float) -> None:
        self.strength = strength

    def __call__(self, raw: np.ndarray, keys: np.ndarray, input: Standard) -> Tensor:
        return input(raw + self.strength * (uniform(keys, "noise", raw.shape[1]) - 0.5))


def look(name: str, options: object) -> Wobbly:
    return {"plain": Wobbly(0.0), "noisy": Wobbly(1.0)}[name]


class RingTower(Tower):
    modality = "ring"
    input = Standard()
    width = 16

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(24, 32), nn.GELU(), nn.Linear(32, self.width))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def build(source: TowerSource, start: Start) -> RingTower:
    return RingTower()


def draw(axis: Any, wave: np.ndarray) -> None:
    axis.plot(wave)


RING = Modality("ring", check_ring, look, build, ("small",), paired="plain", contrasted="noisy", draw=draw)


# Data of it.


class Waves(Data):
    """Waves of a few frequencies, and words that name them; or the waves alone."""

    def __init__(self, columns: Mapping[str, str]) -> None:
        rng = np.random.default_rng(0)
        self.name, self.columns = "waves", columns
        self.ids = np.arange(96)
        self.splits = Splits(self.ids[:TRAIN], {}, {"held out": self.ids[TRAIN:]})
        self.kinds = self.ids % len(SHAPES)
        time = np.linspace(0, 1, 24)
        speed = np.array(list(SHAPES.values()))[self.kinds][:, None]
        phases = rng.uniform(0, 2 * np.pi, (96, 1))
        self.series = np.sin(2 * np.pi * speed * time + phases) * (speed > 0)
        self.series += rng.normal(0, 0.1 + (speed == 0), self.series.shape)

    @property
    def labels(self) -> Mapping[str, Classes]:  # type: ignore[override] # the base keeps what it makes
        return {"kind": Classes(tuple(SHAPES), self.kinds)}

    def read(self, column: str, rows: Rows) -> Any:
        if self.columns[column] == "text":
            return [list(SHAPES)[kind] for kind in self.kinds[rows]]
        return self.series[rows]


BOTH = Waves(MappingProxyType({"ring": "ring", "text": "text"}))
ALONE = Waves(MappingProxyType({"ring": "ring"}))


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    MODALITIES.register(RING)
    yield
    MODALITIES._known.pop("ring", None)


def recipe() -> Recipe:
    return override(
        load("cpu"),
        {
            "steps": STEPS,
            "batch_size": 16,
            "towers.vocabulary": 280,
            "towers.context": 8,
            "widths.embedding": 16,
            "widths.ssl_hidden": 16,
            "widths.ssl_output": 16,
            "log_every": STEPS,
        },
    )


def trained(arm: str, data: Data) -> tuple[Any, list[float]]:
    """Train through the product's own loop; the method and the loss of every step."""
    method, loader = prepare(Run(arm, data.name, recipe()), data)
    losses: list[float] = []
    tell: Callable[[TrainingProgress], None] = lambda progress: losses.append(progress.loss)  # noqa: E731 # typed
    fit(method, loader, recipe(), on_step=tell, accelerator="cpu")
    return method.eval(), losses


def fell(losses: list[float]) -> bool:
    return float(np.mean(losses[-8:])) < 0.9 * float(np.mean(losses[:8]))


def test_clip_learns_series_and_texts() -> None:
    method, losses = trained("clip", BOTH)
    assert fell(losses)
    assert set(method.state_dict()) >= {"towers.ring.layers.0.weight", "projections.ring.weight"}
    held_out = BOTH.splits.test["held out"]
    series = method.embed("ring", BOTH.read("ring", held_out))
    texts = method.embed("text", list(SHAPES))
    right = method.similarity(series, texts).argmax(1).numpy() == BOTH.kinds[held_out]
    assert right.mean() > 0.5  # a guess is right in a quarter
    with pytest.raises(ValueError, match=r"series must be an array"):
        method.embed("ring", ["a wave"])


@pytest.mark.parametrize(("arm", "data"), [("ntxent,on=ring", BOTH), ("moco,queue=32", ALONE)])
def test_a_loss_of_one_column_learns_series_alone(arm: str, data: Data) -> None:
    method, losses = trained(arm, data)
    assert fell(losses) or arm.startswith("moco")  # while a queue fills, its loss may rise
    assert list(method.towers) == ["ring"]
    assert method.embeds == ("ring",)
    assert method.passes() == {"ring": 2}
    assert method.embed("ring", data.read("ring", data.ids[:3])).shape == (3, RingTower.width)


FILE = """
from pathlib import Path

import test_new_modality as waves
from counterpoint.modalities import MODALITIES

MODALITIES.register(waves.RING)
DATA = waves.Waves(waves.BOTH.columns)
"""


def test_a_run_on_data_from_a_file_stops_goes_on_and_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    (tmp_path / "waves.py").write_text(FILE)
    del MODALITIES._known["ring"]
    source, short = f"{tmp_path / 'waves.py'}:DATA", override(recipe(), {"steps": 6, "checkpoint_every": 2})
    what = Run("clip", source, short)
    given(source)

    def stop(now: TrainingProgress) -> None:
        if now.step == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(what, tmp_path / "run", on_step=stop)
    state = run(what, tmp_path / "run")
    assert (state.status, state.steps, state.passes) == ("finished", 6, {"ring": 96, "text": 96})
    assert run(what, tmp_path / "run") == state
    del MODALITIES._known["ring"]
    _slot.cache_clear()  # as in a process that has not opened the data
    model = cp.load(tmp_path / "run")
    whole = cp.train("clip", source, recipe=short, folder=tmp_path / "whole")
    series = whole.embed("ring", BOTH.series[:5])
    torch.testing.assert_close(model.embed("ring", BOTH.series[:5]), series, rtol=0, atol=0)
    assert {(it["task"], it["test"]) for it in read_scores(tmp_path / "run")} == {
        (task, "held out") for task in ("retrieval", "zero_shot", "probe")
    }
    with pytest.raises(ValueError, match=r"shift asks about pictures .* columns ring, text: leave the"):
        run(what, tmp_path / "other", tasks=["shift"])
    with pytest.raises(
        ValueError, match=r"workers=1: batches of .*waves.py:DATA can be prepared in the run's own"
    ):
        run(Run("clip", source, override(short, {"workers": 1})), tmp_path / "other")
    assert not (tmp_path / "other").exists()
    (tmp_path / "waves.py").write_text(FILE + "DATA.series[3] += 1\n")
    given(source)
    with pytest.raises(ChangedDataError, match="1 of 64 train ring differ"):
        run(what, tmp_path / "run")


def test_arms_are_compared_by_what_tasks_ask_about_any_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    (tmp_path / "waves.py").write_text(FILE)
    source = f"{tmp_path / 'waves.py'}:DATA"
    for name in ("BATCHES", "PRODUCTS", "GRID_POINTS"):
        monkeypatch.setattr(network, name, 3)
    short = override(recipe(), {"steps": 6})
    study = cp.compare(
        "clip", "siglip", data=source, seeds=2, recipe=short, folder=tmp_path / "study", jobs=1
    )
    summary = study.summary
    assert summary.primary.metric == "r2t_R@1"
    assert {it.task for it in summary.arms[0].metrics} == {"retrieval", "zero_shot", "probe"}
    assert {d.metric for d in summary.differences if d.family == "main"} == {
        *("r2t_R@1", "kind_top1", "logistic_kind_top1")
    }
    assert {"alignment", "gap_centroid", "std_ring", "std_text"} <= {*summary.arms[0].diagnostics["held out"]}
    assert "pass" not in "".join(summary.cannot_show)  # both see as many
    page = (tmp_path / "study" / "report.html").read_text()
    assert "ring through the ring tower" in page
    assert "<summary>Ring to text: held out</summary>" in page
    assert "data:image/png;base64" in page
    models = [str(run_folder(tmp_path / "study", arm, 0)) for arm in ("clip", "siglip")]
    beside = evaluate(*models, data=source, split="test", failures=tmp_path / "failures")
    found = {(row["model"], row["metric"]): row["value"] for row in beside.scores() if row["subset"] == "all"}
    for model, arm in zip(models, summary.arms, strict=True):
        assert found[model, "r2t_R@1"] == arm.score(summary.primary.key).seeds["0"]
    assert not beside.refusals
    assert len([*(tmp_path / "failures").rglob("held-out-retrieval.html")]) == 2
    assert trained_on(Path(models[0]), BOTH).tolist() == BOTH.splits.train.tolist()
    inside = diagnose_model(models[0], out=tmp_path / "inside", slow=True)
    assert inside["conclusion"][1].startswith("Ring and texts ")
    assert inside["conclusion"][2].startswith("A ring is closer to its own text than to another's by")
    assert inside["sections"]["inversion"]["sentence"] == (
        "Not measured: it takes embeddings of pictures and of texts."
    )
    assert inside["sections"]["landscape"]["numbers"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("DATE", FILE, "unknown data in .*did you mean 'DATA'"),
        (
            "DATA",
            "import nothing_of_this_name",
            r"waves.py cannot be imported: ModuleNotFoundError: No module",
        ),
        ("DATA", None, r"there is no Python file .*waves.py"),
    ],
)
def test_a_file_without_the_data_is_refused(
    name: str, content: str | None, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    if content is not None:
        (tmp_path / "waves.py").write_text(content)
    given(f"{tmp_path / 'waves.py'}:{name}")
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        load_any(f"{tmp_path / 'waves.py'}:{name}")


def test_what_changed_in_a_column_has_its_name() -> None:
    def fingerprint(change: Callable[[Waves], None]) -> Fingerprint:
        data = Waves(BOTH.columns)
        change(data)
        return data.fingerprint

    def louder(data: Waves) -> None:
        data.series[3, 7] += 1e-9

    def other(data: Waves) -> None:
        data.kinds = np.where(data.ids == 70, (data.kinds + 1) % len(SHAPES), data.kinds)

    before = fingerprint(lambda data: None)
    assert before.parts == BOTH.fingerprint.parts
    assert list(before.parts) == ["ids", "splits", "labels", "ring", "text"]
    assert {*ALONE.fingerprint.parts.items()} < {*before.parts.items()}
    for change, differing, said in (
        (louder, {"ring"}, "1 of 64 train ring differ"),
        (other, {"text", "labels"}, "1 of 32 test labels differ, 1 of 32 test text differ"),
    ):
        after = fingerprint(change)
        assert {name for name, digest in after.parts.items() if digest != before.parts[name]} == differing
        assert counts(before.parts, after.parts, before.rows, after.rows) == said
    with pytest.raises(ValueError, match="waves: a column cannot be called 'labels'"):
        _ = Waves({"labels": "ring"}).fingerprint


def test_an_arm_names_a_tower_of_the_new_modality() -> None:
    with pytest.raises(ValueError, match="unknown ring tower 'smal': did you mean 'small'"):
        prepare(Run("clip,ring=smal", "waves", recipe()), BOTH)


@pytest.mark.parametrize(
    ("arm", "data", "message"),
    [
        ("clip", ALONE, r"clip takes 2 columns, and there is 1 \(ring\)"),
        ("ebm", ALONE, r"ebm takes a column of image, and is given ring \(ring\)"),
        ("mil", BOTH, r"mil takes a column of image and one of text, and is given ring \(ring\), text"),
        ("ntxent,on=image", BOTH, "unknown column 'image'"),
        ("clip,columns=ring", BOTH, r"clip takes 2 columns, and there is 1 \(ring\)"),
    ],
)
def test_columns_that_a_method_does_not_take_are_named(arm: str, data: Data, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Arm.parse(arm).reads(data.columns)


def test_of_more_columns_than_method_takes_the_pairs_are_listed() -> None:
    three = {"image": "image", "text": "text", "ring": "ring"}
    with pytest.raises(ValueError, match=r"write one of clip,columns=image\+text, clip,columns=image\+ring"):
        Arm.parse("clip").reads(three)
    assert Arm.parse("clip,columns=ring+text").reads(three) == {"ring": "ring", "text": "text"}
    assert Arm.parse("mil").reads(three) == {"image": "image", "text": "text"}
