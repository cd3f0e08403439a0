"""The page on the languages of one assistant: what a picture costs, where inside it shows, what steering gives back."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...data.base import Rows
from ...data.synthetic.scenes.words.lexicon import Language
from ...data.synthetic.scenes.words.vocabulary import vocabulary
from ...data.synthetic.scenes.world import Scenes
from ...decoding.assistant import VisionLanguageAssistant
from ...diagnostics import plots
from ...diagnostics.assistants import (
    Unembedding,
    alignment_by_layer,
    direction,
    language_shares,
    opening_tokens,
    picture_states,
    prompt_states,
    steered,
)
from ...diagnostics.report.subject import DiagnosticSection
from ...evaluation.tasks.fidelity import (
    PIVOT,
    Fidelity,
    FidelityQuestion,
    faithful,
    named,
    questions,
)
from ...files import write_json
from ...types import Prompt
from .frame import drawn, finite, write_page

FILE, PAGE = "fidelity.json", "fidelity.html"
GAMMAS = (0.5, 1.0, 2.0, 4.0)
"""Strengths of steering, in differences between the languages' means."""
STEERED = 24
"""Scenes that steering is tried on, at most, and as many others that directions are measured on."""
LAYERS = 6
"""Layers that are steered, at most."""
LEAST = 0.5
"""Fidelity without a picture below which a loss by the picture says little."""
BATCH = 16


