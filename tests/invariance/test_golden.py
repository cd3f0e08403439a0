"""The losses of twenty steps are, bit for bit, those in ``golden.json``: a change of structure changes no number.

    python tests/invariance/test_golden.py      # records them anew, where a change of numbers is meant

Numbers are equal bit for bit only under one version of torch, on one model of processor. Each has a record of its own,
and recording leaves those of others as they are; where there is none, these tests are skipped, and say so.
"""

from __future__ import annotations

import json
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

RECORD = Path(__file__).with_name("golden.json")
METHODS = (
    *("clip", "slip"),
    # Of pictures alone. Queues fill in two steps; the table has 36 rows to train on.
    *(
        "ntxent,on=images",
        "moco,queue=32",
        "mochi,queue=32",
        "moco-dual-view,queue=32",
        "sy-con,queue=32",
        "ebm",
    ),
)
SOURCES = ("emoji", "scenes:basic,train=64,validation=16,test=16", "table")
THREADS = 1


def conditions() -> dict[str, str | int]:
    """Return all that the bits of a loss depend on besides the code."""
    return {
        "torch": torch.__version__,
        "threads": THREADS,
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "processor": processor(),
    }


def processor() -> str:
    """Return the maker and model of the processor: with the same instructions, two models may take other kernels."""
    about = Path("/proc/cpuinfo")
    if not about.exists():
        return platform.processor()
    told = dict(line.split(":", 1) for line in about.read_text(encoding="utf-8").splitlines() if ":" in line)
    named = {name.strip(): value.strip() for name, value in told.items()}
    return " ".join(named.get(part, "") for part in ("vendor_id", "cpu family", "model", "stepping")).strip()


def write_table(folder: Path) -> Path:
    """Write sixty pictures of noise, and a table of them with two captions each and a split column."""
    draws = np.random.default_rng(0)
    colours, things = ("red", "green", "blue", "grey", "pale"), ("boat", "house", "kite", "stone")
    rows = []
    for number in range(60):
        name = f"{number:02}.png"
        width, height = draws.integers(20, 40, 2)
        Image.fromarray(draws.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(folder / name)
        said = f"a {colours[number % 5]} {things[number % 4]} number {number}"
        split = ("train", "train", "train", "validation", "test")[number // 4 % 5]
        rows.append(
            {"file_name": name, "text": [said, f"{said} seen from afar"], "id": 500 + number, "split": split}
        )
    pl.DataFrame(rows).write_parquet(folder / "metadata.parquet")
    return folder / "metadata.parquet"


def losses(method: str, source: str) -> list[str]:
    """Return the losses of twenty steps as exact hexadecimal numbers."""
    from counterpoint.data import load as load_data
    from counterpoint.recipes import load, override
    from counterpoint.training.loop import fit
    from counterpoint.training.run import Run
    from counterpoint.training.start import prepare

    recipe = override(
        load("cpu"),
        {
            **{"steps": 20, "batch_size": 16, "threads": THREADS},
            **{"towers.image_size": 16, "towers.context": 12, "towers.vocabulary": 300},
            **{"widths.embedding": 16, "widths.ssl_hidden": 32, "widths.ssl_output": 16},
            "augmentation.synonyms": False,  # the words that they would put in are data of another package
        },
    )
    with tempfile.TemporaryDirectory() as folder:
        written = str(write_table(Path(folder))) if source == "table" else source
        run = Run(method, written, recipe)
        trained, loader = prepare(run, load_data(written, 16))
        seen: list[str] = []
        fit(
            trained,
            loader,
            recipe,
            accelerator="cpu",
            on_step=lambda progress: seen.append(progress.loss.hex()),
        )
    return seen


def records() -> list[dict[str, Any]]:
    """Return the losses on record, by the conditions that they were recorded under."""
    return list(json.loads(RECORD.read_text(encoding="utf-8")))


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("method", METHODS)
def test_losses_are_those_on_record(method: str, source: str) -> None:
    name, here = f"{method} on {source}", conditions()
    there = {
        name: made
        for record in records()
        if record["conditions"] == here
        for name, made in record["losses"].items()
    }
    if name not in there:
        pytest.skip(f"no losses of {name} were recorded under {here}")
    assert losses(method, source) == there[name]


if __name__ == "__main__":
    made = {f"{method} on {source}": losses(method, source) for method in METHODS for source in SOURCES}
    others = [record for record in records() if record["conditions"] != conditions()]
    kept = [*others, {"conditions": conditions(), "losses": made}]
    RECORD.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    print(f"{RECORD}: {len(made)} runs", file=sys.stderr)
