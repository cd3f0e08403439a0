"""Worlds written to files: WebDataset or Parquet shards, whole or not there, and read back as the same world."""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from ....files import digest_of_file, write_json, write_text
from ...base import Rows
from ...sharded.writing import SUFFIX, Form, ShardSample, reserve, write_shard
from .annotations import annotation, canonical, run_lengths
from .pixels.render import Drawing
from .words import captions
from .world import Scenes

MANIFEST = "scenes.json"
ROWS = 1000
"""The largest number of rows in a shard."""


@dataclass(frozen=True)
class SceneShard:
    """One file of a world that is written to files.

    Attributes:
        file: its name.
        split: of its rows.
        first: row of the world.
        rows: how many.
        check: digest of the first row's annotation.
    """

    file: str
    split: str
    first: int
    rows: int
    check: str


@dataclass(frozen=True)
class Manifest:
    """The content of a folder of shards, now or when all of the shards are written.

    Attributes:
        world: its name, as after ``--data``.
        version: of the preset.
        pixels: side of the pictures.
        format: of the shards.
        attribution: the line that must stand wherever the pictures are shown.
        shards: in the order of the rows.
    """

    world: str
    version: int
    pixels: int
    format: Form
    attribution: str
    shards: tuple[SceneShard, ...]

    @classmethod
    def of(cls, world: Scenes, format: Form) -> Manifest:
        """Return the manifest of a world that is to be written."""
        shards = []
        for split, rows in world.splits.sides.items():
            name = re.sub("[^a-z0-9]+", "-", split)
            for number, first in enumerate(range(0, len(rows), ROWS)):
                row, count = int(rows[first]), min(ROWS, len(rows) - first)
                file = f"{name}-{number:06d}.{SUFFIX[format]}"
                shards.append(SceneShard(file, split, row, count, _check(world, row)))
        version = world.preset.version
        return cls(world.name, version, world.pixels, format, world.attribution, tuple(shards))

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read the manifest of a folder.

        Raises:
            ValueError: if it is damaged.
        """
        path = folder / MANIFEST
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            return cls(**{**values, "shards": tuple(SceneShard(**shard) for shard in values["shards"])})
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{path} is damaged ({error}): delete it and make the scenes again") from error


def write(world: Scenes, folder: Path, format: Form = "webdataset") -> Iterator[int]:
    """Write a world, and yield how many rows are there after each shard, those of an earlier start first.

    It may be stopped at any time: what is written stays, and the same call goes on after it.

    Raises:
        ValueError: if the folder holds other scenes, or the world is none that a name can stand for.
    """
    if Scenes.parse(world.name).preset != world.preset:
        raise ValueError(f"{world.name!r} does not say what this world is: make it with Scenes.parse")
    manifest = Manifest.of(world, format)
    if reserve(folder, MANIFEST, "scenes"):
        if Manifest.read(folder) != manifest:
            raise ValueError(f"{folder} holds other scenes ({MANIFEST} says which): choose another folder")
    else:
        write_json(folder / MANIFEST, asdict(manifest))
        write_text(folder / "README.md", _card(world, manifest))
    done = sum(shard.rows for shard in manifest.shards if (folder / shard.file).exists())
    yield done
    for shard in manifest.shards:
        if not (folder / shard.file).exists():
            write_shard(folder / shard.file, _samples(world, shard), format, _columns())
            done += shard.rows
            yield done


def read(folder: Path) -> Scenes:
    """Read the world that was written to a folder; its pictures are those in the files.

    Raises:
        ValueError: if shards are missing, or were made by another version of the preset.
    """
    manifest = Manifest.read(folder)
    missing = [shard.file for shard in manifest.shards if not (folder / shard.file).exists()]
    if missing:
        raise ValueError(
            f"{folder}: {len(missing)} of {len(manifest.shards)} shards are not there (first: {missing[0]}); "
            "the command that makes them goes on where it stopped"
        )
    world = Scenes.parse(manifest.world)
    same = all(_check(world, shard.first) == shard.check for shard in manifest.shards)
    if world.preset.version != manifest.version or not same:
        raise ValueError(
            f"{folder} was made by another version of {manifest.world!r} than the one installed: make it again"
        )
    return Scenes(world.preset, name=str(folder), stored=ShardPictures(folder, manifest))


@final
class ShardPictures:
    """The pictures of a folder of shards.

    Raises:
        ValueError: when a shard turns out to be damaged.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder, self.manifest, self.pixels = folder, manifest, manifest.pixels
        self._firsts = np.asarray([shard.first for shard in manifest.shards])

    def made_of(self) -> str:
        """Return the manifest and a digest of every shard's bytes."""
        return repr((self.manifest, [digest_of_file(self.folder / s.file) for s in self.manifest.shards]))

    def __call__(self, rows: Rows) -> UInt8[Tensor, "n 3 H W"]:
        pictures = np.empty((len(rows), 3, self.pixels, self.pixels), np.uint8)
        for index, row in enumerate(rows):
            shard = self.manifest.shards[int(np.searchsorted(self._firsts, row, side="right")) - 1]
            path = self.folder / shard.file
            try:
                png = _png(path, self.manifest.format, int(row) - shard.first)
                with Image.open(io.BytesIO(png)) as picture:
                    pictures[index] = np.asarray(picture).transpose(2, 0, 1)
            except Exception as error:
                raise ValueError(
                    f"{path} is damaged ({error}): delete it and make the scenes again"
                ) from error
        return torch.from_numpy(pictures)


