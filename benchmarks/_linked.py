"""Very many records of few: shards that are hard links to one file, and an index of them."""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

from counterpoint.data.sharded.indexing import index


def linked(folder: Path, records: int, each: int = 1000) -> Path:
    """Return the folder of an index of so many records, ``each`` of them a shard, with pictures of 64 pixels."""
    shards = folder / f"shards-{records}"
    shards.mkdir(parents=True)
    source, draws = folder / f"shard-{records}.tar", np.random.default_rng(0)
    with tarfile.open(source, "w") as archive:
        for number in range(each):
            picture = io.BytesIO()
            coarse = Image.fromarray(draws.integers(0, 256, (8, 8, 3), dtype=np.uint8))
            coarse.resize((64, 64), Image.Resampling.BICUBIC).save(picture, "JPEG", quality=90)
            for suffix, content in (("jpg", picture.getvalue()), ("txt", f"record number {number}".encode())):
                member = tarfile.TarInfo(f"{number:05}.{suffix}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    names = [f"{number:05}.tar" for number in range(records // each)]
    for name in names:
        os.link(source, shards / name)
    (shards / "sizes.json").write_text(json.dumps(dict.fromkeys(names, each)))
    return index(shards, folder / f"index-{records}", held_out=200, jobs=1).folder
