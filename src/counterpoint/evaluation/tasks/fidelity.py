"""Does an assistant reply in the language of the question, with a picture as without?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, final

import numpy as np

from ...data.base import Rows
from ...data.pictured import PairedData
from ...data.synthetic.scenes.scene import Scene
from ...data.synthetic.scenes.words.lexicon import LANGUAGES
from ...data.synthetic.scenes.words.paragraphs import long
from ...data.synthetic.scenes.words.vocabulary import concepts_in
from ...data.synthetic.scenes.world import Scenes
from ...registry import unknown
from ...types import Assistant, Metric, Picture, Prompt, Scores
from ..languages import ClosedVocabulary, Detect
from ..task import AnsweringTask, NotApplicableError, check_rows, table

REQUESTS: Mapping[str, str] = {
    "en": "What is in the picture?",
    "de": "Was ist auf dem Bild?",
    "fr": "Qu'y a-t-il sur l'image ?",
    "es": "¿Qué hay en la imagen?",
}
PIVOT = "en"
"""The language that replies fall back to, asked for as a control."""
_MOST_LANGUAGES = 64  # of a row: the ids of its questions start at a multiple of it


class FidelityQuestion(NamedTuple):
    """One question in one language, with a picture and with words in its place."""

    language: str
    image: Prompt
    text: Prompt


def questions(scene: Scene, picture: Picture, languages: Sequence[str]) -> list[FidelityQuestion]:
    """Return the question what there is in a scene, once in each language.

    Without the picture the prompt begins with a sentence that says what the picture shows, in the same language, so
    that it can be answered: assistants apologise for what they cannot see, often in English.

    >>> import torch
    >>> from counterpoint.data.synthetic.scenes.scene import Thing
    >>> scene = Scene(0, (Thing("cat", None, "large", 400, 500, 500),))
    >>> questions(scene, torch.zeros(3, 8, 8, dtype=torch.uint8), ["de"])[0].text.text
    'Das Bild zeigt eine Katze. Was ist auf dem Bild?'
    """
    questions = []
    for language in languages:
        request = REQUESTS[language]
        described = f"{long(scene, language)[0].text} {request}"
        questions.append(FidelityQuestion(language, Prompt(request, picture), Prompt(described)))
    return questions


@final
class Fidelity(AnsweringTask):
    """Image-induced fidelity loss: how much more often replies leave the question's language when there is a picture.

        F_L = share of replies to questions in L whose language is L,     IFL_L = F_L(text only) − F_L(image)

    An example is a scene asked about in one language; results by language are those of its subset. Replies whose
    language cannot be told are left out of F, and their share is reported; IFL is over the questions both of whose
    replies can be told, as a mean of paired differences. ``ifl`` is over all languages but English,
    ``control`` over English. Where F(text only) is low there is nothing to lose. ``right``: the reply names what the
    scene shows and nothing else, in whatever language.

    Args:
        languages: of the questions.
        detect: the language of a reply; by the words of captions of scenes unless given.

    Raises:
        UnknownNameError: for a language that scenes do not speak.

    Source: Hinck et al., "Why do LLaVA Vision-Language Models Reply to Images in English?" (2024), arXiv 2407.02333.
    """

    family = "answering"
    name = "fidelity"
    papers = ("image-induced-fidelity-loss",)
    primary = "ifl"

    def __init__(self, languages: Sequence[str] = LANGUAGES, detect: Detect | None = None) -> None:
        for language in languages:
            if language not in REQUESTS:
                raise unknown("language", language, REQUESTS)
        self.languages = tuple(languages)
        self.detect = detect or ClosedVocabulary.of_scenes()

    def __call__(self, assistant: Assistant, data: PairedData, rows: Rows, *, seed: int = 0) -> Scores:
        """Ask about some rows.

        Raises:
            NotApplicableError: for data other than scenes, which alone are described in several languages.
        """
        if not isinstance(data, Scenes):
            raise NotApplicableError(
                f"{self.name} asks in several languages about scenes, and {data.name!r} has none; for questions of "
                "your own take counterpoint.evaluation.tasks.fidelity.faithful on the replies"
            )
        check_rows(data, rows, self.name)
        scenes = [data.scene(int(row)) for row in rows]
        pairs = [
            (position, question)
            for position, (scene, picture) in enumerate(zip(scenes, data.images(rows), strict=True))
            for question in questions(scene, picture, self.languages)
        ]
        languages = [question.language for _, question in pairs]
        shown = [frozenset(scenes[position].counts()) for position, _ in pairs]
        outcomes: dict[str, np.ndarray] = {}
        for condition in ("text", "image"):
            replies = assistant.reply([getattr(question, condition) for _, question in pairs], seed=seed)
            outcomes[f"faithful {condition}"] = faithful(replies, languages, self.detect)
            outcomes[f"undetermined {condition}"] = np.isnan(outcomes[f"faithful {condition}"]).astype(float)
            outcomes[f"right {condition}"] = np.array(
                [
                    float(named(reply, self.detect(reply)) == true)
                    for reply, true in zip(replies, shown, strict=True)
                ]
            )
        lost = outcomes["faithful text"] - outcomes["faithful image"]
        english = np.array([language == PIVOT for language in languages])
        outcomes |= {
            "lost": np.where(english, np.nan, lost),
            "lost in English": np.where(english, lost, np.nan),
        }
        ids = [
            data.ids[rows[position]] * _MOST_LANGUAGES + self.languages.index(question.language)
            for position, question in pairs
        ]
        return table(self.name, np.array(ids, np.int64), languages, outcomes, _METRICS)


_METRICS = {
    "ifl": Metric("lost", higher_is_better=False),
    "control": Metric("lost in English", higher_is_better=False),
    **{f"fidelity_{condition}": Metric(f"faithful {condition}") for condition in ("text", "image")},
    **{f"right_{condition}": Metric(f"right {condition}") for condition in ("text", "image")},
    **{
        f"undetermined_{condition}": Metric(f"undetermined {condition}", higher_is_better=False)
        for condition in ("text", "image")
    },
}


def faithful(replies: Sequence[str], languages: Sequence[str], detect: Detect) -> np.ndarray:
    """Return 1 for each reply in the language asked for, 0 for others; NaN where a reply's language cannot be told.

    Args:
        replies: of an assistant.
        languages: of the questions.
        detect: from a text to its language, or None.

    Raises:
        ValueError: for other lengths.

    >>> faithful(["Un chien rouge.", "A red dog.", "2"], ["fr", "fr", "fr"], ClosedVocabulary.of_scenes()).tolist()
    [1.0, 0.0, nan]
    """
    if len(replies) != len(languages):
        raise ValueError(f"{len(replies)} replies to {len(languages)} questions")
    detected = [detect(reply) for reply in replies]
    return np.array(
        [
            float("nan") if language is None else float(language == expected)
            for language, expected in zip(detected, languages, strict=True)
        ]
    )


def named(reply: str, language: str | None) -> frozenset[str]:
    """Return the concepts that a reply names in its language; in any language, where the reply's own cannot be told."""
    languages: Sequence[str] = [language] if language is not None and language in LANGUAGES else LANGUAGES
    return frozenset().union(*(concepts_in(reply, one) for one in languages))
