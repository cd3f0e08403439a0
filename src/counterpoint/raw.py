"""Raw forms: what data gives and models take, checked before anything is computed from it.

Where examples are sequences, one that ends before the longest of them goes on as NaN; so does what was never measured.
Frames are bytes, which know no NaN: clips say how many each has. A picture is a row of a tensor, a text a string.
"""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self, final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from .modalities import MODALITIES, resolve

WINDOWS = 8
"""Windows of a long sequence that are looked at, at most, where one alone does not show all of it."""


def ends(values: Float[Tensor, "n T *rest"]) -> Int[Tensor, " n"]:
    """Return where each of some sequences ends: behind its last time at which anything was measured.

    >>> ends(torch.tensor([[1.0, float("nan"), 2.0, float("nan")], [float("nan")] * 4]))
    tensor([3, 0])
    """
    gone: Bool[Tensor, "n T"] = values.isnan().flatten(2).all(2) if values.ndim > 2 else values.isnan()
    times = values.shape[1]
    if not times:
        return torch.zeros(len(values), dtype=torch.long, device=values.device)
    # The first zero from behind: of a batch of sounds several times as fast as a maximum over all places.
    behind = gone.flip(1).to(torch.uint8).argmin(1)
    return torch.where(gone.all(1), 0, times - behind)


def padded(arrays: Sequence[np.ndarray]) -> Float[Tensor, "n T *rest"]:
    """Return arrays of different lengths as one tensor, NaN where one has ended; at least one place long."""
    longest = max(1, *map(len, arrays)) if arrays else 1
    rest = arrays[0].shape[1:] if arrays else ()
    whole = np.full((len(arrays), longest, *rest), np.nan, np.float32)
    for one, array in zip(whole, arrays, strict=True):
        one[: len(array)] = array
    return torch.from_numpy(whole)


