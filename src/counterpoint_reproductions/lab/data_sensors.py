"""Models of series trained as users train them, and asked with a few labels."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from counterpoint.data.base import Data, Rows
from counterpoint.data.columns import subject
from counterpoint.data.source import load_any
from counterpoint.evaluation.classifiers import CLASSIFIERS
from counterpoint.methods.tower_method import TowerMethod
from counterpoint.recipes import load, override
from counterpoint.registry import MissingPackageError
from counterpoint.training.loop import fit
from counterpoint.training.run import Run
from counterpoint.training.start import prepare

from . import Arrays

LEAST = 32
"""Rows of a made world at least, so that a smoke run has some of most classes."""
BATCH = 64
WORN = "turned=180,noise=0.2"
"""Options by which users wear devices in any way; worn alike, an untrained tower tells activities by few labels."""


def motions(preset: str, trained: int, tested: int, options: str = "") -> str:
    """Return the name of a world of people in motion of some size.

    >>> motions("long", 600, 2)
    'motions:long,train=600,validation=4,test=32'
    """
    sizes = f"train={max(trained, LEAST)},validation=4,test={max(tested, LEAST)}"
    return f"motions:{preset},{sizes}{options and f',{options}'}"


def basic_motions() -> str:
    """Return the folder of the data BasicMotions, which the packages sktime and aeon bring along.

    Raises:
        MissingPackageError: if neither is installed.
    """
    for package in ("sktime", "aeon"):
        found = find_spec(package)
        for root in (found and found.submodule_search_locations) or ():
            if (folder := Path(root) / "datasets" / "data" / "BasicMotions").is_dir():
                return str(folder)
    raise MissingPackageError(
        "BasicMotions is part of sktime, which is not installed; run: pip install sktime"
    )


def trained_on(arm: str, data: str, seed: int, steps: int) -> TowerMethod:
    """Train an arm for some steps under the recipe ``seconds``."""
    there = load_any(data)
    recipe = override(load("seconds"), {"steps": steps, "batch_size": BATCH, "optimizer.lr": 1e-3})
    method, loader = prepare(Run(arm, data, recipe, seed), there)
    fit(method, loader, recipe, seed=seed, accelerator="cpu")
    return method.eval()


def told_by_few(
    method: TowerMethod, probed: str, label: str, per_class: int, seed: int
) -> Float[np.ndarray, "n 2"]:
    """Return the class of every test row, and the one that a classifier of a few labelled rows takes it for.

    Args:
        method: whose embeddings of the column that it is for are classified.
        probed: the data.
        label: the name of the label.
        per_class: training rows of each class that the classifier sees.
        seed: of their choice.
    """
    data, column = load_any(probed), _column(method)
    names, values = data.labels[label].names, data.labels[label].values
    few = few_of(values, data.splits.train, per_class, seed)
    test = next(iter(data.splits.test.values()))
    seen, asked = (method.embed(column, data.read(column, rows)).numpy() for rows in (few, test))
    found = CLASSIFIERS["logistic"](seen, values[few], asked, len(names))
    return np.stack([values[test], found], 1).astype(float)


def few_of(values: Int[np.ndarray, " N"], rows: Rows, per_class: int, *seed: int) -> Int[np.ndarray, " few"]:
    """Return the first rows of each class in a random order."""
    order = np.random.default_rng(seed).permutation(rows)
    return np.concatenate([order[values[order] == one][:per_class] for one in np.unique(values[rows])])


def prepared(method: TowerMethod, data: Data, rows: Rows) -> Tensor:
    """Return rows of the column that a method is for, as its tower takes them."""
    column = _column(method)
    return method.inputs[column](data.read(column, rows))


def label_of(data: Data) -> str:
    """Return the first label of data."""
    return next(iter(data.labels))


def _column(method: TowerMethod) -> str:
    return subject({column: method.tower(column).modality for column in method.embeds}) or ""


def few_labels(
    arm: str, preset: str, options: str, seed: int, steps: int, trained: int, tested: int, per_class: int
) -> Arrays:
    """Train an arm on a world of people in motion, and tell activities by a few labels."""
    data = motions(preset, trained, tested, f"{options},{WORN}")
    method = trained_on(arm, data, seed, steps)
    # One activity a row, of the same users.
    probed = motions("basic", trained, tested, f"steps=120,changes=0,{WORN}")
    return {"activities": told_by_few(method, probed, "activity", per_class, seed)}
