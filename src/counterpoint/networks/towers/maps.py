"""The built-in tower of maps, and its input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Self, final

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from ...files import FORMAT, read_json, write_json
from ...raw import UNKNOWN, Maps, check_maps
from ...types import Fit
from ..base import Tower
from ..heads import Linear
from .parts.sampling import sampled
from .transformer import Embedding


class _Statistics(BaseModel):
    """``map.json``."""

    model_config = ConfigDict(extra="forbid")
    format: int = FORMAT
    size: int
    way: Fit | None
    classes: tuple[str, ...]
    mean: float
    deviation: float


@final
@dataclass(frozen=True)
class MapSquare:
    """The input of a tower of maps: squares of classes, or of numbers in units of the training rows.

    Classes are uint8, `UNKNOWN` where they are not known; numbers are NaN there.

    >>> maps = Maps(torch.tensor([[[1.0, 3.0], [1.0, 3.0]]]))
    >>> MapSquare.fit([maps], size=2)(maps)
    tensor([[[-1.,  1.],
             [-1.,  1.]]])

    Attributes:
        size: height and width in pixels of the maps that the tower takes.
        way: the way in which pictures of the same rows are resized; the shorter side to ``size`` and the middle of it
            unless given.
        classes: their names; none where all maps are of numbers.
        mean, deviation: of the numbers of the training rows.
    """

    file: ClassVar[str] = "map.json"
    size: int
    way: Fit | None = None
    classes: tuple[str, ...] = ()
    mean: float = 0.0
    deviation: float = 1.0

    @classmethod
    def fit(cls, columns: Sequence[Maps], size: int, way: Fit | None = None) -> Self:
        """Learn the classes and the range of the numbers from training rows of all columns that are read.

        Classes without names are called by their numbers.

        Raises:
            ValueError: where columns that share a tower have different classes.
        """
        of_classes = [maps for maps in columns if maps.of_classes]
        classes, *others = dict.fromkeys(maps.classes or _numbered(maps) for maps in of_classes) or [()]
        if others:
            listing = " and ".join(", ".join(names) for names in (classes, *others))
            raise ValueError(
                f"maps that share a tower must have the same classes, and these have {listing}: name the classes of all"
            )
        numbers = [maps.pixels[maps.known].double() for maps in columns if not maps.of_classes]
        known = torch.cat(numbers) if numbers else torch.zeros(0)
        if not len(known):
            return cls(size, way, classes)
        deviation = float(known.std(correction=0)) or 1.0
        return cls(size, way, classes, float(known.mean()), deviation)

    @property
    def evaluation_fit(self) -> Fit:
        """Fit by which a single map is prepared outside training: that of its picture, or one resize and a cut."""
        return self.way or Fit(self.size, self.size)

    def check(self, maps: Maps) -> Maps:
        """Return maps whose classes are those of the training rows.

        Raises:
            ValueError: for others.
        """
        check_maps(maps)
        if maps.of_classes and maps.classes not in ((), self.classes):
            raise ValueError(
                f"the tower takes maps of the classes {', '.join(self.classes) or 'of no map'}, and these have "
                f"{', '.join(maps.classes)}: give these classes, in this order"
            )
        return check_maps(replace(maps, classes=self.classes)) if maps.of_classes else maps

    def standardised(self, values: Shaped[Tensor, "n h w"]) -> Shaped[Tensor, "n h w"]:
        """Return what the tower takes of values at the size of its maps."""
        return (values - self.mean) / self.deviation if values.is_floating_point() else values

    def __call__(self, maps: Maps) -> Shaped[Tensor, "n size size"]:
        height, width = self.check(maps).pixels.shape[1:]
        way = self.evaluation_fit
        positions = []
        for length, resized in zip((height, width), way.resized(height, width), strict=True):
            middles = torch.arange(way.size, dtype=torch.float64) + way.start(resized) + 0.5
            positions.append(middles * length / resized)
        rows, columns = positions
        boxes = torch.tensor([[0, 0, height, width]]).expand(len(maps), 4)
        return self.standardised(sampled(maps, rows[None, :, None], columns[None, None], boxes))

    def save(self, path: str | Path) -> None:
        """Write one JSON file."""
        values = {name: getattr(self, name) for name in _Statistics.model_fields if name != "format"}
        write_json(Path(path), _Statistics(**values).model_dump())

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what ``save`` wrote.

        Raises:
            DamagedFileError: for a file that is missing or no such file.
        """
        known = read_json(Path(path), _Statistics, "train the model again, or export it again")
        return cls(known.size, known.way, known.classes, known.mean, known.deviation)


