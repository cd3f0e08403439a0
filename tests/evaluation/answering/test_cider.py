"""CIDEr-D against its definition in loops, and what it does at the edges."""

from __future__ import annotations

import math

import pytest

from counterpoint.evaluation.cider import cider

SAID = ["a red cat on a box", "a dog and a dog", "two blue birds", "a red cat near the big green tree"]
TRUE = [
    ["a red cat on a small box", "the cat sits on a box"],
    ["a dog and another dog"],
    ["two blue birds in the sky"],
    ["a red cat"],
]


def by_hand(said: list[str], references: list[list[str]]) -> list[float]:
    """The definition: counts times log(N / documents), clipped products, a Gaussian of the difference in length."""

    def grams(text: str, n: int) -> dict[tuple[str, ...], int]:
        words, found = text.split(), {}
        for i in range(len(words) - n + 1):
            gram = tuple(words[i : i + n])
            found[gram] = found.get(gram, 0) + 1
        return found

    def idf(gram: tuple[str, ...], n: int) -> float:
        df = sum(any(gram in grams(reference, n) for reference in own) for own in references)
        return math.log(len(references) / max(df, 1))

    scores = []
    for text, own in zip(said, references, strict=True):
        of_references = []
        for reference in own:
            total = 0.0
            for n in (1, 2, 3, 4):
                a = {g: c * idf(g, n) for g, c in grams(text, n).items()}
                b = {g: c * idf(g, n) for g, c in grams(reference, n).items()}
                product = sum(min(a[g], b[g]) * b[g] for g in a if g in b)
                lengths = math.sqrt(sum(w * w for w in a.values())) * math.sqrt(
                    sum(w * w for w in b.values())
                )
                total += product / lengths if lengths else 0.0
            gap = len(text.split()) - len(reference.split())
            of_references.append(10 * total / 4 * math.exp(-gap * gap / 72))
        scores.append(sum(of_references) / len(of_references))
    return scores


def test_the_definition_in_loops() -> None:
    assert cider(SAID, TRUE).tolist() == pytest.approx(by_hand(SAID, TRUE), abs=1e-12)


def test_case_and_punctuation_do_not_count() -> None:
    dressed = [f"{text.capitalize()}." for text in SAID]
    assert cider(dressed, TRUE).tolist() == cider(SAID, TRUE).tolist()


def test_the_reference_itself_is_ten_and_something_else_nothing() -> None:
    references = [["a red cat on the box"], ["two blue birds in a tree"]]
    assert cider(["a red cat on the box", "dogs run"], references).tolist() == pytest.approx([10.0, 0.0])


def test_repeating_a_word_gains_nothing() -> None:
    references = [["a red cat on the box"], ["two blue birds in a tree"]]
    once, often = (cider([text, ""], references)[0] for text in ("cat box", "cat cat cat box box box"))
    assert often < once


def test_what_all_references_share_has_no_weight() -> None:
    assert cider(["the same", "the same"], [["the same"], ["the same"]]).tolist() == [0.0, 0.0]
    assert cider(["a cat"], [["a cat"]]).tolist() == [0.0]


def test_nothing_said_and_nobody_asked() -> None:
    assert cider([""], [["a cat"]]).tolist() == [0.0]
    assert cider([], []).tolist() == []


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="give those of each text"):
        cider(["a"], [])
    with pytest.raises(ValueError, match=r"references\[1\] is empty"):
        cider(["a", "b"], [["a"], []])
