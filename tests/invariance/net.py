"""Record what a change of structure must leave as it is, and compare a later state of the code with the record.

    python tests/invariance/net.py record before.json       # on the commit before
    python tests/invariance/net.py compare before.json      # after each step; ends with 1 if anything differs

The record holds, in this order, each with numbers written as Python's exact hexadecimal floats:

* ``methods``: for every registered method on ``emoji`` and ``scenes:basic`` the names and shapes of its parameters, a
  digest of its initial weights and the losses of three steps;
* ``data``: some rows of every preset of every world and of every split of ``emoji``: ids, pictures, captions, labels,
  waves, frames, items of every form, as digests; with the fingerprints, under which features and runs are found again;
* ``studies``: the summaries of a small training study and of a small decoding study, without times, versions and paths;
* ``claims``: every cell of every claim's smoke run as a digest, and every result's estimate, interval and verdict.

Numbers are equal bit for bit only on the same machine with the same packages, so a record is made anew where it is
used and is not kept in the repository. A part is left out with ``--without claims`` (some minutes); a part that the
record lacks is not compared.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # the fixtures of the tests

import numpy as np
import torch
from safetensors.torch import save_file

import counterpoint as cp
from counterpoint import methods
from counterpoint.data import PairedData, items
from counterpoint.data import load as load_data
from counterpoint.data.synthetic import clips, scenes, sounds
from counterpoint.networks.init import initialise
from counterpoint.networks.towers.convnet import ConvNet
from counterpoint.networks.towers.transformer import VisionTransformer
from counterpoint.recipes import Recipe
from counterpoint.recipes import load as load_recipe
from counterpoint.training.loop import fit
from counterpoint.training.run import Run
from counterpoint.training.start import prepare
from counterpoint_reproductions import CLAIMS, reproduce
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
    *(
        "seconds",
        "waiting_seconds",
        "peak_memory_bytes",
        "environment",
        "folder",
        "command",
        "version",
        "date",
        "report",
    ),
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


def of_data() -> Iterator[tuple[str, Record]]:
    """Yield what the rows of every world are."""
    small = "train=24,validation=8,test=12"
    worlds: dict[str, Iterable[str]] = {
        "scenes": scenes.PRESETS,
        "clips": clips.PRESETS,
        "sounds": sounds.PRESETS,
    }
    sources = [f"{world}:{name}" for world, presets in worlds.items() for name in presets]
    for source in sources:
        form = "" if source.startswith("scenes") else ",as=pictures"
        whole = dict(load_data(f"{source}{form}", SIZE).fingerprint.parts)
        yield source, {"fingerprint": whole, **of_rows(load_data(f"{source},{small}{form}", SIZE))}
    for source in ("emoji", "emoji:artist", "digits"):
        yield source, of_rows(load_data(source, SIZE))


def of_rows(data: PairedData) -> Record:
    """Return digests of some rows of each split of a data set."""
    of = data.splits
    sides = [of.train, *of.validation.values(), *of.test.values()]
    rows = np.concatenate([side[:6] for side in sides])
    texts = [
        [
            data.key(row),
            *data.captions(row),
            "",
            *data.training_captions(row),
            "",
            *data.evaluation_captions(row),
        ]
        for row in map(int, rows)
    ]
    found: Record = {
        "name": data.name,
        "attribution": data.attribution,
        "fingerprint": dict(data.fingerprint.parts),
        "ids": digest([data.ids, *sides]),
        "pictures": digest([data.images(rows).numpy()]),
        "captions": texts_digest(texts),
        "subsets": texts_digest(data.subsets[rows]),
        "labels": {
            name: texts_digest([labels.names, labels.templates, labels.values[rows]])
            for name, labels in data.classes.items()
        },
        "shifts": {name: digest([source(rows[:4]).numpy()]) for name, source in data.shifts().items()},
    }
    for name in ("waves", "frames", "sensors"):
        if hasattr(data, name):
            found[name] = digest([np.asarray(getattr(data, name)(rows[:4]))])
    for form in FORMS:
        try:
            asked = data.items(form, np.arange(min(len(data), 60)))
        except LookupError:
            continue
        found[form.__name__] = {
            "facts": texts_digest([vars(asked)[name] for name in ITEM_FACTS if name in vars(asked)]),
            "pixels": digest(
                getattr(asked, name)(np.arange(min(len(asked), 4))).numpy()
                for name in ("pictures", "frames", "masks")
                if hasattr(asked, name)
            ),
        }
        if isinstance(asked, items.QuestionVariants):
            found[form.__name__]["changed"] = texts_digest(list(changed(asked)))
    return found


def changed(variants: items.QuestionVariants[Any]) -> Iterator[list[Any]]:
    """Yield the first questions after each operator: the words, the picture, the judgement."""
    for position in range(min(len(variants), 4)):
        before = variants.sample(position)
        for name, operator in variants.operators.items():
            if proposal := operator(before, 7):
                after, done = proposal
                judged = variants.judge(before, after, done)
                yield [name, after.question, digest([after.picture.numpy()]), done, judged]


def texts_digest(values: Any) -> str:
    """Return a digest of texts and numbers in lists, as they are printed."""
    return hashlib.blake2b(repr(plain(as_lists(values))).encode(), digest_size=8).hexdigest()


def as_lists(value: Any) -> Any:
    """Return a value with its arrays and sequences as lists, to any depth."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, frozenset):
        return sorted(value)
    return [as_lists(each) for each in value] if isinstance(value, list | tuple) else value


FORMS = [form for form in vars(items).values() if isinstance(form, type) and issubclass(form, items.Items)]
ITEM_FACTS = (
    *("ids", "kinds", "captions", "options", "answers", "others", "things", "phrases", "points", "questions"),
    *("said", "texts", "replies", "present", "partners", "forms"),
)


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
        yield "training", plain(study.summary.plain(), folder)
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
        yield "decoding", plain(decoding.summary.plain(), folder)


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
    "data": of_data,
    "studies": of_studies,
    "claims": of_claims,
}


def measure(without: list[str]) -> dict[str, Record]:
    """Return the record of the code as it is now."""
    found: dict[str, Record] = {}
    for part, records in PARTS.items():
        if part not in without:
            found[part] = {}
            for name, record in records():
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
    before = {} if given.action == "record" else json.loads(given.file.read_text(encoding="utf-8"))
    lacking = [] if given.action == "record" else [part for part in PARTS if part not in before]
    now = measure([*given.without, *lacking])
    if given.action == "record":
        given.file.write_text(json.dumps(now, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        return 0
    before = {part: record for part, record in before.items() if part in now}
    lines = sorted(differences(before, json.loads(json.dumps(now))))
    for line in lines:
        print(line)
    print(f"{len(lines)} difference(s)")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
