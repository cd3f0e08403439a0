"""Auditing: wrong labels are found by others' features or by the model's own judgement, and proposed ones are right."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from counterpoint.cli import main
from counterpoint.data.labels import Tags
from counterpoint.data.source import load_any
from counterpoint.evaluation.auditing import cross_validated, suspects
from counterpoint.recipes import load as load_recipe
from counterpoint.study.auditing import Audit
from counterpoint.training.run import Run
from counterpoint.types import Target
from fixtures.tiny import Oracle, TinyData

DATA = TinyData()
TRUE = DATA.labels["subgroup"].values
ROWS = np.arange(len(DATA))
FLIPPED = np.array([3, 24, 51])


def wrong() -> TinyData:
    data, label = TinyData(), DATA.labels["subgroup"]
    values = TRUE.copy()
    values[FLIPPED] = (values[FLIPPED] + 1) % len(label.names)
    data.labels = {**data.labels, "subgroup": replace(label, values=values)}
    return data


def oracle() -> Oracle:
    g = torch.Generator().manual_seed(0)
    x = F.one_hot(torch.from_numpy(TRUE), 7).float() + 0.05 * torch.randn(70, 7, generator=g)
    return Oracle(DATA, F.normalize(x, dim=-1), {})


class Judge:
    """A classifier that knows the truth, and how likely each given label is wrong."""

    heads, incomplete, shares_space = ("global",), "drop", False
    target = Target("subgroup", DATA.labels["subgroup"].names)

    def __init__(self, posterior: np.ndarray) -> None:
        self.posterior, self.columns, self._oracle = posterior, {"image": "image"}, oracle()

    def wrong(self, ids: Tensor) -> Tensor:
        return torch.from_numpy(self.posterior)[(ids - 1000) // 3]

    def classify(self, inputs: Any, present: Any = None) -> Tensor:
        return self._oracle.embed("image", inputs["image"]).softmax(1)

    def embed(self, modality: str, inputs: Any, head: str = "default") -> Tensor:
        return self._oracle.embed(modality, inputs, head)

    def similarity(self, a: Tensor, b: Tensor) -> Tensor:
        return a @ b.T


def test_rows_features_take_for_another_class_found_with_class() -> None:
    found = suspects(oracle(), wrong(), ROWS, "subgroup")
    assert sorted(found["row"].to_list()) == FLIPPED.tolist()
    names = DATA.labels["subgroup"].names
    assert found["proposed"].to_list() == [names[TRUE[row]] for row in found["row"]]
    assert found["given"].to_list() == [names[(TRUE[row] + 1) % 7] for row in found["row"]]
    assert found["key"].to_list() == [str(1000 + 3 * row) for row in found["row"]]
    assert found["probability"].is_sorted(descending=True)
    assert not suspects(oracle(), DATA, ROWS, "subgroup").height


def test_no_row_is_judged_by_a_classifier_that_saw_its_class() -> None:
    # A row alone at its place: whoever has seen it would believe its class.
    features = np.eye(12)
    classes = np.arange(12) % 3
    p = cross_validated(features, classes, 3)
    assert (p[np.arange(12), classes] < 0.5).all()
    np.testing.assert_allclose(p.sum(1), 1)


def test_a_model_that_judges_its_labels_is_asked() -> None:
    posterior = np.full(70, 0.01)
    posterior[[5, 30]] = 0.9, 0.7
    found = suspects(Judge(posterior), DATA, ROWS, "subgroup")
    assert found["row"].to_list() == [5, 30]
    assert found["probability"].to_list() == [0.9, 0.7]
    # It takes them for what they are, and so the next class is proposed.
    assert all(a != b for a, b in zip(found["given"], found["proposed"], strict=True))
    # Of another label, or before it has judged, its features are read.
    posterior[:] = np.nan
    assert sorted(suspects(Judge(posterior), wrong(), ROWS, "subgroup")["row"].to_list()) == FLIPPED.tolist()


def test_rows_without_class_and_classes_of_one_row_are_left_out() -> None:
    data = wrong()
    values = data.labels["subgroup"].values.copy()
    values[FLIPPED[0]] = -1
    lonely = np.flatnonzero(values == 4)[1:]
    values[lonely] = -1
    data.labels = {**data.labels, "subgroup": replace(data.labels["subgroup"], values=values)}
    assert sorted(suspects(oracle(), data, ROWS, "subgroup")["row"].to_list()) == FLIPPED[1:].tolist()
    with pytest.raises(ValueError, match="needs two classes"):
        suspects(oracle(), data, np.flatnonzero(values == 0), "subgroup")


def test_a_missing_tag_is_found_and_those_that_are_given_stay() -> None:
    data, subgroup = TinyData(), DATA.labels["subgroup"]
    whole = np.zeros((70, 8), dtype=np.int8)
    whole[ROWS, TRUE] = 1
    whole[:, 7] = -1  # a tag of which nothing is known
    values = whole.copy()
    values[FLIPPED] = np.where(whole[FLIPPED] == 1, 0, whole[FLIPPED])
    data.labels = {"tags": Tags((*subgroup.names, "unknown"), values)}
    found = suspects(oracle(), data, ROWS, "tags")
    assert sorted(found["row"].to_list()) == FLIPPED.tolist()
    assert found["given"].to_list() == [""] * 3
    assert found["proposed"].to_list() == [subgroup.names[TRUE[row]] for row in found["row"]]
    # A model that judges is asked, and what it knows nothing of is read from its features.
    judge = Judge(np.where(ROWS == 24, 0.8, 0.1))
    judge.target = Target("tags", data.labels["tags"].names, "tags")
    judge.classify = lambda inputs, present=None: F.pad(  # type: ignore[method-assign]
        oracle().embed("image", inputs["image"]), (0, 1)
    )
    found = suspects(judge, data, ROWS, "tags")
    assert found["row"].to_list() == [24]
    assert found["proposed"].to_list() == [subgroup.names[TRUE[24]]]
    judge.posterior[3] = np.nan
    assert sorted(suspects(judge, data, ROWS, "tags")["row"].to_list()) == FLIPPED.tolist()


def test_tag_is_likely_everywhere_is_not_one_that_is_proposed() -> None:
    data, names = TinyData(), (*DATA.labels["subgroup"].names, "seen")
    values = np.zeros((70, 8), dtype=np.int8)
    values[ROWS, TRUE] = 1
    values[24] = 0
    data.labels = {"tags": Tags(names, values)}
    judge = Judge(np.where(ROWS == 24, 0.8, 0.1))
    judge.target = Target("tags", names, "tags")
    judge.classify = lambda inputs, present=None: F.pad(  # type: ignore[method-assign] # of this one judge
        oracle().embed("image", inputs["image"]), (0, 1), value=1.0
    )
    assert suspects(judge, data, ROWS, "tags")["proposed"].to_list() == [names[TRUE[24]]]


def test_where_no_label_is_suspected_there_is_nothing_to_correct(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kinds = {
        "row": pl.Int64,
        "key": pl.String,
        "given": pl.String,
        "proposed": pl.String,
        "probability": pl.Float64,
    }
    run = Run("clip", "digits", load_recipe("seconds"))
    found = Audit(run, "digit", "have a wrong digit", 9, "nobody", pl.DataFrame(schema=kinds), TinyData())
    monkeypatch.setattr("counterpoint.study.auditing.audit", lambda folder, labels: found)
    assert main(["data", "audit", "run", "--out", str(tmp_path / "suspects.csv")]) == 0
    said = capsys.readouterr().out
    assert "0 of 9 rows to train on probably have a wrong digit, by nobody" in said
    assert "train again" not in said


def test_command_writes_a_table_and_a_page_and_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = "train m-dyr,warmup=0.1 --data digits --labels digit,noise=0.3 --recipe seconds --steps 40"
    words += " --tasks classification"
    assert main([*words.split(), "--out", "run"]) == 0
    capsys.readouterr()
    assert main(["data", "audit", "run", "--out", "suspects.csv"]) == 0
    said = capsys.readouterr().out
    table = pl.read_csv("suspects.csv")
    assert table.columns == ["key", "given", "proposed", "probability"]
    assert f"{table.height:,} of" in said
    assert "by the run's own judgement" in said
    assert "counterpoint train m-dyr,warmup=0.1 --data digits --labels digit" in said
    page = Path("suspects.html").read_text()
    assert page.count("data:image/png;base64") == min(table.height, 60)
    assert "http" not in page.replace("http-equiv", "")
    assert main(["data", "audit", "run", "--labels", "digits"]) != 0
    assert "did you mean digit" in capsys.readouterr().err.lower().replace("'", "")


def test_suspects_of_any_modality_are_shown_and_played(tmp_path: Path) -> None:
    pytest.importorskip("soundfile")
    run = Run("ntxent,on=audio", "sounds:basic,train=20,validation=2,test=4", load_recipe("seconds"))
    found = pl.DataFrame({"row": [3, 5], "key": ["c", "e"], "given": "high", "proposed": "low"})
    found = found.with_columns(probability=pl.lit(0.9))
    data = load_any(run.data)
    page = Audit(run, "pitch", "have a wrong pitch", 20, "nobody", found, data).write(
        tmp_path / "suspects.csv"
    )
    shown = page.read_text()
    assert shown.count("<audio") == shown.count("given: high") == shown.count("proposed: low (0.900)") == 2
    for row in (3, 5):
        assert data.captions(row)[0] in shown
    assert page == tmp_path / "suspects.html"
    assert pl.read_csv(tmp_path / "suspects.csv").columns == ["key", "given", "proposed", "probability"]


@pytest.mark.parametrize("label", ["subgroup", "tags"])
def test_rows_without_what_is_embedded_are_left_out(label: str) -> None:
    class Gaps(TinyData):
        def present(self, column: str, rows: np.ndarray) -> np.ndarray:
            return ~np.isin(rows, FLIPPED)

    data = Gaps()
    data.labels = wrong().labels
    tags = np.zeros((70, 7), dtype=np.int8)
    tags[ROWS, TRUE] = 1
    tags[FLIPPED] = 0
    data.labels = {**data.labels, "tags": Tags(data.classes["subgroup"].names, tags)}
    assert not suspects(oracle(), data, ROWS, label).height
    if label == "tags":
        with pytest.raises(ValueError, match="needs two rows with tags to compare, and here are 1"):
            suspects(oracle(), data, np.array([0, *FLIPPED]), label)
