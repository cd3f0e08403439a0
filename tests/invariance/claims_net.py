"""Record what claims conclude from cells that are filled, not trained, and compare a later state of the code.

    python tests/invariance/claims_net.py record before.json [SLUG …]     # on the commit before
    python tests/invariance/claims_net.py compare before.json [SLUG …]    # after each step; ends with 1 on a difference

A claim's full design takes hours. Here its cells are filled in a moment: names, shapes and types of the arrays are
those of the claim's smoke run, values pseudo-random from a hash of the function's name and the cell's settings.
Everything that a claim makes of its cells (settings, tuning, arms, statistics, intervals, verdicts) is then the same
before and after a change of structure, to the last bit; cells themselves are compared by ``net.py``, in smoke runs.

Names of results may change, and are then listed; every number must stay. The record holds the forms of the arrays too,
so that comparing runs no smoke run. A cell whose settings the record has not seen shows as a difference.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

import counterpoint
from counterpoint.execution import OnProgress
from counterpoint_reproductions import CLAIMS, reproduce
from counterpoint_reproductions._registry import module
from counterpoint_reproductions.lab import Arrays, Lab
from counterpoint_reproductions.lab.cell import ExperimentCell

Record = dict[str, Any]
Template = dict[str, Any]
JUDGED = (
    "metric",
    "expected",
    "bound",
    "refuted_at",
    "decides",
    "n_seeds",
    "estimate",
    "low",
    "high",
    "verdict",
)
"""Fields of a result that must not change; its name may."""
PACKAGE = str(Path(counterpoint.__file__).parent)


def plain(settings: Mapping[str, Any]) -> str:
    return json.dumps(settings, sort_keys=True)


def template(settings: Mapping[str, Any], arrays: Arrays) -> Template:
    """Return the form of a real cell: for each array its type, shape and range, and the array itself if it is text."""
    found = {}
    for key, array in arrays.items():
        if key == "seconds":
            continue
        form: dict[str, Any] = {"type": array.dtype.str, "shape": list(array.shape)}
        if array.dtype.kind in "biuf":
            number = array.astype(np.float64)
            finite = number[np.isfinite(number)]
            form |= {
                "kind": kind(finite, array.dtype),
                "low": float(finite.min()) if finite.size else 0.0,
                "high": float(finite.max()) if finite.size else 0.0,
                "missing": np.flatnonzero(~np.isfinite(number.reshape(-1))).tolist(),
            }
        else:
            form |= {"kind": "text", "values": array.reshape(-1).tolist()}
        found[key] = form
    return {"settings": dict(settings), "arrays": found}


def kind(values: np.ndarray, dtype: np.dtype[Any]) -> str:
    if np.isin(values, (0.0, 1.0)).all():
        return "outcome"
    if dtype.kind in "iu" or (values == np.round(values)).all():
        return "count"
    return "share" if values.min() >= 0 and values.max() <= 1 else "number"


def fill(function: str, settings: Mapping[str, Any], templates: list[Template]) -> Arrays:
    """Return the arrays of a cell in the form of the template whose settings are nearest."""
    nearest = max(templates, key=lambda t: likeness(settings, t["settings"]))
    shapes = smallest(templates)  # so that arms have the same examples
    found: Arrays = {}
    for key, form in renamed_rates(settings, nearest).items():
        digest = hashlib.blake2b(f"{function} {plain(settings)} {key}".encode(), digest_size=8).digest()
        rng = np.random.default_rng(int.from_bytes(digest))
        shape, dtype = shapes.get(key, tuple(form["shape"])), np.dtype(form["type"])
        level = rng.uniform(0.2, 0.8)  # what tells one cell from another
        if form["kind"] == "text":
            found[key] = np.array(form["values"], dtype).reshape(tuple(form["shape"]))
            continue
        if form["kind"] == "outcome":
            values = (rng.random(shape) < level).astype(np.float64)
        elif form["kind"] == "count":
            values = rng.integers(int(form["low"]), int(form["high"]) + 1, shape).astype(np.float64)
        elif form["kind"] == "share":
            values = rng.beta(8 * level, 8 * (1 - level), shape)
        else:
            span = max(form["high"] - form["low"], 0.1 * abs(form["high"]), 1e-3)
            values = form["low"] + span * (level + rng.normal(0, 0.1, shape))
        values = np.array(values)
        values.reshape(-1)[[place for place in form["missing"] if place < values.size]] = np.nan
        found[key] = values.astype(dtype)
    found["seconds"] = np.array(0.0)
    return found


def likeness(settings: Mapping[str, Any], others: Mapping[str, Any]) -> int:
    """Return how many settings are the same; the seed does not count, so that all seeds have the same examples."""
    return sum(settings.get(key) == value for key, value in others.items() if key != "seed")


def smallest(templates: list[Template]) -> dict[str, tuple[int, ...]]:
    """Return the smallest shape that each array has in any cell: smoke runs of two arms may differ in size."""
    found: dict[str, tuple[int, ...]] = {}
    for cell in templates:
        for key, form in cell["arrays"].items():
            shape = tuple(form["shape"])
            if key not in found or np.prod(shape) < np.prod(found[key]):
                found[key] = shape
    return found


def renamed_rates(settings: Mapping[str, Any], nearest: Template) -> Mapping[str, Template]:
    """Return the arrays of a template; those named after arm and learning rate (`glosses`) for the cell's own rates."""
    if "rates" not in settings:
        return nearest["arrays"]
    found = {}
    for key, form in nearest["arrays"].items():
        arm, _, rest = key.partition(" ")
        for name, rates in nearest["settings"]["rates"].items():
            for old in rates:
                if key.startswith(f"{name} {old:g} "):
                    arm, rest = name, key.removeprefix(f"{name} {old:g} ")
        if arm in settings["rates"]:
            found |= {f"{arm} {rate:g} {rest}": form for rate in settings["rates"][arm]}
        elif arm not in nearest["settings"]["rates"]:
            found[key] = form
    return found


