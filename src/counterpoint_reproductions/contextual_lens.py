"""ContextualLens: states of words in context tell what is in the picture where the words alone cannot."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from counterpoint.data.rng import Rng
from counterpoint.data.synthetic.scenes.items.questions import QuestionKind, questions
from counterpoint.data.synthetic.scenes.pixels.render import draw
from counterpoint.data.synthetic.scenes.scene import Scene
from counterpoint.data.synthetic.scenes.words.vocabulary import concepts_in
from counterpoint.data.synthetic.scenes.world import Scenes
from counterpoint.data.views.stopwords import STOP_WORDS
from counterpoint.decoding.assistant import VisionLanguageAssistant
from counterpoint.diagnostics.assistants import (
    Unembedding,
    best_box,
    best_layers,
    confidence,
    detection,
    logit_lens,
    read,
    similarities,
    support,
)
from counterpoint.diagnostics.assistants.captions import reply_tokens
from counterpoint.diagnostics.assistants.reading import ReplyReading
from counterpoint.evaluation import prompts as chat
from counterpoint.evaluation.grounding import pointing
from counterpoint.evaluation.maps import box_iou
from counterpoint.networks.tiny_vlm import default_model_path, world
from counterpoint.training.tiny_vlm.conversations import CLOSED
from counterpoint.types import Prompt

from .lab import Arrays, Lab, Result, above, decides, effects, secondary, within

CLAIM = (
    "Where a false answer names what is in the picture but belongs to another thing, the cosine of the "
    "answer's contextual state with the picture's places tells true from false better than the logit lens."
)
REFUTED = "on colours of another thing its AUROC is not above that of the logit lens"
OWN = (
    "What is compared are two of the package's diagnostics of an assistant, which are no registered tasks; the "
    "statements that they score are written here, from scenes, so that a false one can name what is in the picture."
)
AUROC = effects.convention("correlation")


DIALS = "objects=2-3,repeats=0.3,tinted=1,relations=1,corrupted=0"
ASKED: dict[QuestionKind, tuple[str, ...]] = {
    "choose object": ("object",),
    "choose colour": ("colour", "binding"),
    "choose relation": ("relation",),
    "choose count": ("count",),
}
"""Questions, and the kinds of statements that answer them."""
KINDS = tuple(kind for kinds in ASKED.values() for kind in kinds)
GROUNDED = ("object", "colour")
CHOSEN, TESTED, BATCH = 60, 150, 32
"""Scenes that choose layers, scenes that are tested on, and statements that are read at a time."""


class StatementPair(NamedTuple):
    """An answer that is true of a picture, and one that is not.

    Attributes:
        kind: object, colour, binding (the colour of another thing), relation or count.
        row: of the world.
        prompt: the question.
        true, false: the answers.
        things: those that the true answer is about, where they are drawn.
    """

    kind: str
    row: int
    prompt: str
    true: str
    false: str
    things: tuple[int, ...]


def statements(world: Scenes, row: int) -> Iterator[StatementPair]:
    """Yield one statement of each kind that a scene has something for."""
    scene, config = world.scene(row), world.config(row)
    draws = Rng(world.preset.seed, int(world.ids[row]), "contextual lens")
    for question_kind, kinds in ASKED.items():
        for question in questions(question_kind, scene, draws, config):
            wrong = [option for option in question.options if option != question.answer]
            shown = {thing.colour for thing in scene}
            sorts = dict.fromkeys(kinds, wrong)
            if question_kind == "choose colour":
                sorts = {
                    "colour": [option for option in wrong if option not in shown],
                    "binding": [option for option in wrong if option in shown],
                }
            text = chat.prompt(question) if question_kind in CLOSED else question.text
            for kind, options in sorts.items():
                if options:
                    false = draws.choice(f"{kind} false", options)
                    answered = f"{question.text} {question.answer}"
                    yield StatementPair(kind, row, text, question.answer, false, _things(scene, answered))


def _things(scene: Scene, text: str) -> tuple[int, ...]:
    """Return the things whose name is in a text."""
    named = concepts_in(text, "en")
    return tuple(index for index, thing in enumerate(scene) if thing.concept in named)


def sentence(answer: str) -> str:
    return f"{answer[:1].upper()}{answer[1:]}."


class StatementScores(NamedTuple):
    """Scores of statements, true ones first, by layer where they have one.

    Attributes:
        kinds, truth: of the statements.
        support: by layer of the places and of the words.
        lens: by layer of the places.
        confidence: of the model.
    """

    kinds: list[str]
    truth: np.ndarray
    support: np.ndarray
    lens: np.ndarray
    confidence: np.ndarray


def readings(
    assistant: VisionLanguageAssistant, world: Scenes, items: Sequence[StatementPair], true: bool
) -> Iterator[tuple[StatementPair, ReplyReading]]:
    """Yield one reading of each statement's true or false answer."""
    for start in range(0, len(items), BATCH):
        batch = items[start : start + BATCH]
        pictures = draw([world.scene(it.row) for it in batch], world.pixels).pictures
        prompts = [Prompt(it.prompt, picture) for it, picture in zip(batch, pictures, strict=True)]
        replies = [
            reply_tokens(assistant.processor, prompt, sentence(it.true if true else it.false))
            for it, prompt in zip(batch, prompts, strict=True)
        ]
        yield from zip(batch, read(assistant.model, assistant.inputs(prompts), replies), strict=True)


