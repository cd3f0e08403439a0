"""Simulated voxels over digits, and how well a method predicts them; nobody's brain was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
from jaxtyping import UInt8
from torch import Tensor

from counterpoint.data.base import Rows, Splits
from counterpoint.data.derived.voxels import EARLY, LATE, Simulation, Voxels, normalised
from counterpoint.data.labels import Label
from counterpoint.data.pictured import PairedData
from counterpoint.data.source import load
from counterpoint.methods.llm_vem import LLMVEM
from counterpoint.recipes import Recipe, override
from counterpoint.recipes import load as load_recipe
from counterpoint.training.loop import fit
from counterpoint.training.run import Run
from counterpoint.training.start import prepare

from . import Arrays

SENTENCES = "transformers:all-MiniLM-L6-v2@package"
"""Sentence embeddings that come as a package, in the extra ``sentences``."""


class ShuffledCaptions(PairedData):
    """Pictures of which each has the captions of another one of its split, or its own; fewer are trained on."""

    def __init__(self, source: PairedData, trained: int, seed: int | None) -> None:
        self.source, self.name = source, source.name
        self.ids, whole = source.ids, source.splits
        self.splits = Splits(whole.train[:trained], whole.validation, whole.test)
        self.labels: Mapping[str, Label] = source.labels
        self.subsets = source.subsets
        self._other = np.arange(len(source))
        for rows in whole.sides.values() if seed is not None else ():
            self._other[rows] = np.random.default_rng(seed).permutation(rows)

    def images(self, rows: Rows) -> UInt8[Tensor, "n 3 H W"]:
        return self.source.images(rows)

    def captions(self, row: int) -> Sequence[str]:
        return self.source.captions(int(self._other[row]))


@lru_cache(maxsize=4)
def voxels(trained: int, shuffled: int | None = None) -> Voxels:
    """Return voxels over digits; with a seed, the captions are those of other digits."""
    return Voxels(ShuffledCaptions(load("digits"), trained, shuffled), Simulation(noise=0.4))


def recipe_of(steps: int) -> Recipe:
    """Return the recipe seconds for a small encoder of pictures and frozen embeddings of sentences."""
    sizes = {"towers.image": "mlp", "towers.image_size": 16, "towers.text": SENTENCES, "towers.keep": True}
    return override(
        load_recipe("seconds"), {**sizes, "batch_size": 64, "steps": steps, "validate_every": steps}
    )


def predicted(weight: float, shuffled: bool, seed: int, trained: int, steps: int) -> Arrays:
    """Train LLM-VEM with one λ, and hold its predictions against what the voxels of test digits measured.

    Returns:
        ``early`` and ``late``: the mean over voxels of Pearson's r as a share of the voxel's ceiling.
    """
    data = voxels(trained, seed if shuffled else None)
    run = Run(f"llm-vem,weight={weight:g},first=0.1,slow=1", data.name, recipe_of(steps), seed)
    method, loader = prepare(run, data)
    fit(method, loader, run.recipe, seed=seed)
    assert isinstance(method, LLMVEM)
    (rows,) = data.splits.test.values()
    suited = data.suited(method.inputs)
    told = method.predict(suited.read("image", rows)).cpu().numpy()
    r = normalised(told, data.cells(rows), data.ceilings)
    kinds = np.array(data.kinds)
    return {kind: np.array(np.nanmean(r[kinds == kind])) for kind in (EARLY, LATE)}