@contextmanager
def patched(name: str, function: Callable[..., Any]) -> Iterator[None]:
    real = getattr(ExperimentCell, name)
    setattr(ExperimentCell, name, function)
    try:
        yield
    finally:
        setattr(ExperimentCell, name, real)


def templates_of(slug: str) -> dict[str, list[Template]]:
    """Return the forms of all cells of a claim's smoke run, by the function's name."""
    found: dict[str, list[Template]] = {}
    work = ExperimentCell.work

    def noting(cell: ExperimentCell, on_progress: OnProgress) -> Arrays:
        arrays = work(cell, on_progress)
        found.setdefault(cell.compute.__name__, []).append(template(cell.settings, arrays))
        return arrays

    with patched("work", noting):
        reproduce(slug, quick=True)
    return found


def results_of(slug: str, templates: Mapping[str, list[Template]]) -> Record:
    """Return what a claim's full design concludes from filled cells, and a digest of the settings of all of them."""
    seen: set[str] = set()

    def filled(cell: ExperimentCell) -> Arrays:
        function = cell.compute.__name__
        written = plain(cell.settings).replace(folder, "FOLDER").replace(PACKAGE, "PACKAGE")
        settings = json.loads(written)
        seen.add(f"{function} {written}")
        return fill(function, settings, templates[function])

    with patched("read", filled), tempfile.TemporaryDirectory() as folder:
        lab = Lab(Path(folder))
        results = [exactly(result.model_dump()) for result in CLAIMS.get(slug)(lab)]
    return {"cells": sorted(seen), "results": results}


def exactly(result: Mapping[str, Any]) -> Record:
    """Return a result with its numbers as exact hexadecimal floats."""
    return {
        key: float(value).hex() if isinstance(value, float) else value
        for key, value in result.items()
        if key in ("name", *JUDGED)
    }


def judged(result: Record) -> str:
    return json.dumps({key: result[key] for key in JUDGED}, sort_keys=True, ensure_ascii=False)


def differences(before: Record, now: Record) -> Iterator[str]:
    """Yield a line for every cell or result that only one of two records has."""
    for sign, one, other in (("gone", before, now), ("new", now, before)):
        for cell in sorted(set(one["cells"]) - set(other["cells"])):
            yield f"cell {sign}: {cell}"
        left = Counter(map(judged, one["results"])) - Counter(map(judged, other["results"]))
        for result in one["results"]:
            if left[judged(result)] > 0:
                left[judged(result)] -= 1
                yield f"result {sign}: {result['name']}: {judged(result)}"


def renamed(before: Record, now: Record) -> Iterator[str]:
    """Yield a line for every result whose numbers stayed and whose name did not."""
    for result in before["results"]:
        alike = [r["name"] for r in now["results"] if judged(r) == judged(result)]
        if alike and result["name"] not in alike:
            yield f"renamed: {result['name']} -> {' | '.join(alike)}"


def record(file: Path, slugs: list[str]) -> int:
    """Record claims into a file; what it holds of other claims stays."""
    found = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    for slug in slugs:
        began = time.perf_counter()
        templates = found[slug]["templates"] if slug in found else templates_of(slug)
        middle = time.perf_counter()
        found[slug] = {"templates": templates, **results_of(slug, templates)}
        seconds = f"smoke {middle - began:.0f} s, full {time.perf_counter() - middle:.0f} s"
        print(
            f"{slug}: {len(found[slug]['cells'])} cells, {len(found[slug]['results'])} results, {seconds}",
            flush=True,
        )
        draft = file.with_suffix(".part")
        draft.write_text(json.dumps(found, ensure_ascii=False) + "\n", encoding="utf-8")
        os.replace(draft, file)
    return 0


def compare(file: Path, slugs: list[str]) -> int:
    """Compare claims with their record."""
    before = json.loads(file.read_text(encoding="utf-8"))
    count = 0
    for slug in slugs:
        if slug not in before:
            print(f"{slug}: not in the record")
            continue
        now = json.loads(json.dumps(results_of(slug, before[slug]["templates"])))
        lines = list(differences(before[slug], now))
        count += len(lines)
        print(f"{slug}: {len(now['results'])} results, {len(lines)} difference(s)", flush=True)
        for line in [*lines, *renamed(before[slug], now)]:
            print(f"  {line}")
    return 1 if count else 0


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", choices=("record", "compare"))
    parser.add_argument("file", type=Path)
    parser.add_argument("slugs", nargs="*", help="all claims unless given")
    given = parser.parse_args()
    logging.disable(logging.INFO)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    known = (
        json.loads(given.file.read_text(encoding="utf-8")) if given.action == "compare" else CLAIMS.names()
    )
    # Claims that are studies of registered methods have no cells, and would be trained.
    slugs = given.slugs or [slug for slug in known if "Comparison" not in vars(module(slug))]
    return (record if given.action == "record" else compare)(given.file, slugs)


if __name__ == "__main__":
    sys.exit(main())