def spelt(tokenizer: Any, answer: str) -> list[int]:
    """Return the first token of each meaningful word of an answer, in all spellings: what the lens looks for."""
    words = [word for word in answer.split() if word not in STOP_WORDS] or answer.split()
    forms = [
        form for word in words for form in (word, f" {word}", word.capitalize(), f" {word.capitalize()}")
    ]
    ids: list[list[int]] = tokenizer(forms, add_special_tokens=False)["input_ids"]
    return sorted({one[0] for one in ids})


def measured(
    assistant: VisionLanguageAssistant, world: Scenes, items: Sequence[StatementPair]
) -> StatementScores:
    """Measure all scores of the true answers, then of the false ones."""
    unembed, tokenizer = Unembedding(assistant.model), assistant.processor.tokenizer
    scores: list[tuple[Tensor, Tensor, float]] = []
    for true in (True, False):
        for it, reading in readings(assistant, world, items, true):
            span = slice(0, max(len(reading.tokens) - 1, 1))  # without the full stop
            wanted = spelt(tokenizer, it.true if true else it.false)
            scores.append(
                (
                    support(reading, span),
                    logit_lens(reading.patches, unembed, wanted),
                    confidence(reading, span),
                )
            )
    supports, lenses, confidences = zip(*scores, strict=True)
    return StatementScores(
        [it.kind for it in items] * 2,
        np.repeat([True, False], len(items)),
        torch.stack(supports).cpu().numpy().astype(np.float64),
        torch.stack(lenses).cpu().numpy().astype(np.float64),
        np.array(confidences),
    )


def experiment(seed: int, sizes: tuple[int, int]) -> Arrays:
    """Choose layers on the validation scenes of a world and judge statements about its test scenes.

    Args:
        seed: of the world.
        sizes: how many scenes to choose on, and to judge.

    Returns:
        By kind the AUROC of each score; pointing and overlap of boxes, with what chance and the whole picture give; the
        layers chosen.
    """
    chosen, tested = sizes
    scenes = Scenes.parse(f"{world()},{DIALS},train=1,validation={chosen},test={tested},seed={200 + seed}")
    assistant = VisionLanguageAssistant.load(str(default_model_path()))
    by_split = {
        name: [it for row in next(iter(split.values())) for it in statements(scenes, int(row))]
        for name, split in (("validation", scenes.splits.validation), ("test", scenes.splits.test))
    }
    tuned = measured(assistant, scenes, by_split["validation"])
    i, j = best_layers(tuned.support[:, :, 1:], tuned.truth, tuned.kinds)
    contextual = i, j + 1
    (alone,) = best_layers(tuned.support[:, :, 0], tuned.truth, tuned.kinds)
    (lens,) = best_layers(tuned.lens, tuned.truth, tuned.kinds)
    test = measured(assistant, scenes, by_split["test"])
    scores = {
        "contextual": test.support[:, contextual[0], contextual[1]],
        "words alone": test.support[:, alone, 0],
        "logit lens": test.lens[:, lens],
        "confidence": test.confidence,
    }
    outcomes = {"layers": np.array([*contextual, lens])}
    for name, values in scores.items():
        judged = detection(values, test.truth, test.kinds)
        for kind in KINDS:  # few scenes may have no statement of a kind
            outcomes[f"{kind}, {name}"] = np.array(judged[kind].auroc if kind in judged else np.nan)
    return outcomes | grounded(assistant, scenes, by_split["test"], contextual)


