"""SugarCrepe: captions beside fluent hard negatives."""

from __future__ import annotations

import re
from pathlib import Path

from ._base import ChoicesBenchmark, fields, folder_of_pictures, read_json
from ._pictures import PictureFiles

_SUGARCREPE = re.compile(r"(add|replace|swap)_\w+\.json")


def read(path: Path, size: int) -> ChoicesBenchmark:
    """Read SugarCrepe: ``add_att.json``, ``replace_obj.json``, ``swap_att.json`` … in PATH, and COCO's pictures.

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
    pictures = PictureFiles([picture for picture, *_ in records], advice="put COCO's val2017 there")
    options, kinds = [o for _, o, _ in records], [kind for *_, kind in records]
    return ChoicesBenchmark(f"sugarcrepe:{path}", pictures, options, [0] * len(options), kinds, size)
