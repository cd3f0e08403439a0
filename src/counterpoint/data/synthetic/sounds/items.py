"""Soundscapes beside their twins."""

from __future__ import annotations

from typing import final

import numpy as np
from jaxtyping import Int, UInt8
from torch import Tensor

from ...base import Rows
from ...items import MinimalPairs
from ...rng import Rng
from .compose import TWINS, twin
from .mel import spectrogram
from .rows import Soundscapes
from .soundscape import Soundscape, caption
from .synthesis import SECONDS, synthesise


@final
class SoundMinimalPairs(MinimalPairs):
    """Soundscapes beside those of the same words in another composition.

    Noise in both is drawn alike. Of its kinds a row gives the first one, in an order drawn for it, that it has.
    """

    def __init__(self, world: Soundscapes, rows: Rows) -> None:
        items: list[tuple[int, str, Soundscape, Soundscape]] = []
        for row in map(int, rows):
            scape, draws = world.scape(row), world.draws(row)
            for kind in draws.sample("kind of twin", TWINS, len(TWINS)):
                other = twin(kind, scape, Rng(draws.word("twin"), 0, kind))
                if other:
                    items.append((row, kind, scape, other))
                    break
        self.world, self.rows = world, [row for row, _, _, _ in items]
        self.ids = world.ids[self.rows]
        self.kinds = [kind for _, kind, _, _ in items]
        self.scapes = [(one, other) for _, _, one, other in items]
        self.captions = [(caption(one), caption(other)) for one, other in self.scapes]

    def pictures(self, positions: Int[np.ndarray, " k"]) -> UInt8[Tensor, "k 2 3 H W"]:
        waves = [
            synthesise(scape, self.world.draws(self.rows[position]))
            for position in positions
            for scape in self.scapes[position]
        ]
        pictures = spectrogram(waves, self.world.preset.pixels, SECONDS)
        return pictures.view(len(positions), 2, *pictures.shape[1:])
