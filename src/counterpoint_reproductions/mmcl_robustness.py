"""Why contrast with captions is robust: details that captions tell, within a class and across classes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from counterpoint.data.synthetic.scenes.concepts import CONCEPTS, KINDS
from counterpoint.data.synthetic.scenes.scene import Thing
from counterpoint.data.synthetic.scenes.words.captions import phrase, short
from counterpoint.data.synthetic.scenes.words.lexicon import lexicon
from counterpoint.data.synthetic.scenes.world import Scenes
from counterpoint.evaluation.latent import InterClass, IntraClass, zero_shot_weights
from counterpoint.evaluation.robustness import Trend
from counterpoint.evaluation.task import top1
from counterpoint.losses import InfoNCELoss
from counterpoint.networks import initialise

from .lab import (
    Arrays,
    Grid,
    Lab,
    Result,
    Score,
    above,
    below,
    combined,
    decides,
    effects,
    per_seed,
    secondary,
    within,
)
from .lab.descent import minimise
from .lab.scene_towers import SIDE, SceneTowers, train

CLAIM = (
    "Contrast with captions that tell details classifies better than supervision once a shortcut of the "
    "training data is gone, the more details the better, and less well where examples of one class are no "
    "negatives."
)
REFUTED = (
    "accuracy without the shortcut does not rise with the details told, is not above that of supervised "
    "models as good with it, or is as high without negatives of the own class"
)
OWN = (
    "Encoders are linear ones in closed form, and small towers in a training loop of the claim's own. No registered "
    "method has a closed form, or leaves out negatives of the own class."
)
SHARE = effects.convention("share")


TOLD = (0.0, 0.25, 0.5, 0.75, 1.0)
TRAIN, TEST = 1000, 4000
WORLDS: Mapping[str, IntraClass | InterClass] = {"intra": IntraClass(), "inter": InterClass()}

CLASSES = tuple(kind for kind in KINDS if kind not in ("furniture", "container"))
PER_CLASS = 5
STRENGTH = 0.95
STEPS, BATCH, LR = 500, 128, 1e-3
TRAINED, TESTED = 4000, 1000
ARMS = ("rich", "masked", "class name")
FAMILY = (20, 40, 80, 160, 320, 500)
"""Steps after which a supervised model counts as one of the family that effective robustness is measured against."""
TESTS = ("as trained", "independent")


def linear(world: str, seed: int, train_size: int, test_size: int) -> Arrays:
    """Classify zero-shot by the closed form, at several shares of told details, and by a supervised model (part 1).

    Returns:
        Accuracy in the world (``given``) and in one where the shortcut says nothing (``shifted``): of each share, and
        of logistic regression.
    """
    rng = np.random.default_rng([seed, list(WORLDS).index(world)])
    plain = WORLDS[world]
    tests = {
        "given": plain.sample(test_size, rng),
        "shifted": replace(plain, agreement=0.5).sample(test_size, rng),
    }
    results: Arrays = {}

    def score(name: str, classify: Callable[[np.ndarray], np.ndarray]) -> None:
        for test, (images, _, classes) in tests.items():
            results[f"{name} {test}"] = np.array(np.mean(classify(images) == classes))

    for share in TOLD:
        sample = telling(plain, share).sample(train_size, rng)
        score(f"told{share:g}", by(zero_shot_weights(sample.images, sample.texts, plain.prompts)))
    score("supervised", supervised(sample.images, sample.classes))
    return results


def by(weights: Float[np.ndarray, "d K"]) -> Callable[[np.ndarray], np.ndarray]:
    """Return a classifier that chooses the class of highest score."""
    return lambda x: np.asarray((x @ weights).argmax(1))


def telling(world: IntraClass | InterClass, share: float) -> IntraClass | InterClass:
    """Return the world whose captions tell a share of the details."""
    if isinstance(world, IntraClass):
        return replace(world, core_told=share, spurious_told=share)
    return replace(world, caption_rate=share)


def supervised(
    images: Float[np.ndarray, "n d"], classes: Int[np.ndarray, " n"]
) -> Callable[[np.ndarray], np.ndarray]:
    """Fit logistic regression with hardly a penalty."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=100.0, max_iter=2000).fit(images, classes)
    return lambda x: np.asarray(model.predict(x))


