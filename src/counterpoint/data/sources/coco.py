"""COCO's captions, to train on: Karpathy's splits, or the published ones; or its categories, as tags of pictures."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, final

from pydantic import BaseModel

from ...files import read_json
from ...modalities import PAIR
from ...raw import UNKNOWN
from ...registry import unknown
from ..cache import cache_folder, writing
from ._files.asset import Asset, digest_of
from ._files.locations import leads_out, state_of
from ._ledger import Ledger
from ._names import SPLITS, split_of
from ._options import SourceOptions
from ._record import Cell, Record, Records
from ._source import Shard, Source

_KARPATHY = "dataset_coco.json"
_CAPTIONS, _INSTANCES = "captions_", "instances_"
_OBJECTS = "objects"
_LOCATED = ("map", "boxes")
_SPLITS = {**SPLITS, "restval": "train"}  # pictures of COCO's validation set that Karpathy trains on
_REMEDY = "copy it again from where it was published"


@final
class Coco(Source):
    """Pictures with five captions each: ``coco:PATH``.

    PATH is Karpathy's ``dataset_coco.json``, or a folder that holds it, or ``annotations`` with it; or else such a
    folder with ``captions_train2014.json`` and ``captions_val2014.json``, or those of another year: the latter are for
    test, and validation is taken from the former. One file of captions alone is a benchmark. Pictures lie in
    ``train2014`` and ``val2014`` beside the file or one level up, or in ``images`` there.

    ``instances_train2017.json`` and the like are pictures without captions, whose categories are the tags ``objects``:
    one of these files, with that of the other split where it is there, or a folder with such files alone. Where all
    annotations have a ``segmentation`` there is a column ``map`` with the category of each pixel, the smaller instance
    over the larger one; where all have a ``bbox`` there is a column ``boxes``. Run lengths may be compressed. Captions
    have these columns where ``--columns image text map boxes`` names them, from the files of instances of the same
    pictures, in the same folder or in ``annotations``.

    Source: Lin et al., "Microsoft COCO" (2014), arXiv 1405.0312; the splits are those of Karpathy and Fei-Fei, "Deep
    Visual-Semantic Alignments for Generating Image Descriptions" (2015), arXiv 1412.2306.
    """

    precedence = 0
    head = "coco:"
    takes = frozenset({"columns"})

    def recognises(self, written: str) -> bool:
        return written.startswith(self.head) and bool(_files(written))

    def shards(self, written: str, options: SourceOptions, ledger: Ledger) -> list[Shard]:
        """List the files.

        Raises:
            UnknownNameError: for a column that COCO does not give.
        """
        for name in options.columns:
            if name not in (*PAIR, *_LOCATED):
                raise unknown("column of COCO", name, (*PAIR, *_LOCATED))
        return [
            Shard(file.name, str(file), "coco", state_of([file]), options, split=side)
            for file, side in _files(written).items()
        ]

    def open(self, shard: Shard, ledger: Ledger) -> Records:
        """Read a file of captions, or of categories.

        Raises:
            DamagedFileError: if it has another form.
            ValueError: for a split that there is not, and for a column of maps or boxes that instances do not give.
        """
        file = Path(shard.location)
        if file.name.startswith(_INSTANCES):
            content = read_json(file, _Instances, _REMEDY)
            columns = {"image": "image"} | {name: name for name in _located(content)}
            return Records.collect(_whole(_pictures(file, content, shard.split), ledger), columns)
        named = [name for name in _LOCATED if name in shard.options.columns]
        assets = _assets(file, named) if named else {}
        each = _of_karpathy(file) if shard.split is None else _published(file, shard.split)
        records = (
            (
                name,
                replace(record, cells={**record.cells, **dict.fromkeys(named, assets.get(record.id or ""))}),
            )
            for name, record in each
        )
        return Records.collect(
            _whole(records, ledger), {**PAIR, **{name: name for name in named}}, gaps=bool(named)
        )


def _files(written: str) -> dict[Path, str | None]:
    """Return the files to train and to test on, each with its split; None for one that has all splits or is alone."""
    path = Path(written.removeprefix(Coco.head))
    if path.is_file() and path.suffix == ".json":
        if path.name.startswith(_INSTANCES):
            sides = _sides(path.parent, _INSTANCES)
            return sides if path in sides else {path: None}
        return {path: None} if path.name.startswith("dataset_") else {}
    for folder in (path, path / "annotations"):
        if (folder / _KARPATHY).is_file():
            return {folder / _KARPATHY: None}
    places = [(folder, kind) for kind in (_CAPTIONS, _INSTANCES) for folder in (path, path / "annotations")]
    return next((sides for folder, kind in places if (sides := _sides(folder, kind))), {})


def _sides(folder: Path, kind: str) -> dict[Path, str | None]:
    """Return the published files of a kind in a folder, each with its split; none unless both splits are there."""
    splits = {file: split_of(file.stem.removeprefix(kind)) for file in folder.glob(f"{kind}*.json")}
    sides = {file: "test" if side == "validation" else side for file, side in sorted(splits.items())}
    return sides if {*sides.values()} >= {"train", "test"} and None not in sides.values() else {}


class _Sentence(BaseModel):
    raw: str


class _Picture(BaseModel):
    filename: str
    split: str
    sentences: list[_Sentence]
    filepath: str = "images"
    cocoid: int | None = None


class _Karpathy(BaseModel):
    images: list[_Picture]


class _Image(BaseModel):
    id: int
    file_name: str
    height: int | None = None
    width: int | None = None


class _Caption(BaseModel):
    image_id: int
    caption: str


class _Published(BaseModel):
    images: list[_Image]
    annotations: list[_Caption]


class _Category(BaseModel):
    id: int
    name: str


class _Object(BaseModel):
    image_id: int
    category_id: int
    segmentation: Any = None
    bbox: tuple[float, float, float, float] | None = None


class _Instances(BaseModel):
    images: list[_Image]
    annotations: list[_Object]
    categories: list[_Category]


def _of_karpathy(file: Path) -> Iterator[tuple[str, Record]]:
    for number, picture in enumerate(read_json(file, _Karpathy, _REMEDY).images):
        where = f"{file}, image {number}"
        if picture.split not in _SPLITS:
            raise ValueError(f"{where}: split {picture.split!r} is none of {', '.join(_SPLITS)}")
        captions = tuple(text for each in picture.sentences if (text := " ".join(each.raw.split())))
        path = _folder(file, picture.filepath) / picture.filename
        cells: dict[str, Cell] = {"image": Asset.of(path), "text": captions}
        identity = None if picture.cocoid is None else str(picture.cocoid)
        record = Record(cells, picture.filename, identity, _SPLITS[picture.split], where=where)
        yield f"{picture.filepath}/{picture.filename}", record


def _published(file: Path, split: str) -> Iterator[tuple[str, Record]]:
    content = read_json(file, _Published, _REMEDY)
    captions: dict[int, list[str]] = {}
    for annotation in content.annotations:
        if text := " ".join(annotation.caption.split()):
            captions.setdefault(annotation.image_id, []).append(text)
    folder = _folder(file, file.stem.removeprefix(_CAPTIONS))
    for image in content.images:
        cells: dict[str, Cell] = {
            "image": Asset.of(folder / image.file_name),
            "text": tuple(captions.get(image.id, ())),
        }
        where = f"{file}, image {image.id}"
        yield image.file_name, Record(cells, image.file_name, str(image.id), split, where=where)


def _located(content: _Instances) -> list[str]:
    """Return the modalities of what the annotations say of where things are."""
    if not content.annotations or any(
        image.height is None or image.width is None for image in content.images
    ):
        return []
    maps = len(content.categories) < UNKNOWN and all(it.segmentation for it in content.annotations)
    boxes = all(it.bbox for it in content.annotations)
    return [name for name, there in (("map", maps), ("boxes", boxes)) if there]


def _assets(file: Path, named: Sequence[str]) -> dict[str, Asset]:
    """Return where the instances of the pictures of a file of captions are, by the ids of the pictures.

    Raises:
        ValueError: where there is no file of instances, or one that lacks a column.
    """
    kind = "*" if file.name == _KARPATHY else file.stem.removeprefix(_CAPTIONS)
    folders = (file.parent, file.parent / "annotations")
    found = [path for folder in folders for path in sorted(folder.glob(f"{_INSTANCES}{kind}.json"))]
    columns = ", ".join(named)
    if not found:
        raise ValueError(f"{file}: --columns names {columns}, and no {_INSTANCES}{kind}.json lies beside it")
    assets: dict[str, Asset] = {}
    for path in found:
        content = read_json(path, _Instances, _REMEDY)
        if missing := [name for name in named if name not in _located(content)]:
            raise ValueError(f"{path}: --columns names {columns}, and its annotations give no {missing[0]}")
        assets |= {str(number): asset for number, asset in _written(path, content).items()}
    return assets


def _written(file: Path, content: _Instances) -> dict[int, Asset]:
    """Write the instances of each picture into a file of the cache, and return where each picture's are."""
    stat = file.stat()
    said = f"{file.resolve()} {stat.st_mtime_ns} {stat.st_size}"
    path = cache_folder() / "instances" / f"{digest_of(said.encode())}.jsonl"
    categories = sorted(content.categories, key=lambda it: it.id)
    numbers = {category.id: number for number, category in enumerate(categories, 1)}
    classes = ["background", *(category.name for category in categories)]
    objects: dict[int, list[Any]] = {}
    for it in content.annotations:
        if it.category_id in numbers:
            entry = numbers[it.category_id], it.segmentation, it.bbox
            objects.setdefault(it.image_id, []).append(entry)
    assets, offset = {}, 0
    with writing(path) as part, part.open("wb") as stream:
        for image in content.images:
            said_of = {
                "size": [image.height, image.width],
                "classes": classes,
                "objects": objects.get(image.id, []),
            }
            line = json.dumps(said_of).encode() + b"\n"
            assets[image.id] = Asset(str(path), image.file_name, offset, stream.write(line))
            offset += len(line)
    return assets