def _numbered(maps: Maps) -> tuple[str, ...]:
    """Return a name for each class up to the last one that occurs."""
    known = maps.pixels[maps.known]
    return tuple(str(number) for number in range(int(known.max()) + 1)) if len(known) else ()


class MapPatches(Tower):
    """The mean over overlapping square patches of ``W_2 relu(W_1 x + b_1) + b_2``, x the pixels of one.

    A pixel is the learned vector of its class, its number and whether that is known: of classes there are no numbers,
    and of numbers no classes. The grid of patches is that of `PatchPerceptron` for pictures of the same size.

    Args:
        square: its input.
        hidden: width of the hidden layer.
        width: of a feature vector.
        embedding: width of the vector of a class.

    Raises:
        ValueError: for a size that is no multiple of 8.

    >>> MapPatches(MapSquare(32)).patches(torch.zeros(1, 32, 32)).shape
    torch.Size([1, 64, 7, 7])
    """

    modality: ClassVar[str] = "map"

    def __init__(self, square: MapSquare, hidden: int = 128, width: int = 64, embedding: int = 8) -> None:
        super().__init__()
        if square.size % 8:
            raise ValueError(f"image size {square.size}: patches of maps need a multiple of 8")
        self.square, self.width, self.stride = square, width, square.size // 8
        self.classes = Embedding(UNKNOWN + 1, embedding, std=1.0)
        self.up = nn.Linear((embedding + 2) * (2 * self.stride) ** 2, hidden)
        self.down = nn.Linear(hidden, width)

    @property
    def input(self) -> MapSquare:
        return self.square

    def forward(self, maps: Shaped[Tensor, "B H W"]) -> Float[Tensor, "B width"]:
        return self.patches(maps).mean((2, 3))

    def patches(self, maps: Shaped[Tensor, "B H W"]) -> Float[Tensor, "B width h w"]:
        """Return features of the patches of maps, in the space of `forward`'s."""
        parts = F.unfold(pixel_vectors(maps, self.classes), 2 * self.stride, stride=self.stride).mT
        rows, columns = (length // self.stride - 1 for length in maps.shape[1:])
        return self.down(F.relu(self.up(parts))).mT.unflatten(2, (rows, columns))


def pixel_vectors(maps: Shaped[Tensor, "B H W"], classes: nn.Embedding) -> Float[Tensor, "B channels H W"]:
    """Return the vector of the class, the number, and whether that is known, of each pixel.

    Args:
        maps: of classes or of numbers.
        classes: the vectors of all classes and of `UNKNOWN`.
    """
    if maps.is_floating_point():
        known, numbers = ~maps.isnan(), maps.nan_to_num(0.0)
        of_classes = torch.full_like(maps, UNKNOWN, dtype=torch.long)
    else:
        of_classes, numbers = maps.long(), torch.zeros_like(maps)
        known = of_classes != UNKNOWN
    vectors = classes(of_classes).movedim(-1, 1)
    return torch.cat([vectors, numbers[:, None].to(vectors), known[:, None].to(vectors)], 1)


class MapEmbedding(nn.Module):
    """A linear layer on the pixels of each patch of a map: the vector of the class, the number, and what is known."""

    def __init__(self, grid: tuple[int, int], patch: int, width: int, channels: int = 8) -> None:
        super().__init__()
        self.grid = grid
        self.classes = Embedding(UNKNOWN + 1, channels, std=1.0)
        self.embed = Linear((channels + 2) * patch**2, width, bias=True)

    def forward(self, maps: Shaped[Tensor, "B H W"]) -> Float[Tensor, "B n width"]:
        return self.embed(patchified(pixel_vectors(maps, self.classes), self.grid))


def patchified(maps: Shaped[Tensor, "B c H W"], grid: tuple[int, int]) -> Shaped[Tensor, "B n pixels"]:
    """Return the values of the patches of a grid, channel by channel.

    >>> patchified(torch.arange(8).view(1, 1, 2, 4), (1, 2)).tolist()
    [[[0, 1, 4, 5], [2, 3, 6, 7]]]
    """
    (rows, columns), (count, channels, height, width) = grid, maps.shape
    parts = maps.reshape(count, channels, rows, height // rows, columns, width // columns)
    patch = (height // rows) * (width // columns)
    return parts.permute(0, 2, 4, 1, 3, 5).reshape(count, rows * columns, channels * patch)
