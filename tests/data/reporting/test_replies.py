"""The audit of worse replies: what is missing, ties, lengths, phrases, and what the world knows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from counterpoint.data.reporting import report
from counterpoint.data.reporting._pairs import ReplyPairs
from counterpoint.data.reporting.sections.replies import told_by_words
from counterpoint.study.replies import make_replies
from fixtures.replies import Silent


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNTERPOINT_CACHE", str(tmp_path / "cache"))


def pairs(good: list[str], worse: list[str]) -> ReplyPairs:
    return ReplyPairs("worse", [*map(str, range(len(good)))], good, worse, [None] * len(good), 0)


def test_a_phrase_is_told_by_words_of_other_pictures() -> None:
    good = [f"it is number {k}" for k in range(40)]
    assert told_by_words(pairs(good, [f"I think {text}" for text in good])) == 1
    # Words that occur in one picture alone say nothing about others.
    assert told_by_words(pairs(good, [f"it is number {k + 100}" for k in range(40)])) == 0.5
    twice = replace(pairs(good, good[::-1]), pictures=["the same"] * 40)
    assert told_by_words(twice) is None


def test_the_report_says_what_is_wrong_with_pairs_of_a_table(tmp_path: Path) -> None:
    rows = []
    for k in range(20):
        Image.new("RGB", (8, 8), (10 * k, 0, 0)).save(tmp_path / f"{k}.png")
        good = f"It is number {k}."
        rejected = "" if k < 6 else good if k == 7 else f"Well, I think that it is the number {k}."
        rows.append(f'{k}.png,What?,{good},"{rejected}"')
    (tmp_path / "it.csv").write_text("\n".join(["image,prompt,chosen,rejected", *rows]))
    findings = {f.name: f for f in report(str(tmp_path / "it.csv")).sections["worse replies"]}
    assert findings["rejected: pairs"].value == 14
    assert findings["rejected: rows without one"].warning
    assert findings["rejected: equal to the good reply"].value["count"] == 1
    assert findings["rejected: words"].warning
    assert findings["rejected: a bag of words"].warning
    assert "rejected: known to be worse" not in findings


def test_a_world_knows_which_replies_are_worse(tmp_path: Path) -> None:
    source = "scenes:tiny,train=30,validation=2,test=2,talk=captions"
    make_replies(Silent(), source, tmp_path / "pairs", ["random"])
    findings = {f.name: f for f in report(str(tmp_path / "pairs")).sections["worse replies"]}
    assert findings["random: known to be worse"].value["count"] > 20
    assert not findings["random: words"].warning
    make_replies(Silent(), source, tmp_path / "blank", ["noise"])
    (_, lacking) = report(str(tmp_path / "blank")).sections["worse replies"]
    assert lacking.value == {"count": 30, "of": 30, "empty": 30}