def _pictures(file: Path, content: _Instances, split: str | None) -> Iterator[tuple[str, Record]]:
    located = _located(content)
    assets = _written(file, content) if located else {}
    names = {category.id: category.name for category in content.categories}
    objects: dict[int, set[str]] = {}
    for annotation in content.annotations:
        objects.setdefault(annotation.image_id, set()).add(
            names.get(annotation.category_id, str(annotation.category_id))
        )
    folder = _folder(file, file.stem.removeprefix(_INSTANCES))
    for image in content.images:
        labels = {_OBJECTS: json.dumps(sorted(objects.get(image.id, ())))}
        cells: dict[str, Cell] = {"image": Asset.of(folder / image.file_name)}
        cells |= dict.fromkeys(located, assets.get(image.id))
        where = f"{file}, image {image.id}"
        yield (
            image.file_name,
            Record(cells, image.file_name, str(image.id), split, labels=labels, where=where),
        )


def _folder(file: Path, name: str) -> Path:
    """Return the folder of pictures beside a file of captions, or one level up.

    Raises:
        FileNotFoundError: if there is none.
    """
    above = (file.parent, file.parent.parent)
    folders = [base / inner / name for base in above for inner in (".", "images")] + [
        base / "images" for base in above
    ]
    for folder in folders:
        if folder.is_dir():
            return folder
    raise FileNotFoundError(
        f"{file}: no pictures; expected one of the folders {', '.join(map(str, folders))}"
    )


def _whole(records: Iterator[tuple[str, Record]], ledger: Ledger) -> Iterator[Record]:
    """Yield records that have a picture, and a caption where there are such; enter others into the ledger.

    A record comes with the name of its picture, which may not lead out of the folder of pictures.
    """
    for name, record in records:
        picture = record.cells["image"]
        if leads_out(name):
            ledger.add("lost", "path that leads out of the folder", record.where, detail=name)
            continue
        if not record.cells.get("text", True):
            ledger.add("lost", "no caption", record.where)
        elif isinstance(picture, Asset) and not Path(picture.file).is_file():
            ledger.add("lost", "no such file", record.where, detail=picture.file)
        else:
            yield record
