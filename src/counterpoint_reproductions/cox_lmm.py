"""CoX-LMM: concepts learned from the states that predict a word are named by words that are true of the picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from counterpoint.data.synthetic.scenes.scene import Scene
from counterpoint.data.synthetic.scenes.words.lexicon import lexicon
from counterpoint.data.synthetic.scenes.world import Scenes
from counterpoint.decoding.assistant import VisionLanguageAssistant
from counterpoint.diagnostics.assistants import (
    ConceptDictionary,
    Unembedding,
    grounded_words,
    overlap,
    read,
    reply_tokens,
    word_states,
)
from counterpoint.diagnostics.assistants.concepts import Decomposition
from counterpoint.diagnostics.assistants.reading import ReplyReading, blocks_of
from counterpoint.evaluation.prompts import INSTRUCTIONS
from counterpoint.networks.tiny_vlm import default_model_path, world
from counterpoint.types import Prompt

from .lab import Arrays, Lab, Result, above, below, decides, effects, secondary

CLAIM = (
    "Concepts that are learned as a sparse dictionary from the states that predict an object word are grounded in "
    "words of which a larger share is true of a held-out picture than of the words of random directions."
)
REFUTED = "the words of random directions are true as often"
OWN = (
    "The dictionary is a diagnostic of an assistant and no registered task. Which words are true of a picture is read "
    "from its scene."
)

DIALS = "objects=2,strength=0.5,tinted=1,relations=0,corrupted=0"
TRAINED, TESTED, BATCH = 2400, 1200, 64
"""Described scenes that dictionaries are learned from, and that they are tested on; scenes that are read at a time."""
CONCEPTS = 8
"""Concepts of a word, which about ten times as many states are for."""
METHODS: tuple[Decomposition, ...] = ("semi-nmf", "pca", "k-means", "simple")
RANDOM, OTHER = "random", "semi-nmf of another picture"


class Described(NamedTuple):
    """The states of a split of described scenes.

    Attributes:
        scenes: in order.
        states: by object word, the scene's index and the state that predicts the word.
    """

    scenes: list[Scene]
    states: Mapping[str, tuple[np.ndarray, np.ndarray]]


def truths(scene: Scene) -> set[str]:
    """Return the nouns, colours and sizes that are true of a scene, in all their forms."""
    words = lexicon("en")
    true: set[str] = set()
    for thing in scene:
        noun = words.nouns[thing.concept]
        true |= {noun.singular, noun.plural} | {form for size in words.sizes[thing.size] for form in size}
        true |= set(words.colours[thing.colour]) if thing.colour else set()
    return true


def known(world: Scenes, row: int) -> set[str]:
    """Return the nouns, colours and sizes that a world has: the words whose truth a scene decides."""
    words, config = lexicon("en"), world.config(row)
    nouns = {form for concept in config.concepts for form in words.nouns[concept][:2]}
    colours = {form for colour in config.colours for form in words.colours[colour]}
    return nouns | colours | {form for size in config.sizes for forms in words.sizes[size] for form in forms}


@lru_cache(maxsize=1)
def loaded() -> VisionLanguageAssistant:
    return VisionLanguageAssistant.load(default_model_path(), max_new_tokens=24, batch_size=BATCH)


@lru_cache(maxsize=2)
def described(source: str) -> tuple[Scenes, Described, Described]:
    """Let the model describe the training and test scenes of a world, and read the states before its object words."""
    scenes, assistant = Scenes.parse(source), loaded()
    test = next(iter(scenes.splits.test.values()))
    return scenes, _described(scenes, scenes.splits.train, assistant), _described(scenes, test, assistant)


def _described(world: Scenes, rows: np.ndarray, assistant: VisionLanguageAssistant) -> Described:
    config, tokenizer = world.config(int(rows[0])), assistant.processor.tokenizer
    nouns = [lexicon("en").nouns[concept].singular for concept in config.concepts]
    layer = len(blocks_of(assistant.model)) - 1
    collected: dict[str, list[tuple[int, np.ndarray]]] = {noun: [] for noun in nouns}
    for start in range(0, len(rows), BATCH):
        batch = rows[start : start + BATCH]
        prompts = [Prompt(INSTRUCTIONS[0], picture) for picture in world.images(batch)]
        replies = [
            reply_tokens(assistant.processor, prompt, text)
            for prompt, text in zip(prompts, assistant.reply(prompts), strict=True)
        ]
        readings: Sequence[ReplyReading] = read(assistant.model, assistant.inputs(prompts), replies)
        for noun in nouns:
            of_noun = word_states(readings, tokenizer, noun, layer)
            collected[noun] += [(start + int(k), state) for k, state in zip(*of_noun, strict=True)]
    states = {
        noun: (np.array([k for k, _ in pairs]), np.array([state for _, state in pairs]))
        for noun, pairs in collected.items()
        if pairs
    }
    return Described([world.scene(int(row)) for row in rows], states)


def experiment(seed: int, train_size: int, test_size: int) -> Arrays:
    """Learn the concepts of every object word from half of its states, and ground the strongest one of test states.

    Args:
        seed: draws the half, starts the dictionary, and draws the random directions.
        train_size, test_size: scenes.

    Returns:
        For each arm the share of true words, a test scene whose description has an object word (the mean over these;
        0 of a concept without words); for each method the overlap, and the active concepts, means over object words.
    """
    scenes, training, test = described(
        f"{world()},{DIALS},train={train_size},validation=1,test={test_size},seed=301"
    )
    assistant, rng = loaded(), np.random.default_rng(seed)
    unembed, tokenizer = Unembedding(assistant.model), assistant.processor.tokenizer
    counted = known(scenes, int(scenes.splits.train[0]))
    true = [truths(scene) for scene in test.scenes]
    arms = (*METHODS, RANDOM, OTHER)
    shares: dict[str, list[list[float]]] = {arm: [[] for _ in test.scenes] for arm in arms}
    overlaps: dict[str, list[float]] = {arm: [] for arm in METHODS}
    active = []

    def judge(arm: str, rows: np.ndarray, words: Sequence[tuple[str, ...]]) -> None:
        for row, of_row in zip(rows, words, strict=True):
            shares[arm][row].append(sum(word in true[row] for word in of_row) / max(len(of_row), 1))

    for word, (_, states) in training.states.items():
        half = rng.permutation(len(states))[: len(states) // 2]
        count = min(CONCEPTS, len(half) // 2)  # fewer in a smoke run alone
        if not count or word not in test.states:
            continue
        rows, new = test.states[word]
        for method in METHODS:
            concepts = ConceptDictionary(states[half], count, method=method, seed=seed)
            words = grounded_words(concepts.atoms, unembed, tokenizer, counted)
            chosen = [words[k] for k in concepts.encode(new).argmax(1)]
            judge(method, rows, chosen)
            overlaps[method] += [overlap(words)] if sum(map(bool, words)) > 1 else []
            if method == "semi-nmf":
                active.append(concepts.active)
                judge(OTHER, np.roll(rows, 1), chosen)
        directions = rng.uniform(size=(len(rows), new.shape[1]))
        judge(RANDOM, rows, grounded_words(directions, unembed, tokenizer, counted))
    outcomes = {
        f"{arm} true": np.array([np.mean(of_scene) for of_scene in by_scene if of_scene])
        for arm, by_scene in shares.items()
    }
    outcomes |= {f"{arm} overlap": np.array(np.mean(values)) for arm, values in overlaps.items()}
    return outcomes | {"active": np.array(np.mean(active))}


def run(lab: Lab) -> Iterator[Result]:
    runs = lab.grid(experiment, {}, train_size=TRAINED, test_size=TESTED)
    true = runs.scores("{} true", "share of the strongest concept's words that are true of a test scene")
    shared = runs.scores("{} overlap", "share of a concept's words that another one of its word has")
    yield from decides(
        above(
            true["semi-nmf"] - true[RANDOM],
            name="dictionary − random directions",
            **effects.convention("share"),
        )
    )
    yield from secondary(
        above(true["semi-nmf"] - true[OTHER], name="dictionary − the same words of another picture"),
        *(above(true["semi-nmf"] - true[method], name=f"dictionary − {method}") for method in METHODS[1:]),
        *(
            below(shared["semi-nmf"] - shared[method], name=f"overlap: dictionary − {method}")
            for method in METHODS[1:]
        ),
    )
    active = np.mean([float(run["active"]) for run in runs[()].values()])
    lab.note(
        "One model, the tiny vision-language model that ships with the package, which describes pictures of two dyed",
        "things. Seeds are those of the dictionary: each one draws half of the described training scenes. Words that",
        f"count are nouns, colours and sizes. Of {CONCEPTS} concepts {active:.1f} are active in a state, on average.",
        f"Share of true words: {true.means([*METHODS, RANDOM, OTHER])}. Overlap: {shared.means(METHODS)}.",
    )
