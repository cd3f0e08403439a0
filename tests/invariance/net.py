"""Record what a change of structure must leave as it is, and compare a later state of the code with the record.

    python tests/invariance/net.py record before.json       # on the commit before
    python tests/invariance/net.py compare before.json      # after each step; ends with 1 if anything differs

The record holds, in this order, each with numbers written as Python's exact hexadecimal floats:

* ``methods``: for every registered method on ``emoji`` and ``scenes:basic`` the names and shapes of its parameters, a
  digest of its initial weights and the losses of three steps;
* ``studies``: the summaries of a small training study and of a small decoding study, without times, versions and paths;
* ``claims``: every cell of every claim's smoke run as a digest, and every result's estimate, interval and verdict.

Numbers are equal bit for bit only on the same machine with the same packages, so a record is made anew where it is
used and is not kept in the repository. A part is left out with ``--without claims`` (some minutes).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # the fixtures of the tests

import numpy as np
import torch
from safetensors.torch import save_file

import counterpoint as cp
from counterpoint import methods
from counterpoint.claims import CLAIMS, reproduce
from counterpoint.data import load as load_data
from counterpoint.networks.init import initialise
from counterpoint.networks.towers.convnet import ConvNet
from counterpoint.networks.towers.transformer import VisionTransformer
from counterpoint.recipes import Recipe
from counterpoint.recipes import load as load_recipe
from counterpoint.training.loop import fit
from counterpoint.training.run import Run, prepare
from fixtures.decoded import Parrot, write_questions

DATA = ("emoji", "scenes:basic,train=64,validation=16,test=16")
SIZE = 16
CHANGES = {
    "towers": {"image_size": SIZE, "context": 12, "vocabulary": 300},
    "widths": {"embedding": 16},
    "batch_size": 8,
    "steps": 3,
    "log_every": 1,
}
VOLATILE = {
    *("seconds", "peak_memory_bytes", "environment", "folder", "command", "version", "date", "report"),
    *("seconds_per_prompt", "relative_seconds", "machine", "versions", "provenance"),
}
Record = dict[str, Any]


def recipe(**changes: Any) -> Recipe:
    """Return the CPU recipe at a tiny size."""
    plain = load_recipe("cpu").model_dump()
    for key, value in {**CHANGES, **changes}.items():
        plain[key] = plain[key] | value if isinstance(value, dict) else value
    return Recipe.model_validate(plain)


def pretrained(folder: Path) -> dict[str, str]:
    """Write the weights that some methods start from, and return those methods' options."""
    cnn, vit = ConvNet(SIZE), VisionTransformer(SIZE)
    initialise(cnn, 0, "image")
    initialise(vit, 0, "teacher")
    for name, tower in {"cnn": cnn, "vit": vit}.items():
        tensors = {key: tensor.contiguous() for key, tensor in tower.state_dict().items()}
        save_file(tensors, folder / f"{name}.safetensors")
    image, teacher = f"image=cnn@{folder / 'cnn.safetensors'}", f"vit@{folder / 'vit.safetensors'}"
    both = f"{image},text=transformers:all-MiniLM-L6-v2@package"
    return {"lit": image, "cwcl": both, "fusemix": both, "diht-distilled": f"teacher={teacher},top=3"}


def of_methods() -> Iterator[tuple[str, Record]]:
    """Yield what every method is at its start and what it loses in three steps."""
    with tempfile.TemporaryDirectory() as folder:
        options = pretrained(Path(folder))
        for source in DATA:
            data = load_data(source, SIZE)
            for name in methods.names():
                arm = ",".join([name, *([options[name]] if name in options else [])])
                try:
                    yield f"{name} on {source}", of_method(Run(arm, source, recipe()), data)
                except ValueError as error:
                    yield f"{name} on {source}", {"refused": str(error).replace(folder, "FOLDER")}


def of_method(run: Run, data: Any) -> Record:
    """Return the parameters, the initial weights and three losses of a run."""
    method, loader = prepare(run, data)
    at_start = digest(tensor.numpy() for tensor in method.state_dict().values())
    losses: list[str] = []
    fit(
        method,
        loader,
        run.recipe,
        seed=run.seed,
        accelerator="cpu",
        on_step=lambda progress: losses.append(progress.loss.hex()),
    )
    return {
        "parameters": {name: list(tensor.shape) for name, tensor in method.named_parameters()},
        "weights": at_start,
        "losses": losses,
        "weights after": digest(tensor.detach().numpy() for tensor in method.state_dict().values()),
    }