class Biased(NamedTuple):
    """Scenes of one thing, whose class goes with a background.

    Attributes:
        pictures: small.
        rich: captions that name the thing, and its size where it is small or large.
        classes: what sort of thing it is.
    """

    pictures: UInt8[Tensor, "n 3 S S"]
    rich: list[str]
    classes: Int[np.ndarray, " n"]


def things() -> list[str]:
    """List five concepts of each class, by turns: concept i goes with background i modulo the classes, as its class."""
    own = [
        [name for name, concept in CONCEPTS.items() if concept.kind == kind][:PER_CLASS] for kind in CLASSES
    ]
    return [concepts[i] for i in range(PER_CLASS) for concepts in own]


@lru_cache(maxsize=4)
def biased(split: str, count: int) -> Biased:
    """Draw the first scenes of a split: ``train``, or one of `TESTS`; there are as many backgrounds as classes."""
    source = f"scenes:spurious,concepts={'+'.join(things())},strength={STRENGTH},test={TESTED},pixels={SIDE}"
    world = Scenes.parse(source)
    backgrounds = world.preset.config.backgrounds
    if len(backgrounds) != len(CLASSES):
        raise ValueError(f"needs a background for each of {len(CLASSES)} classes, got {len(backgrounds)}")
    rows = (world.splits.train if split == "train" else world.splits.test[split])[:count]
    scenes = [world.scene(int(row)) for row in rows]
    kinds = [CLASSES.index(CONCEPTS[scene.things[0].concept].kind) for scene in scenes]
    return Biased(world.images(rows), [short(scene).text for scene in scenes], np.array(kinds))


def class_captions() -> list[str]:
    """Return the name of each class with its article."""
    singular = [lexicon("en").kinds[kind].singular for kind in CLASSES]
    return [f"{'an' if name[0] in 'aeiou' else 'a'} {name}" for name in singular]


def contrasted(arm: str, seed: int, steps: int, train_size: int, test_size: int) -> Arrays:
    """Contrast pictures with captions, and classify by prompts that say nothing of backgrounds (part 2).

    A class is the mean of what its concepts are called (of its name, if captions are class names): the caption without
    detail of the paper's theory.

    Args:
        arm: ``"rich"``; ``"masked"``, the same without negatives of the own class; ``"class name"``.
    """
    data = biased("train", train_size)
    texts = [class_captions()[k] for k in data.classes] if arm == "class name" else data.rich
    towers = SceneTowers([*data.rich, *class_captions()], seed)
    tokens, classes = towers.words.tokenizer(texts), torch.from_numpy(data.classes)

    def loss(towers: SceneTowers, infonce: InfoNCELoss, rows: Int[np.ndarray, " B"]) -> Tensor:
        x, y = towers.pictures(data.pictures[rows]), towers.captions(tokens[rows])
        return without_own_class(infonce, x, y, classes[rows]) if arm == "masked" else infonce(x, y)

    train(towers, loss, examples=len(texts), batch=BATCH, steps=steps, lr=LR, seed=seed)
    prompts = [[name] for name in class_captions()]
    if arm != "class name":
        called = {name: phrase(Thing(name, None, "medium", 300, 500, 500)) for name in things()}
        prompts = [[called[name] for name in things() if CONCEPTS[name].kind == kind] for kind in CLASSES]
    means = torch.stack([towers.embed("text", own).mean(0) for own in prompts])
    return tested(lambda pictures: towers.embed("image", pictures) @ F.normalize(means, dim=-1).T, test_size)