@dataclass(frozen=True)
class PromptedAssistant:
    """An assistant with what it is asked.

    Attributes:
        assistant: with its model.
        data: scenes.
        rows: of them.
        languages: of the questions; English is needed as the control.
    """

    assistant: VisionLanguageAssistant
    data: Scenes
    rows: Rows
    languages: tuple[Language, ...]

    @cached_property
    def others(self) -> list[Language]:
        return [language for language in self.languages if language != PIVOT]

    def asked(self, rows: Rows) -> dict[str, list[FidelityQuestion]]:
        """Return the questions about some rows, by language."""
        by_language: dict[str, list[FidelityQuestion]] = {language: [] for language in self.languages}
        for row, picture in zip(rows, self.data.images(rows), strict=True):
            for question in questions(self.data.scene(int(row)), picture, self.languages):
                by_language[question.language].append(question)
        return by_language

    def states(
        self, read: Callable[[Any, Any], Tensor], prompts: Sequence[Prompt]
    ) -> Float[Tensor, "n layers d"]:
        """Return what ``read`` finds for prompts, a batch at a time."""
        batches = (prompts[start : start + BATCH] for start in range(0, len(prompts), BATCH))
        return torch.cat(
            [read(self.assistant.model, self.assistant.inputs(batch)).float().cpu() for batch in batches]
        )

    @cached_property
    def parts(self) -> tuple[Rows, Rows]:
        """Rows to measure directions on, and others to try them on."""
        half = min(len(self.rows) // 2, STEERED)
        return self.rows[:half], self.rows[half : 2 * half]


def write_fidelity(
    folder: Path,
    assistant: VisionLanguageAssistant,
    data: Scenes,
    rows: Rows,
    languages: Sequence[Language],
    *,
    model: str,
    command: Sequence[str],
    notify: Callable[[str], None] = lambda title: None,
) -> dict[str, Any]:
    """Write ``fidelity.html``, which opens offline, and ``fidelity.json``.

    Args:
        folder: to write into.
        assistant: to be asked.
        data, rows: scenes to ask about.
        languages: of the questions.
        model: its name.
        command: that makes the page again.
        notify: called with the title of each section when it is done.

    Returns:
        What the JSON file holds.

    Raises:
        ValueError: for fewer than 8 scenes, or languages without English or with English alone.
    """
    if len(rows) < 8 or PIVOT not in languages or len(set(languages)) < 2:
        raise ValueError(
            f"{len(rows)} scenes and languages {', '.join(languages)}: it takes 8 scenes, English as the control, and "
            "another language"
        )
    subject = PromptedAssistant(assistant, data, rows, tuple(dict.fromkeys(languages)))
    sections = []
    for section in examine(subject):
        notify(section.title)
        sections.append(section)
    numbers: dict[str, Any] = finite(
        {
            "format": 1,
            "model": model,
            "data": data.name,
            "languages": list(subject.languages),
            "rows": len(rows),
            "sections": {s.name: {"sentence": s.sentence, "numbers": dict(s.numbers)} for s in sections},
        }
    )
    write_json(folder / FILE, numbers)
    write_page(
        folder / PAGE,
        "fidelity.html.j2",
        about=numbers,
        sections=drawn(sections, numbers["sections"]),
        command=shlex.join(command),
        attribution=data.attribution,
    )
    return numbers


def examine(subject: PromptedAssistant) -> Iterator[DiagnosticSection]:
    """Yield every section of the page; one that does not apply to this model says why."""
    for name, title, examined in (
        ("fidelity", "Replies", replies),
        ("alignment", "Pictures and languages", alignment),
        ("spoken", "What the layers would say", spoken),
    ):
        try:
            yield examined(subject)
        except ValueError as error:
            yield DiagnosticSection(name, title, f"Not measured: {error}.", {}, None)
    yield from steering(subject)


def _percent(share: float) -> str:
    """Write a share in words.

    >>> _percent(0.125), _percent(float("nan"))
    ('12 %', 'an unknown share')
    """
    return f"{100 * share:.0f} %".replace("-", "−") if np.isfinite(share) else "an unknown share"


def replies(subject: PromptedAssistant) -> DiagnosticSection:
    """Measure fidelity by language with the picture and without, and what is lost."""
    scores = Fidelity(subject.languages)(subject.assistant, subject.data, subject.rows)
    numbers: dict[str, float] = {}
    shown: dict[str, float] = {}
    for language in subject.languages:
        for condition, words in (("text", "text only"), ("image", "with the picture")):
            value = scores.value(f"fidelity_{condition}", language)
            numbers[f"{language}: fidelity, {words}"] = shown[f"{language}, {words}"] = value
            numbers[f"{language}: right, {words}"] = scores.value(f"right_{condition}", language)
            numbers[f"{language}: language unclear, {words}"] = scores.value(
                f"undetermined_{condition}", language
            )
        numbers[f"{language}: loss"] = scores.value("control" if language == PIVOT else "ifl", language)
    lost = scores.value("ifl")
    numbers = {"loss, all but English": lost} | numbers
    text_only = np.array([numbers[f"{language}: fidelity, text only"] for language in subject.others])
    *most, last = subject.others
    names = f"{', '.join(most)} and {last}" if most else last
    if np.isfinite(text_only).any():
        sentence = (
            f"Of the replies to questions in {names} {_percent(float(np.nanmean(text_only)))} are in the question's "
            f"language with words in the picture's place; with the picture it is {_percent(lost)} less."
        )
        if np.nanmean(text_only) < LEAST:
            sentence += " Where that is little even without a picture, a picture has little to take away."
    else:
        sentence = f"No reply to questions in {names} is in words that tell its language."
    drawn = {name: value for name, value in shown.items() if np.isfinite(value)}
    return DiagnosticSection(
        "fidelity", "Replies", sentence, numbers, plots.bars(drawn, x="fidelity") if drawn else None
    )


def alignment(subject: PromptedAssistant) -> DiagnosticSection:
    """Measure CKA of the picture's places with the question in each language, and of the questions with English."""
    by_language = subject.asked(subject.rows)
    sets = {"picture": subject.states(picture_states, [q.image for q in by_language[PIVOT]])}
    sets |= {
        language: subject.states(prompt_states, [q.text for q in questions])
        for language, questions in by_language.items()
    }
    matrix = alignment_by_layer(sets).numpy()
    names = list(sets)
    english = names.index(PIVOT)
    curves = {f"picture and {name}": matrix[:, 0, k] for k, name in enumerate(names) if k}
    curves |= {f"{PIVOT} and {name}": matrix[:, english, names.index(name)] for name in subject.others}
    numbers = {
        f"{name}, layer {layer}": float(value)
        for name, curve in curves.items()
        for layer, value in enumerate(curve)
    }
    middle = len(matrix) // 2
    texts = float(np.nanmean([curves[f"{PIVOT} and {name}"][middle] for name in subject.others]))
    seen = float(np.nanmean([curves[f"picture and {name}"][middle] for name in names[1:]]))
    sentence = (
        f"In the middle layer a question and its translation are {texts:.2f} alike, pictures and questions {seen:.2f} "
        "(CKA; 1: the same up to rotation and scale)."
    )
    drawn = {name: (range(len(curve)), np.nan_to_num(curve)) for name, curve in list(curves.items())[:8]}
    return DiagnosticSection(
        "alignment", "Pictures and languages", sentence, numbers, plots.lines(drawn, x="layer", y="CKA")
    )


def spoken(subject: PromptedAssistant) -> DiagnosticSection:
    """Return the section on the language that the layers would speak where a reply begins."""
    unembed = Unembedding(subject.assistant.model)
    tokens = opening_tokens(
        subject.assistant.processor.tokenizer,
        {language: vocabulary(language) for language in subject.languages},
    )
    english = list(tokens).index(PIVOT)
    by_language = subject.asked(subject.rows)
    curves: dict[str, np.ndarray] = {}
    for condition, words in (("text", "text only"), ("image", "with the picture")):
        shares = [
            language_shares(
                subject.states(prompt_states, [getattr(q, condition) for q in by_language[language]]).to(
                    subject.assistant.model.device
                ),
                unembed,
                tokens,
            )[:, english]
            for language in subject.others
        ]
        curves[words] = torch.stack(shares).mean(0).cpu().numpy()
    numbers = {
        f"English, {words}, layer {layer}": float(value)
        for words, curve in curves.items()
        for layer, value in enumerate(curve)
    }
    last = {words: float(curve[-1]) for words, curve in curves.items()}
    sentence = (
        f"Where a reply to a question in another language begins, the last layer gives English "
        f"{_percent(last['with the picture'])} of the probability of all languages' words with the picture, and "
        f"{_percent(last['text only'])} without."
    )
    figure = plots.lines(
        {words: (range(len(curve)), curve) for words, curve in curves.items()},
        x="layer",
        y="share of English",
    )
    return DiagnosticSection("spoken", "What the layers would say", sentence, numbers, figure)


def steering(subject: PromptedAssistant) -> Iterator[DiagnosticSection]:
    """Measure fidelity and right answers with the picture, by steered layer and by how far."""
    model = subject.assistant.model
    measured, tried = (subject.asked(rows) for rows in subject.parts)
    states = {
        language: subject.states(prompt_states, [q.text for q in questions])
        for language, questions in measured.items()
    }
    depth = states[PIVOT].shape[1] - 1
    inner = max(depth - 1, 1)
    layers = sorted({round(layer) for layer in np.linspace(1, inner, min(LAYERS, inner)).tolist()})
    detect = Fidelity(subject.languages).detect
    shown = [frozenset(subject.data.scene(int(row)).counts()) for row in subject.parts[1]]
    kept, right = (np.full((len(layers), 1 + len(GAMMAS)), np.nan) for _ in range(2))
    for column, gamma in enumerate((0.0, *GAMMAS)):
        for number, layer in enumerate(layers):
            if not gamma and number:  # nothing is steered, whatever the layer
                kept[number, 0], right[number, 0] = kept[0, 0], right[0, 0]
                continue
            faith: list[np.ndarray] = []
            true: list[bool] = []
            for language in subject.others:
                way = direction(states[language], states[PIVOT])[layer]
                with steered(model, {layer: way}, gamma):
                    replies = subject.assistant.reply([q.image for q in tried[language]])
                faith.append(faithful(replies, [language] * len(replies), detect))
                true += [
                    named(text, detect(text)) == things for text, things in zip(replies, shown, strict=True)
                ]
            pooled = np.concatenate(faith)
            kept[number, column] = np.nanmean(pooled) if np.isfinite(pooled).any() else np.nan
            right[number, column] = np.mean(true)
    rows, columns = [f"layer {layer}" for layer in layers], [f"γ = {g:g}" for g in (0.0, *GAMMAS)]
    best = np.unravel_index(int(np.nan_to_num(kept, nan=-1.0).argmax()), kept.shape)
    where = f"{rows[best[0]]}, {columns[best[1]]}"
    for name, title, matrix, sentence in (
        (
            "steering",
            "Steered towards the question's language",
            kept,
            f"Fidelity with the picture is {_percent(kept[0, 0])} as it is, and {_percent(kept[best])} at best "
            f"({where})."
            if np.isfinite(kept).any()
            else "No reply is in words that tell its language.",
        ),
        (
            "answers",
            "Right answers while steered",
            right,
            f"Replies that name what the picture shows and nothing else: {_percent(right[0, 0])} as it is, "
            f"{_percent(right[best])} where fidelity is best.",
        ),
    ):
        numbers = {
            f"{row}, {column}": float(matrix[i, j])
            for i, row in enumerate(rows)
            for j, column in enumerate(columns)
        }
        figure = plots.heat(matrix, rows, columns) if np.isfinite(matrix).any() else None
        yield DiagnosticSection(name, title, sentence, numbers, figure)
