"""The glosses: WordNet's lines, similarity in its tree, rows and splits of both presets."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from counterpoint.data.source import load_any
from counterpoint.data.synthetic.glosses import tree
from counterpoint.data.synthetic.glosses.world import STEPS, Glosses
from counterpoint.data.views import wordnet
from counterpoint.evaluation import default_tasks
from counterpoint.registry import MissingPackageError, UnknownNameError

HYPERNYMS: dict[str, list[str]] = {
    "entity": [],
    "animal": ["entity"],
    "dog": ["animal"],
    "puppy": ["dog"],
    "cat": ["animal"],
    "tool": ["entity"],
    "robot dog": ["tool", "dog"],
}
LINE = (
    "02084071 05 n 03 dog 0 domestic_dog 0 Canis_familiaris 0 004 @ 02083346 n 0000 @ 01317541 n 0000 "
    '#m 02083863 n 0000 ~ 01322604 n 0000 | a member of the genus Canis; domesticated; "the dog barked"  '
)


def test_line_of_wordnet_gives_hypernyms_gloss_without_examples() -> None:
    synset = tree.parse(LINE)
    assert (synset.id, synset.kind) == ("02084071", "05")
    assert synset.words == ("dog", "domestic dog", "Canis familiaris")
    assert synset.above == ("02083346", "01317541")
    assert synset.gloss == "a member of the genus Canis; domesticated"


def test_similarity_is_that_of_wu_and_palmer() -> None:
    names = list(HYPERNYMS)
    found = tree.similarities(names, HYPERNYMS)
    similarity = {(a, b): found[i, j] for i, a in enumerate(names) for j, b in enumerate(names)}
    assert similarity["dog", "dog"] == 1
    assert similarity["dog", "puppy"] == pytest.approx(2 * 3 / (1 + 2 * 3))
    assert similarity["dog", "cat"] == pytest.approx(
        2 * 2 / (2 + 2 * 2)
    )  # under animal, the second from the top
    assert similarity["puppy", "cat"] == pytest.approx(2 * 2 / (3 + 2 * 2))
    assert similarity["cat", "tool"] == pytest.approx(2 * 1 / (3 + 2 * 1))
    # Two ways up: over dog, which is deep, and over tool.
    assert similarity["puppy", "robot dog"] == pytest.approx(2 * 3 / (2 + 2 * 3))
    assert similarity["tool", "robot dog"] == pytest.approx(2 * 2 / (1 + 2 * 2))
    assert np.array_equal(found, found.T)


def test_pairs_are_drawn_from_every_tenth_of_similarity() -> None:
    similarity = np.full((60, 60), 0.15)
    similarity[:3, :3] = 0.95
    first, second, alike = tree.some_of_each(similarity)
    near = alike == 0.95
    assert sorted(zip(first[near], second[near], strict=True)) == [(0, 1), (0, 2), (1, 2)]
    assert (~near).sum() == tree.PER_TENTH
    assert (first < second).all()
    assert (similarity[first, second] == alike).all()


def test_a_row_is_a_noun_with_its_gloss() -> None:
    data = Glosses.parse("glosses,train=50")
    assert data.columns == {"term": "text", "gloss": "text"}
    rows = data.splits.train[:5]
    for term, gloss, identity in zip(
        data.read("term", rows), data.read("gloss", rows), data.ids[rows].tolist(), strict=True
    ):
        synset = tree.nouns()[f"{identity:08d}"]
        assert (term, gloss) == (synset.words[0], synset.gloss)
    assert [forms[0] for forms in data.read_training("term", rows)] == data.read("term", rows)
    assert any(len(forms) > 1 for forms in data.read_training("term", data.splits.train))
    assert (data.labels["kind"].values >= 0).all()
    assert default_tasks(data)[0] == "retrieval"


def test_held_out_meanings_do_not_depend_on_sizes_not_trained_on() -> None:
    few, many = Glosses.parse("glosses,train=50"), Glosses.parse("glosses,train=400,test=20")
    ids = [data.ids[data.splits.test["held out"]].tolist() for data in (few, many)]
    assert ids[0][:20] == ids[1]
    assert set(many.ids[many.splits.train]).isdisjoint(few.ids[few.splits.test["held out"]])
    assert many.ids[many.splits.train][:50].tolist() == few.ids[few.splits.train].tolist()
    assert len(np.unique(many.ids)) == len(many)


def test_graded_pairs_are_of_all_degrees_and_of_one_side_each() -> None:
    pairs, graded = Glosses.parse("glosses"), Glosses.parse("glosses:graded,train=200,test=200,validation=20")
    assert graded.columns == {"first": "text", "second": "text"}
    label = graded.labels["similarity"]
    assert label.names[0] == "0.00"
    assert label.names[-1] == "1.00"
    for rows, side in ((graded.splits.train, pairs.splits.train), (graded.splits.test["held out"],) * 2):
        assert len(np.unique(label.values[rows])) > STEPS // 2
        if side is rows:
            side = pairs.splits.test["held out"]
        known = set(pairs.read("gloss", side))
        assert set(graded.read("first", rows)) | set(graded.read("second", rows)) <= known
    hypernyms = {name: synset.above for name, synset in tree.nouns().items()}
    by_gloss = {synset.gloss: name for name, synset in tree.nouns().items()}
    row = graded.splits.test["held out"][:3]
    for one, two, step in zip(
        graded.read("first", row), graded.read("second", row), label.values[row], strict=True
    ):
        if one in by_gloss and two in by_gloss:
            alike = tree.similarities([by_gloss[one], by_gloss[two]], hypernyms)[0, 1]
            assert round(alike * STEPS) == step


def test_both_presets_are_mixed_without_columns_in_common() -> None:
    data = load_any("glosses,train=60,test=10,validation=10 + glosses:graded,train=60,share=0.5")
    assert list(data.columns) == ["term", "gloss", "first", "second"]
    assert data.labels["similarity"].values[0] == -1


def test_it_is_same_in_another_process_and_says_it_is_made_of() -> None:
    data = Glosses.parse("glosses,train=50,validation=5,test=5")
    again = pickle.loads(pickle.dumps(data))
    rows = np.arange(len(data))
    assert again.read("gloss", rows) == data.read("gloss", rows)
    other = Glosses.parse("glosses,train=51,validation=5,test=5")
    assert data.fingerprint.parts == Glosses.parse("glosses,train=50,validation=5,test=5").fingerprint.parts
    assert data.fingerprint.parts != other.fingerprint.parts
    assert data.identity(["gloss"]) != other.identity(["gloss"])


def test_what_it_has_not_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnknownNameError, match="graded"):
        Glosses.parse("glosses:grated")
    with pytest.raises(UnknownNameError, match="train"):
        Glosses.parse("glosses,trian=3")
    with pytest.raises(ValueError, match="more than the"):
        Glosses.parse("glosses,train=1000000")
    with pytest.raises(UnknownNameError, match="gloss"):
        Glosses.parse("glosses,train=5").read("glos", np.arange(1))
    monkeypatch.setattr(wordnet, "_complete", lambda folder: False)
    monkeypatch.delenv("WORDNET", raising=False)
    monkeypatch.delenv("WNSEARCHDIR", raising=False)
    tree.nouns.cache_clear()
    with pytest.raises(
        MissingPackageError, match=r"the data set glosses .*pip install 'counterpoint\[words\]'"
    ):
        tree.nouns()