def without_own_class(
    infonce: InfoNCELoss, x: Float[Tensor, "B d"], y: Float[Tensor, "B d"], classes: Int[Tensor, " B"]
) -> Float[Tensor, ""]:
    """Return InfoNCE in which examples of the class of an anchor are no negatives of it."""
    logits = infonce.temperature.scale(x) @ y.T
    own = (classes[:, None] == classes[None]).fill_diagonal_(False)
    logits = logits.masked_fill(own, -torch.inf)
    target = torch.arange(len(x))
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def labelled(seed: int, steps: int, family: Sequence[int], train_size: int, test_size: int) -> Arrays:
    """Train the same picture tower with a linear layer by cross-entropy; test along the way too (part 2).

    Returns:
        Hits of the trained model, and the accuracies in both tests after each number of steps of the family.
    """
    data = biased("train", train_size)
    towers, head = SceneTowers(data.rich, seed), nn.Linear(64, len(CLASSES))
    initialise(head, seed, "head")
    classes = torch.from_numpy(data.classes)
    temperature = 0.1  # of cosines: features are of unit norm, as those of the other arms
    along: list[np.ndarray] = []
    taken = 0

    def classify(pictures: UInt8[Tensor, "n 3 S S"]) -> Float[Tensor, "n K"]:
        logits: Tensor = head(towers.embed("image", pictures) / temperature)
        return logits.detach()

    def loss(rng: np.random.Generator) -> Tensor:
        rows = rng.choice(len(classes), min(BATCH, len(classes)), replace=False)
        return F.cross_entropy(head(towers.pictures(data.pictures[rows]) / temperature), classes[rows])

    def after() -> None:
        nonlocal taken
        taken += 1
        if taken in family:
            hits = tested(classify, test_size)
            along.append(np.array([smoothed(hits[test]) for test in TESTS]))

    parameters = [*towers.image.parameters(), *head.parameters()]
    minimise(loss, parameters, steps=steps, lr=LR, seed=seed, after=after)
    return tested(classify, test_size) | {"along": np.stack(along)}


def tested(classify: Callable[[Tensor], Tensor], test_size: int) -> Arrays:
    """Test a classifier of pictures in both tests."""
    results: Arrays = {}
    for test in TESTS:
        data = biased(test, test_size)
        with torch.no_grad():
            results[test] = top1(classify(data.pictures), torch.from_numpy(data.classes))
    return results


def smoothed(hits: np.ndarray) -> float:
    """Return an accuracy that has a logit."""
    return float((hits.sum() + 0.5) / (len(hits) + 1))


def run(lab: Lab) -> Iterator[Result]:
    yield from closed_form(lab)
    yield from scenes(lab)


def closed_form(lab: Lab) -> Iterator[Result]:
    """Judge linear encoders in a world of each kind, without the shortcut (part 1)."""
    runs = lab.grid(linear, {"world": tuple(WORLDS)}, train_size=TRAIN, test_size=TEST)
    lab.note(
        "1: linear encoders in closed form. With captions that name the class alone they are the classifier by class",
        "means, which hardly looks at how reliable a feature is, so that it need not fall as low as supervision.",
    )
    for world, about in (("intra", "within classes"), ("inter", "across classes")):
        yield from without_shortcut(lab, runs, world, about)


