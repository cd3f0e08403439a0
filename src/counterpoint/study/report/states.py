"""The page on the states of one assistant: concepts of a word, and pictures and words inside one model."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...data.base import Rows
from ...data.pictured import PairedData
from ...data.views.stopwords import STOP_WORDS
from ...decoding.assistant import VisionLanguageAssistant
from ...diagnostics import plots
from ...diagnostics.assistants import (
    ActivatedWeights,
    ConceptDictionary,
    TokenSample,
    Unembedding,
    grounded_words,
    mask_overlap,
    norm_range,
    overlap,
    read,
    reply_tokens,
    similarity_by_layer,
    strongest,
    token_sample,
    untrained,
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
SAMPLED, TOKENS = 64, 6
"""Descriptions whose tokens are compared with those of their pictures, at most, and tokens of each side."""


class SampledTokens(NamedTuple):
    """As many tokens of each picture as of its description.

    Attributes:
        indices: of the descriptions.
        samples: which tokens.
        pictures, texts: their states.
    """

    indices: list[int]
    samples: list[TokenSample]
    pictures: Float[Tensor, "b layers n d"]
    texts: Float[Tensor, "b layers n d"]


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

    @cached_property
    def tokens(self) -> SampledTokens:
        """The sampled tokens of the first descriptions that are long enough.

        Raises:
            ValueError: if none is.
        """
        long = [index for index, reply in enumerate(self.replies) if len(reply) >= TOKENS][:SAMPLED]
        rng = np.random.default_rng(0)
        sampled = [
            (index, sample, reading.patches.flatten(1, 2)[:, sample.patches], reading.words[:, sample.words])
            for index, reading in self.readings(long)
            if (sample := token_sample(reading, TOKENS, rng))
        ]
        if len(sampled) < 2:
            raise ValueError(
                f"no two descriptions with {TOKENS} tokens, and as many of the picture, to compare"
            )
        indices, samples, pictures, texts = zip(*sampled, strict=True)
        return SampledTokens([*indices], [*samples], torch.stack(pictures), torch.stack(texts))


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
    for name, title, examined in (
        ("concepts", "Concepts of a word", concepts_of_word),
        ("alignment", "Pictures and words by layer", alignment),
        ("weights", "Weights that pictures and words use", shared_weights),
    ):
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


def alignment(subject: DescribedPictures) -> DiagnosticSection:
    """Measure the cosine of pooled states between and within modalities at each layer, and the norms of the tokens."""
    pictures, texts = subject.tokens.pictures, subject.tokens.texts
    curves = {
        "pictures and texts": similarity_by_layer(pictures, texts),
        "pictures and own texts": similarity_by_layer(pictures, texts, pairs="matching"),
        "texts": similarity_by_layer(texts, texts, pairs="others"),
        "pictures": similarity_by_layer(pictures, pictures, pairs="others"),
    }
    numbers = {"alignment score": float(curves["pictures and texts"].mean())}
    for name, curve in curves.items():
        numbers |= {f"{name}, layer {layer}": float(value) for layer, value in enumerate(curve)}
    for name, states in (("pictures", pictures), ("texts", texts)):
        medians = norm_range(states)[:, 1]
        numbers |= {f"median norm of {name}, layer {k}": float(value) for k, value in enumerate(medians)}
    sentence = (
        f"The cosine of the mean states of a picture and a description is {curves['pictures and texts'][0]:.2f} before "
        f"the first block, {curves['pictures and texts'].max():.2f} at its highest and "
        f"{numbers['alignment score']:.2f} on average over layers. Of a picture and its own description it is "
        f"{curves['pictures and own texts'].mean():.2f} on average. "
        f"Sinks are left out, and both sides have {TOKENS} tokens."
    ).replace("-", "−")
    figure = plots.lines(
        {name: (range(len(curve)), curve.cpu().numpy()) for name, curve in curves.items()},
        x="layer",
        y="cosine",
    )
    return DiagnosticSection("alignment", "Pictures and words by layer", sentence, numbers, figure)


def shared_weights(subject: DescribedPictures) -> DiagnosticSection:
    """Measure how the weights that pictures and words use most overlap, with an untrained model as control."""
    model = subject.assistant.model
    curves = {
        name: _overlap_by_block(subject, examined)
        for name, examined in (("this model", model), ("untrained", untrained(model)))
    }
    numbers = {
        f"{name}, block {block}": float(value)
        for name, curve in curves.items()
        for block, value in enumerate(curve)
    }
    sentence = (
        f"Of the half of the weights that pictures use most and the half that descriptions use most "
        f"{100 * curves['this model'].mean():.0f} % are the same (intersection over union). In an untrained model of "
        f"the same shape it is {100 * curves['untrained'].mean():.0f} %, in random halves 33 %."
    )
    figure = plots.lines(
        {name: (range(len(curve)), curve) for name, curve in curves.items()},
        x="block",
        y="intersection over union",
    )
    return DiagnosticSection("weights", "Weights that pictures and words use", sentence, numbers, figure)


def _overlap_by_block(subject: DescribedPictures, model: Any) -> Float[np.ndarray, " blocks"]:
    used, tokens = ActivatedWeights(model), subject.tokens
    for start in range(0, len(tokens.indices), BATCH):
        batch = tokens.indices[start : start + BATCH]
        inputs = subject.assistant.inputs([subject.prompts[index] for index in batch])
        used.update(
            inputs, [subject.replies[index] for index in batch], tokens.samples[start : start + BATCH]
        )
    overlaps = mask_overlap(used.masks("picture"), used.masks("text"))
    blocks: dict[str, list[float]] = {}
    for name, value in overlaps.items():
        blocks.setdefault(name.partition(".")[0], []).append(value)
    return np.array([np.mean(values) for values in blocks.values()])
