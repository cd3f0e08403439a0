"""What a painter draws for its new words, and where these attend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple, final

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from PIL import ImageColor
from torch import Tensor

from ...data.base import Data, Rows
from ...data.embeddings import uncached
from ...forms import Natural
from ...generation import classes_of
from ...networks.base import ImageTower
from ...networks.towers.build import build_image_tower
from ...raw import UNKNOWN, Maps
from ...types import DrawsWords, Metric, Scores
from ..maps import centre_square
from ..task import NotApplicableError, PainterTask, check_columns, check_rows, check_training, table

JUDGE = "timm:tf_efficientnet_lite0@package"
"""The tower that judges drawings unless another one is named."""
SIDE = 96
"""Of the pictures that it sees, in pixels."""
COLOURS = ("red", "yellow", "green", "blue", "purple")
"""Colours that are told apart by their hues."""
_AT_ONCE = 64
_MOST_WORDS = 64  # of a painter: the ids of its attention start at a multiple of it


@final
class Drawn(PainterTask):
    """Pictures that a painter with new words draws of fixed prompts with fixed seeds, and the attention of these words.

    Drawings are compared with training pictures by a tower that took no part in training. Where the data has a map of
    classes, the picture of a word is what the map says is of its class, on the colour of the background; else it is the
    whole picture. With features of unit norm:

    - ``similarity``: the mean cosine of a drawing and the pictures of its word.
    - ``subject``: share of drawings that are closest to the mean picture of their word alone, or to that of whole
      pictures, and not to that of another class alone; of maps with several classes.
    - ``companion``: share that are closest to that of another class or of whole pictures, which nobody asked for.
    - ``rest``: share of drawings of prompts with a colour whose saturated pixels have the hue of that colour; of those
      of `COLOURS`, the closest one.

    On test pictures with a map, of the map of each word, from 0 to 1:

    - ``leak``: its mean over the pixels of other classes but the first, which is the background.
    - ``inside``: its mean over the pixels of the word's class.
    - ``overlap``: of the cells above 1/2 with those of the word's class, intersection over union.

    An example is a drawing, or a word on a test picture.

    Args:
        pictures: of each prompt and word; none is drawn with 0.
        prompts: with ``{}`` in the place of the word.
        judge: the tower, with its weights.

    Raises:
        NotApplicableError: for data without a map where nothing is drawn.
        ValueError: for a model without new words, and no rows.
    """

    family = "images"
    name = "drawn"
    papers = ("textual-localization",)
    primary = "similarity"
    reads = ("image",)
    learns = True

    def __init__(
        self,
        pictures: Natural = 8,
        prompts: tuple[str, ...] = ("a {}", "a red {}", "a blue {}"),
        judge: str = JUDGE,
    ) -> None:
        if broken := [prompt for prompt in prompts if "{}" not in prompt]:
            raise ValueError(f"the prompt {broken[0]!r} has no {{}} in the place of the word")
        self.pictures, self.prompts, self.judge = pictures, prompts, judge

    def main_metrics(self, data: Data) -> tuple[str, ...]:
        drawn = (self.primary,) if self.pictures else ()
        return (*drawn, "leak") if _maps_of(data) else drawn

    def check_columns(self, data: Data) -> None:
        if not (self.pictures or _maps_of(data)):
            raise NotApplicableError(
                f"{self.name} without pictures asks where words attend, and {data.name!r} has no map that says where "
                "they should"
            )

    def __call__(self, model: DrawsWords, data: Data, rows: Rows) -> Scores:
        check_rows(data, rows, self.name)
        check_columns(self, data)
        check_training(self, data)
        painter: DrawsWords = uncached(model)
        parts = [self._attention(painter, data, rows)] if _maps_of(data) else []
        parts += [self._drawings(painter, data)] if self.pictures else []
        names = {name: None for part in parts for name in part.outcomes}
        outcomes = {
            name: np.concatenate([it.outcomes.get(name, np.full(len(it.ids), np.nan)) for it in parts])
            for name in names
        }
        ids, subsets = np.concatenate([it.ids for it in parts]), [text for it in parts for text in it.subsets]
        metrics = {name: METRICS[name] for name in names if not np.isnan(outcomes[name]).all()}
        return table(self.name, ids, subsets, outcomes, metrics)

    def _attention(self, painter: DrawsWords, data: Data, rows: Rows) -> _Part:
        column, words = _maps_of(data)[0], painter.words
        maps = data.read(column, rows)
        if not maps.of_classes:
            raise NotApplicableError(
                f"{self.name} asks about a map of classes, and {column} is one of numbers"
            )
        attended = painter.attention_of_words(data.read(_pictures_of(data), rows))
        pixels = centre_square(maps.pixels)
        attended = F.interpolate(attended, pixels.shape[1:], mode="bilinear")
        leaks, insides, overlaps = [], [], []
        for position, number in enumerate(classes_of(words, maps.classes)):
            own = pixels == number
            seen, others = attended[:, position], (pixels > 0) & (pixels != UNKNOWN) & ~own
            leaks.append(_mean_in(seen, others))
            insides.append(_mean_in(seen, own))
            over = seen > 0.5
            union = (over | own).sum((1, 2))
            share = (over & own).sum((1, 2)) / union
            overlaps.append(torch.where(own.flatten(1).any(1), share, torch.nan))
        ids = data.ids[rows][:, None] * _MOST_WORDS + np.arange(len(words))
        named = [str(it) for it in data.subsets[rows] for _ in words]
        flat = {"leak": leaks, "inside": insides, "overlap": overlaps}
        return _Part(
            ids.ravel(),
            named,
            {name: torch.stack(of, 1).double().flatten().numpy() for name, of in flat.items()},
        )

    def _drawings(self, painter: DrawsWords, data: Data) -> _Part:
        words = painter.words
        asked = [(word, prompt) for word in words for prompt in self.prompts for _ in range(self.pictures)]
        seeds = list(range(self.pictures)) * (len(words) * len(self.prompts))
        drawn = painter.draw([prompt.replace("{}", word) for word, prompt in asked], seeds=seeds).cpu()
        judge, references = _judge(self.judge), _references(data, words)
        z = _features(judge, drawn)
        known = {name: _features(judge, of) for name, of in references.items()}
        names = [*known]
        means = torch.stack([known[name].mean(0) for name in names])
        nearest = [names[k] for k in torch.cdist(z, means).argmin(1).tolist()]
        classes = [name for name in names if name != WHOLE]
        outcomes: dict[str, list[float]] = {"similarity": [], "subject": [], "companion": [], "rest": []}
        for k, (word, prompt) in enumerate(asked):
            own = known.get(word, known[WHOLE])
            outcomes["similarity"].append(float((own @ z[k]).mean()))
            tells = word in classes and len(classes) > 1
            outcomes["subject"].append(float(nearest[k] in (word, WHOLE)) if tells else np.nan)
            outcomes["companion"].append(float(nearest[k] != word) if tells else np.nan)
            colour = next((it for it in COLOURS if it in prompt.split()), "")
            outcomes["rest"].append(float(colour_of(drawn[k]) == colour) if colour else np.nan)
        ids = -1 - np.arange(len(asked), dtype=np.int64)
        of_drawings = {name: np.array(values) for name, values in outcomes.items()}
        return _Part(ids, [prompt for _, prompt in asked], of_drawings)


METRICS = {
    "similarity": Metric("similarity", bounds=(-1, 1)),
    "subject": Metric("subject"),
    "companion": Metric("companion", higher_is_better=False),
    "rest": Metric("rest", chance=1 / len(COLOURS)),
    "leak": Metric("leak", higher_is_better=False),
    "inside": Metric("inside"),
    "overlap": Metric("overlap"),
}
WHOLE = "whole pictures"


class _Part(NamedTuple):
    """Outcomes of some examples."""

    ids: Int[np.ndarray, " n"]
    subsets: list[str]
    outcomes: Mapping[str, Float[np.ndarray, " n"]]


def colour_of(picture: Float[Tensor, "3 H W"]) -> str:
    """Return the colour of `COLOURS` whose hue is closest to that of the saturated pixels of a picture.

    >>> colour_of(torch.tensor([0.9, 0.1, 0.2])[:, None, None].expand(3, 4, 4))
    'red'
    """
    hues = torch.stack([_chroma(torch.tensor(ImageColor.getrgb(name)) / 255) for name in COLOURS])
    of_picture = _chroma(picture.permute(1, 2, 0)).flatten(0, 1).mean(0)
    return COLOURS[int((F.normalize(hues, dim=1) @ of_picture).argmax())]


def _chroma(pixels: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 2"]:
    """Return the place of colours in the plane of hues, 0 for grey."""
    red, green, blue = pixels.unbind(-1)
    return torch.stack([red - (green + blue) / 2, (green - blue) * 0.75**0.5], -1)


def _mean_in(maps: Float[Tensor, "B H W"], mask: Bool[Tensor, "B H W"]) -> Float[Tensor, " B"]:
    """Return the mean of maps in masks; NaN where a mask is empty."""
    return (maps * mask).sum((1, 2)) / mask.sum((1, 2))


def _maps_of(data: Data) -> list[str]:
    return [name for name, modality in data.columns.items() if modality == "map"]


def _pictures_of(data: Data) -> str:
    return next(name for name, modality in data.columns.items() if modality == "image")


def _references(data: Data, words: Sequence[str]) -> dict[str, UInt8[Tensor, "n 3 S S"]]:
    """Return training pictures: whole, and of each word, and of each class that is no word's, cut out."""
    rows = data.splits.train
    whole = torch.as_tensor(data.read(_pictures_of(data), rows))
    pictures = centre_square(whole.flatten(0, 1))
    pictures = pictures.view(*whole.shape[:2], *pictures.shape[1:])
    references, columns = {WHOLE: pictures}, _maps_of(data)
    maps = data.read(columns[0], rows) if columns else Maps(torch.zeros(len(rows), 1, 1))
    if not maps.of_classes:
        return references
    pixels, own = centre_square(maps.pixels), classes_of(words, maps.classes)
    names = {**{k: name for k, name in enumerate(maps.classes) if k}, **dict(zip(own, words, strict=True))}
    for number, name in names.items():
        mask = pixels == number
        if shown := mask.flatten(1).any(1).nonzero()[:, 0].tolist():
            cut = [_cut_out(pictures[k], mask[k], pixels[k] == 0) for k in shown]
            references[name] = torch.stack(cut)
    return references


def _cut_out(
    picture: UInt8[Tensor, "3 S S"], mask: Bool[Tensor, "S S"], background: Bool[Tensor, "S S"]
) -> UInt8[Tensor, "3 S S"]:
    """Return a picture of a part alone, on the median colour of the background, white where there is none."""
    if bool(background.any()):
        fill = picture[:, background].median(1).values
    else:
        fill = torch.full((3,), 255, dtype=torch.uint8)
    return torch.where(mask, picture, fill[:, None, None])


@cache
def _judge(name: str) -> ImageTower:
    return build_image_tower(name, SIDE).eval()


@torch.no_grad()
def _features(judge: ImageTower, pictures: Tensor) -> Float[Tensor, "n w"]:
    """Return unit-norm features of pictures, of bytes or of values in [0, 1]."""
    raw = pictures if pictures.dtype == torch.uint8 else (255 * pictures).round().byte()
    return torch.cat([F.normalize(judge(judge.input(some)), dim=1) for some in torch.split(raw, _AT_ONCE)])