def _png(path: Path, format: Form, index: int) -> bytes:
    if format == "parquet":
        return _png_column(path)[index]
    offset, size = _png_members(path)[index]
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(size)


@lru_cache(maxsize=1024)
def _png_members(path: Path) -> list[tuple[int, int]]:
    with tarfile.open(path, "r:") as archive:
        return [(m.offset_data, m.size) for m in archive if m.name.endswith(".png")]


@lru_cache(maxsize=128)
def _png_column(path: Path) -> list[bytes]:
    import polars as pl

    return pl.read_parquet(path, columns=["image"], glob=False)["image"].struct.field("bytes").to_list()


def _columns() -> dict[str, Any]:
    import polars as pl

    texts = dict.fromkeys(("split", "text", "annotation"), pl.String)
    return {"id": pl.Int64, **texts, "captions": pl.List(pl.String)}


def _samples(world: Scenes, shard: SceneShard) -> Iterator[ShardSample]:
    """Yield the pictures and the annotations of a shard."""
    for start in range(shard.first, shard.first + shard.rows, 100):
        rows = np.arange(start, min(start + 100, shard.first + shard.rows))
        pictures = world.images(rows).permute(0, 2, 3, 1).numpy()
        drawing = world.draw(rows)
        for index, row in enumerate(rows):
            file = io.BytesIO()
            Image.fromarray(pictures[index]).save(file, "PNG")
            values = record(world, int(row), drawing, index) | {"split": shard.split.partition(":")[0]}
            text, texts = values["captions"][0], values["captions"]
            cells = {"id": values["id"], "split": values["split"], "text": text, "captions": texts}
            cells |= {"annotation": json.dumps(values, ensure_ascii=False)}
            files = {"image": ("png", file.getvalue())}
            yield ShardSample(f"{values['id']:012d}", files, text, values, cells)


def record(world: Scenes, row: int, drawing: Drawing, index: int) -> dict[str, Any]:
    """Return everything that is known of a row, in values that JSON has.

    Args:
        drawing: of some rows of the world.
        index: of the row among them.
    """
    scene, captioned = world.scene(row), world.captioned(row)
    sentences = captions.long(captioned)
    return {
        "id": int(world.ids[row]),
        "captions": list(world.captions(row)),
        "sentences": [{"text": s.text, "things": list(s.things)} for s in sentences],
        "tags": list(captions.tags(captioned)),
        "scene": annotation(scene),
        "boxes": drawing.boxes[index].tolist(),
        "masks": [run_lengths(mask) for mask in drawing.masks[index]],
    } | ({} if captioned is scene else {"told": annotation(captioned)})


def _check(world: Scenes, row: int) -> str:
    return blake2b(canonical(world.scene(row)), digest_size=8).hexdigest()


def _card(world: Scenes, manifest: Manifest) -> str:
    counts = "\n".join(f"* {split}: {len(rows):,}" for split, rows in world.splits.sides.items())
    return (
        f"# {manifest.world}\n\n{world.preset.about[0].upper()}{world.preset.about[1:]}. Made by counterpoint "
        f"(preset version {manifest.version}), {manifest.pixels} × {manifest.pixels} pixels.\n\n{counts}\n\n"
        "Every row has a picture, a caption, and annotations: things with boxes (left, top, right, bottom, in pixels) "
        "and masks (COCO's uncompressed run lengths), relations, sentences with the things that they speak of.\n\n"
        f"{manifest.attribution}\n"
    )
