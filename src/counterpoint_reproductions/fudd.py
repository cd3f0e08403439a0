"""FuDD: what tells the likeliest classes apart helps to choose among them; as much that does not, helps less."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import final

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from counterpoint.data.base import Rows, Splits
from counterpoint.data.embeddings import EmbeddingCache
from counterpoint.data.labels import Classes
from counterpoint.data.pictured import PairedData
from counterpoint.data.synthetic.scenes.pixels.render import draw
from counterpoint.data.synthetic.scenes.words.descriptions import (
    TEMPLATE,
    ClassDescription,
    differences,
    statements,
)
from counterpoint.evaluation import create
from counterpoint.evaluation.differential import Among, Differential, by_name, likeliest, second_pass
from counterpoint.evaluation.task import similarity, top1
from counterpoint.spec import of_seed
from counterpoint.training.start import load

from .lab import Arrays, Lab, Result, TrainingComparison, above, below, decides, effects, secondary
from .lab.data_looks import CONCEPTS, KINDS, SIDE, kinds, scene

CLAIM = (
    "A second pass among the classes that a picture could be, by sentences about what tells them apart, "
    "classifies better than names, and better than as many sentences about any of their attributes."
)
REFUTED = "random attributes do as well as those that differ, or names alone do"
SHARE = effects.convention("share")

TEMPLATES = ("{}", TEMPLATE, "there is {}", "this is {}", "the picture shows {}")
ARMS = ("differential", "random", "shared", "all", "templates", "name")
STEPS, BATCH, TESTED = 600, 128, 40
MODEL = "clip"
TRAINING = TrainingComparison(
    {MODEL: "clip"},
    {"retrieval": ("i2t_R@1",)},
    data=f"{Path(__file__).parent / 'lab' / 'data_looks.py'}:LOOKS",
    recipe="cpu",
    changes={
        "steps": STEPS,
        "validate_every": STEPS,
        "batch_size": BATCH,
        "towers.image_size": SIDE,
        "towers.vocabulary": 512,
        "augmentation.paired": "plain",  # a crop may be of another size and at another place than is said
    },
)


@final
class Kinds(PairedData):
    """Pictures of kinds of things, to be told by names that nobody learned."""

    name = "kinds"

    def __init__(
        self, pictures: UInt8[Tensor, "n 3 S S"], values: Int[np.ndarray, " n"], named: Classes
    ) -> None:
        self._pictures, self._named = pictures, named
        self.ids = np.arange(len(values))
        self.subsets = np.array([named.names[value].split()[-1] for value in values])
        self.labels: Mapping[str, Classes] = {"kind": named}
        self.splits = Splits(self.ids[:0], {}, {"kinds": self.ids})

    def images(self, rows: Rows) -> UInt8[Tensor, "n 3 S S"]:
        return self._pictures[torch.from_numpy(rows)]

    def captions(self, row: int) -> Sequence[str]:
        return (TEMPLATE.format(self._named.names[self._named.values[row]]),)


def classified(folder: str, seed: int, per_class: int) -> Arrays:
    """Classify kinds by what is said of them, with the model of a run.

    Returns:
        Hits of every arm; ``recall`` of the first pass, and the ``gain`` where it was less and more sure.
    """
    looks, described = kinds(seed)
    rng = np.random.default_rng([seed, 4])
    values = np.repeat(np.arange(len(looks)), per_class)
    pictures = draw([scene(looks[value], rng) for value in values], SIDE).pictures
    labels = Classes(tuple(each.name for each in described), values, TEMPLATES)
    data = Kinds(pictures, values, labels)
    features = EmbeddingCache(load(of_seed(folder, seed)), data)
    known = {each.name: each for each in described}
    task = create("fudd", label="kind", k=KINDS, describe=lambda a, b: differences(known[a], known[b]))
    scores = task(features, data, data.ids)
    results: Arrays = {"differential": scores.examples["top1"].to_numpy()}
    results |= {
        "name": scores.examples["first_top1"].to_numpy(),
        "recall": scores.examples["recall"].to_numpy(),
    }
    results |= {name: np.array(scores.value(name)) for name in ("gain_close", "gain_clear")}
    results["sentences"] = np.array(scores.examples["sentences"].mean())
    images, truth = features.images(data.ids), torch.from_numpy(values)
    results["templates"] = top1(similarity(features, images, features.classes(labels)), truth)
    candidates = likeliest(by_name(features, images, labels.names), KINDS)
    place = (candidates == truth[:, None]).long().argmax(1)
    for arm, among in others(described, seed).items():
        hits = top1(second_pass(features, images, candidates, among).similarities, place)
        results[arm] = hits * results["recall"]
    return results


def others(described: Sequence[ClassDescription], seed: int) -> dict[str, Among]:
    """Return other things to say of the candidates: as many, chosen at random; those that all candidates share; all."""
    known, labels = {each.name: each for each in described}, [each.name for each in described]
    differing = Differential(labels, lambda a, b: differences(known[a], known[b]))
    plain = [TEMPLATE.format(name) for name in labels]

    def shared(classes: tuple[int, ...]) -> list[tuple[str, ...]]:
        own = [[s.removeprefix(plain[c]) for s in statements(described[c])] for c in classes]
        common = set(own[0]).intersection(*own)
        said = [
            [plain[c] + end for end in ends if end in common] for c, ends in zip(classes, own, strict=True)
        ]
        return [tuple(sentences or [plain[c]]) for c, sentences in zip(classes, said, strict=True)]

    def at_random(classes: tuple[int, ...]) -> list[tuple[str, ...]]:
        rng = np.random.default_rng([seed, 5, *classes])
        found = []
        for c, said in zip(classes, differing(classes), strict=True):
            own = np.asarray(statements(described[c]))
            found.append(tuple(rng.permutation(own)[: len(said)].tolist()))
        return found

    return {
        "random": at_random,
        "shared": shared,
        "all": lambda classes: [statements(described[c]) for c in classes],
    }


def run(lab: Lab) -> Iterator[Result]:
    folder = str(lab.study(TRAINING).each(MODEL))
    runs = lab.grid(classified, {}, seeds=TRAINING.seeds, folder=folder, per_class=TESTED)
    hits = runs.scores("{}", "top-1, kinds of things by unseen names")
    gain = runs.scores("gain_{}", "differential − name, halves of the pictures by the first pass's lead")
    yield from decides(*(above(hits["differential"] - hits[other], **SHARE) for other in ("random", "name")))
    yield from secondary(
        *(above(hits["differential"] - hits[other]) for other in ("all", "templates")),
        above(hits["random"] - hits["name"]),
        below(hits["shared"] - hits["name"], 0.05),
        above(
            gain["close"] - gain["clear"],
            name="gain where the first pass was less sure − where it was surer",
        ),
    )
    lab.note(
        f"Four kinds of each of {len(CONCEPTS)} things, which differ in two of colour, size, column and row and",
        f"share the other two; k is {KINDS}, so that the candidates are the kinds of one thing if the first pass",
        "finds it. A kind is called by an odd word and its noun ('a dax cat'): by an odd word alone the first pass",
        f"would be a guess. The model is CLIP under the recipe cpu, on {SIDE}-pixel scenes and sentences of any of the",
        f"traits, half of them with other odd words, in {STEPS} steps of {BATCH}, on the same scenes under every seed;",
        "kinds are of each seed. The first evidence had towers of its own, trained by code of its own. Descriptions",
        "come from templates and not from a language model. Sentences of a class:",
        f"{hits.values('sentences').mean():.2f}, as many at random. Accuracy: {hits.means((*ARMS, 'recall'))}.",
    )
