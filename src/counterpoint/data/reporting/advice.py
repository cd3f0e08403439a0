"""Commands that fit data, each with what it does."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from ..labels import Classes, Label, Numbers, Tags, of_kind
from ..replaced import MAX_BROKEN
from ..sources import ALSO_POSSIBLE, COLUMNS, without_budget
from ._seen import DataOverview

_FEW = 1_000  # examples below which pretrained towers have more to say than training from nothing
_OF_CAMERAS = frozenset(
    (
        "img",
        "dsc",
        "dscn",
        "dscf",
        "pict",
        "pic",
        "image",
        "images",
        "photo",
        "photos",
        "picture",
        "scan",
        "file",
    )
)
"""Words in names of files that say nothing of what is shown."""
_LONG = 20  # times the rarest class from which on the most frequent one makes a long tail


def _presets(labels: Mapping[str, Label]) -> Iterator[tuple[str, str, str]]:
    """Yield the comparison that fits each kind of labels, with the first label that it fits and the question."""
    for name, label in of_kind(labels, Classes).items():
        counts = np.unique(label.values[label.known], return_counts=True)[1]
        if len(counts) > 1 and counts.max() > 1:
            yield (
                "partly-labelled",
                name,
                "find out if labels are learned from best, or read by a probe afterwards",
            )
            if counts.max() >= _LONG * counts.min():
                yield "long-tail", name, "find out which objective still tells rare classes apart"
            break
    for kind, preset, question in (
        (Tags, "multi-label", "find out which objective finds the tags"),
        (Numbers, "numbers", "find out which objective orders pictures by the number"),
    ):
        for name in islice(of_kind(labels, kind), 1):
            yield preset, name, question


def training(columns: Iterable[str], data: str) -> str:
    """Return the command that trains one model on data of some columns, as a shell reads its name and its options.

    >>> training(["image"], "photos/"), training(["image", "text"], "pairs.csv")
    ('counterpoint train moco --data photos/', 'counterpoint train clip --data pairs.csv')
    """
    first, *others = columns
    arm = "clip"
    if len(others) > 1:
        arm = f'"clip,columns={first}+{others[0]}"'
    elif not others:
        arm = "moco" if first == "image" else f'"dcl,on={first}"'
    return f"counterpoint train {arm} --data {data}"


def telling(paths: Sequence[str]) -> bool:
    """Return whether the paths of files say what is in them, as words do and numbers of a camera do not.

    Args:
        paths: of files, from the folder of the data on.

    >>> telling(["birds/P061.jpeg", "cats/P062.jpeg"]), telling(["P061.jpeg", "P062.jpeg", "IMG_0001.jpeg"])
    (True, False)
    """
    words = [
        set(re.findall(r"[^\W\d_]{3,}", os.path.splitext(path)[0].lower())) - _OF_CAMERAS for path in paths
    ]
    return 2 * sum(map(bool, words)) >= len(paths) and len(set(map(frozenset, words))) > 1


def repair(seen: DataOverview, left_out: Path | None) -> str:
    """Return what to do before the commands, in words; empty where the data can be used as it is.

    Args:
        seen: the data.
        left_out: the file that lists what is left out.
    """
    if (share := seen.too_broken) is None:
        return ""
    every = len(seen) + seen.lost
    columns = seen.ledger.filter(kind="guessed", reason=COLUMNS)["detail"]
    other = next((f", or choose another column ({it})" for it in columns if ALSO_POSSIBLE in it), "")
    return (
        f"{seen.lost:,} of {every:,} examples cannot be used, and at most {100 * seen.broken:g} % may be left out: "
        f"repair or remove those listed in {left_out}{other}; the commands below leave them out (--broken {share:g})"
    )


def commands(seen: DataOverview) -> Iterator[tuple[str, str]]:
    """Yield the two or three commands that fit, the first to run first.

    Args:
        seen: the data.
    """
    data, held = shlex.quote(without_budget(seen.source)), set(seen.columns)
    if (share := seen.too_broken) is not None:
        data += f" --broken {share:g}"
    elif seen.broken != MAX_BROKEN:
        data = shlex.quote(seen.source)
    if not seen.enough:  # comparisons and training would be refused
        if seen.examples:
            yield f"counterpoint embed MODEL {data}", "embed the rows with a model that you have"
        return
    labelled = any(len(np.unique(it.values[it.known])) > 1 for it in of_kind(seen.labels, Classes).values())
    if held == {"image"}:
        presets = tuple(_presets(seen.labels))
        for preset, label, question in presets:
            yield (
                f"counterpoint compare --preset {preset} --data {data} --labels {shlex.quote(label)} --seeds 5",
                question,
            )
        if not presets:
            yield training(seen.columns, data), "train on pictures alone"
        yield (
            f"counterpoint embed MODEL {data}",
            "embed the pictures with a model that you have, to search them",
        )
        if os.path.isdir(seen.source) and telling(seen.keys):
            yield (
                f"counterpoint compare clip siglip --data {data} --captions path --seeds 5",
                "take captions from the names of folders and files, if they say what is shown",
            )
        return
    if len(held) == 1:
        column = min(held)
        if labelled:
            arms = f'"dcl,on={column}" "ntxent,on={column}"'
            yield (
                f"counterpoint compare {arms} --data {data} --tasks probe --seeds 5",
                "compare methods on this column alone, by classes",
            )
        else:
            yield training(seen.columns, data), "train on this column alone"
        return
    if len(held) > 2:
        yield training(seen.columns, data), "train on two of these columns"
        return
    if not seen.sides.get("train"):
        yield f"counterpoint evaluate RUN --data {data}", "evaluate a model: there is nothing to train on"
        return
    yield (
        f"counterpoint compare clip siglip --data {data} --seeds 5",
        ("find out which method helps on it, with verdicts"),
    )
    if seen.examples < _FEW and "image" in held:
        yield (
            f"counterpoint compare clip siglip --data {data} --seeds 5 --recipe frozen",
            (f"the same on frozen pretrained towers, as {seen.examples:,} examples are few"),
        )
    yield training(seen.columns, data), "train one model"