def without_shortcut(lab: Lab, runs: Grid, world: str, about: str) -> Iterator[Result]:
    """Judge contrast by the share of details that captions tell, and supervision, in one world."""
    accuracy = runs.scores("{} {}", f"accuracy without the shortcut, {about}")
    told = {share: accuracy[world, f"told{share:g}", "shifted"] for share in TOLD}
    supervised = accuracy[world, "supervised", "shifted"]
    yield from decides(
        above(told[1.0] - supervised, name=f"1, {about}: contrast with all details − supervised", **SHARE),
        above(told[1.0] - told[0.0], name=f"1, {about}: contrast with all details − with none", **SHARE),
    )
    yield from secondary(
        within(told[0.0] - supervised, 0.05, name=f"1, {about}: contrast without details − supervised")
    )
    if world == "intra":
        metric = "mean absolute difference of accuracies over shares of details"
        yield from secondary(below(distance_from_limit(told), 0.03, metric=metric))

    def mean(name: str, test: str) -> str:
        return f"{accuracy.values((world, name, test)).mean():.3f}"

    lab.note(
        f"1, {about}: {', '.join(mean(f'told{share:g}', 'shifted') for share in TOLD)} without the shortcut with",
        f"{', '.join(f'{share:g}' for share in TOLD)} of the details told, {mean('supervised', 'shifted')}",
        f"supervised; with it {mean('supervised', 'given')} supervised and {mean('told1', 'given')} by contrast",
        "with all details.",
    )


def distance_from_limit(scores: Mapping[float, Score]) -> Score:
    """Return how far accuracies of contrast are from those of many examples, in the world of details within classes."""
    intra = IntraClass()
    limits = [replace(intra, core_told=share, spurious_told=share).limit(0.5) for share in scores]
    return combined(
        lambda accuracies: float(np.mean(np.abs(np.subtract(accuracies, limits)))),
        "1, within classes: distance from the limit of many examples",
        scores.values(),
    )


def scenes(lab: Lab) -> Iterator[Result]:
    """Judge towers that are trained on scenes of one thing, whose background then says nothing (part 2)."""
    metric = "top-1 among classes, backgrounds that say nothing"
    contrast = lab.grid(contrasted, {"arm": ARMS}, steps=STEPS, train_size=TRAINED, test_size=TESTED)
    labels = lab.grid(labelled, {}, steps=STEPS, family=FAMILY, train_size=TRAINED, test_size=TESTED)
    runs = {arm: contrast[arm] for arm in ARMS} | {"supervised": labels[()]}
    hits = {arm: contrast.scores("independent", metric)[arm] for arm in ARMS}
    hits["supervised"] = labels.scores("independent", metric)[()]
    along = np.concatenate([run["along"] for run in labels[()].values()])
    trend = Trend.fit(along[:, 0], along[:, 1])

    def robustness(arm: str) -> Result:
        given, other = (np.array([smoothed(run[test]) for run in runs[arm].values()]) for test in TESTS)
        values = trend.effective_robustness(given, other)
        metric = "accuracy above that of supervised models as good as trained"
        return above(per_seed(f"2: effective robustness, {arm}", metric, values), **SHARE)

    yield from decides(
        above(hits["rich"] - hits["class name"], name="2: rich captions − class name", **SHARE),
        above(hits["rich"] - hits["masked"], name="2: rich captions − masked", **SHARE),
        robustness("rich"),
    )
    yield from secondary(
        above(hits["rich"] - hits["supervised"], name="2: rich captions − supervised"),
        above(hits["class name"] - hits["supervised"], -0.05, name="2: class names − supervised"),
        robustness("masked"),
        robustness("class name"),
    )
    each = "; ".join(
        f"{arm} {', '.join(f'{np.mean([run[test].mean() for run in own.values()]):.3f}' for test in TESTS)}"
        for arm, own in runs.items()
    )
    lab.note(
        f"2: {len(CLASSES)} classes of {PER_CLASS} things, each class on a background of its own with probability",
        f"{STRENGTH} in training; {SIDE} pixels, {STEPS} steps of {BATCH} for all, the same picture tower. The",
        "details that captions tell are which thing it is, and its size. Accuracy as trained, and where backgrounds",
        f"say nothing: {each}. Effective robustness is against supervised models after {', '.join(map(str, FAMILY))}",
        f"steps: a line of slope {trend.slope:.2f} between logits, of accuracies from {along[:, 0].min():.3f} to",
        f"{along[:, 0].max():.3f} as trained.",
    )
