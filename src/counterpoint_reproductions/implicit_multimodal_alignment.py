"""Implicit multimodal alignment: pictures and words use the same weights of a language model, more than by chance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from counterpoint.data.synthetic.scenes.words import captions
from counterpoint.data.synthetic.scenes.world import Scenes
from counterpoint.decoding.assistant import VisionLanguageAssistant
from counterpoint.diagnostics.assistants import (
    ActivatedWeights,
    TokenSample,
    layer_similarity,
    mask_overlap,
    read,
    reply_tokens,
    similarity_by_layer,
    skipping,
    token_sample,
    untrained,
    where,
)
from counterpoint.diagnostics.assistants.reading import blocks_of
from counterpoint.evaluation.prompts import INSTRUCTIONS
from counterpoint.networks.tiny_vlm import default_model_path, world
from counterpoint.types import Prompt

from .lab import Arrays, Lab, Result, above, decides, effects, secondary

CLAIM = (
    "The weights that a language model uses most for pictures and those that it uses most for words overlap more than "
    "in an untrained model of the same shape."
)
REFUTED = "they overlap as much in an untrained model"
OWN = "What is measured is a diagnostic of an assistant, which is no registered task."

SCENES, BATCH, TOKENS = 320, 64, 6
"""Scenes with captions, those that are read at a time, and the tokens of each modality in an example."""
MODELS = ("trained", "untrained", "shuffled")


class CaptionBatch(NamedTuple):
    """Prompts with a picture each, and their captions as replies."""

    inputs: Mapping[str, Any]
    replies: Sequence[Sequence[int]]


def shuffled(model: Any, seed: int) -> Any:
    """Return the model with the entries of each weight matrix of its blocks in random order."""
    copy, generator = deepcopy(model), torch.Generator().manual_seed(seed)
    for block in blocks_of(copy):
        for weight in block.parameters():
            if weight.ndim == 2:
                order = torch.randperm(weight.numel(), generator=generator)
                weight.data = weight.data.flatten()[order].view_as(weight)
    return copy


def batches(assistant: VisionLanguageAssistant, source: str) -> Iterator[CaptionBatch]:
    """Yield the test scenes of a world whose captions have enough tokens."""
    scenes = Scenes.parse(source)
    rows = next(iter(scenes.splits.test.values()))
    pairs = []
    for row, picture in zip(rows, scenes.images(rows), strict=True):
        prompt = Prompt(INSTRUCTIONS[0], picture)
        caption = captions.short(scenes.scene(int(row))).text
        reply = reply_tokens(assistant.processor, prompt, f"{caption[:1].upper()}{caption[1:]}.")
        if len(reply) >= TOKENS:
            pairs.append((prompt, reply))
    for start in range(0, len(pairs), BATCH):
        prompts, replies = zip(*pairs[start : start + BATCH], strict=True)
        yield CaptionBatch(assistant.inputs(prompts), replies)


def measured(model: Any, data: Sequence[CaptionBatch], seed: int) -> dict[str, Tensor]:
    """Measure the overlap of the masks, and the similarities by layer, of one model."""
    rng, used = np.random.default_rng(seed), ActivatedWeights(model)
    pictures, texts = [], []
    for inputs, replies in data:
        readings = read(model, inputs, replies)
        samples: list[TokenSample] = []
        for reading in readings:
            sample = token_sample(reading, TOKENS, rng)
            if sample is None:
                raise ValueError("a picture or a caption has too few tokens besides its sinks")
            samples.append(sample)
            pictures.append(reading.patches.flatten(1, 2)[:, sample.patches])
            texts.append(reading.words[:, sample.words])
        used.update(inputs, replies, samples)
    overlaps = mask_overlap(used.masks("picture"), used.masks("text"))
    p, t = torch.stack(pictures), torch.stack(texts)
    return {
        "overlap": torch.tensor(np.mean([*overlaps.values()])),
        "between": similarity_by_layer(p, t),
        "matching": similarity_by_layer(p, t, pairs="matching"),
        "within texts": similarity_by_layer(t, t, pairs="others"),
        "steps of pictures": layer_similarity(p),
        "steps of texts": layer_similarity(t),
    }


def loss_by_skipping(model: Any, data: Sequence[CaptionBatch]) -> Arrays:
    """Measure the nats of a caption's tokens where the feed-forward part of every second block is skipped.

    It is skipped at the tokens of the picture, or at those that predict and spell the caption.
    """
    layers = range(1, len(blocks_of(model)), 2)
    nats: dict[str, list[float]] = {"nothing": [], "picture": [], "text": []}
    for inputs, replies in data:
        length = inputs["input_ids"].shape[1] + max(map(len, replies))
        positions = {name: torch.zeros(len(replies), length, dtype=torch.bool) for name in nats}
        for row, of_row in enumerate(where(model, inputs)):
            positions["picture"][row, of_row.positions] = True
            positions["text"][row, inputs["input_ids"].shape[1] - 1 :] = True
        for name, at in positions.items():
            with skipping(model, at, layers):
                readings = read(model, inputs, replies)
            nats[name] += [-float(reading.log_probabilities.mean()) for reading in readings]
    return {f"nats, {name}": np.array(np.mean(values)) for name, values in nats.items()}


def experiment(seed: int, scenes: int) -> Arrays:
    """Measure the trained model, an untrained one, and one of shuffled weights on the captions of one world.

    Args:
        seed: of the world, and of the random weights.
        scenes: of the world.
    """
    assistant = VisionLanguageAssistant.load(default_model_path())
    model = assistant.model
    source = f"{world()},corrupted=0,train=1,validation=1,test={scenes},seed={400 + seed}"
    data = list(batches(assistant, source))
    models = {"trained": model, "untrained": untrained(model, seed), "shuffled": shuffled(model, seed)}
    outcomes: Arrays = {}
    for name, examined in models.items():
        values = measured(examined, data, seed)
        outcomes |= {f"{name} {key}": value.double().numpy() for key, value in values.items()}
        between = outcomes[f"{name} between"]
        outcomes[f"{name} rise"] = np.array(between[len(between) // 2] - between[0])
    return outcomes | loss_by_skipping(model, data)


def run(lab: Lab) -> Iterator[Result]:
    runs = lab.grid(experiment, {}, scenes=SCENES)
    overlap = runs.scores("{} overlap", "intersection over union of the masks of pictures and of words")
    rise = runs.scores(
        "{} rise", "cosine of pictures and words in the middle layer, minus that before the first"
    )
    nats = runs.scores("nats, {}", "nats a token of the caption")
    yield from decides(
        above(
            overlap["trained"] - overlap["untrained"],
            name="overlap: trained − untrained",
            **effects.convention("share"),
        )
    )
    yield from secondary(
        above(overlap["trained"] - overlap["shuffled"], name="overlap: trained − shuffled weights"),
        above(overlap["trained"], 1 / 3, name="overlap, trained"),
        above(overlap["untrained"], 1 / 3, name="overlap, untrained"),
        above(rise["trained"], name="rise of the cosine, trained"),
        above(rise["trained"] - rise["untrained"], name="rise of the cosine: trained − untrained"),
        above(nats["text"] - nats["picture"], name="skipping at words − skipping at the picture"),
    )
    lab.note(
        "One model, the tiny vision-language model that ships with the package, all of whose weights were trained; the",
        "paper's language models are frozen. A seed is a world of scenes, and the start of the untrained weights.",
        f"Masks keep half of each output row. They are computed over {TOKENS} tokens of each picture and of its",
        "caption, without sinks. Shuffled weights are the trained ones in random order, so that their sizes are as",
        "unequal. Skipped is the feed-forward part of every second block, at all tokens of the picture or the caption.",
        *(
            f"{name}, by layer: "
            + "; ".join(f"{arm} {curve(runs[()].values(), arm, name)}" for arm in MODELS)
            + "."
            for name in ("between", "matching", "within texts", "steps of pictures", "steps of texts")
        ),
    )


def curve(runs: Any, arm: str, name: str) -> str:
    """Return a measure by layer in words, the mean over seeds."""
    return " ".join(f"{value:.2f}" for value in np.mean([run[f"{arm} {name}"] for run in runs], 0))
