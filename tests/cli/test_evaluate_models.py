"""counterpoint evaluate MODEL MODEL …: any models on the same rows, with paired differences from the first."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import timm
from safetensors.torch import save_file

import counterpoint as cp
from counterpoint.cli import main
from counterpoint.statistics import multi_bootstrap
from fixtures import foreign
from fixtures.files import write_pairs


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pairs, a run on them and its kin, a pair of open_clip, a model of pictures, one of texts."""
    folder = tmp_path_factory.mktemp("work")
    write_pairs(folder / "pairs")
    foreign.open_clip_folder(folder / "tiny")
    foreign.sentences(folder / "sentences")
    network = timm.create_model("test_vit.r160_in1k", num_classes=0)
    save_file(network.state_dict(), folder / "vit.safetensors")
    words = ["--steps", "2", "--batch-size", "16", "--towers.image-size", "16", "--towers.vocabulary", "300"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for seed in ("0", "1"):
            out = ["--data", "pairs", "--seed", seed, "--out", f"run{seed}", "--tasks", "retrieval"]
            assert main(["train", "clip", *out, *words]) == 0
    return folder


@pytest.fixture(autouse=True)
def _here(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(work)


def test_models_of_every_kind_stand_in_one_table(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    others = [
        "open_clip:tiny@tiny",
        "timm:test_vit.r160_in1k@vit.safetensors",
        "sentence-transformers:sentences",
    ]
    assert main(["evaluate", "run0", *others, "--tasks", "retrieval", "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "scored: the test rows of pairs: 20 of 'held out'" in said
    assert "trained on" not in said, "a run's own test rows are new to it"
    assert "minus run0" in said
    assert "left out: timm:test_vit.r160_in1k@vit.safetensors: retrieval needs text embeddings" in said
    assert "left out: sentence-transformers:sentences: retrieval needs image embeddings" in said
    found = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert list(found["models"]) == ["run0", *others]
    assert found["models"]["open_clip:tiny@tiny"] == cp.load("open_clip:tiny@tiny").fingerprint
    rows = {(row["model"], row["metric"]): row for row in found["scores"] if row["subset"] == "all"}
    assert {model for model, _ in rows} == {"run0", others[0]}
    examples = pl.read_parquet(tmp_path / "out" / "examples.parquet").filter(outcome="i2t_R@1")
    first, second = (examples.filter(model=name).sort("example")["value"] for name in ("run0", others[0]))
    difference = rows[others[0], "i2t_R@1"]["difference"]
    assert difference["estimate"] == pytest.approx(second.mean() - first.mean())
    by_hand = multi_bootstrap(second.to_numpy(), first.to_numpy(), n_boot=4000).delta
    assert (difference["low"], difference["high"]) == pytest.approx((by_hand.low, by_hand.high), abs=0.06)
    assert difference["p_holm"] >= difference["p"]
    assert rows["run0", "i2t_R@1"]["difference"] is None


def test_one_model_that_is_no_run_needs_data(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "open_clip:tiny@tiny", "--tasks", "retrieval"]) == 1
    assert "open_clip:tiny@tiny has no data of its own: say which with --data" in capsys.readouterr().err
    assert main(["evaluate", "open_clip:tiny@tiny", "--data", "pairs", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["task"] for row in rows} >= {"retrieval", "shift"}
    assert "model" not in rows[0]


def test_what_any_of_the_runs_was_trained_on_is_left_out_for_all(capsys: pytest.CaptureFixture[str]) -> None:
    pl.read_csv("pairs/metadata.csv").drop("split").write_csv("pairs/all.csv")
    words = ["evaluate", "open_clip:tiny@tiny", "run1", "--data", "pairs/all.csv", "--tasks", "retrieval"]
    assert main(words) == 0
    said = capsys.readouterr().out
    trained = pl.read_parquet("run1/data.parquet")["split"].str.contains("train").sum()
    assert f"trained on: {trained} of the 70 pictures of pairs/all.csv, left out" in said


def test_a_model_beside_itself_differs_by_nothing() -> None:
    found = cp.evaluate("run0", next(Path("run0/checkpoint").glob("step-*")), tasks=["retrieval"])
    differences = [row["difference"] for row in found.scores() if row["difference"]]
    assert len(differences) > 5
    assert all((it["estimate"], it["low"], it["high"]) == (0, 0, 0) for it in differences)
    assert len(set(found.fingerprints.values())) == 1


def test_a_model_of_texts_alone_takes_part_in_what_it_can(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["evaluate", "sentence-transformers:sentences", "timm:test_vit.r160_in1k@vit.safetensors"]
    assert main([*words, "--data", "pairs", "--tasks", "retrieval"]) == 1
    assert "retrieval could be asked of none of the models" in capsys.readouterr().err
    found = cp.evaluate(words[2], data="pairs", tasks=["shift"])
    assert np.isfinite([row["value"] for row in found.scores()]).all()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no model is named"),
        (["run0", "run0"], "run0 is named twice"),
        (["run0", "nowhere"], "nowhere is not a run folder"),
        (["run0", "clap:x"], "no kind of model 'clap'"),
    ],
)
def test_what_is_wrong_is_one_line(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", *words]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
