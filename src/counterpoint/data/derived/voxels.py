"""Simulated voxels over any pictures, whose truth is known: no brain was measured.

A voxel is a noisy linear read-out of what a picture holds: an early one of low-level features, edges and colours of the
parts of the picture, a late one of what its labels say. The signal's share of the variance is known, and with it the
ceiling of every correlation with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from functools import cached_property
from typing import Any, NamedTuple, Self, final

import numpy as np
import polars as pl
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from ...frames import Frames
from ...networks.base import Input
from ...raw import Table
from ...types import Fit
from ..base import IMAGE_SIZE, Data, Rows
from ..fingerprint import Fingerprint, digest
from ..labels import MOST_CLASSES, Label
from ..replaced import Replacement
from .names import VOXELS

NAME, COLUMN = VOXELS, "table"
_OPTIONS = {"early": "early", "late": "late", "voxel-noise": "noise"}
_OPTION = re.compile(r",(early|late|voxel-noise)=([^,]*)")
EARLY, LATE = "early", "late"
GRID, SIDE = 4, 32
"""Parts a side, and pixels a side, of the pictures that low-level features are taken from."""
_ROWS = 256


class Simulation(NamedTuple):
    """Options of simulated voxels.

    Attributes:
        early: how many read low-level features.
        late: how many read labels.
        noise: the mean share of noise in the variance of a voxel; of each it is from half to one and a half of that.
        seed: of weights and noise.
    """

    early: int = 40
    late: int = 40
    noise: float = 0.4
    seed: int = 0

    @classmethod
    def parse(cls, source: str) -> tuple[str, Self, str]:
        """Read what was written: the pictures' own source, the options of voxels, and these as they were written.

        >>> Simulation.parse("voxels:emoji,late=8")
        ('emoji', Simulation(early=40, late=8, noise=0.4, seed=0), ',late=8')

        Raises:
            ValueError: for a number that an option cannot be.
        """
        inner = _OPTION.sub("", source).removeprefix(f"{NAME}:")
        options = dict(_OPTION.findall(source))
        try:
            read = {
                _OPTIONS[name]: float(text) if "noise" in name else int(text)
                for name, text in options.items()
            }
        except ValueError:
            raise ValueError(
                f"{source!r}: early and late are whole numbers, voxel-noise is a fraction"
            ) from None
        made = cls(**read)  # type: ignore[arg-type] # whole numbers and one fraction
        if min(made.early, made.late) < 0 or made.early + made.late < 1 or not 0 <= made.noise <= 0.66:
            raise ValueError(f"{source!r}: there must be some voxels, and voxel-noise must lie in [0, 0.66]")
        if not inner or inner == NAME:
            raise ValueError(f"{source!r}: voxels of which pictures? For example: {NAME}:emoji")
        return inner, made, "".join(option[0] for option in _OPTION.finditer(source))


@final
class Voxels(Data):
    """Pictures with simulated voxels beside their captions, in the column ``table``: these are no measurements.

    ``voxels:SOURCE`` adds them to any pictures: ``voxels:emoji,early=40,late=40,voxel-noise=0.4``. Weights are drawn
    once; a signal has variance 1 over the rows to train on, and noise is drawn for each row by its id. Rows, splits and
    labels are the source's, whose rows are one picture each, so that no picture is on two sides.

    Args:
        source: of the pictures.
        simulation: how many voxels of each kind, and how noisy; as it is made without arguments unless given.
        name: how the user named it.

    Raises:
        ValueError: for data without pictures, without labels where late voxels are asked for, with a column of the
            same name, and for data that is read shard by shard.

    Attributes:
        kinds: of each voxel, ``early`` or ``late``.
        ceilings: of each voxel, the correlation of its signal with what is read of it: no prediction has a larger one
            but by chance.
    """

    def __init__(self, source: Data, simulation: Simulation | None = None, name: str = "") -> None:
        simulation = simulation or Simulation()
        self.source, self.simulation = source, simulation
        self.name = name or f"voxels:{source.name}"
        if "image" not in source.columns or COLUMN in source.columns:
            raise ValueError(
                f"voxels are simulated over pictures, in a column {COLUMN!r} of their own, and {source.name} has the "
                f"columns {', '.join(source.columns)}"
            )
        if len(source.shards):
            raise ValueError(
                f"{source.name} is read shard by shard, and voxels are simulated over pictures that are read at "
                "random: simulate them before the pictures are written as shards"
            )
        if simulation.late and not source.classes:
            raise ValueError(f"late voxels say what labels do, and {source.name} has none: ask for late=0")
        self.columns = {**source.columns, COLUMN: "table"}
        self.ids, self.splits, self.leaked = source.ids, source.splits, dict(source.leaked)
        self.split_here, self.attribution, self.broken = source.split_here, source.attribution, source.broken
        self.refused = dict(source.refused)
        self.kinds = (EARLY,) * simulation.early + (LATE,) * simulation.late
        self.names = tuple(
            [f"early {k + 1}" for k in range(simulation.early)]
            + [f"late {k + 1}" for k in range(simulation.late)]
        )
        draws = np.random.default_rng([simulation.seed, 1])
        self._noise = simulation.noise * draws.uniform(0.5, 1.5, len(self.kinds))
        self.ceilings: Float[np.ndarray, " V"] = np.sqrt(1 - self._noise)
        self._seen = source.sized(
            IMAGE_SIZE
        )  # so that voxels do not depend on the size that a tower asks for

    @cached_property
    def signal(self) -> Float[np.ndarray, "N V"]:
        """The part of every voxel that a picture decides."""
        draws = np.random.default_rng([self.simulation.seed, 0])
        parts = [
            self._read_out(features, count, draws)
            for features, count in (
                (self._low_level, self.simulation.early),
                (self._one_hot_labels, self.simulation.late),
            )
            if count
        ]
        return np.concatenate(parts, axis=1).astype(np.float32)

    def _read_out(
        self, features: Float[np.ndarray, "N F"], count: int, draws: np.random.Generator
    ) -> Float[np.ndarray, "N V"]:
        """Return linear read-outs of features, of mean 0 and variance 1 over the rows to train on."""
        trained = features[self.splits.train] if len(self.splits.train) else features
        unit = (features - trained.mean(0)) / np.maximum(trained.std(0), 1e-6)
        read = unit @ draws.standard_normal((features.shape[1], count))
        of_training = read[self.splits.train] if len(self.splits.train) else read
        return (read - of_training.mean(0)) / np.maximum(of_training.std(0), 1e-6)

    @cached_property
    def _low_level(self) -> Float[np.ndarray, "N F"]:
        """Edges and mean colours of the parts of every picture."""
        rows = np.arange(len(self))
        return np.concatenate(
            [low_level(self._seen.read("image", part)) for part in np.split(rows, rows[_ROWS::_ROWS])]
        )

    @cached_property
    def _one_hot_labels(self) -> Float[np.ndarray, "N F"]:
        """Every class of every label that has not too many as a column: 1 where a row is of it."""
        return np.concatenate(
            [
                (labels.values[:, None] == np.arange(len(labels.names))[None]).astype(np.float64)
                for labels in self.source.classes.values()
                if len(labels.names) <= MOST_CLASSES
            ],
            axis=1,
        )

    def cells(self, rows: Rows) -> Float[np.ndarray, "n V"]:
        """Return what the voxels of some rows measured: signal and noise, of variance 1 together."""
        noise = np.stack(
            [
                np.random.default_rng([self.simulation.seed, 2, int(identity) % 2**63]).standard_normal(
                    len(self.kinds)
                )
                for identity in self.ids[rows]
            ]
        )
        return np.sqrt(1 - self._noise) * self.signal[rows] + np.sqrt(self._noise) * noise

    def check_splits(self) -> None:
        self.source.check_splits()

    @cached_property
    def subsets(self) -> np.ndarray:
        return self.source.subsets

    @cached_property
    def labels(self) -> Mapping[str, Label]:
        return self.source.labels

    def metadata(self, rows: Rows) -> Mapping[str, pl.Series]:
        return self.source.metadata(rows)

    def key(self, row: int) -> str:
        return self.source.key(row)

    def read(self, column: str, rows: Rows) -> Any:
        if column != COLUMN:
            return self.source.read(column, rows)
        cells = torch.from_numpy(self.cells(np.asarray(rows)).astype(np.float32))
        return Table(cells, self.names, ((),) * len(self.names))

    def read_training(self, column: str, rows: Rows) -> Any:
        return self.read(column, rows) if column == COLUMN else self.source.read_training(column, rows)

    def cuts(self, column: str, rows: Rows) -> Frames:
        return super().cuts(column, rows) if column == COLUMN else self.source.cuts(column, rows)

    def evaluation_texts(self, column: str, row: int) -> Sequence[str]:
        return self.source.evaluation_texts(column, row)

    def present(self, column: str, rows: Rows) -> Bool[np.ndarray, " n"]:
        return super().present(column, rows) if column == COLUMN else self.source.present(column, rows)

    def replaced(self) -> list[Replacement]:
        return self.source.replaced()

    def suited(self, inputs: Mapping[str, Input], *, training: bool = False) -> Self:
        source_inputs = {column: it for column, it in inputs.items() if column != COLUMN}
        return self._of(self.source.suited(source_inputs, training=training))

    def sized(self, image_size: int, fit: Fit | None = None) -> Self:
        return self._of(self.source.sized(image_size, fit))

    def _of(self, source: Data) -> Self:
        """Return the same voxels with pictures in another form; itself where they are in the same."""
        if source is self.source:
            return self
        _ = self.signal  # computed once for all forms
        other = copy(self)
        other.source = source
        return other

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """Digests of the source's parts, and of what the voxels are made of."""
        parts = {**self.source.fingerprint.parts, COLUMN: digest([self._made_of()])}
        return Fingerprint(parts, self.source.fingerprint.rows)

    def _digest_parts(self, columns: Iterable[str]) -> Iterator[bytes]:
        yield self._made_of()
        yield self.source.identity([column for column in columns if column != COLUMN]).encode()

    def _made_of(self) -> bytes:
        return f"simulated voxels {tuple(self.simulation)}".encode()

    def describe(self) -> dict[str, dict[str, Any]]:
        counts = {kind: f"{self.kinds.count(kind)}, simulated" for kind in dict.fromkeys(self.kinds)}
        return super().describe() | {"voxels": counts}

    def findings(self) -> Mapping[str, str]:
        return {
            **self.source.findings(),
            "voxels": "simulated from the pictures and their labels; nobody's brain was measured",
        }


