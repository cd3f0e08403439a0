"""The page on the states of one assistant: the concepts of a word."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ...data.base import Rows
from ...data.pictured import PairedData
from ...data.views.stopwords import STOP_WORDS
from ...decoding.assistant import VisionLanguageAssistant
from ...diagnostics import plots
from ...diagnostics.assistants import (
    ConceptDictionary,
    Unembedding,
    grounded_words,
    overlap,
    read,
    reply_tokens,
    strongest,
    word_states,
    words_of,
)
from ...diagnostics.assistants.concepts import SHORTEST
from ...diagnostics.assistants.reading import ReplyReading, blocks_of
from ...diagnostics.report.subject import DiagnosticSection
from ...evaluation.prompts import INSTRUCTIONS
from ...files import write_json
from ...types import Prompt
from .frame import drawn, finite, write_page

FILE, PAGE = "states.json", "states.html"
BATCH = 16
HELD_OUT = 4
"""One of so many replies is held out: its picture can ground a concept, which is learned from the other replies."""
SHOWN = 5
"""Pictures that ground a concept, and words that name it in the numbers."""


@dataclass(frozen=True)
class DescribedPictures:
    """An assistant with the pictures that it describes.

    Attributes:
        assistant: with its model.
        data: with pictures.
        rows: of it.
        word: whose concepts are learned; None for the most frequent one.
        concepts: of the word.
    """

    assistant: VisionLanguageAssistant
    data: PairedData
    rows: Rows
    word: str | None
    concepts: int

    @cached_property
    def prompts(self) -> list[Prompt]:
        return [Prompt(INSTRUCTIONS[0], picture) for picture in self.data.images(self.rows)]

    @cached_property
    def replies(self) -> list[list[int]]:
        """The tokens of each description, of which an empty one has none."""
        processor = self.assistant.processor
        texts = self.assistant.reply(self.prompts)
        return [
            reply_tokens(processor, prompt, text) if text else []
            for prompt, text in zip(self.prompts, texts, strict=True)
        ]

    def words(self, index: int) -> set[str]:
        """Return the words of a description, in small letters."""
        _, spans = words_of(self.assistant.processor.tokenizer, self.replies[index])
        return {span.text.lower() for span in spans}

    def readings(self, indices: Sequence[int]) -> Iterator[tuple[int, ReplyReading]]:
        """Yield the readings of some descriptions, a batch at a time, since all states of all layers are held."""
        for start in range(0, len(indices), BATCH):
            batch = indices[start : start + BATCH]
            inputs = self.assistant.inputs([self.prompts[index] for index in batch])
            yield from zip(
                batch,
                read(self.assistant.model, inputs, [self.replies[index] for index in batch]),
                strict=True,
            )


def write_states(
    folder: Path,
    assistant: VisionLanguageAssistant,
    data: PairedData,
    rows: Rows,
    *,
    word: str | None,
    concepts: int,
    model: str,
    command: Sequence[str],
    notify: Callable[[str], None] = lambda title: None,
) -> dict[str, Any]:
    """Write ``states.html``, which opens offline, and ``states.json``.

    Args:
        folder: to write into.
        assistant: that describes the pictures.
        data, rows: the pictures.
        word: whose concepts are learned; None for the most frequent word of the descriptions.
        concepts: of the word.
        model: its name.
        command: that makes the page again.
        notify: called with the title of each section when it is done.

    Returns:
        What the JSON file holds.
    """
    subject = DescribedPictures(assistant, data, rows, word, concepts)
    sections = []
    for section in examine(subject):
        notify(section.title)
        sections.append(section)
    numbers: dict[str, Any] = finite(
        {
            "format": 1,
            "model": model,
            "data": data.name,
            "rows": len(rows),
            "sections": {s.name: {"sentence": s.sentence, "numbers": dict(s.numbers)} for s in sections},
        }
    )
    write_json(folder / FILE, numbers)
    write_page(
        folder / PAGE,
        "states.html.j2",
        about=numbers,
        sections=drawn(sections, numbers["sections"]),
        command=shlex.join(command),
        attribution=data.attribution,
    )
    return numbers


def examine(subject: DescribedPictures) -> Iterator[DiagnosticSection]:
    """Yield every section of the page; one that does not apply to this model says why."""
    for name, title, examined in (("concepts", "Concepts of a word", concepts_of_word),):
        try:
            yield examined(subject)
        except ValueError as error:
            yield DiagnosticSection(name, title, f"Not measured: {error}.", {}, None)


def concepts_of_word(subject: DescribedPictures) -> DiagnosticSection:
    """Learn the concepts of a word from its predicting states, and ground them in words and in held-out pictures."""
    words = [subject.words(index) for index in range(len(subject.replies))]
    word = subject.word or _most_frequent(words)
    having = [index for index, of_reply in enumerate(words) if word in of_reply]
    held = having[::HELD_OUT]
    learned = [index for index in having if index not in held]
    if len(learned) < 2 * subject.concepts:
        raise ValueError(
            f"{len(learned)} descriptions with the word {word!r} to learn {subject.concepts} concepts from; it takes "
            f"{2 * subject.concepts}: describe more pictures, or learn fewer concepts"
        )
    model, tokenizer = subject.assistant.model, subject.assistant.processor.tokenizer
    unembed = Unembedding(model)
    layer = len(blocks_of(model)) - 1
    states = {
        index: word_states([reading], tokenizer, word, layer).states[0]
        for index, reading in subject.readings(having)
    }
    concepts = ConceptDictionary(np.stack([states[index] for index in learned]), subject.concepts)
    grounded = grounded_words(concepts.atoms, unembed, tokenizer)
    activations = concepts.encode(np.stack([states[index] for index in held]))
    strength = concepts.activations.argmax(1)
    numbers = {
        "descriptions with the word": float(len(having)),
        "active concepts, mean": concepts.active,
        "overlap of the words of concepts": overlap(grounded),
    }
    for number, of_concept in enumerate(grounded):
        name = f"{number + 1}: {', '.join(of_concept[:SHOWN]) or 'no words'}"
        numbers[f"strongest concept is {name}"] = float((strength == number).mean())
    pictures = strongest(activations, SHOWN)
    figure = plots.gallery(
        [[_shown(subject.prompts[held[k]]) for k in column] for column in pictures.T],
        [f"{number + 1}: {next(iter(of_concept), '–')}" for number, of_concept in enumerate(grounded)],
    )
    sentence = (
        f"{len(having)} of {len(words)} descriptions have the word “{word}”. Of {subject.concepts} concepts of the "
        f"states that predict it {concepts.active:.1f} are active on average, and two concepts share "
        f"{100 * overlap(grounded):.0f} % of their words. The pictures are held out."
    )
    return DiagnosticSection("concepts", f"Concepts of “{word}”", sentence, numbers, figure)


def _most_frequent(words: Sequence[set[str]]) -> str:
    counts = Counter(
        word for of_reply in words for word in sorted(of_reply - STOP_WORDS) if len(word) >= SHORTEST
    )
    if not counts:
        raise ValueError("the descriptions have no words")
    return counts.most_common(1)[0][0]


def _shown(prompt: Prompt) -> np.ndarray:
    assert prompt.picture is not None
    return np.asarray(prompt.picture.permute(1, 2, 0).cpu())
