"""Emoji whose names differ in the skin tone alone: the hard negatives of claims about them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ....data.base import Rows
from ....data.embeddings import EmbeddingCache
from ....evaluation import create
from ....pairwise.loss import Loss
from ...lab import Arrays
from .emoji import Draw, SmallTwoTower, emoji_inputs, train, words

BATCH, LR = 64, 1e-3


def toned(rows: Rows) -> Int[np.ndarray, " toned"]:
    """Select the rows that have a skin tone."""
    tones = emoji_inputs()[0].labels["tone"].values
    return rows[tones[rows] >= 0]


def in_every_tone(row: int) -> list[str]:
    """Write the name of an emoji, in its own skin tone and the four others, in the order of the labels."""
    data = emoji_inputs()[0]
    tones = data.labels["tone"]
    own = tones.names[tones.values[row]]
    name = data.evaluation_captions(row)[0]
    return [name.replace(own, tone) for tone in tones.names]


def toneless(row: int) -> str:
    """Write the name of an emoji without its skin tone, which it shares with up to four others."""
    data = emoji_inputs()[0]
    tones = data.labels["tone"]
    return data.evaluation_captions(row)[0].replace(tones.names[tones.values[row]], "")


def without_tone(captions: Float[Tensor, "N w"], share: float, seed: int) -> Float[Tensor, "N w"]:
    """Return the inputs of all captions, without the tone in a share of those that train: false negatives."""
    rows = toned(emoji_inputs()[0].splits.train)
    chosen = np.random.default_rng([seed, 17]).permutation(rows)[: round(share * len(rows))]
    changed = captions.clone()
    if not len(chosen):
        return changed
    changed[torch.from_numpy(chosen)] = words([toneless(int(row)) for row in chosen])
    return changed


def batches(captions: Float[Tensor, "N w"], rows: Rows, batch: int = BATCH) -> Draw:
    """Return a function that draws batches of whole families: all rows of one name but for the tone."""
    _, pictures, _ = emoji_inputs()
    members = defaultdict(list)
    for row in rows:
        members[toneless(int(row))].append(int(row))
    families = [np.array(family) for family in members.values()]

    def draw(rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        order = rng.permutation(len(families))[:batch]
        chosen = torch.from_numpy(np.concatenate([families[k] for k in order])[:batch])
        return pictures[chosen], captions[chosen]

    return draw


def trained(
    loss: Loss,
    *,
    seed: int,
    steps: int,
    captions: Float[Tensor, "N w"] | None = None,
) -> SmallTwoTower:
    """Train a small two-tower model on batches of families.

    Args:
        loss: what trains it.
        seed, steps: of the run.
        captions: the inputs of all captions, the true ones unless given.
    """
    data, _, true = emoji_inputs()
    model = SmallTwoTower(seed)
    draw = batches(true if captions is None else captions, toned(data.splits.train))
    train((model.image, model.text), loss, draw, steps=steps, lr=LR, seed=seed)
    return model


@torch.no_grad()
def outcomes(model: SmallTwoTower, side: Mapping[str, Rows]) -> Arrays:
    """Measure what a model gets right of the held-out compositions with a skin tone.

    Returns:
        ``contrastive``: 1 for a picture nearer its name than that name with any other tone; ``R@1`` among all
        the names.
    """
    data, _, _ = emoji_inputs()
    rows = toned(side["compositions"])
    own = torch.from_numpy(data.labels["tone"].values[rows])
    images = model.embed("image", data.images(rows))
    texts = model.embed("text", [name for row in rows for name in in_every_tone(int(row))])
    cosines = torch.einsum("nd,ntd->nt", images, texts.reshape(len(rows), -1, texts.shape[1]))
    right = cosines.gather(1, own[:, None])
    wrong = cosines.scatter(1, own[:, None], -torch.inf).max(1, keepdim=True).values
    return {
        "contrastive": (right > wrong).squeeze(1).double().numpy(),
        "R@1": create("retrieval")(EmbeddingCache(model, data), data, rows).examples["i2t_R@1"].to_numpy(),
    }
