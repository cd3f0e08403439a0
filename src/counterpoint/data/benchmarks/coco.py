"""COCO: captions of pictures, and the regions of its categories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Bool, Int, UInt8
from PIL import Image, ImageOps
from torch import Tensor

from ...types import Fit
from ..base import Rows, SomeItems
from ..items import Regions
from ..pictures.decode import fitted, side_of
from ..reading.regions import filled
from ._base import Benchmark, fields, folder_of_pictures, read_json
from ._pictures import PictureFiles


def read(path: Path, size: int) -> COCO:
    """Read COCO's captions: PATH is ``captions_NAME.json``, or a folder that holds one, or ``annotations`` with one.

    The file has ``images`` (``id``, ``file_name``) and ``annotations`` (``image_id``, ``caption``). Pictures lie in a
    folder NAME (``val2017``) or ``images`` beside the file or one level up. Where ``instances_NAME.json`` lies beside
    it there are regions too: for each picture and category that it shows, everything of that category.

    Source: Lin et al., "Microsoft COCO" (2014), arXiv 1405.0312; Chen et al., "Microsoft COCO Captions" (2015), arXiv
    1504.00325.
    """
    file = _captions_file(path)
    split = file.stem.removeprefix("captions_")
    content = read_json(file)
    images, annotations = fields(content, ("images", "annotations"), str(file))
    by_picture: dict[int, list[str]] = {}
    for k, annotation in enumerate(annotations):
        picture, caption = fields(annotation, ("image_id", "caption"), f"{file}, annotation {k}")
        by_picture.setdefault(picture, []).append(" ".join(str(caption).split()))
    named = [fields(image, ("id", "file_name"), f"{file}, image {k}") for k, image in enumerate(images)]
    kept = [(number, name) for number, name in named if number in by_picture]
    folder = folder_of_pictures(file.parent, (split, "images"), "coco")
    pictures = PictureFiles([folder / name for _, name in kept])
    instances = file.with_name(f"instances_{split}.json")
    captions = [by_picture[number] for number, _ in kept]
    return COCO(
        f"coco:{path}",
        pictures,
        captions,
        np.array([number for number, _ in kept], dtype=np.int64),
        size,
        _Instances(instances) if instances.is_file() else None,
    )


@final
class COCO(Benchmark):
    """Pictures with several captions each, and the regions of categories where there is a file of instances."""

    def __init__(
        self,
        name: str,
        pictures: PictureFiles,
        captions: Sequence[Sequence[str]],
        ids: Int[np.ndarray, " n"],
        size: int,
        instances: _Instances | None,
    ) -> None:
        super().__init__(name, pictures, captions, ["all"] * len(captions), size, ids)
        self._instances = instances

    def items(self, form: type[SomeItems], rows: Rows, kinds: Sequence[str] | None = None) -> SomeItems:
        if self._instances is None and issubclass(Regions, form):
            raise LookupError(f"{self.name!r} has no file instances_….json beside its captions")
        if self._instances is None:
            return super().items(form, rows, kinds)
        regions = _CategoryRegions(self, rows, self._instances, kinds)
        return regions if isinstance(regions, form) else super().items(form, rows, kinds)


class _Instances:
    """The categories that each picture shows, and where."""

    def __init__(self, file: Path) -> None:
        images, annotations, categories = fields(
            read_json(file), ("images", "annotations", "categories"), str(file)
        )
        self.names: dict[int, str] = {c["id"]: c["name"] for c in categories}
        self.sizes: dict[int, tuple[int, int]] = {i["id"]: (i["width"], i["height"]) for i in images}
        self.parts: dict[int, dict[int, list[Any]]] = {}
        for k, annotation in enumerate(annotations):
            picture, category, where = fields(
                annotation, ("image_id", "category_id", "segmentation"), f"{file}, annotation {k}"
            )
            self.parts.setdefault(picture, {}).setdefault(category, []).append(where)

    def mask(self, picture: int, category: int, form: int | Fit) -> Bool[np.ndarray, "side side"]:
        """Return everything of a category in the square that the picture is made."""
        whole = np.zeros(self.sizes[picture][::-1], dtype=bool)
        for where in self.parts[picture][category]:
            whole |= filled(where, self.sizes[picture])
        shown = Image.fromarray(whole.view(np.uint8) * 255)
        if isinstance(form, Fit):
            return fitted(shown, replace(form, interpolation="box", fill=(0, 0, 0)))[0] > 127
        return np.asarray(ImageOps.fit(shown, (form, form), Image.Resampling.BOX)) > 127


class _CategoryRegions(Regions):
    """For each picture and each of its categories an item, whose kind and phrase are the category's name.

    The id is the picture's times 1,000 plus the category's.
    """

    def __init__(self, data: COCO, rows: Rows, instances: _Instances, kinds: Sequence[str] | None) -> None:
        self._data, self._instances = data, instances
        self._places = [
            (int(row), category)
            for row in rows
            for category in sorted(instances.parts.get(int(data.ids[row]), {}))
            if kinds is None or instances.names[category] in kinds
        ]
        self.rows = np.array([row for row, _ in self._places], dtype=np.int64)
        self.ids = np.array([data.ids[row] * 1000 + c for row, c in self._places], dtype=np.int64)
        self.phrases = [instances.names[category] for _, category in self._places]
        self.kinds = self.phrases

    def pictures(self, positions: Int[np.ndarray, " k"]) -> UInt8[Tensor, "k 3 H W"]:
        return self._data.images(self.rows[positions])

    def masks(self, positions: Int[np.ndarray, " k"]) -> Bool[Tensor, "k H W"]:
        form, side = self._data.form, side_of(self._data.form)
        masks = torch.zeros(len(positions), side, side, dtype=torch.bool)
        for index, k in enumerate(positions):
            row, category = self._places[k]
            mask = self._instances.mask(int(self._data.ids[row]), category, form)
            masks[index] = torch.from_numpy(mask)
        return masks


def _captions_file(path: Path) -> Path:
    if path.is_file():
        return path
    files = sorted(path.glob("captions_*.json")) or sorted(path.glob("annotations/captions_*.json"))
    if len(files) == 1:
        return files[0]
    raise FileNotFoundError(
        f"coco: {'no' if not files else 'more than one'} captions_….json in {path} or its folder 'annotations'"
        + (f"; name one: {', '.join(map(str, files))}" if files else "")
    )
