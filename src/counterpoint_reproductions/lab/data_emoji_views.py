"""Small emoji by two artists under random changes: for claims about views of coloured pictures."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from .data_emoji import SIDE, emoji_inputs, pixels

CHANGES = ("crop", "blur", "grayscale", "colour jitter", "flip")


class EmojiViews(NamedTuple):
    """Emoji that are not people (who are half of all, most in five skin tones).

    Attributes:
        pictures: of both artists, artist by artist, in [−1, 1].
        classes: of every row.
        train, validation, test: which rows; the last two hold concepts that training has nothing of.
    """

    pictures: Float[Tensor, "2 N p"]
    classes: Int[np.ndarray, " N"]
    train: Int[np.ndarray, " a"]
    validation: Int[np.ndarray, " b"]
    test: Int[np.ndarray, " c"]

    def of(self, rows: Int[np.ndarray, " n"]) -> tuple[Float[Tensor, "m p"], Int[np.ndarray, " m"]]:
        """Return both artists' pictures of some rows, and their classes."""
        return self.pictures[:, torch.from_numpy(rows)].flatten(0, 1), np.tile(self.classes[rows], 2)


@lru_cache(maxsize=2)
def emoji(label: str, least: int) -> EmojiViews:
    """Select the emoji whose class has at least ``least`` of them to train on; classes are numbered from 0."""
    data, first, _ = emoji_inputs()
    people = data.labels["group"].names.index("people and body parts")
    values = data.labels[label].values
    parts = {"train": data.splits.train}
    parts |= {"validation": data.splits.validation["concepts"], "test": data.splits.test["concepts"]}
    parts = {name: rows[data.labels["group"].values[rows] != people] for name, rows in parts.items()}
    kept = np.flatnonzero(np.bincount(values[parts["train"]], minlength=values.max() + 1) >= least)
    parts = {name: rows[np.isin(values[rows], kept)] for name, rows in parts.items()}
    rows = np.concatenate(list(parts.values()))
    other = data.shifts()["artist"]
    second = torch.cat([pixels(other(part)) for part in np.array_split(rows, 8)])
    places = np.split(np.arange(len(rows)), np.cumsum([len(part) for part in parts.values()])[:-1])
    return EmojiViews(torch.stack([first[rows], second]), np.searchsorted(kept, values[rows]), *places)


def changed(
    x: Float[Tensor, "n p"], rng: np.random.Generator, changes: tuple[str, ...] = CHANGES
) -> Float[Tensor, "n p"]:
    """Change pictures at random, each change drawn for each picture.

    ``crop``: a window of 40 to 100 % of the area, brought back to size. ``blur``: half of the pictures, by
    3 × 3 pixels. ``grayscale``: a fifth. ``colour jitter``: most, in contrast by up to 40 % and in every
    channel's brightness by up to a quarter. ``flip``: half, left to right.
    """
    n = len(x)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.from_numpy(rng.uniform(low, high, (n, *shape))).float()

    def some(share: float) -> Tensor:
        return torch.from_numpy(rng.random((n, 1, 1, 1)) < share)

    seen = x.reshape(n, 3, SIDE, SIDE)
    if "crop" in changes:
        side = uniform(0.4, 1.0).sqrt()
        place = uniform(-1, 1, 2) * (1 - side)[:, None]
        window = torch.zeros(n, 2, 3)
        window[:, 0, 0] = window[:, 1, 1] = side
        window[:, :, 2] = place
        grid = F.affine_grid(window, [n, 3, SIDE, SIDE], align_corners=False)
        seen = F.grid_sample(seen, grid, padding_mode="border", align_corners=False)
    if "blur" in changes:
        seen = torch.where(some(0.5), blurred(seen), seen)
    if "grayscale" in changes:
        seen = torch.where(some(0.2), seen.mean(1, keepdim=True).expand_as(seen), seen)
    if "colour jitter" in changes:
        jittered = seen * uniform(0.6, 1.4, 1, 1, 1) + uniform(-0.5, 0.5, 3, 1, 1)
        seen = torch.where(some(0.8), jittered, seen)
    if "flip" in changes:
        seen = torch.where(some(0.5), seen.flip(-1), seen)
    return seen.flatten(1)


def blurred(x: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 3 h w"]:
    """Replace every pixel by the mean of its neighbourhood of 3 × 3, as far as it is inside."""
    return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)