def of_studies() -> Iterator[tuple[str, Record]]:
    """Yield the summaries of one small study of each kind."""
    with tempfile.TemporaryDirectory() as folder:
        study = cp.compare(
            *("clip", "siglip", "dcl,on=images"),
            data=DATA[1],
            seeds=2,
            recipe=recipe(steps=6),
            tasks=("probe",),
            jobs=1,
            folder=Path(folder) / "training",
        )
        yield "training", plain(study.summary, folder)
        decoding = cp.compare_decoding(
            *("vcd", "lcd"),
            model=Parrot,
            data=write_questions(Path(folder)),
            tasks=("answers", "pope"),
            seeds=2,
            limit=10,
            max_new_tokens=4,
            folder=Path(folder) / "decoding",
        )
        yield "decoding", plain(decoding.summary, folder)


def of_claims() -> Iterator[tuple[str, Record]]:
    """Yield the cells and results of every claim's smoke run."""
    for slug in CLAIMS.names():
        with tempfile.TemporaryDirectory() as folder:
            evidence = reproduce(slug, quick=True, folder=folder)
            cells = {}
            for path in sorted((Path(folder) / "cells").glob("*.npz")):
                with np.load(path) as arrays:
                    cells[path.stem] = digest(arrays[key] for key in sorted(arrays) if key != "seconds")
            yield slug, {"cells": cells, "results": [plain(r.model_dump()) for r in evidence.results]}


def digest(arrays: Any) -> str:
    """Return a digest of arrays' types, shapes and bytes."""
    found = hashlib.blake2b(digest_size=8)
    for array in arrays:
        found.update(f"{array.dtype}{array.shape}".encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def plain(value: Any, folder: str = "\0") -> Any:
    """Return a value as JSON carries it, without what differs from one run to the next: times, versions, the folder."""
    if isinstance(value, Mapping):
        return {str(k): plain(v, folder) for k, v in value.items() if k not in VOLATILE}
    if isinstance(value, list | tuple):
        return [plain(v, folder) for v in value]
    if isinstance(value, float):
        return value.hex()
    return value if value is None or isinstance(value, int | bool) else str(value).replace(folder, "FOLDER")


PARTS: dict[str, Callable[[], Iterator[tuple[str, Record]]]] = {
    "methods": of_methods,
    "studies": of_studies,
    "claims": of_claims,
}


def measure(without: list[str]) -> dict[str, Record]:
    """Return the record of the code as it is now."""
    found: dict[str, Record] = {}
    for part, items in PARTS.items():
        if part not in without:
            found[part] = {}
            for name, record in items():
                found[part][name] = record
                print(f"\r{part}: {name[:70]:<70}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return found


def differences(before: Any, now: Any, place: str = "") -> Iterator[str]:
    """Yield a line for everything that differs between two records."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in before.keys() | now.keys():
            inside = f"{place} / {key}" if place else key
            if key not in now:
                yield f"{inside}: gone"
            elif key not in before:
                yield f"{inside}: new"
            else:
                yield from differences(before[key], now[key], inside)
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for number, (old, new) in enumerate(zip(before, now, strict=True)):
            yield from differences(old, new, f"{place}[{number}]")
    elif before != now:
        yield f"{place}: {before} -> {now}"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", choices=("record", "compare"))
    parser.add_argument("file", type=Path)
    parser.add_argument("--without", nargs="*", choices=tuple(PARTS), default=[])
    given = parser.parse_args()
    logging.disable(logging.INFO)
    torch.set_num_threads(1)
    now = measure(given.without)
    if given.action == "record":
        given.file.write_text(json.dumps(now, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        return 0
    before = {k: v for k, v in json.loads(given.file.read_text(encoding="utf-8")).items() if k in now}
    lines = sorted(differences(before, json.loads(json.dumps(now))))
    for line in lines:
        print(line)
    print(f"{len(lines)} difference(s)")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