def grounded(
    assistant: VisionLanguageAssistant, world: Scenes, items: Sequence[StatementPair], layers: tuple[int, int]
) -> Arrays:
    """Measure how often the place nearest to an answer lies in the box of its only thing, and how boxes overlap."""
    single = [it for it in items if it.kind in GROUNDED and len(it.things) == 1]
    hits, chances, overlaps, wholes = [], [], [], []
    for it, reading in readings(assistant, world, single, True):
        span = slice(0, max(len(reading.tokens) - 1, 1))
        meaning = reading.meaning(span)[layers[1]]
        places = reading.patches[layers[0]]
        true = draw([world.scene(it.row)], world.pixels).boxes[0][it.things[0]] / world.pixels
        inside = _inside(true, reading.grid)
        if not inside.any():
            continue
        hits.append(pointing(similarities(places, meaning)[None].cpu(), inside[None])[0])
        chances.append(float(inside.float().mean()))
        overlaps.append(box_iou(best_box(places, meaning).pixels(1, 1), true.tolist()))
        wholes.append(box_iou((0, 0, 1, 1), true.tolist()))
    return {
        "pointing": np.array(np.mean(hits)),
        "pointing by chance": np.array(np.mean(chances)),
        "overlap": np.array(np.mean(overlaps)),
        "overlap of the whole": np.array(np.mean(wholes)),
    }


def _inside(box: np.ndarray, grid: tuple[int, int]) -> Tensor:
    """Mark the places that have their middle in a box; the box is given as shares of the picture."""
    y, x = ((torch.arange(n) + 0.5) / n for n in grid)
    left, top, right, bottom = box.tolist()
    return ((y >= top) & (y < bottom))[:, None] & ((x >= left) & (x < right))[None, :]


def run(lab: Lab) -> Iterator[Result]:
    runs = lab.grid(experiment, {}, sizes=(CHOSEN, TESTED))
    auroc = runs.scores("{}, {}", "AUROC")
    share = runs.scores(
        "{}",
        "share of object and colour answers whose nearest place lies in the thing's box, minus the box's area",
    )
    overlap = runs.scores("{}", "intersection over union with the thing's box")
    yield from decides(
        above(
            auroc["binding", "contextual"] - auroc["binding", "logit lens"],
            name="binding: ContextualLens − logit lens",
            metric="AUROC of true against false colours of the thing asked about, the false one another thing's",
            **AUROC,
        )
    )
    yield from secondary(
        above(
            auroc["relation", "contextual"] - auroc["relation", "logit lens"],
            name="relation: ContextualLens − logit lens",
            metric="AUROC of true against opposite relations",
        ),
        within(auroc["binding", "logit lens"] - 0.5, 0.1, name="binding: logit lens", metric="AUROC − ½"),
        *(
            above(auroc[kind, name], 0.5, name=f"{kind}: {name}")
            for kind in KINDS
            for name in ("contextual", "words alone", "logit lens", "confidence")
            if (kind, name) != ("binding", "logit lens")
        ),
        above(share["pointing"] - share["pointing by chance"], name="pointing − chance"),
        above(overlap["overlap"] - overlap["overlap of the whole"], name="box search − the whole picture"),
    )
    layers = (", ".join(f"{layer:g}" for layer in run["layers"]) for run in runs[()].values())
    lab.note(
        "The tiny vision-language model, on scenes of two or three dyed things. Seeds are worlds with",
        f"{TESTED} test scenes each, not trainings: there is one model. Layers are chosen on {CHOSEN} other scenes (of",
        f"places, of words, of places for the logit lens): {'; '.join(layers)}. A state of a word is the one at its",
        "own position. The logit lens looks for the first token of each word that carries meaning, in all spellings.",
    )
