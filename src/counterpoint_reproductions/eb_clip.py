"""EB-CLIP: does an energy for drawn pictures make a pair that draws?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from counterpoint.data.pictured import PairedData
from counterpoint.data.source import load_any
from counterpoint.generation import draw_pictures, perturb
from counterpoint.losses import InfoNCELoss
from counterpoint.methods.classifying import Classifying
from counterpoint.methods.eb_clip import EBCLIP
from counterpoint.training.run import Run
from counterpoint.training.start import load

from .lab import Lab, Result, Score, TrainingComparison, above, arm, decides, effects, secondary

CLAIM = (
    "A pair that is tuned on attacked pictures finds captions of attacked pictures better by 0.05 than one that is "
    "tuned on plain ones, and pictures that are drawn by their pixels to fit a caption show its thing more often by "
    "0.05 where drawn pictures had a high energy in training as well."
)
REFUTED = "attacks are as harmful, or drawn pictures are as wrong"
DELTA = effects.convention("share", of=5, reason="the paper reports other data; less could be seen by nobody")

PLAIN, ATTACKED, FULL = "plain", "attacked", "attacked and drawn"
PRETRAINED, STEPS, JUDGED, DRAWN, CHUNK = 600, 200, 900, 500, 125
RADIUS, VIEWS, ASCENTS = 0.018, 2, 40
WORLD = "scenes:tiny,sizes=large,pixels=32,train=4000,validation=100"
DATA, SINGLE = f"{WORLD},objects=1-2,test=1000", f"{WORLD},objects=1,test={DRAWN}"
CHANGES = {
    "towers.image_size": 32,
    "towers.text_layers": 1,
    "augmentation.paired": "plain",
    "augmentation.synonyms": False,
    "batch_size": 64,
}
PRETRAINING = TrainingComparison(
    {"pair": "clip"},
    {"retrieval": ("i2t_R@1",)},
    data=DATA,
    recipe="cpu",
    changes={**CHANGES, "steps": PRETRAINED, "validate_every": PRETRAINED},
)
JUDGE = replace(
    PRETRAINING,
    arms={"judge": "cross-entropy,labels=concept"},
    tasks={"classification": ("accuracy",)},
    data=SINGLE,
    labels="concept",
    changes={**CHANGES, "steps": JUDGED, "validate_every": JUDGED},
    seeds=(0,),
)


def tuned(pair: Path) -> dict[str, str]:
    """Return the arms, each from the pair of the same seed."""
    method = f'eb-clip,from="{pair}",radius={RADIUS}'
    return {
        PLAIN: f"{method},attack=0,gamma=0",
        ATTACKED: f"{method},gamma=0",
        FULL: method,
    }


COMPARISON = replace(
    PRETRAINING,
    arms=tuned(Path("runs/pretraining/seed-{seed}")),
    changes={**CHANGES, "steps": STEPS, "validate_every": STEPS},
)


def opened(folder: Path, of: Path) -> tuple[EBCLIP, PairedData, np.ndarray, list[str]]:
    """Return a run's model, and data with its test rows and their captions."""
    model, data = load(folder).eval(), load_any(Run.read(of).data)
    assert isinstance(model, EBCLIP)
    assert isinstance(data, PairedData)
    rows = next(iter(data.splits.test.values()))
    return model, data, rows, [data.evaluation_captions(int(row))[0] for row in rows]


def robust_hits(folder: Path) -> np.ndarray:
    """Return which test pictures find their caption among all different ones after an attack of ten steps."""
    model, data, rows, captions = opened(folder, folder)
    different = list(dict.fromkeys(captions))
    y, own = model.embed("text", different), torch.tensor([different.index(caption) for caption in captions])
    contrast, hits = InfoNCELoss(0.07), []
    pictures = model.inputs["image"](torch.as_tensor(data.read("image", rows)))
    radius = RADIUS * pictures[0].numel() ** 0.5
    for some, answers in zip(torch.split(pictures, CHUNK), torch.split(own, CHUNK), strict=True):

        def loss(x: Tensor, of: Tensor = y[answers]) -> Tensor:
            return contrast(model.embed_pictures(x), of)

        attacked = perturb(some, loss, radius=radius, steps=10)
        hits.append((model.embed_prepared("image", attacked) @ y.T).argmax(1) == answers)
    return torch.cat(hits).numpy()


def drawn_right(folder: Path, judge: Path, seed: int) -> np.ndarray:
    """Return which pictures drawn to captions of one thing show it, by a classifier of real pictures."""
    (model, data, rows, captions), classifier = opened(folder, judge), load(judge)
    assert isinstance(classifier, Classifying)
    examples = model.inputs["image"](torch.as_tensor(data.read("image", data.splits.train[:DRAWN])))
    drawn = [
        draw_pictures(model.embed_pictures, y, examples, steps=ASCENTS, views=VIEWS, seed=seed + number)
        for number, y in enumerate(torch.split(model.embed("text", captions), CHUNK))
    ]
    p = classifier.classify((255 * torch.cat(drawn)).round().byte())
    return p.argmax(1).numpy() == data.label("concept", "classes").values[rows]


def run(lab: Lab) -> Iterator[Result]:
    judge = lab.study(JUDGE, "judge")
    pairs = lab.study(PRETRAINING, "pretraining")
    study = lab.study(replace(COMPARISON, arms=tuned(pairs.each("pair"))))
    seeds, clean, by = (
        lab.seeds(COMPARISON.seeds),
        study.scores("retrieval i2t_R@1"),
        judge.folder("judge", 0),
    )
    robust: dict[str, Score] = {}
    right: dict[str, Score] = {}
    for name in study.arms:
        folders = {seed: study.folder(name, seed) for seed in seeds}
        hits = {seed: robust_hits(folder) for seed, folder in folders.items()}
        robust[name] = arm(name, hits, "R@1 under attack")
        shown = {seed: drawn_right(folder, by, seed) for seed, folder in folders.items()}
        right[name] = arm(name, shown, "accuracy on drawn pictures")
    yield from decides(
        above(robust[ATTACKED] - robust[PLAIN], name="1: R@1 under attack, attacked − plain", **DELTA),
        above(
            right[FULL] - right[ATTACKED], name="2: drawn pictures, attacked and drawn − attacked", **DELTA
        ),
    )
    yield from secondary(
        above(right[ATTACKED] - right[PLAIN], name="3: drawn pictures, attacked − plain"),
        above(clean[FULL] - clean[PLAIN], name="4: R@1, attacked and drawn − plain"),
    )
    means = [
        ", ".join(f"{n} {s.measure().estimate:.3f}" for n, s in each.items()) for each in (robust, right)
    ]
    lab.note(
        f"The registered method on {DATA}, {STEPS} steps from CLIP of {PRETRAINED}, one a seed, with attacks of root",
        f"mean square {RADIUS:g}; the test attacks in ten steps. {DRAWN} pictures are drawn by {ASCENTS} steps on",
        f"{VIEWS} views. The judge, cross-entropy on real ones, is right about",
        f"{judge.scores('classification accuracy').means()} of them. R@1 under attack among different captions:",
        f"{means[0]}; without, among all: {clean.means()}. Drawn right: {means[1]}.",
    )
