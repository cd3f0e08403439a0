"""Sources of descriptions: the grammar of scenes, a language model's answers, a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from counterpoint.data.synthetic.scenes.words.descriptions import concept, differences
from counterpoint.evaluation.class_descriptions import CachedDescriptions, LanguageModel, from_grammar
from counterpoint.registry import UnknownNameError

NAMES = ("a wren", "a sparrow", "a crow")
ENTRY = {
    "classes": [2, 0],
    "prompt_pairs": [{"attr_type": "size", "prompt_pair": ["a big crow", "a small wren"]}],
}


def test_the_grammar_knows_concepts_with_any_article() -> None:
    expected = differences(concept("elephant"), concept("teddy bear"))
    assert expected
    assert from_grammar("an elephant", "a teddy bear") == from_grammar("elephant", "teddy bear") == expected
    with pytest.raises(UnknownNameError, match="wren"):
        from_grammar("a wren", "a cat")


def test_language_model_asked_about_and_answers_line_by_line() -> None:
    asked = []

    def generate(prompt: str) -> str:
        asked.append(prompt)
        return "Sure!\nbill | a wren, thin | a sparrow, stout\n\ntail | up\n| a | b\nsize|a tiny wren|a sparrow |\n"

    assert LanguageModel(generate)("a wren", "a sparrow") == (("bill", "a wren, thin", "a sparrow, stout"),)
    assert "First: a wren. Second: a sparrow." in asked[0]
    assert LanguageModel(lambda prompt: "I cannot see birds.")("a wren", "a crow") == ()


def test_the_published_layout_is_read_in_either_order(tmp_path: Path) -> None:
    path = tmp_path / "pairs.json"
    path.write_text(json.dumps({"0_2": ENTRY}))
    kept = CachedDescriptions(path, NAMES)
    assert kept("a crow", "a wren") == (("size", "a big crow", "a small wren"),)
    assert kept("a wren", "a crow") == (("size", "a small wren", "a big crow"),)
    assert kept("a wren", "a sparrow") == ()
    with pytest.raises(UnknownNameError, match="did you mean 'a crow'"):
        kept("a cro", "a wren")


def test_every_pair_is_asked_for_once_and_written_at_once(tmp_path: Path) -> None:
    asked: list[tuple[str, str]] = []

    def ask(first: str, second: str) -> list[tuple[str, str, str]]:
        asked.append((first, second))
        if len(asked) == 3:
            raise RuntimeError("interrupted")
        return [("size", f"{first}, small", f"{second}, big")]

    path = tmp_path / "folder" / "pairs.json"
    kept = CachedDescriptions(path, NAMES, ask)
    assert kept("a sparrow", "a wren") == (("size", "a sparrow, big", "a wren, small"),)
    kept("a wren", "a sparrow")
    kept("a wren", "a crow")
    with pytest.raises(RuntimeError):
        kept("a sparrow", "a crow")
    assert asked == [("a wren", "a sparrow"), ("a wren", "a crow"), ("a sparrow", "a crow")]
    assert list(json.loads(path.read_text())) == ["0_1", "0_2"]
    again = CachedDescriptions(path, NAMES)
    assert again("a crow", "a wren") == (("size", "a crow, big", "a wren, small"),)


@pytest.mark.parametrize(
    "content",
    [
        "no json",
        "[1]",
        json.dumps({"0_9": ENTRY | {"classes": [0, 9]}}),
        json.dumps({"0_0": ENTRY | {"classes": [1, 1]}}),
        json.dumps({"0_2": {"classes": [0, 2]}}),
        json.dumps({"0_2": ENTRY | {"prompt_pairs": [{"attr_type": "size", "prompt_pair": ["one"]}]}}),
    ],
)
def test_another_layout_is_an_error_that_names_the_file(tmp_path: Path, content: str) -> None:
    path = tmp_path / "pairs.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"pairs\.json"):
        CachedDescriptions(path, NAMES)


def test_homonyms_are_told_apart_by_no_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="classes 0 and 2 are both called 'a crane'"):
        CachedDescriptions(tmp_path / "pairs.json", ["a crane", "a crow", "a crane"])
