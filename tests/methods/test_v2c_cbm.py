"""V2C-CBM: votes by a plain loop, what W starts at, and concepts that can be taken out."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from method_stubs import All, build, loaded
from torch import Tensor

from counterpoint.data.derived.drawn import DrawnData
from counterpoint.data.derived.labelling import Labelling
from counterpoint.recipes import load
from counterpoint.registry import UnknownNameError
from counterpoint.training.drawn import drawn
from counterpoint.training.run import Run
from counterpoint.types import Batch, StepInfo
from fixtures.labelled import Many

F64 = torch.float64
WORDS = "small+red+cat+over+hill+the+blue+dog"


@pytest.fixture(scope="module")
def given() -> Batch:
    batch = loaded(build("zero-shot"), 20, dtype=F64)
    labels = batch.labels["group"].clone()
    labels[10:] = -1
    return Batch(batch.ids, batch.views, {**batch.labels, "group": labels})


def fitted(given: Batch, **options: Any) -> Any:
    options = {"words": WORDS, "pictures": 6, "concepts": 3, "epochs": 1, **options}
    method = build("v2c-cbm", **options).double().eval()
    torch.manual_seed(0)
    with torch.no_grad():
        method.on_epoch_start(All(given), StepInfo(0, 1))
    return method


def scores(method: Any, given: Batch) -> Tensor:
    with torch.no_grad():
        return method.logits(method.encode(given), given)


@pytest.mark.parametrize("near", ["examples", "names"])
def test_starts_at_votes_by_a_loop(given: Batch, near: str) -> None:
    method = fitted(given, near=near, lr=1e-9)
    with torch.no_grad():
        v = method.shared(method.features("image", given["image"]))
        labels = given.labels["group"]
        texts = [method.embedded_texts([f"a photo of a {word}."])[0] for word in WORDS.split("+")]
        names = [method.embedded_texts([f"a photo of a {name}."])[0] for name in method.target.classes]
    expected = torch.zeros(5, 8, dtype=F64)
    for c in range(5):
        members = [v[i] for i in range(20) if labels[i] == c]
        anchors = members if near == "examples" else [names[c]]
        if not anchors:
            anchors = [torch.zeros_like(v[0])]
        closeness = [sum(float(v[i] @ anchor) for anchor in anchors) for i in range(20)]
        nearest = sorted(range(20), key=lambda i: -closeness[i])[:6]
        votes: Counter[int] = Counter()
        for i in nearest:
            votes.update(sorted(range(8), key=lambda k: -float(v[i] @ texts[k]))[:5])
        for word, count in sorted(votes.items(), key=lambda item: -item[1])[:3]:
            expected[c, word] = count / max(votes.values())
    # Words with as many votes as the last concept may stand for it.
    torch.testing.assert_close(method.weight.sort(1).values, expected.sort(1).values, atol=1e-6, rtol=0)
    sure = expected == 1
    assert sure.any(1).all()
    assert method.chosen.tolist() == (method.weight > 1e-6).any(0).tolist()


def test_scores_are_sums_of_contributions_and_weights_of_a_class_add_up_to_one(given: Batch) -> None:
    method = fitted(given, lr=0.1, epochs=20)
    with torch.no_grad():
        z = method.encode(given)["image"]
        v, chosen = method.shared(z), method.chosen
        weights = method.weight[:, chosen].exp()
        expected = 100 * (v @ method.word_texts[chosen].T) @ (weights / weights.sum(1, keepdim=True)).T
        contributions = method.contributions(z)
    torch.testing.assert_close(scores(method, given), expected)
    assert not contributions[:, :, ~chosen].any()
    assert method.explain(z, top=2)[0][0][1] == contributions[0, expected[0].argmax()].max().item()


def test_removes_a_concept_exactly(given: Batch) -> None:
    method = fitted(given)
    before = scores(method, given)
    word = int(method.chosen.nonzero()[0])
    with torch.no_grad():
        of_word = method.contributions(method.encode(given)["image"])[:, :, word]
    assert of_word.abs().min() > 0
    fewer = method.without(method.vocabulary[word])
    torch.testing.assert_close(scores(fewer, given), before - of_word)
    assert torch.equal(scores(method, given), before)
    with pytest.raises(UnknownNameError, match="sky"):
        method.without("sky")


def test_other_selections_take_as_many_words(given: Batch) -> None:
    counts = {}
    for select in ("votes", "names", "random"):
        method = fitted(given, select=select, lr=1e-9)
        counts[select] = (method.weight > 1e-6).sum(1).tolist()
        if select == "names":
            cosines = method.texts @ method.word_texts.T
            chosen = method.weight > 1e-6
            assert cosines[chosen].min() > -1
            assert all(cosines[c][chosen[c]].min() > cosines[c][~chosen[c]].max() for c in range(5))
    assert counts["votes"] == counts["names"] == counts["random"] == [3] * 5
    one = fitted(given, start="binary", lr=1e-9).weight
    torch.testing.assert_close(one, (one > 0.5).to(one), atol=1e-6, rtol=0)


def test_words_of_class_names_are_left_out_unless_asked_for(tmp_path: Path) -> None:
    words = tmp_path / "words.txt"
    words.write_text("a\nred b\nsmall\n\nCat\nred\nblue\nhill\n")
    assert build("v2c-cbm", words=str(words)).vocabulary == ("small", "Cat", "red", "blue", "hill")
    assert build("v2c-cbm", words=str(words), class_words=True).vocabulary[:2] == ("a", "red b")
    with pytest.raises(ValueError, match="has 4 words without those of class names"):
        build("v2c-cbm", words="a+small+red+blue+hill")
    with pytest.raises(ValueError, match="'red' twice"):
        build("v2c-cbm", words="red+red")


def test_rows_that_were_not_drawn_stay_without_a_label() -> None:
    data, labelling = Many(), Labelling.parse("kind,shots=2")
    few, whole = DrawnData(data, labelling, 0), DrawnData(data, labelling, 0, unlabelled=True)
    assert whole.splits.train.tolist() == data.splits.train.tolist()
    values = whole.labels["kind"].values[whole.splits.train]
    assert sorted(whole.splits.train[values >= 0].tolist()) == sorted(few.splits.train.tolist())
    counts = [
        len(drawn(Run(arm, "many", load("seconds"), labels="kind"), data).splits.train)
        for arm in ("v2c-cbm,words=a+b,shots=2", "linear-text,shots=2")
    ]
    assert counts == [len(data.splits.train), len(few.splits.train)]
