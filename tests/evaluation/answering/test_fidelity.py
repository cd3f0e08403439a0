"""Fidelity of assistants that are known to speak one language or another."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch

from counterpoint.data.synthetic.scenes.words.captions import short
from counterpoint.data.synthetic.scenes.world import Scenes
from counterpoint.evaluation.languages import ClosedVocabulary
from counterpoint.evaluation.task import NotApplicableError
from counterpoint.evaluation.tasks.fidelity import (
    REQUESTS,
    Fidelity,
    faithful,
    named,
    questions,
)
from counterpoint.types import Prompt

WORLD = Scenes.parse("scenes:tiny,train=1,validation=1,test=12")
ROWS = WORLD.splits.test["as trained"]
LANGUAGE = {request: language for language, request in REQUESTS.items()}


class Speaker:
    """Replies with a caption of the next scene, in the language that ``choose`` says."""

    def __init__(
        self, choose: Callable[[str, bool], str | None], languages: int, wrong: bool = False
    ) -> None:
        self.choose, self.languages, self.wrong = choose, languages, wrong

    def reply(self, prompts: Sequence[Prompt], *, seed: int = 0) -> list[str]:
        said = []
        for place, prompt in enumerate(prompts):
            asked = next(own for request, own in LANGUAGE.items() if prompt.text.endswith(request))
            language = self.choose(asked, prompt.picture is not None)
            row = (place // self.languages + self.wrong) % len(ROWS)
            said.append("2" if language is None else short(WORLD.scene(int(ROWS[row])), language).text)
        return said

    def word_logits(self, prompts: Sequence[Prompt], words: Sequence[str]) -> torch.Tensor:
        raise NotImplementedError


def test_what_is_lost_with_the_picture() -> None:
    english = Speaker(lambda asked, shown: "en" if shown else asked, 3)
    scores = Fidelity(("en", "de", "es"))(english, WORLD, ROWS)
    assert len(scores.examples) == 3 * len(ROWS)
    assert scores.value("ifl") == 1.0
    assert scores.value("control") == 0.0
    assert scores.value("fidelity_text") == 1.0
    assert scores.value("fidelity_image", "de") == 0.0
    assert scores.value("fidelity_image", "en") == 1.0
    assert np.isnan(scores.value("ifl", "en"))
    assert scores.value("right_image") == scores.value("right_text") == 1.0  # right, though in English


def test_an_assistant_that_keeps_the_language_loses_nothing() -> None:
    faithful_one = Speaker(lambda asked, shown: asked, 4, wrong=True)
    scores = Fidelity()(faithful_one, WORLD, ROWS)
    assert scores.value("ifl") == scores.value("control") == 0.0
    assert scores.subsets() == ("all", "de", "en", "es", "fr")
    assert scores.value("right_image") < 1.0


def test_replies_of_no_language_are_left_out_and_counted() -> None:
    mute = Speaker(lambda asked, shown: None if shown and asked == "de" else asked, 2)
    scores = Fidelity(("en", "de"))(mute, WORLD, ROWS)
    assert scores.value("undetermined_image", "de") == 1.0
    assert scores.value("undetermined_text") == 0.0
    assert np.isnan(scores.value("fidelity_image", "de"))
    assert np.isnan(scores.value("ifl"))


def test_the_text_only_question_says_what_the_picture_shows() -> None:
    scene = WORLD.scene(int(ROWS[0]))
    for question in questions(scene, WORLD.images(ROWS[:1])[0], list(REQUESTS)):
        assert question.text.picture is None
        assert question.image.picture is not None
        assert question.text.text.endswith(question.image.text)
        described = question.text.text.removesuffix(question.image.text)
        assert named(described, question.language) == frozenset(scene.counts())
        assert ClosedVocabulary.of_scenes()(described) == question.language


def test_detection_has_a_least_length_and_no_favourite() -> None:
    detect = ClosedVocabulary.of_scenes()
    for language in ("en", "de", "fr", "es"):
        captions = [short(WORLD.scene(int(row)), language).text for row in ROWS]
        assert faithful(captions, [language] * len(ROWS), detect).mean() == 1.0
    assert detect("cat") is None
    assert detect("Kreuzfahrt 17 🐈") is None
    assert ClosedVocabulary.of_scenes(least=1)("Katze") == "de"
    assert ClosedVocabulary({"en": {"a", "bus"}, "fr": {"bus", "a"}}, 1)("a bus") is None


def test_nouns_count_in_the_language_of_the_reply() -> None:
    assert named("Das Bild hat einen Hund", "de") == {"dog"}  # hat is no hat
    assert named("hat", None) == {"hat"}
    assert named("two cats and a dog", "en") == {"cat", "dog"}


def test_bad_input() -> None:
    from fixtures.tiny import TinyData

    with pytest.raises(ValueError, match="unknown language"):
        Fidelity(("en", "nl"))  # type: ignore[arg-type]
    with pytest.raises(NotApplicableError, match="asks in several languages about scenes"):
        Fidelity()(Speaker(lambda asked, shown: asked, 4), TinyData(), np.arange(4))
    with pytest.raises(ValueError, match="3 replies to 2"):
        faithful(["a", "b", "c"], ["en", "en"], ClosedVocabulary.of_scenes())
    with pytest.raises(ValueError, match="at least 1"):
        ClosedVocabulary({"en": {"a"}}, 0)
