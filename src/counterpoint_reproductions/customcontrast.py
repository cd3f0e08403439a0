"""CustomContrast: do subjects that are contrasted forget where they stood, and lie as far apart as they look?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from scipy.stats import spearmanr
from torch import Tensor

from counterpoint.data.source import load_any
from counterpoint.data.synthetic.scenes.pixels.render import draw
from counterpoint.data.synthetic.scenes.scene import Scene, Thing
from counterpoint.data.synthetic.scenes.world import Scenes
from counterpoint.methods.tower_method import TowerMethod
from counterpoint.training.run import Run
from counterpoint.training.start import load

from .lab import Lab, Result, TrainingComparison, above, decides, effects, per_seed, secondary

CLAIM = (
    "Vectors of subjects that learn from different pictures of a subject say less of place, size and background, by an "
    "R² of 0.1, than a code that reconstructs the picture, and their distances follow those between clean pictures "
    "better, by a rank correlation of 0.05, where subjects that look alike repel less than where all repel alike."
)
REFUTED = (
    "the code says no more of place, size and background, or distances follow looks as well without weights"
)
LESS = effects.convention("share", of=10, reason="the paper reports no such figure; chosen before the run")
FOLLOWS = effects.convention("correlation")

SELF, PLAIN, SCALED = "reconstruction", "equal weights", "weights by appearance"
PRETRAINED, STEPS, SIDE, PROBED, PENALTY = 300, 300, 48, 1000, 0.01
DATA = (
    "scenes:basic,objects=1,repeats=0,relations=0,tinted=0,unsaid=size,maps=classes,pixels=48,train=4000,validation=100,"
    "test=1000"
)
CHANGES = {
    "batch_size": 64,
    "towers.image_size": SIDE,
    "towers.text_layers": 1,
    "augmentation.paired": "plain",
    "augmentation.synonyms": False,
}
PRETRAINING = TrainingComparison(
    {"tower": "clip,columns=image+text"},
    {"probe,labels=concept": ("logistic_concept_top1",)},
    data=DATA,
    recipe="cpu",
    changes={**CHANGES, "steps": PRETRAINED, "validate_every": PRETRAINED},
)


def begun(towers: Path) -> dict[str, str]:
    """Return the arms, each from the image tower that CLIP has trained under the same seed."""
    tower = f'image="cnn@{towers}"'
    return {
        SELF: f"autoencoder,loss=l2,code=384,{tower}",
        PLAIN: f"customcontrast,labels=concept,scaled=false,{tower}",
        SCALED: f"customcontrast,labels=concept,{tower}",
    }


COMPARISON = replace(
    PRETRAINING,
    arms=begun(Path("runs/pretraining/seed-{seed}")),
    changes={**CHANGES, "steps": STEPS, "validate_every": STEPS},
)


def nuisances(data: Scenes, rows: np.ndarray, grounds: list[str]) -> Float[Tensor, "n k"]:
    """Return place, size and background of the thing of each scene."""
    scenes = [data.scene(int(row)) for row in rows]
    measures = [[one.things[0].x, one.things[0].y, one.things[0].side] for one in scenes]
    shown = [[one.background == ground for ground in grounds] for one in scenes]
    return torch.cat([torch.tensor(measures) / 1000, torch.tensor(shown).float()], 1)


def explained(z: Float[Tensor, "n d"], y: Float[Tensor, "n k"], z_test: Tensor, y_test: Tensor) -> float:
    """Return the R² on test rows of ridge regression, the mean over what is predicted."""
    mean, deviation = z.mean(0), z.std(0).clamp_min(1e-6)
    x, x_test = ((part - mean) / deviation for part in (z, z_test))
    gram = x.T @ x + PENALTY * len(x) * torch.eye(x.shape[1])
    predicted = x_test @ torch.linalg.solve(gram, x.T @ (y - y.mean(0))) + y.mean(0)
    return float(
        (1 - (y_test - predicted).square().mean(0) / y_test.var(0, correction=0).clamp_min(1e-6)).mean()
    )


def measured(folder: Path, judge: Path) -> dict[str, float]:
    """Return R² of nuisances, the rank correlation with distances of clean pictures, and retrieval of subjects."""
    model, clean, data = load(folder), load(judge), load_any(Run.read(folder).data)
    assert isinstance(model, TowerMethod)
    assert isinstance(clean, TowerMethod)
    assert isinstance(data, Scenes)
    parts = data.splits.train[:PROBED], next(iter(data.splits.test.values()))
    z, z_test = (model.embed("image", torch.as_tensor(data.read("image", rows))) for rows in parts)
    grounds = sorted({data.scene(int(row)).background for row in parts[0]})[1:]
    y, y_test = (nuisances(data, rows, grounds) for rows in parts)
    subjects = torch.as_tensor(data.label("concept", "classes").values[parts[1]])
    near = (z_test @ z_test.T).fill_diagonal_(-2).argmax(1)
    of_subject = {one: parts[1][subjects == one] for one in sorted(set(subjects.tolist()))}
    means = torch.stack([z_test[subjects == one].mean(0) for one in of_subject])
    names = [data.scene(int(rows[0])).things[0].concept for rows in of_subject.values()]
    things = [Scene(0, (Thing(name, None, "large", 900, 500, 500),)) for name in names]
    looks = clean.embed("image", draw(things, SIDE).pictures)
    above_diagonal = torch.triu_indices(len(names), len(names), 1).unbind()
    distances = [torch.cdist(one, one)[above_diagonal].numpy() for one in (means, looks)]
    return {
        "explained": explained(z, y, z_test, y_test),
        "follows": float(spearmanr(*distances).statistic),
        "retrieved": float((subjects[near] == subjects).float().mean()),
    }


def run(lab: Lab) -> Iterator[Result]:
    towers = lab.study(PRETRAINING, "pretraining")
    study, seeds = (
        lab.study(replace(COMPARISON, arms=begun(towers.each("tower")))),
        lab.seeds(COMPARISON.seeds),
    )
    following = dict(zip(seeds, (*seeds[1:], seeds[0]), strict=True))
    values = {
        name: [measured(study.folder(name, s), towers.folder("tower", following[s])) for s in seeds]
        for name in study.arms
    }

    def gain(which: str, more: str, less: str) -> np.ndarray:
        return np.array([a[which] - b[which] for a, b in zip(values[more], values[less], strict=True)])

    forgets = per_seed("less", "R² of nuisances", gain("explained", SELF, SCALED))
    follows = per_seed("more", "rank correlation of distances", gain("follows", SCALED, PLAIN))
    yield from decides(
        above(forgets, name="1: R² of nuisances, reconstruction − weights by appearance", **LESS),
        above(follows, name="2: rank correlation, weights by appearance − equal weights", **FOLLOWS),
    )
    retrieved = per_seed("more", "subject of the nearest picture", gain("retrieved", SCALED, SELF))
    yield from secondary(above(retrieved, name="3: retrieval, weights by appearance − reconstruction"))
    means = ", ".join(
        f"{name} {' '.join(f'{np.mean([one[w] for one in runs]):.3f}' for w in ('explained', 'follows', 'retrieved'))}"
        for name, runs in values.items()
    )
    lab.note(
        f"The registered method on {DATA}, {STEPS} steps from image towers of {PRETRAINED} steps of CLIP. R² of place,",
        "size and background from 1,000 training rows; distances between clean pictures are those of the tower of the",
        f"next seed. R², rank correlation, retrieval: {means}.",
    )
