"""CatLIP: nouns by their first sense, each once, a bias at the prior, and heads that begin at the names of classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from method_stubs import RECIPE, All, StubImage, build, loaded

from counterpoint import methods
from counterpoint.data.labels import Tags
from counterpoint.data.nouns import LEAST, nouns, tags_of
from counterpoint.data.views import wordnet
from counterpoint.methods.arm import Arm
from counterpoint.networks.init import initialise
from counterpoint.study.opened import relabelled
from counterpoint.study.presets import PRESETS
from counterpoint.training.run import target_of
from counterpoint.types import Batch, StepInfo, Target
from fixtures.tiny import TinyData

THREE = Target("nouns", ("circle", "ring", "cat"), "tags")


def test_a_word_counts_where_it_names_its_first_sense() -> None:
    nltk_says = {"dog", "cat", "car", "orange", "goose", "knife"}  # the rest: auto is car.n.01, ran no noun
    assert nouns("Dogs, CATS and a car: an auto ran; geese; an orange, knives") - {"run"} == nltk_says
    assert nouns("unheardof of the") == frozenset()


def test_the_table_knows_the_order_of_senses(tmp_path: Path) -> None:
    senses = {
        "data.noun": "00000100 05 n 02 dog 0 hound 0 000 | a pet\n00000200 05 n 02 frank 0 dog 1 000 | a sausage\n",
        "data.verb": "",
        "data.adj": "",
        "data.adv": "",
        # dog's first sense is the pet, hound's is the pet too, whose name is another word; frank's first is the sausage
        "index.noun": "  1 licence\ndog n 2 1 @ 2 1 00000100 00000200\nfrank n 1 0 1 0 00000200\n"
        "hot_dog n 1 0 1 0 00000200\nhound n 1 2 @ ~ 1 0 00000100\n",
    }
    for name, content in senses.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    table = wordnet.parse(tmp_path)
    assert table.named == {"dog", "frank"}
    assert (table.noun("dogs"), table.noun("hounds"), table.noun("cat")) == ("dog", "", "")


def test_nouns_are_tags_and_no_counts() -> None:
    texts = [["a dog and a dog", "the dog"], ["a cat with a dog"], None, ["of the"], ["a rare horse"]]
    rows = [row for row in texts for _ in range(LEAST)][:-1]
    tags = tags_of(rows, np.arange(len(rows)))
    assert tags.names == ("dog", "cat"), "the most frequent first; a horse is too rare"
    assert tags.values[::LEAST].tolist() == [[1, 0], [1, 1], [-1, -1], [0, 0], [0, 0]]
    with pytest.raises(ValueError, match=f"texts of {LEAST} rows"):
        tags_of([["a dog"]], np.arange(1))


def test_nouns_are_a_label_that_is_made_where_it_is_asked_for() -> None:
    data = TinyData()
    data.captions = lambda row: [("a ring", "a cat with a ring", "of the")[row % 3]]  # type: ignore[method-assign]
    assert "nouns" not in data.labels
    told = data.label("nouns", "tags")
    assert told.names == ("ring", "cat")
    assert target_of(Arm.parse("catlip"), "", data) == Target("nouns", ("ring", "cat"), "tags")
    assert target_of(Arm.parse("catlip,labels=nouns"), "tone", data).label == "nouns"
    fewer = relabelled(data, "nouns,missing=0.5").label("nouns")
    train = data.splits.train
    assert 0 < (fewer.values[train] == 1).sum() < (told.values[train] == 1).sum()


def test_the_loss_is_summed_over_nouns_and_divided_by_the_batch() -> None:
    method = build("catlip", target=THREE).double()
    given = loaded(method, 4, dtype=torch.float64)
    tags = torch.tensor([[1, 0, 0], [1, 1, 0], [0, 0, 0], [0, 0, 1]])
    given = Batch(given.ids, given.views, {"nouns": tags})
    z = method.encode(given)
    s = F.linear(z["image"], method.head.weight, method.head.bias)
    expected = (F.softplus(s) - tags * s).sum() / 4
    torch.testing.assert_close(method.losses(z, given, StepInfo(3, 9))["catlip"], expected)


def test_the_bias_starts_at_the_prior() -> None:
    method = build("catlip", target=THREE)
    given = loaded(method, 40)
    tags = torch.zeros(40, 3, dtype=torch.int64)
    tags[:10, 0], tags[:1, 1], tags[30:] = 1, 1, -1
    examples = All(Batch(given.ids, given.views, {"nouns": tags}))
    with torch.no_grad():
        method.on_epoch_start(examples, StepInfo(0, 9))
    torch.testing.assert_close(method.head.bias.exp(), torch.tensor([10.5 / 20.5, 1.5 / 29.5, 0.5 / 30.5]))
    with torch.no_grad():
        method.head.bias.zero_()
        method.on_epoch_start(examples, StepInfo(5, 9))
    assert not method.head.bias.any(), "it is learned from there"


def scores(target: Target, **options: str) -> Any:
    method = methods.create("cross-entropy", {"image": StubImage()}, RECIPE, target=target, **options)
    initialise(method, 0)
    return method


def test_head_begins_at_vectors_of_classes_are_called_by_nouns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = build("catlip", seed=1, target=THREE)
    before.head.bias.data += 0.5
    monkeypatch.setattr("counterpoint.models.load", lambda _: before)
    shapes = Target("subgroup", ("cats", "the ring", "circle and cat", "square"))
    method, plain = scores(shapes, start="RUN"), scores(shapes)
    assert torch.equal(method.head.weight[:2], before.head.weight[[2, 1]])
    assert torch.equal(method.head.bias[:2], before.head.bias[[2, 1]])
    assert torch.equal(method.head.weight[2:], plain.head.weight[2:]), "two nouns are none"
    with pytest.raises(ValueError, match="knows no noun that a class of subgroup is called by"):
        scores(Target("subgroup", ("square", "cross")), start="RUN")
    before = build("clip")
    with pytest.raises(ValueError, match="no run of a classifier"):
        scores(shapes, start="RUN")


def test_it_joins_the_comparison_of_tags_where_there_are_texts() -> None:
    data = TinyData()
    rows = len(data)
    data.labels = {"tags": Tags.of([["red"] if row % 2 else ["red", "round"] for row in range(rows)])}
    assert "catlip,labels=nouns" in PRESETS["multi-label"].arms_for(data, "tags")
    data.columns = {"image": "image"}
    assert "catlip,labels=nouns" not in PRESETS["multi-label"].arms_for(data, "tags")
