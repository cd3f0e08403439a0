"""LIMoE: entropy losses keep the words of captions from being dropped by full experts."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from counterpoint.data.loading.loader import Loader
from counterpoint.data.loading.order import ShuffledOrder
from counterpoint.data.source import load as load_data
from counterpoint.methods.limoe import LIMoE
from counterpoint.recipes import load as load_recipe
from counterpoint.recipes import override
from counterpoint.spec import of_seed
from counterpoint.training.start import load

from .lab import Arrays, Lab, Result, TrainingComparison, above, decides, effects, secondary

CLAIM = (
    "Of the words of captions that training never saw, experts of limited capacity serve a larger share after training "
    "with the entropy losses than after training with the losses of importance and load alone."
)
REFUTED = "the classic losses serve as many words"

ENTROPY, CLASSIC, DENSE = "entropy losses", "classic losses alone", "dense"
STEPS = 500
PLAIN = {"augmentation.paired": "plain"}
COMPARISON = TrainingComparison(
    {
        CLASSIC: "limoe,entropy=false",
        DENSE: "limoe,experts=1,text_experts=1,image_experts=1",
        ENTROPY: "limoe",
    },
    {"retrieval": ("i2t_R@1", "t2i_R@1")},
    data="scenes:basic,train=6000,validation=64,test=1000",
    recipe="cpu",
    changes={
        "steps": STEPS,
        "validate_every": STEPS,
        "batch_size": 64,
        **PLAIN,
    },
)
_BATCH = 100


def words_served(folder: str, seed: int, pairs: int) -> Arrays:
    """Route test pairs through a trained model, under the capacity of its training.

    Args:
        folder: of runs, with ``{seed}`` in it.
        seed: of the run.
        pairs: of the test set.

    Returns:
        The share of the words of each caption that an expert served, and of the patches of each picture; the mean over
        the layers.
    """
    model = load(of_seed(folder, seed))
    assert isinstance(model, LIMoE)
    data = load_data(COMPARISON.data).suited(model.inputs)
    rows = next(iter(data.splits.test.values()))[:pairs]
    loader = Loader(
        data,
        ShuffledOrder(rows, _BATCH, seed),
        model.views,
        augmentation=override(load_recipe("cpu"), PLAIN).augmentation,
        inputs=model.inputs,
    )
    shares: dict[str, list[np.ndarray]] = {column: [] for column in model.columns}
    for start in range(0, len(rows), _BATCH):
        batch = loader.of(rows[start : start + _BATCH], 0)
        masks = {column: model.mask(column, batch[column]) for column in model.columns}
        with torch.no_grad():
            _, routings = model.transform(model.encode(batch), masks, model.capacity)
        for column, mask in masks.items():
            served = torch.stack([layer[column].served[:, 0] for layer in routings]).double().mean(0)
            of_rows = torch.split(served, mask.sum(1).tolist())
            shares[column].append(torch.stack([part.mean() for part in of_rows]).numpy())
    return {column: np.concatenate(parts) for column, parts in shares.items()}


def run(lab: Lab) -> Iterator[Result]:
    study = lab.study(COMPARISON)
    folders = {name: {"folder": str(study.each(name))} for name in (ENTROPY, CLASSIC)}
    served = lab.grid(words_served, {"arm": folders}, seeds=COMPARISON.seeds, pairs=1000).scores(
        "{}", "share of tokens that an expert serves"
    )
    keys = [(arm, column) for arm in (ENTROPY, CLASSIC) for column in ("text", "image")]
    retrieved = study.scores("retrieval i2t_R@1")
    yield from decides(
        above(
            served[ENTROPY, "text"] - served[CLASSIC, "text"],
            name="share of words served, entropy losses − classic losses",
            **effects.convention("share"),
        )
    )
    yield from secondary(
        above(
            served[ENTROPY, "image"] - served[CLASSIC, "image"],
            name="share of patches served, entropy − classic",
        ),
        above(
            retrieved[ENTROPY] - retrieved[CLASSIC], name="R@1 of captions, entropy losses − classic losses"
        ),
        above(retrieved[ENTROPY] - retrieved[DENSE], name="R@1 of captions, entropy losses − dense"),
    )
    lab.note(
        f"The registered method on {COMPARISON.data} under the recipe cpu, {STEPS} steps of 64. Experts serve",
        "words and patches by the largest gates first in both arms; at test the capacity is that of training, for the",
        f"tokens of {_BATCH} pairs. Share served: {served.means(keys)}. R@1 of captions: {retrieved.means()}.",
    )
