"""Broken records are replaced within a budget, always by the same ones, named, and beyond it the run stops."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from counterpoint.data.replaced import Replacement
from counterpoint.data.sharded.indexing import index
from counterpoint.data.source import load_any
from counterpoint.recipes import Recipe, override
from counterpoint.study.training.runner import run
from counterpoint.training.loop import fit
from counterpoint.training.record.broken import LAST, Budget, TooManyReplacementsError
from counterpoint.training.run import OtherRunError, Run
from counterpoint.training.start import prepare
from fixtures.shards import write_shards

SMALL = {
    "towers": {"image": "mlp", "text": "bag", "image_size": 16, "context": 16, "vocabulary": 512},
    "batch_size": 20,
    "microbatch": 0,
    "steps": 6,
    "epochs": None,
    "most_passes": None,
    "checkpoint_every": 100,
}
BROKEN = (3, 17, 31, 45, 62, 71, 88, 94, 103, 119)


def lost(row: int, reason: str = "broken picture") -> Replacement:
    return Replacement(row, f"a.tar, {row}", reason, "", "a.tar, 0")


def test_one_may_always_be_broken_and_each_counts_once_of_whole() -> None:
    budget = Budget(0.01, 150)
    for step in range(5):
        budget.add(step, 10, [lost(7)])
    assert not budget.asks
    budget.add(5, 10, [lost(8, "picture of too many pixels")])
    assert budget.asks
    assert "more than 1 % of the examples cannot be used: 2 examples were replaced" in str(budget.error())
    assert "1 × broken picture; 1 × picture of too many pixels" in str(budget.error())


def test_the_newest_examples_have_the_same_budget() -> None:
    budget = Budget(0.01, 10**9)
    for step in range(50):
        budget.add(step, 200, [lost(3 * step), lost(3 * step + 1)])
    assert not budget.asks  # 100 of 10,000
    budget.add(50, 200, [lost(1000 + n) for n in range(3)])
    assert budget.asks
    for step in range(51, 51 + LAST // 200):
        budget.add(step, 200, [])
    assert not budget.asks


def test_a_run_that_goes_on_takes_up_the_steps_before_it(tmp_path: Path) -> None:
    whole, cut = Budget(0.01, 10**6, tmp_path, 0, 10), tmp_path / "broken.jsonl"
    for step in range(8):
        whole.add(step, 10, [lost(step)])
    with cut.open("a") as file:
        file.write('{"step": 8, "ro')
    again = Budget(0.01, 10**6, tmp_path, 5, 10)
    assert [json.loads(line)["step"] for line in cut.read_text().splitlines()] == [0, 1, 2, 3, 4]
    for step in range(5, 8):
        again.add(step, 10, [lost(step)])
    assert vars(again) == vars(whole)


@pytest.fixture
def indexed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COUNTERPOINT_CACHE", str(tmp_path / "cache"))
    shards = write_shards(tmp_path / "shards", broken=BROKEN)
    index(shards, tmp_path / "index", jobs=1)
    return tmp_path / "index"


def train(folder: Path, source: str, share: float, **changes: object) -> dict[str, torch.Tensor]:
    recipe = override(Recipe(), SMALL | changes)
    data = load_any(source)
    data.broken = share
    method, loader = prepare(Run("clip", source, recipe, 0), data)
    fit(method, loader, recipe, folder, accelerator="cpu")
    return method.state_dict()


def test_within_the_budget_they_are_replaced_and_named(indexed: Path, tmp_path: Path) -> None:
    weights = train(tmp_path / "run", str(indexed), 0.3)
    entries = [json.loads(line) for line in (tmp_path / "run" / "broken.jsonl").read_text().splitlines()]
    rows = {entry["row"] for entry in entries}
    training = load_any(str(indexed)).splits.train
    assert rows
    assert rows <= set(training.tolist())
    assert {entry["reason"] for entry in entries} == {"broken picture"}
    assert len({(entry["row"], entry["by"]) for entry in entries}) == len(rows), "always the same one"
    again = train(tmp_path / "again", str(indexed), 0.3)
    assert all(torch.equal(weights[name], again[name]) for name in weights)


def test_beyond_it_the_run_stops_at_a_checkpoint(indexed: Path, tmp_path: Path) -> None:
    with pytest.raises(
        TooManyReplacementsError, match=r"more than 1 % of the examples .* × broken picture; each is named in"
    ):
        train(tmp_path / "run", str(indexed), 0.01)
    assert list((tmp_path / "run" / "checkpoint").iterdir())
    stopped = len((tmp_path / "run" / "broken.jsonl").read_text().splitlines())
    resumed = train(tmp_path / "run", str(indexed), 0.3)
    whole = train(tmp_path / "whole", str(indexed), 0.3)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    named = [(tmp_path / run / "broken.jsonl").read_text() for run in ("run", "whole")]
    assert named[0] == named[1]
    assert len(named[0].splitlines()) > stopped


def test_a_run_that_its_budget_ended_goes_on_with_a_larger_one(indexed: Path, tmp_path: Path) -> None:
    recipe = override(Recipe(), SMALL)
    small, large = (Run("clip", f"{indexed},broken={share}", recipe) for share in (0.01, 0.3))
    with pytest.raises(TooManyReplacementsError):
        run(small, tmp_path / "run", test=False)
    assert run(large, tmp_path / "run", test=False).status == "finished"
    run(large, tmp_path / "whole", test=False)
    weights, named = (
        [next((tmp_path / name).glob(file)).read_bytes() for name in ("run", "whole")]
        for file in ("checkpoint/*6/model.safetensors", "broken.jsonl")
    )
    assert weights[0] == weights[1]
    assert named[0] == named[1]
    assert Run.read(tmp_path / "run").data == large.data
    with pytest.raises(OtherRunError, match="holds another run"):
        run(Run("clip", f"{indexed},broken=0.3,group=none", recipe), tmp_path / "run")


@pytest.mark.slow
def test_workers_tell_what_they_replaced(indexed: Path, tmp_path: Path) -> None:
    alone = train(tmp_path / "alone", str(indexed), 0.3)
    helped = train(tmp_path / "helped", str(indexed), 0.3, workers=2)
    assert all(torch.equal(alone[name], helped[name]) for name in alone)
    assert (tmp_path / "alone" / "broken.jsonl").read_text() == (
        tmp_path / "helped" / "broken.jsonl"
    ).read_text()
