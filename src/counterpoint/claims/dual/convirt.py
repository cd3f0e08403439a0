"""ConVIRT: pictures learn more from the sentences beside them than from themselves."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...data.worlds.emoji.world import Emoji
from ...evaluation.classification.classifiers import logistic
from ...networks.towers.build import build_image_tower
from ...study.presets import Preset
from ..benches.towers import (
    Recaptioned,
    SimCLR,
    Supervised,
    build,
    features,
    recipe,
    trained,
)
from ..lab import Arrays, Lab, Result, above, beside, decides

CLAIM = (
    "Contrast with one sentence of several teaches an image tower a fine attribute: with a tenth of the "
    "labels a linear probe is more than 5 points better on it than on SimCLR's features."
)
REFUTED = "SimCLR's features are as good"
PRESET = Preset(
    "convirt",
    "features that a linear probe reads: of contrast with captions, and of pictures with themselves",
    {"arms": ("ntxent,on=images", "convirt")},
    "ntxent,on=images",
    {"probe": ("logistic_*_top1",)},
)


STEPS, BATCH, SIZE = 120, 128, 32
LANGUAGES = ("en", "de", "fr", "es", "pt", "it")
"""An emoji's 'sentences': its name in each language."""
ATTRIBUTE = "gender"
"""Men and women of one profession differ in a few pixels."""
FRACTIONS = (0.01, 0.1, 1.0)
ARMS = (
    "convirt",
    "convirt,image_weight=0.5",
    "convirt,image_weight=0.25",
    "whole caption",
    "simclr",
    "scratch",
)


def pretrained(arm: str, seed: int, steps: int, quick: bool) -> Arrays:
    """Train one arm without labels (``scratch``: with them, for each fraction); is the attribute read off?"""
    data = Emoji(languages=LANGUAGES[:2] if quick else LANGUAGES)
    context = 64 if arm == "whole caption" else 24
    settings = recipe(quick, steps=steps, batch_size=BATCH, towers__context=context, towers__image_size=SIZE)
    classes = data.labels[ATTRIBUTE].values
    train, test = data.splits.train, np.concatenate(list(data.splits.test.values()))
    labelled, test = train[classes[train] >= 0], test[classes[test] >= 0]
    order = np.random.default_rng([seed, 13]).permutation(labelled)
    subsets = {f: order[: max(round(f * len(order)), 4)] for f in FRACTIONS}
    truth, pictures = classes[test], data.images(test)
    if arm == "scratch":
        found: Arrays = {}
        for fraction, rows in subsets.items():
            image = build_image_tower(settings.towers.image, settings.towers.image_size, seed)
            model = trained(Supervised(image, classes, seed), data, np.sort(rows), settings, seed)
            found[f"{fraction:g}"] = (model.classify(pictures) == truth).astype(float)
        return found
    if arm == "simclr":
        image = build_image_tower(settings.towers.image, settings.towers.image_size, seed)
        tower = trained(SimCLR(image, settings, seed), data, train, settings, seed).image
    else:
        whole = {int(row): ["; ".join(data.captions(int(row)))] for row in train}
        given = Recaptioned(data, whole if arm == "whole caption" else {})
        spec = "convirt" if arm == "whole caption" else arm
        tower = trained(build(spec, settings, given, train, seed), given, train, settings, seed).image_tower
    held_out = features(tower, pictures)
    return {
        f"{f:g}": _probe(features(tower, data.images(rows)), classes[rows], held_out, truth)
        for f, rows in subsets.items()
    }


def _probe(train: np.ndarray, classes: np.ndarray, test: np.ndarray, truth: np.ndarray) -> np.ndarray:
    one = len(np.unique(classes)) < 2  # so few labels that only one class is among them
    predicted = np.full(len(truth), classes[0]) if one else logistic(train, classes, test, 2)
    return (predicted == truth).astype(float)


def run(lab: Lab) -> Iterator[Result]:
    runs = lab.grid(pretrained, {"arm": ARMS}, steps=STEPS)
    correct = runs.scores("{:g}", "accuracy on woman or man, held-out pictures")

    def over_simclr(fraction: float) -> Result:
        return above(
            correct["convirt", fraction] - correct["simclr", fraction],
            0.05,
            refuted_at=0.0,
            name=f"ConVIRT − SimCLR, linear probe on {fraction:.0%} of the labels",
        )

    yield from decides(over_simclr(0.1))
    yield from beside(
        *(over_simclr(fraction) for fraction in FRACTIONS if fraction != 0.1),
        above(
            correct["convirt", 0.1] - correct["scratch", 1.0],
            -0.02,
            name="ConVIRT's probe on 10% of the labels − training from scratch on all",
        ),
        *(
            above(
                correct["convirt", 0.1] - correct[other, 0.1],
                name=f"ConVIRT − {other}, linear probe on 10% of the labels",
            )
            for other in ARMS
            if other not in ("convirt", "simclr")
        ),
    )
    lab.note(
        f"The sentences of a picture are its names in {len(LANGUAGES)} languages, of which one is drawn",
        f"per epoch ('whole caption': all of them in one text); {STEPS} steps at batch {BATCH} and {SIZE} px, from",
        "random weights. Names say whether a woman or a man is drawn, as a report says what a picture",
        "shows. Labels of training are drawn anew for every seed. Reports of several sentences need",
        "another data set.",
    )
