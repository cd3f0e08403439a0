"""LiT: with few captions, a text tower learns best to read an image tower that is pretrained and locked."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from safetensors.torch import save_model

from ...data.pictured import PairedData
from ...data.source import load
from ...evaluation import create
from ...networks.towers.build import build_image_tower
from ...study.presets import Preset
from ...types import Embedder
from ..benches.towers import Supervised, build, recipe, trained
from ..lab import Arrays, Lab, Result, above, beside, decides

CLAIM = (
    "With captions for a tenth of the pictures, a text tower tuned to a pretrained, locked image tower names "
    "held-out pictures better than two towers trained from scratch, on the artist of training and on another."
)
REFUTED = "training both towers from scratch wins at a tenth of the captions"
_PRETRAINED = "image=timm:tf_efficientnet_lite0@package"
PRESET = Preset(
    "lit",
    "a text tower tuned to a pretrained image tower that is locked, or trained too, and two towers from scratch",
    {"arms": ("lit,mode=uu", f"lit,{_PRETRAINED}", f"lit,mode=Uu,{_PRETRAINED}")},
    "lit,mode=uu",
    {"retrieval": ("i2t_R@1", "t2i_R@1"), "zero_shot": ("*_top1",)},
)


STEPS, BATCH, SIZE = 100, 128, 32
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


def run(lab: Lab) -> Iterator[Result]:
    runs = lab.grid(modes, {"labels": ("broad", "narrow")}, steps=STEPS)
    for condition, artist in (("clean", "same artist"), ("artist", "other artist")):
        metric = f"shift {condition}_100way: the right one of 100 held-out names, {artist}"
        named = runs.scores("{} {:g} " + condition, metric)
        few, every = ({mode: named["broad", mode, f] for mode in ("Lu", "Uu", "uu")} for f in (FEW, ALL))
        tenth = f"{FEW:.0%} of the captions, {artist}"
        yield from decides(above(few["Lu"] - few["uu"], name=f"Lu − uu, {tenth}"))
        yield from beside(
            above(few["Lu"] - few["Uu"], name=f"Lu − Uu, {tenth}"),
            above(few["Uu"] - few["uu"], name=f"Uu − uu, {tenth}"),
            above(
                (few["Lu"] - few["uu"]) - (every["Lu"] - every["uu"]),
                name=f"advantage of Lu over uu, {FEW:.0%} − all captions, {artist}",
            ),
            above(
                named["broad", "Lu", FEW] - named["narrow", "Lu", FEW],
                name=f"Lu pretrained on 98 classes − on 2, {tenth}",
            ),
        )
    lab.note(
        f"The image tower is the built-in one at {SIZE} px, trained for {STEPS} steps on labels of the Twemoji",
        f"pictures; contrastive tuning takes {STEPS} steps more at batch {BATCH} (uu has only those).",
        "Text towers start from random weights: no pretrained one ships with the package, so LL and UU",
        "are not tried. Half of the held-out names differ in skin tone or gender alone, which the labels",
        "of the pretraining do not tell.",
    )
