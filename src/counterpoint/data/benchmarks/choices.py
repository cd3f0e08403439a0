"""SugarCrepe, ARO and CountBench."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from .base import ChoiceBenchmark, fields, folder_of_pictures, read_json, shards
from .pictures import Column, Files

_SUGARCREPE = re.compile(r"(add|replace|swap)_\w+\.json")
_NUMBERS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def sugarcrepe(path: Path, size: int) -> ChoiceBenchmark:
    """SugarCrepe: ``add_att.json``, ``replace_obj.json``, ``swap_att.json`` … in PATH, and COCO's pictures.

    Each file maps a number to an object with ``filename``, ``caption`` and ``negative_caption``; its name is the
    kind, ``"add att"``. Pictures are COCO's validation set of 2017, in a folder ``val2017`` or ``images`` in PATH or
    beside it.

    Source: Hsieh et al. (2023), arXiv 2306.14610.
    """
    files = sorted(p for p in path.glob("*.json") if _SUGARCREPE.fullmatch(p.name))
    if not files:
        raise FileNotFoundError(f"sugarcrepe: no files like add_att.json or swap_obj.json in {path}")
    folder = folder_of_pictures(path, ("val2017", "images"), "sugarcrepe")
    records: list[tuple[Path, tuple[str, str], str]] = []
    for file in files:
        content = read_json(file)
        entries = content.items() if isinstance(content, dict) else enumerate(content)
        for number, entry in entries:
            name, right, wrong = fields(
                entry, ("filename", "caption", "negative_caption"), f"{file}, item {number}"
            )
            records.append((folder / name, (right, wrong), file.stem.replace("_", " ", 1)))
    pictures = Files([picture for picture, *_ in records], advice="put COCO's val2017 there")
    options, kinds = [o for _, o, _ in records], [kind for *_, kind in records]
    return ChoiceBenchmark(f"sugarcrepe:{path}", pictures, options, [0] * len(options), kinds, size)


def aro(path: Path, size: int) -> ChoiceBenchmark:
    """ARO's Visual Genome parts: ``visual_genome_relation.json`` and ``…_attribution.json`` in PATH, either or both.

    Each is a list of objects with ``image_path`` (in PATH's folder ``images``), ``bbox_x``, ``bbox_y``, ``bbox_w``,
    ``bbox_h`` (the part of the picture that is shown), ``true_caption``, ``false_caption``, and ``relation_name`` or
    the two ``attributes``, which become the kind: ``"relation: behind"``, ``"attribution: white red"``. The captions
    of its order parts are not published but made by a program; they are not read.

    Source: Yüksekgönül et al. (2023), arXiv 2210.01936.
    """
    known = {"relation": "relation_name", "attribution": "attributes"}
    files = {family: path / f"visual_genome_{family}.json" for family in known}
    files = {family: file for family, file in files.items() if file.is_file()}
    if not files:
        raise FileNotFoundError(
            f"aro: neither visual_genome_relation.json nor visual_genome_attribution.json in {path}"
        )
    folder = folder_of_pictures(path, ("images",), "aro")
    box = ("bbox_x", "bbox_y", "bbox_w", "bbox_h")
    paths, crops, options, kinds = [], [], [], []
    for family, file in files.items():
        for k, entry in enumerate(read_json(file)):
            name, right, wrong, about, x, y, w, h = fields(
                entry,
                ("image_path", "true_caption", "false_caption", known[family], *box),
                f"{file}, item {k}",
            )
            paths.append(folder / name)
            crops.append((x, y, x + w, y + h))
            options.append((right, wrong))
            kinds.append(f"{family}: {about if isinstance(about, str) else ' '.join(about)}")
    pictures = Files(paths, crops)
    return ChoiceBenchmark(f"aro:{path}", pictures, options, [0] * len(options), kinds, size)


def countbench(path: Path, size: int) -> ChoiceBenchmark:
    """CountBench: Parquet files in PATH or ``PATH/data`` with ``image``, ``text`` and ``number``.

    The options of an item are its caption with each number from two to ten in place of its own; the kind is the true
    number. Left out are rows whose picture is missing (about a tenth of the published file) and those whose caption
    does not say its number in one word exactly once.

    Source: Paiss et al. (2023), arXiv 2302.12066.
    """
    files, frame = shards(path, ("image", "text", "number"), "countbench")
    pictured = pl.concat(
        [
            pl.scan_parquet(f, glob=False).select(pl.col("image").struct.field("bytes").is_not_null())
            for f in files
        ]
    ).collect()
    rows, options, answers, kinds = [], [], [], []
    for row, (there, text, number) in enumerate(
        zip(pictured.to_series(), frame["text"], frame["number"], strict=True)
    ):
        captions = _with_numbers(text, number) if there else None
        if captions is not None:
            rows.append(row)
            options.append(captions)
            answers.append(int(number) - 2)
            kinds.append(_NUMBERS[int(number) - 2])
    left_out = len(frame) - len(rows)
    return ChoiceBenchmark(
        f"countbench:{path}",
        Column(files, "image", np.array(rows, dtype=np.int64)),
        options,
        answers,
        kinds,
        size,
        note={"left out": f"{left_out} of {len(frame)} rows, without picture or number"}
        if left_out
        else None,
    )


def _with_numbers(text: Any, number: Any) -> list[str] | None:
    """A caption with each number in place of its own; None where it does not say it once, in a word."""
    if not isinstance(text, str) or number is None or not 2 <= int(number) <= 10:
        return None
    found = list(re.finditer(rf"\b{_NUMBERS[int(number) - 2]}\b", text, re.IGNORECASE))
    others = re.findall(rf"\b(?:{'|'.join(_NUMBERS)})\b", text, re.IGNORECASE)
    if len(found) != 1 or len(others) != 1:
        return None
    start, end = found[0].span()
    as_written = str.capitalize if text[start].isupper() else str.lower
    return [text[:start] + as_written(word) + text[end:] for word in _NUMBERS]