def low_level(pictures: Tensor) -> Float[np.ndarray, "n F"]:
    """Return edges and mean colours of the parts of pictures: a grid of 4 × 4, two directions and three colours.

    >>> low_level(torch.zeros(2, 3, 48, 48, dtype=torch.uint8)).shape
    (2, 80)
    """
    small = F.interpolate(pictures.float() / 255, (SIDE, SIDE), mode="area")
    grey = small.mean(1, keepdim=True)
    across = F.pad((grey[..., 1:] - grey[..., :-1]).abs(), (0, 1))
    down = F.pad((grey[..., 1:, :] - grey[..., :-1, :]).abs(), (0, 0, 0, 1))
    pooled = F.adaptive_avg_pool2d(torch.cat([across, down, small], 1), GRID)
    return pooled.flatten(1).double().numpy()


def normalised(
    predicted: Float[np.ndarray, "n V"], measured: Float[np.ndarray, "n V"], ceilings: Float[np.ndarray, " V"]
) -> Float[np.ndarray, " V"]:
    """Return Pearson's r of each voxel as a share of its ceiling; NaN for a voxel that does not vary, or has none.

    >>> x = np.array([[1.0], [2.0], [4.0]])
    >>> normalised(x, 3 * x, np.array([0.5]))
    array([2.])
    """
    a, b = predicted - predicted.mean(0), measured - measured.mean(0)
    length = np.sqrt((a**2).sum(0) * (b**2).sum(0))
    usable = (length > 1e-12) & (ceilings > 1e-6)
    r = (a * b).sum(0) / np.where(usable, length, 1)
    return np.where(usable, r / np.where(usable, ceilings, 1), np.nan)