class Raw(Sequence[Any], ABC):
    """Some examples of a modality in one object, each of them one of its kind again."""

    @property
    @abstractmethod
    def values(self) -> Tensor:
        """The examples, a row each."""

    @abstractmethod
    def with_values(self, values: Tensor) -> Self:
        """Return other examples that are measured alike."""

    def ends(self) -> Int[Tensor, " n"]:
        """Return where the values of each example end."""
        return ends(self.values)

    def taken(self, rows: Tensor) -> Self:
        """Return the examples at some positions."""
        return self.with_values(self.values[rows])

    def without(self, gone: Bool[Tensor, " n"]) -> Self:
        """Return examples of which some say nothing: they are zero all along."""
        return self.with_values(self.values.masked_fill(gone.view(-1, *(1,) * (self.values.ndim - 1)), 0))

    def changed(self, keys: Int[Tensor, " n"], change: Callable[[Tensor, torch.Generator], Tensor]) -> Self:
        """Return every example changed by itself, up to its end, by draws of its own key."""
        values = self.values.clone()
        for row, (end, key) in enumerate(zip(self.ends().tolist(), keys.tolist(), strict=True)):
            values[row, :end] = change(self.values[row, :end], torch.Generator().manual_seed(key))
        return self.with_values(values)

    def windows(self, places: int) -> Iterator[tuple[Int[Tensor, " k"], Self]]:
        """Yield windows of so many places, evenly spread from the beginning to the end of every example.

        An example has as many as cover it, `WINDOWS` at most, and one if it is no longer than a window. Each time
        comes one window of every example that has a further one, with the rows of these examples.
        """
        lengths = ends(self.values)
        counts = (-(-lengths // places)).clamp(1, WINDOWS)
        for number in range(int(counts.max()) if len(counts) else 0):
            rows = torch.nonzero(counts > number)[:, 0]
            spare = (lengths[rows] - places).clamp_min(0)
            starts = spare * number // (counts[rows] - 1).clamp_min(1)
            inside = torch.arange(min(places, self.values.shape[1]), device=self.values.device)
            yield rows, self.with_values(self.values[rows[:, None], starts[:, None] + inside])

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: Any) -> Self:
        """Return one example, or several by a slice, a list or an array of their positions."""
        if isinstance(rows, slice):
            rows = np.arange(len(self))[rows]  # backwards too, which tensors have no slices for
        try:
            row = operator.index(rows)
        except TypeError:
            chosen = np.ascontiguousarray(rows)
            return self.taken(torch.as_tensor(chosen if chosen.size else chosen.astype(int)))
        if not -len(self) <= row < len(self):
            raise IndexError(f"there are {len(self)} examples, and no number {row}")
        return self.taken(torch.tensor([row % len(self)]))

    def __iter__(self) -> Iterator[Self]:
        return (self[row] for row in range(len(self)))


@final
@dataclass(frozen=True, eq=False)
class Waves(Raw):
    """Sounds of one channel and one rate.

    >>> waves = Waves.of([np.zeros(8), np.ones(4)], rate=8000)
    >>> waves.lengths, waves[1].samples.shape, waves.seconds
    (tensor([8, 4]), torch.Size([1, 8]), tensor([0.0010, 0.0005]))

    Attributes:
        samples: in [−1, 1], NaN behind the end of a sound.
        rate: samples a second.
    """

    samples: Float[Tensor, "n T"]
    rate: int

    @classmethod
    def of(cls, sounds: Sequence[np.ndarray], rate: int) -> Waves:
        """Return sounds of different lengths."""
        return cls(padded(sounds), rate)

    @classmethod
    def read(cls, paths: Sequence[str | Path], rate: int = 16_000) -> Waves:
        """Read files, mixed down to one channel, at a rate.

        Raises:
            MissingPackage: for a file that is no WAV, without the package soundfile.
            ValueError: for a file that holds no sound.
        """
        read = resolve(MODALITIES.get("audio").read)
        return cls.of([read(Path(path).read_bytes(), rate) for path in paths], rate)

    @property
    def values(self) -> Tensor:
        return self.samples

    def with_values(self, values: Tensor) -> Waves:
        return Waves(values, self.rate)

    @property
    def lengths(self) -> Int[Tensor, " n"]:
        """The samples of each sound."""
        return ends(self.samples)

    @property
    def seconds(self) -> Float[Tensor, " n"]:
        """The length of each sound in seconds."""
        return self.lengths / self.rate


def check_waves(waves: object) -> Waves:
    """Return sounds that can be embedded.

    Raises:
        ValueError: for anything else, for none, and for a sound without a sample or with an infinite one.

    >>> check_waves(np.zeros((2, 100)))
    Traceback (most recent call last):
    ...
    ValueError: sounds must be cp.Waves, which know their rate, got ndarray: cp.Waves.of(sounds, rate=16000)
    """
    if not isinstance(waves, Waves):
        raise ValueError(
            f"sounds must be cp.Waves, which know their rate, got {type(waves).__name__}: cp.Waves.of(sounds, "
            "rate=16000)"
        )
    if not len(waves):
        raise ValueError("there is nothing to embed: there are no sounds")
    if waves.samples.isinf().any():
        raise ValueError("a sound holds infinite values")
    if len(empty := torch.nonzero(waves.lengths == 0)):
        raise ValueError(f"sound {int(empty[0])} is empty: it has no sample")
    return waves


@final
@dataclass(frozen=True, eq=False)
class Clips(Raw):
    """Videos: frames of one size, as many as each has.

    >>> clips = Clips.of([np.zeros((5, 3, 8, 8), np.uint8), np.ones((2, 3, 8, 8), np.uint8)])
    >>> clips.lengths, clips[1].frames.shape
    (tensor([5, 2]), torch.Size([1, 5, 3, 8, 8]))

    Attributes:
        frames: values from 0 to 255; what stands behind the end of a clip says nothing.
        lengths: the frames of each clip.
    """

    frames: UInt8[Tensor, "n T 3 H W"]
    lengths: Int[Tensor, " n"]

    @classmethod
    def of(cls, clips: Sequence[np.ndarray]) -> Clips:
        """Return clips ``(T, 3, H, W)`` of different lengths and one size."""
        lengths = [len(clip) for clip in clips]
        size = clips[0].shape[1:] if len(clips) else (3, 1, 1)
        frames = np.zeros((len(clips), max([1, *lengths]), *size), np.uint8)
        for one, clip in zip(frames, clips, strict=True):
            one[: len(clip)] = clip
        return cls(torch.from_numpy(frames), torch.tensor(lengths, dtype=torch.long))

    @classmethod
    def read(cls, paths: Sequence[str | Path], side: int = 64) -> Clips:
        """Read files, each frame's middle square resized to a side in pixels.

        Raises:
            MissingPackage: for a video, without the package av.
            ValueError: for a file without frames.
        """
        read = resolve(MODALITIES.get("video").read)
        return cls.of([read(Path(path).read_bytes(), side) for path in paths])

    @property
    def values(self) -> Tensor:
        return self.frames

    def with_values(self, values: Tensor) -> Clips:
        return Clips(values, self.lengths)

    def ends(self) -> Int[Tensor, " n"]:
        return self.lengths

    def without(self, gone: Bool[Tensor, " n"]) -> Clips:
        return replace(super().without(gone), lengths=self.lengths.masked_fill(gone, self.frames.shape[1]))

    def taken(self, rows: Tensor) -> Clips:
        return Clips(self.frames[rows], self.lengths[rows])


def check_clips(clips: object) -> Clips:
    """Return clips that can be embedded; an array or a tensor of bytes ``(n, T, 3, H, W)`` is one.

    Pictures ``(n, 3, H, W)`` are clips of one frame each.

    Raises:
        ValueError: for anything else, for none, and for a clip without a frame.

    >>> check_clips(torch.zeros(2, 3, 8, 8, dtype=torch.uint8)).lengths
    tensor([1, 1])
    """
    if isinstance(clips, np.ndarray):
        clips = torch.from_numpy(clips)
    if isinstance(clips, Tensor) and clips.ndim in (4, 5) and clips.dtype == torch.uint8:
        frames = clips if clips.ndim == 5 else clips[:, None]
        if frames.shape[2] == 3:
            clips = Clips(frames, torch.full((len(frames),), frames.shape[1]))
    if not isinstance(clips, Clips):
        told = f"{clips.dtype} {tuple(clips.shape)}" if isinstance(clips, Tensor) else type(clips).__name__
        raise ValueError(
            f"clips must be cp.Clips or bytes (n, T, 3, H, W), or pictures (n, 3, H, W), got {told}"
        )
    if not len(clips):
        raise ValueError("there is nothing to embed: there are no clips")
    if len(empty := torch.nonzero(clips.lengths == 0)):
        raise ValueError(f"clip {int(empty[0])} is empty: it has no frame")
    return clips


@final
@dataclass(frozen=True, eq=False)
class Series(Raw):
    """Measurements over time, of several channels.

    >>> series = Series.of([np.zeros((5, 2)), np.zeros((3, 2))], channels=("x", "y"))
    >>> series.lengths, series[0].measured.shape
    (tensor([5, 3]), torch.Size([1, 5, 2]))

    Attributes:
        measured: NaN where nothing was measured, and behind the end of a series.
        channels: their names, one each; none where they have no names.
    """

    measured: Float[Tensor, "n T C"]
    channels: tuple[str, ...] = ()

    @classmethod
    def of(cls, series: Sequence[np.ndarray], channels: Sequence[str] = ()) -> Series:
        """Return series ``(T, C)``, or ``(T,)`` of one channel, of different lengths."""
        columns = [one[:, None] if one.ndim == 1 else one for one in series]
        return cls(padded(columns) if columns else torch.zeros(0, 1, 1), tuple(channels))

    @property
    def values(self) -> Tensor:
        return self.measured

    def with_values(self, values: Tensor) -> Series:
        return Series(values, self.channels)

    @property
    def lengths(self) -> Int[Tensor, " n"]:
        """The steps of each series."""
        return ends(self.measured)


def check_series(series: object) -> Series:
    """Return series that can be embedded; an array or a tensor ``(n, T, C)`` or ``(n, T)`` is one.

    Raises:
        ValueError: for anything else, for none, and for one in which nothing is measured, or something infinite.

    >>> check_series(np.zeros((4, 10, 3))).measured.shape
    torch.Size([4, 10, 3])
    """
    if isinstance(series, np.ndarray):
        series = torch.from_numpy(series)
    if isinstance(series, Tensor) and series.ndim in (2, 3):
        series = Series(series.float() if series.ndim == 3 else series.float()[..., None])
    if not isinstance(series, Series):
        raise ValueError(f"series must be cp.Series or an array (n, T, C), got {type(series).__name__}")
    if not len(series):
        raise ValueError("there is nothing to embed: there are no series")
    if series.measured.isinf().any():
        raise ValueError("a series holds infinite values")
    if len(empty := torch.nonzero(series.lengths == 0)):
        raise ValueError(f"series {int(empty[0])} is empty: nothing is measured in it")
    return series


@final
@dataclass(frozen=True, eq=False)
class Table(Raw):
    """Rows of a table: numbers, and categories by their number.

    Attributes:
        cells: a column's numbers, or the positions of its categories; NaN where nothing is known.
        names: of the columns.
        categories: of each column the words of its categories; none of a column of numbers.
    """

    cells: Float[Tensor, "n F"]
    names: tuple[str, ...]
    categories: tuple[tuple[str, ...], ...]

    @property
    def values(self) -> Tensor:
        return self.cells

    def with_values(self, values: Tensor) -> Table:
        return Table(values, self.names, self.categories)

    def without(self, gone: Bool[Tensor, " n"]) -> Table:
        return self.with_values(self.cells.masked_fill(gone[:, None], torch.nan))

    def rows(self) -> list[dict[str, str]]:
        """Return each row in words: a column's name to a number or a category, empty for what is not known.

        >>> Table(torch.tensor([[31.0, 1], [float("nan"), 0]]), ("age", "sex"), ((), ("f", "m"))).rows()
        [{'age': '31', 'sex': 'm'}, {'age': '', 'sex': 'f'}]
        """
        return [
            {
                name: "" if value != value else words[int(value)] if words else f"{value:g}"
                for name, words, value in zip(self.names, self.categories, row, strict=True)
            }
            for row in self.cells.tolist()
        ]


def check_table(table: object) -> Table:
    """Return rows of a table that can be embedded; a row that lacks everything is one.

    Raises:
        ValueError: for anything else, for none, and for an infinite cell.
    """
    if not isinstance(table, Table):
        raise ValueError(f"rows of a table must be cp.Table, got {type(table).__name__}")
    if not len(table):
        raise ValueError("there is nothing to embed: the table has no rows")
    if len(where := torch.nonzero(table.cells.isinf())):
        row, column = where[0].tolist()
        raise ValueError(f"row {row} of the table is infinite in {table.names[column]}")
    return table


def check_pictures(pictures: object) -> Tensor:
    """Return pictures that can be embedded: uint8 ``(n, 3, H, W)``, n ≥ 1.

    Raises:
        ValueError: for anything else, with what it is and what would mend it.

    >>> check_pictures(torch.zeros(2, 20, 20, 3, dtype=torch.uint8))
    Traceback (most recent call last):
    ...
    ValueError: pictures must be (n, 3, H, W), got (2, 20, 20, 3): channels come second, pictures.permute(0, 3, 1, 2)
    """
    wanted = "pictures must be a uint8 tensor (n, 3, H, W)"
    if not isinstance(pictures, Tensor):
        raise ValueError(f"{wanted}, got {type(pictures).__name__}")
    shape = tuple(pictures.shape)
    if pictures.dtype != torch.uint8:
        raise ValueError(
            f"{wanted} of values from 0 to 255, got {pictures.dtype}: the model scales them itself"
        )
    if pictures.ndim != 4 or shape[1] != 3:
        advice = {
            (3, 0): ": of one picture, give picture[None]",
            (4, 3): ": channels come second, pictures.permute(0, 3, 1, 2)",
            (4, 1): ": repeat the grey channel, pictures.expand(-1, 3, -1, -1)",
            (4, 4): ": leave the alpha channel out, pictures[:, :3]",
        }
        case = (
            (3, 0)
            if pictures.ndim == 3
            else (4, 3 if shape[-1:] == (3,) else shape[1] if len(shape) == 4 else 0)
        )
        raise ValueError(f"pictures must be (n, 3, H, W), got {shape}{advice.get(case, '')}")
    if 0 in shape:
        raise ValueError(f"there is nothing to embed: the pictures are {shape}")
    return pictures


def check_texts(texts: object) -> list[str]:
    """Return texts that can be embedded, of one text a list of it.

    Raises:
        ValueError: for anything else, and for none.

    >>> check_texts("a cat")
    ['a cat']
    >>> check_texts(["a cat", None])
    Traceback (most recent call last):
    ...
    ValueError: text 1 must be a text, got NoneType
    """
    if isinstance(texts, Tensor | bytes) or not isinstance(texts, Sequence):
        raise ValueError(f"texts must be a list of texts, or one text, got {type(texts).__name__}")
    found = [texts] if isinstance(texts, str) else list(texts)
    if not found:
        raise ValueError("there is nothing to embed: the list of texts is empty")
    for place, text in enumerate(found):
        if not isinstance(text, str):
            raise ValueError(f"text {place} must be a text, got {type(text).__name__}")
        try:
            text.encode()
        except (
            UnicodeEncodeError
        ):  # half of a UTF-16 pair, as broken decoding leaves it, which no tokenizer takes
            raise ValueError(
                f"text {place} is no valid Unicode: {text!r}; decode it with errors='replace'"
            ) from None
    return found
