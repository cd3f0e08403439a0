"""Tasks on data of any columns: what they ask, by what names, with answers worked out by hand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import Bool
from torch import Tensor

from counterpoint.data import Classes, Splits
from counterpoint.data.base import Data, Rows
from counterpoint.data.columns import way, ways
from counterpoint.data.embeddings import EmbeddingCache
from counterpoint.diagnostics import describe
from counterpoint.evaluation import create, default_tasks, evaluate, failures
from counterpoint.evaluation.task import NotApplicableError
from counterpoint.files import write_json
from counterpoint.methods import Arm
from counterpoint.modalities import MODALITIES, Modality
from counterpoint.study.gate import askable, check_asked, check_comparable, check_modalities
from counterpoint.study.numbers import StudyScores
from counterpoint.study.scored import RunScores

MODALITY = Modality("pulse", "json:dumps", "json:dumps", "json:dumps", ("none",), noun="pulses")


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    MODALITIES.register(MODALITY)
    yield
    MODALITIES._known.pop("pulse", None)


class Made(Data):
    """Rows whose cells are given; None where a row has none."""

    name = "made"

    def __init__(self, columns: Mapping[str, str], **cells: list[Any]) -> None:
        self.columns, self.cells = columns, cells
        n = len(next(iter(cells.values())))
        self.ids = 10 + np.arange(n)
        self.splits = Splits(np.arange(n), {}, {"test": np.arange(n)})
        self.labels = {}

    def read(self, column: str, rows: Rows) -> Any:
        found = [self.cells[column][row] for row in rows]
        return found if self.columns[column] == "text" else np.array(found, dtype=float)

    def present(self, column: str, rows: Rows) -> Bool[np.ndarray, " n"]:
        return np.array([self.cells[column][row] is not None for row in rows])


class Line:
    """An embedder of numbers, and of the numbers that texts end in, as directions in the plane."""

    heads = ("global",)

    def __init__(self, *embeds: str) -> None:
        self.embeds = embeds

    def embed(self, column: str, inputs: Any, head: str = "default") -> Tensor:
        assert column in self.embeds
        angles = torch.tensor([float(str(it).split()[-1]) for it in inputs], dtype=torch.float64)
        return torch.stack([angles.cos(), angles.sin()], 1)

    def similarity(self, a: Tensor, b: Tensor) -> Tensor:
        return a @ b.T


def value(data: Data, metric: str, *embeds: str) -> float:
    scores = create("retrieval")(Line(*(embeds or data.columns)), data, np.arange(len(data)))
    return scores.value(metric)


def test_equal_texts_are_right_for_each_other() -> None:
    data = Made(
        {"pulse": "pulse", "text": "text"},
        pulse=[0.0, 0.1, 1.0, 1.9],
        text=["near 0.02", "near 0.02", "far 2.0", "far 0.9"],
    )
    # Nearest captions: of 0 and 0.1 theirs; of 1 "far 0.9", of 1.9 "far 2.0", which are each other's.
    assert value(data, "p2t_R@1") == 0.5
    # Nearest pulses: of the first caption 0, which has it; of the others each other's.
    assert value(data, "t2p_R@1") == 0.5
    assert value(data, "p2t_R@5") == 1.0
    scores = create("retrieval")(Line("pulse", "text"), data, np.arange(4))
    assert scores.examples["p2t_top"].to_list() == [10, 10, 13, 12]
    assert scores.examples["t2p_top"].to_list() == [10, 10, 13, 12]
    assert scores.metrics["p2t_R@1"].chance == pytest.approx(1 / 3)
    assert scores.metrics["t2p_R@1"].chance == pytest.approx((2 * 2 / 4 + 2 * 1 / 4) / 4)
    assert scores.constant("p2t_R@1") == 0.5


class Joint(Line):
    """A `Line` that embeds pulses and tables together too, as their sum."""

    joint_columns = ("pulse+table", "pulse+touch")

    def embed(self, column: str, inputs: Any, head: str = "default") -> Tensor:
        if column == "pulse+table":
            return super().embed("pulse", inputs["pulse"] + inputs["table"])
        return super().embed(column, inputs, head)


def test_a_joint_column_is_one_more_column() -> None:
    data = Made(
        {"pulse": "pulse", "table": "table", "text": "text"},
        pulse=[0.0, 0.5, 1.0, None],
        table=[1.0, 1.0, 1.0, 1.0],
        text=["a 1.1", "b 1.4", "c 2.0", "d 3.0"],
    )
    model = Joint("pulse", "table", "text")
    scores = create("retrieval")(model, data, np.arange(4))
    # Sums are 1, 1.5 and 2; the fourth row has none.
    assert scores.examples["pb2t_R@1"].to_list() == [1.0, 1.0, 1.0, None]
    assert {name.partition("_")[0] for name in scores.metrics} == {*ways(data.columns), "pb2t", "t2pb"}
    data.labels = {"kind": Classes(("early", "late"), np.array([0, 1, 1, 1]), ("{} 0", "{} 2"))}
    probe = create("probe")(model, data, np.arange(4))
    assert probe.examples["knn_kind_top1[pulse+table]"].null_count() == 1
    assert "knn_kind_top1[pulse+touch]" not in probe.metrics
    assert probe.value("knn_kind_top1[pulse+table]") == 1


def test_two_columns_of_texts_have_their_names() -> None:
    data = Made(
        {"question": "text", "answer": "text"},
        question=["who 0.0", "who 0.0", "what 1.0", "why 2.0"],
        answer=["a 0.1", "b 3.0", "c 1.9", "d 2.1"],
    )
    scores = create("retrieval")(Line("question", "answer"), data, np.arange(4))
    # "who" has two right answers, "a" is the nearest; of "what" the nearest is "c" (0.9, as "a" is), of "why" both tie.
    assert scores.examples["question2answer_R@1"].to_list()[:2] == [1.0, 1.0]
    # Back: of "b" the nearest question is "why", of "c" too.
    assert scores.examples["answer2question_R@1"].to_list() == [1.0, 0.0, 0.0, 1.0]
    assert not any(name.startswith("t2t") for name in scores.metrics)
    assert create("retrieval").main_metrics(data) == ("question2answer_R@1",)
    assert evaluate(Line("question", "answer"), data).by_test["test"][0].main == ("question2answer_R@1",)


def test_without_texts_each_row_is_its_own_answer() -> None:
    data = Made({"pulse": "pulse", "other": "pulse"}, pulse=[0.0, 0.0, 1.0], other=[0.0, 0.0, 1.0])
    # The first two tie, and only one of them is right.
    assert value(data, "pulse2other_R@1") == pytest.approx((0.5 + 0.5 + 1) / 3)


def test_rows_that_lack_a_column_have_no_outcome() -> None:
    data = Made(
        {"pulse": "pulse", "text": "text"}, pulse=[0.0, None, 1.0, 2.0], text=["a 0", "b 1", None, "d 2"]
    )
    scores = create("retrieval")(Line("pulse", "text"), data, np.arange(4))
    assert scores.examples["p2t_R@1"].to_list() == [1.0, None, None, 1.0]
    assert scores.metrics["p2t_R@1"].chance == 0.5
    assert scores.constant("p2t_R@1") == 0.5
    data.labels = {"kind": Classes(("early", "late"), np.array([0, 0, 1, 1]), ("{} 0", "{} 2"))}
    zero_shot = create("zero_shot")(Line("pulse", "text"), data, np.arange(4))
    assert zero_shot.examples["kind_top1"].null_count() == 1
    probe = create("probe")(Line("pulse", "text"), data, np.arange(4))
    assert probe.examples["knn_kind_top1"].null_count() == 1
    numbers = describe(Line("pulse", "text"), data, np.arange(4))
    assert numbers["alignment"] == pytest.approx(0, abs=1e-12)  # of the rows that have both
    lonely = Made({"pulse": "pulse", "text": "text"}, pulse=[0.0, None], text=[None, "a 1"])
    with pytest.raises(NotApplicableError, match="no two rows with both: leave the task out"):
        create("retrieval")(Line("pulse", "text"), lonely, np.arange(2))


THREE = Made(
    {"pulse": "pulse", "text": "text", "note": "text"},
    pulse=[0.0, 1.0, 2.0],
    text=["a 0", "b 1", "c 2"],
    note=["a 0", "b 2", "c 1"],
)


def test_every_pair_is_asked_about_and_model_about_it_embeds() -> None:
    rows = np.arange(3)
    assert [*ways(THREE.columns)] == [
        *("p2t", "t2p", "pulse2note", "note2pulse", "text2note", "note2text"),
    ]
    results = evaluate(Line("pulse", "text", "note"), THREE, ["retrieval"])
    assert [row["role"] for row in results.scores() if row["metric"] in ("p2t_R@1", "text2note_R@1")] == [
        *("primary", "main"),
    ]
    assert results.value("retrieval", "test", "p2t_R@1") == 1.0
    assert results.value("retrieval", "test", "text2note_R@1") == pytest.approx(1 / 3)
    (some,) = evaluate(Line("note", "pulse"), THREE, ["retrieval"]).by_test["test"]
    assert some.main == ("pulse2note_R@1",)
    assert not any("text" in name or "t2" in name for name in some.metrics)
    with pytest.raises(
        NotApplicableError, match=r"model embeds \(note\), and 'made' has the columns pulse, text"
    ):
        create("retrieval")(Line("note"), THREE, rows)
    numbers = describe(Line("pulse", "text", "note"), THREE, rows)
    assert numbers["alignment"] == pytest.approx(0)
    assert numbers["alignment_pulse2note"] > 0.5
    assert {"std_pulse", "std_text", "std_note"} <= numbers.keys()


def scored(folder: Path, *columns: str, data: Data = THREE, task: str = "retrieval") -> RunScores:
    """Return the scores of a task that a model of some columns has in its folder."""
    results = evaluate(Line(*columns), data, [task])
    write_json(folder / "scores.json", results.scores())
    results.examples().write_parquet(folder / "examples.parquet")
    return RunScores(folder)


def test_arms_share_some_pairs_are_compared_by_first_of_them(tmp_path: Path) -> None:
    arms = {"all": ("pulse", "text", "note"), "some": ("pulse", "note")}
    for order in ((*arms,), (*reversed(arms),)):
        runs: dict[str, dict[int, RunScores | None]] = {}
        for arm in order:
            runs[arm] = {0: scored(tmp_path / arm, *arms[arm])}
        numbers = StudyScores(runs, margin=0.01)
        keys = numbers.main({"retrieval": ""})
        assert keys == [("retrieval", "test", "all", "pulse2note_R@1")]
        assert numbers.other_labels(keys) == []


def test_pairs_that_some_arms_embed_are_compared_among_these(tmp_path: Path) -> None:
    arms = {
        "texts": ("pulse", "text"),
        "notes": ("pulse", "note"),
        "all": ("pulse", "text", "note"),
        "whole": ("pulse", "text", "note"),
    }
    numbers = StudyScores({arm: {0: scored(tmp_path / arm, *arms[arm])} for arm in arms}, margin=0.01)
    assert numbers.main({"retrieval": ""}) == []
    having = {metric: [*part.runs] for (_, _, _, metric), part in numbers.of_some.items()}
    assert having == {
        "p2t_R@1": ["texts", "all", "whole"],
        "pulse2note_R@1": ["notes", "all", "whole"],
        "text2note_R@1": ["all", "whole"],
    }
    assert numbers.headline([]) == ("retrieval", "test", "all", "p2t_R@1")
    differences, multiplicity = numbers.differences([])
    assert {d.family for d in differences} == {"on metrics of some arms"}
    pairs = {(d.metric, d.a, d.b) for d in differences}
    assert pairs == {(metric, *pair) for metric, some in having.items() for pair in combinations(some, 2)}
    assert "Holm's correction over 7 tests" in multiplicity
    # What one arm alone has compares nothing; the first pair of an arm is shown all the same.
    two = StudyScores({arm: numbers.runs[arm] for arm in ("texts", "notes", "all")}, margin=0.01)
    assert [metric for _, _, _, metric in two.of_some] == ["p2t_R@1", "pulse2note_R@1"]
    apart = StudyScores({arm: numbers.runs[arm] for arm in ("texts", "notes")}, margin=0.01)
    assert [metric for _, _, _, metric in apart.of_some] == ["p2t_R@1", "pulse2note_R@1"]
    assert apart.differences([]) == ([], "")


def test_arms_that_were_asked_about_other_examples_are_left_out(tmp_path: Path) -> None:
    data = Made(THREE.columns, **THREE.cells | {"note": ["a 0", "b 1", None]})
    data.labels = {"kind": Classes(("0", "1"), np.array([0, 1, 0]), ("number {}",))}
    arms = {"one": ("pulse",), "two": ("pulse", "text"), "other": ("note",)}
    key = ("probe", "test", "all", "logistic_kind_top1")
    runs = {arm: {0: scored(tmp_path / arm, *arms[arm], data=data, task="probe")} for arm in arms}
    assert StudyScores(runs, margin=0.01).main({"probe": ""}) == []
    assert [*StudyScores(runs, margin=0.01).of_some[key].runs] == ["one", "two"]
    # Where none was asked about the same as another, none stands for the others.
    assert StudyScores({arm: runs[arm] for arm in ("one", "other")}, margin=0.01).of_some == {}


def test_arms_are_refused_where_no_two_of_them_are_asked_same() -> None:
    data = Made(THREE.columns, **THREE.cells)
    arms = [Arm.parse(f"clip,columns={pair}") for pair in ("pulse+text", "pulse+note", "text+note")]
    retrieval, probe = create("retrieval"), create("probe")
    with pytest.raises(ValueError, match=r"\(clip,columns=pulse\+text: pulse, text; .* have in common$"):
        check_comparable(arms, (retrieval,), data)
    check_comparable([*arms, Arm.parse("more")], (retrieval,), data)
    check_comparable(arms[:1], (retrieval,), data)
    data.labels = {"kind": Classes(("0", "1"), np.array([0, 1, 0]), ("number {}",))}
    with pytest.raises(ValueError, match=r"in common, or choose --tasks retrieval zero_shot probe$"):
        check_comparable(arms, (retrieval,), data)
    check_comparable(arms, (retrieval, probe), data)
    # The probe of pulses and that of texts are asked about other rows.
    data.cells = data.cells | {"pulse": [None, 1.0, 2.0]}
    with pytest.raises(ValueError, match=r"that retrieval and probe ask about .* have in common$"):
        check_comparable(arms[1:], (retrieval, probe), data)
    check_comparable(arms, (retrieval, probe), data)


def test_labels_are_asked_about_of_first_column_that_is_no_text() -> None:
    data = Made(
        {"text": "text", "pulse": "pulse"}, text=[f"w {k % 2}" for k in range(12)], pulse=[0.0, 1.0] * 6
    )
    data.labels = {"kind": Classes(("0", "1"), np.arange(12) % 2, ("number {}",))}
    assert default_tasks(data) == ("retrieval", "zero_shot", "probe")
    assert default_tasks(Made({"pulse": "pulse"}, pulse=[0.0])) == ()
    results = evaluate(Line("pulse", "text"), data, ["zero_shot", "probe", "label_retrieval"])
    assert results.value("zero_shot", "test", "kind_top1") == 1.0
    assert results.value("probe", "test", "logistic_kind_top1") == 1.0
    assert results.value("label_retrieval", "test", "p2p_kind_P@5") == 1.0
    assert results.value("label_retrieval", "test", "t2p_kind_P@5") == 1.0
    assert create("label_retrieval").main_metrics(data) == ("t2p_kind_P@10", "p2p_kind_P@10")
    # A model of texts alone is asked about them, by what it learns from labels.
    (probe,) = evaluate(Line("text"), data).by_test["test"]
    assert (probe.task, probe.value("logistic_kind_top1")) == ("probe", 1.0)


def test_failures_of_what_cannot_be_drawn_are_named(tmp_path: Any) -> None:
    scores = create("retrieval")(Line("pulse", "note"), THREE, np.arange(3))
    assert failures(scores, Line("pulse", "note"), THREE, np.arange(3), tmp_path / "all.png").exists()


def test_failures_name_answers_whose_ids_more_bits_than_outcome(tmp_path: Path) -> None:
    data = Made(THREE.columns, **THREE.cells)
    data.ids = 2**62 + 1 + 4096 * np.arange(3)
    model = Line("pulse", "note")
    scores = create("retrieval")(model, data, np.arange(3))
    assert failures(scores, model, data, np.arange(3), tmp_path / "all.png").exists()


def test_a_letter_that_means_two_modalities_is_not_used() -> None:
    assert way({"pulse": "pulse", "text": "text"}, "pulse", "pulse") == "p2p"
    MODALITIES.register(Modality("pressure", "a:b", "a:b", "a:b", ()))
    try:
        columns = {"pulse": "pulse", "pressure": "pressure", "text": "text"}
        assert [*ways(columns)][::2] == ["pulse2pressure", "pulse2text", "pressure2text"]
    finally:
        MODALITIES._known.pop("pressure")


def test_an_arm_is_asked_by_the_columns_that_it_reads() -> None:
    retrieval, zero_shot = create("retrieval"), create("zero_shot")
    columns = {"pulse": "pulse", "text": "text", "pulse 2": "pulse"}
    data = Made(columns, **{column: [0.0, 1.0] for column in columns})
    data.labels = {"kind": Classes(("0", "1"), np.array([0, 1]), ("number {}",))}
    texts, pulses = (Arm.parse(f"clip,columns=pulse+{column}") for column in ("text", "pulse 2"))
    assert askable(pulses, (retrieval, zero_shot), data) == [retrieval]
    check_asked((pulses, texts), (retrieval, zero_shot), data)
    with pytest.raises(ValueError, match="zero_shot needs pulse and text embeddings"):
        check_asked((pulses, pulses), (retrieval, zero_shot), data)
    with pytest.raises(
        ValueError, match=r"arm .*pulse 2' learns from pulses and pulse 2 alone, and zero_shot"
    ):
        check_asked((texts, pulses), (zero_shot,), data)
    data.labels = {}
    check_modalities(Arm.parse("clip,columns=pulse+text"), (retrieval, zero_shot), data)
    check_modalities(Arm.parse("clip,columns=pulse+pulse 2"), (retrieval,), data)
    message = (
        r"pulses and pulse 2 alone, and zero_shot needs pulse and text embeddings: choose --tasks retrieval$"
    )
    with pytest.raises(ValueError, match=message):
        check_modalities(Arm.parse("clip,columns=pulse+pulse 2"), (zero_shot,), data)
    with pytest.raises(ValueError, match="leave the arm or the task out"):
        check_modalities(Arm.parse("ntxent,on=pulse"), (retrieval,), data)


def test_rows_are_embedded_once_by_column() -> None:
    seen: list[int] = []

    class Counts(Line):
        def embed(self, column: str, inputs: Any, head: str = "default") -> Tensor:
            seen.append(len(inputs))
            return super().embed(column, inputs, head)

    features = EmbeddingCache(Counts("pulse", "text"), THREE)
    both = [features.column("pulse", np.array(rows)) for rows in ([2, 0], [0, 1, 2])]
    torch.testing.assert_close(both[0], both[1][[2, 0]])
    features.column("text", np.arange(3))
    features.texts(["a 0", "c 2"])
    assert seen == [2, 1, 3]
    assert features.shared == {"pulse": "pulse", "text": "text"}
