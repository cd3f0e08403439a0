"""LiT: with few captions, a text tower learns best to read an image tower that is pretrained and locked."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors.torch import save_model

from ...catalog.evidence import Result
from ...data.base import PairedData
from ...data.source import load
from ...evaluation import create
from ...networks.towers.build import build_image_tower
from ...types import Embedder
from ..benches.towers import Supervised, build, recipe, trained
from ..lab import Arrays, Lab, measure

CLAIM = (
    "With captions for a tenth of the pictures, a text tower tuned to a pretrained, locked image tower names "
    "held-out pictures better than two towers trained from scratch, on the artist of training and on another."
)
REFUTED = "training both towers from scratch wins at a tenth of the captions"


SEEDS, STEPS, BATCH, SIZE = 5, 100, 128, 32
FEW, ALL = 0.1, 1.0


def modes(labels: str, seed: int, steps: int, quick: bool) -> Arrays:
    """Pretrain an image tower on labels, then tune by contrast in every mode, on few and on all captions.

    Args:
        labels: ``"broad"``: the 98 subgroups; ``"narrow"``: people or not.
        seed: of everything.
        steps: of each training.
        quick: tiny.
    """
    data, settings = load("emoji"), recipe(quick, steps=steps, batch_size=BATCH, towers__image_size=SIZE)
    rows = data.splits.train
    classes = data.labels["subgroup"].values
    if labels == "narrow":
        classes = (
            data.labels["group"].values == data.labels["group"].names.index("people and body parts")
        ) * 1
    image = build_image_tower(settings.towers.image, settings.towers.image_size, seed)
    trained(Supervised(image, classes, seed), data, rows, settings, seed)
    found: Arrays = {}
    plan = [("Lu", FEW), ("Uu", FEW)]
    if labels == "broad":
        plan += [("uu", FEW), ("Lu", ALL), ("Uu", ALL), ("uu", ALL)]
    with tempfile.TemporaryDirectory() as folder:
        pretrained = Path(folder) / "tower.safetensors"
        save_model(image, str(pretrained))
        for mode, fraction in plan:
            order = np.random.default_rng([seed, 7]).permutation(rows)
            chosen = np.sort(order[: max(round(fraction * len(rows)), 2)])
            tower = "cnn" if mode[0] == "u" else f"cnn@{pretrained}"
            method = build(f"lit,mode={mode},image={tower}", settings, data, chosen, seed)
            model = trained(method, data, chosen, settings, seed)
            for key, hits in _named(model, data, quick).items():
                found[f"{mode} {fraction:g} {key}"] = hits
    return found


def _named(model: Embedder, data: PairedData, quick: bool) -> Arrays:
    """Test whether pictures of the artist of training, and of the other, find their name among 100 held-out ones."""
    rows = np.concatenate(list(data.splits.test.values()))
    examples = create("shift", limit=20 if quick else 400)(model, data, rows).examples
    return {
        condition: examples[f"{condition}_100way"].drop_nulls().to_numpy()
        for condition in ("clean", "artist")
    }


def run(lab: Lab) -> Sequence[Result]:
    seeds = lab.seeds(SEEDS)
    found = lab.cells(
        modes,
        {
            f"{labels}-seed{seed}": {"labels": labels, "seed": seed, "steps": STEPS, "quick": lab.quick}
            for labels in ("broad", "narrow")
            for seed in seeds
        },
    )

    def arm(mode: str, fraction: float, condition: str, labels: str = "broad") -> dict[int, np.ndarray]:
        return {seed: found[f"{labels}-seed{seed}"][f"{mode} {fraction:g} {condition}"] for seed in seeds}

    results = []
    for condition, artist in (("clean", "same artist"), ("artist", "other artist")):
        metric = f"shift {condition}_100way: the right one of 100 held-out names, {artist}"
        for better, worse in (("Lu", "uu"), ("Lu", "Uu"), ("Uu", "uu")):
            results.append(
                measure.difference(
                    f"{better} − {worse}, {FEW:.0%} of the captions, {artist}",
                    metric,
                    arm(better, FEW, condition),
                    arm(worse, FEW, condition),
                    expected="above",
                    decides=(better, worse) == ("Lu", "uu"),
                )
            )
        arms = {f"{m} {f:g}": arm(m, f, condition) for m in ("Lu", "uu") for f in (FEW, ALL)}
        results += [
            measure.of_arms(
                f"advantage of Lu over uu, {FEW:.0%} − all captions, {artist}",
                metric,
                arms,
                lambda s: (s[f"Lu {FEW:g}"] - s[f"uu {FEW:g}"]) - (s[f"Lu {ALL:g}"] - s[f"uu {ALL:g}"]),
                expected="above",
                decides=False,
            ),
            measure.difference(
                f"Lu pretrained on 98 classes − on 2, {FEW:.0%} of the captions, {artist}",
                metric,
                arm("Lu", FEW, condition),
                arm("Lu", FEW, condition, "narrow"),
                expected="above",
                decides=False,
            ),
        ]
    lab.note(
        f"The image tower is the built-in one at {SIZE} px, trained for {STEPS} steps on labels of the Twemoji",
        f"pictures; contrastive tuning takes {STEPS} steps more at batch {BATCH} (uu has only those).",
        "Text towers start from random weights: no pretrained one ships with the package, so LL and UU",
        "are not tried. Half of the held-out names differ in skin tone or gender alone, which the labels",
        "of the pretraining do not tell.",
    )
    return results
