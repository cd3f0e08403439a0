"""FuDD against plain loops, its traps, and the limits in which one pass decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from counterpoint.data import load
from counterpoint.data.base import Rows, Splits
from counterpoint.data.labels import Classes
from counterpoint.data.pictured import PairedData
from counterpoint.evaluation import create, evaluate
from counterpoint.evaluation.differential import Differential, likeliest
from counterpoint.evaluation.task import NotApplicableError
from counterpoint.evaluation.tasks.fudd import FuDD
from counterpoint.types import Scores
from fixtures.hand_made import Blind, SimilarityTable, numbered
from fixtures.tiny import Pixels

NAMES = ("ant", "bee", "cow", "dog", "elk", "fox")
PICTURES = 12
WIDTH = 8


class Beasts(PairedData):
    """Numbered pictures of six classes, one of them unlabelled."""

    name = "beasts"

    def __init__(self, names: Sequence[str] = NAMES) -> None:
        values = np.arange(PICTURES) % len(names)
        values[-1] = -1
        self.ids = 100 + np.arange(PICTURES)
        self.subsets = np.array(["even", "odd"] * (PICTURES // 2))
        self.labels = {"concept": Classes(tuple(names), values, ("a picture of {}",))}
        self.splits = Splits(np.arange(0), {}, {"all": np.arange(PICTURES)})

    def images(self, rows: Rows) -> Tensor:
        return numbered(rows)

    def captions(self, row: int) -> Sequence[str]:
        return ("a beast",)


class Random:
    """An embedder with a random vector for every picture and text, texts of many lengths."""

    heads = ("global",)

    def embed(self, modality: str, inputs: Sequence[str] | Tensor, head: str = "default") -> Tensor:
        keys = [str(x[:, 0, 0].tolist()) if isinstance(x, Tensor) else x for x in inputs]
        return torch.stack([vector(key) * (1 if modality == "image" else 1 + len(key) % 5) for key in keys])

    def similarity(self, a: Tensor, b: Tensor) -> Tensor:
        return a @ b.T


def vector(text: str) -> Tensor:
    seed = sum((i + 1) * ord(letter) for i, letter in enumerate(text))
    return F.normalize(torch.randn(WIDTH, generator=torch.Generator().manual_seed(seed)), dim=0)


def describe(first: str, second: str) -> list[tuple[str, str, str]]:
    """Nothing of cow and dog; one sentence about each class that recurs in all its pairs."""
    if {first, second} == {"cow", "dog"}:
        return []
    return [
        ("sound", f"a loud {first}", f"a loud {second}"),
        ("pair", f"a {first}, no {second}", f"a {second}, no {first}"),
    ]


def score(k: int, model: object = None, data: PairedData | None = None, **options: object) -> Scores:
    data = data or Beasts()
    task = FuDD(k=k, describe=options.pop("describe", describe), **options)  # type: ignore[arg-type]
    return task(model or Random(), data, np.arange(PICTURES))  # type: ignore[arg-type]


def looped(k: int) -> list[tuple[int, list[int], int]]:
    """For each labelled picture the best class by name, the candidates, and the class that is chosen among them."""
    found = []
    for row in range(PICTURES - 1):
        v = vector(str(numbered(np.array([row]))[0, :, 0, 0].tolist())).double()
        first = [float(v @ vector(f"a picture of {name}").double()) for name in NAMES]
        candidates = sorted(range(len(NAMES)), key=lambda c: -first[c])[:k]
        second: dict[int, float] = {}
        for c in candidates:
            said: set[str] = set()
            for b in candidates:
                if b == c:
                    continue
                told = describe(NAMES[min(b, c)], NAMES[max(b, c)])
                said |= {entry[1 if c < b else 2] for entry in told}
                if not told and k < len(NAMES):
                    said.add(f"a picture of {NAMES[c]}")
            mean = sum(vector(s).double() for s in sorted(said or {f"a picture of {NAMES[c]}"}))
            second[c] = float(v @ (mean / mean.norm()))  # type: ignore[union-attr]
        found.append((int(np.argmax(first)), candidates, max(second, key=second.__getitem__)))
    return found


@pytest.mark.parametrize("k", [1, 2, 3, 5, 6, 50])
def test_both_passes_equal_plain_loops(k: int) -> None:
    found, expected = score(k), looped(min(k, len(NAMES)))
    truth = Beasts().labels["concept"].values[:-1].tolist()
    rows = found.examples[:-1]
    assert rows["first_top1"].to_list() == [
        float(f == t) for (f, _, _), t in zip(expected, truth, strict=True)
    ]
    assert rows["recall"].to_list() == [float(t in a) for (_, a, _), t in zip(expected, truth, strict=True)]
    assert rows["top1"].to_list() == [float(s == t) for (_, _, s), t in zip(expected, truth, strict=True)]
    assert (rows["top1"] <= rows["recall"]).all()  # recall bounds the second pass
    assert found.value("gain") == pytest.approx(found.value("top1") - found.value("first_top1"))
    assert found.examples[-1]["top1"].null_count() == 1  # no label, no outcome


def test_one_candidate_is_the_answer_of_the_first_pass() -> None:
    found = score(1)
    assert found.examples["top1"].equals(found.examples["first_top1"])
    assert np.isfinite(found.examples["margin"].drop_nulls().to_numpy()).all()
    assert set(found.examples["described"].drop_nulls()) == {1.0}


def test_sentences_count_once_and_their_number_grows_with_k() -> None:
    among = Differential(NAMES, describe, "a picture of {}")
    assert among((0, 1, 5)) == [
        ("a loud ant", "a ant, no bee", "a ant, no fox"),
        ("a loud bee", "a bee, no ant", "a bee, no fox"),
        ("a loud fox", "a fox, no ant", "a fox, no bee"),
    ]
    assert score(2, describe=lambda a, b: describe("ant", "bee")).value("top1") >= 0
    lengths = [score(k).examples["sentences"].mean() for k in (2, 4, 6)]
    assert lengths == sorted(lengths)
    assert lengths[0] < lengths[-1]


def test_pair_of_nothing_is_known_falls_back_to_plain_prompts() -> None:
    among = Differential(NAMES, describe, "a picture of {}")
    assert among((2, 3)) == [("a picture of cow",), ("a picture of dog",)]
    assert among((0, 2, 3))[1] == ("a loud cow", "a cow, no ant", "a picture of cow")
    assert "a picture of cow" not in among(tuple(range(6)))[2]  # without a first pass it adds nothing
    assert Differential(NAMES, lambda a, b: (), "a {}")(tuple(range(6))) == [(f"a {name}",) for name in NAMES]
    assert among.described((0, 2, 3)) == pytest.approx(2 / 3)


def test_without_descriptions_the_second_pass_repeats_the_first() -> None:
    for k in (2, 4, 6):
        found = score(k, describe=lambda a, b: ())
        assert found.examples["top1"].equals(found.examples["first_top1"])
        assert found.value("gain") == found.value("gain_close") == found.value("gain_clear") == 0


def test_means_are_of_unit_vectors_and_made_unit_again() -> None:
    """A long vector for one sentence must not outweigh the others, nor many sentences a few."""
    table = {
        "a picture of ant": torch.tensor([1.0, 0.0]),
        "a picture of bee": torch.tensor([0.9, 0.1]),
        "ant 1": torch.tensor([100.0, 0.0]),
        "ant 2": torch.tensor([0.0, 1.0]),
        "bee 1": torch.tensor([0.0, 0.0]) + torch.tensor([8.0, 6.0]),
    }
    data = Beasts(("ant", "bee"))
    data.labels["concept"].values[:] = [0, 1, *[-1] * (PICTURES - 2)]
    told = [("a", "ant 1", "bee 1"), ("b", "ant 2", "bee 1")]
    found = FuDD(k=2, describe=lambda a, b: told)(SimilarityTable(table), data, np.arange(PICTURES))
    # ant: (1, 1)/√2, of which picture 0 sees 0.707; bee: (0.8, 0.6)
    assert found.examples["top1"].to_list()[:2] == [0.0, 0.0]
    np.testing.assert_allclose(
        found.examples["margin"].to_numpy()[:2], [0.5**0.5 - 0.8, 0.6 - 0.5**0.5], atol=1e-6
    )
    assert found.examples["sentences"][0] == 1.5


def test_blind_model_scores_chance_first_tied_classes_candidates() -> None:
    data = Beasts()
    data.labels["concept"].values[-1] = 5
    for k in (1, 3, 6):
        found = score(k, Blind(), data)
        for name in ("top1", "first_top1", "recall", "gain"):
            assert found.value(name) == pytest.approx(found.metrics[name].chance), name
    assert likeliest(torch.zeros(2, 5), 3).tolist() == [[0, 1, 2]] * 2


def test_gains_are_split_by_how_sure_the_first_pass_was() -> None:
    found = score(3)
    rows = found.examples[:-1]
    close = rows["first_margin"].to_numpy() <= np.median(rows["first_margin"].to_numpy())
    assert found.value("gain_close") == pytest.approx(rows["gain"].to_numpy()[close].mean())
    assert found.value("gain_clear") == pytest.approx(rows["gain"].to_numpy()[~close].mean())


def test_pairs_are_described_once_and_only_if_they_meet() -> None:
    asked: list[tuple[str, str]] = []

    def counting(first: str, second: str) -> list[tuple[str, str, str]]:
        asked.append((first, second))
        return describe(first, second)

    score(2, describe=counting)
    met = {tuple(sorted(NAMES[c] for c in candidates)) for _, candidates, _ in looped(2)}
    assert len(asked) == len(set(asked))
    assert set(asked) == met < set(combinations(NAMES, 2))


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="both called 'ant'"):
        score(2, data=Beasts(("ant", "bee", "ant")))
    data = Beasts()
    data.labels["concept"].values[:] = -1
    with pytest.raises(NotApplicableError, match="0 of these 12 rows are labelled"):
        score(2, data=data)
    with pytest.raises(NotApplicableError, match="has 1 class"):
        score(2, data=Beasts(("ant",)))


def test_on_scenes_the_grammar_describes_concepts() -> None:
    """With colours for words, an embedder of pixels has something to go by."""
    world = load("scenes:tiny,objects=1,train=8,validation=8,test=60")
    results = evaluate(Pixels(), world, tasks=[create("fudd", k=4)])
    rows: Mapping[str, dict[str, float]] = {r["metric"]: r for r in results.scores() if r["subset"] == "all"}
    assert rows["recall"]["chance"] == pytest.approx(4 / 14)
    assert rows["top1"]["value"] <= rows["recall"]["value"]
    (scores,) = next(iter(results.by_test.values()))
    assert set(scores.examples["described"].drop_nulls()) == {1.0}
    assert scores.examples["sentences"].min() > 2
