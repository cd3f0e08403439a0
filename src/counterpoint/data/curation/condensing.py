"""A folder of few pictures that stand for many: ``counterpoint data condense``."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from pydantic import BaseModel, ConfigDict
from safetensors.torch import load_file, save_file
from torch import Tensor
from torchvision.transforms.v2.functional import resize

from ...execution.folders import contents
from ...files import FORMAT, read_json, write_json, writing
from ...forms import Count, Natural
from ...reasons import counted
from ...trust import given
from ..base import Rows
from ..pictured import PictureData
from ..source import load_any
from .matching import Condensed, RealPictures, condensed, herded, start

Way = Literal["dcc", "dc", "herding", "random"]
"""Ways to come to few pictures: gradients matched in one of two orders, or real pictures chosen."""

WORK = ".condensing"
"""The folder within the new one that says what it is made of, and holds what is not done yet."""
_PLAN, _STATE = "plan.json", "state.safetensors"
_READ = 256  # pictures in memory at the size in which the data has them


class _Plan(BaseModel):
    """All that a folder of condensed pictures follows from."""

    model_config = ConfigDict(extra="forbid")
    format: int
    source: str
    digest: str
    labels: str
    per_class: int
    way: Way
    size: int
    iterations: int
    seed: int
    width: int
    done: bool = False


def condense(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    labels: str,
    per_class: Count = 10,
    way: Way = "dcc",
    size: Count = 32,
    iterations: Count = 200,
    seed: Natural = 0,
    width: Count = 128,
    on_iteration: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, int]:
    """Write a folder of class folders with a few pictures of each class, made from those to train on.

    Pictures are square PNG files and may be trained on like any folder's. Condensed ones teach a small network what all
    pictures teach, and look like none of them. It goes on where it was stopped, to the same pictures.

    Args:
        source: whatever ``--data`` takes that has pictures.
        out: the new folder.
        labels: the label whose classes the folders are.
        per_class: pictures of each class.
        way: ``dcc`` matches gradients summed over classes, ``dc`` class by class; ``herding`` and ``random`` choose
            among the real pictures.
        size: side of the pictures in pixels.
        iterations: networks whose gradients are matched. Each network moves the pictures in 10 steps (in as many as
            ``per_class``, rounded down to a multiple of ten, from 20 pictures on, and at most 50). The paper takes
            1,000 networks, so 10,000 steps or more; the default of 200 takes a fifth of that and gets less far.
        seed: of networks and draws.
        width: channels of the networks.
        on_iteration: is told how many iterations are done, of how many.

    Returns:
        The number of pictures written of each class, by its folder.

    Raises:
        UnknownNameError: for a label that the data does not have.
        FileNotFoundError: if there is nothing at the path of the data.
        ValueError: for data without pictures, a label of another kind, one class in all, a class with fewer pictures
            than asked for, pictures too small for the networks, or a folder that holds something else.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     made = condense("digits", folder, labels="digit", per_class=2, way="random", size=8)
    >>> made["three"]
    2

    Source: Lee et al., "Dataset Condensation with Contrastive Signals" (2022), arXiv 2202.02916.
    """
    given(source)
    folder, written = Path(out), os.fspath(source)
    data = load_any(written)
    if not isinstance(data, PictureData):
        raise ValueError(f"{written} has no pictures to condense: it has {', '.join(data.columns)}")
    rows = _rows_of(data, labels, per_class)
    plan = _Plan(
        format=FORMAT,
        source=written,
        digest=data.identity(["image"]),
        labels=labels,
        per_class=per_class,
        way=way,
        size=size,
        iterations=iterations,
        seed=seed,
        width=width,
    )
    if not _begin(folder, plan):
        real = RealPictures([pictures_of(data, chosen, size) for chosen in rows.values()])
        for state in _states(folder / WORK / _STATE, real, plan):
            on_iteration(state.iteration, iterations)
        for name, pictures in zip(rows, real.shown(state.pictures), strict=True):
            _write(folder / name, pictures)
        write_json(folder / WORK / _PLAN, plan.model_copy(update={"done": True}).model_dump())
        (folder / WORK / _STATE).unlink(missing_ok=True)
    return dict.fromkeys(rows, per_class)


def _rows_of(data: PictureData, labels: str, per_class: int) -> dict[str, Rows]:
    """Return the rows to train on of every class that there is among them, by the name of its folder."""
    label = data.label(labels, "classes")
    rows = data.splits.train
    rows = rows[data.present("image", rows)]
    of_class = {name: rows[label.values[rows] == c] for c, name in enumerate(label.names)}
    of_class = {name: chosen for name, chosen in of_class.items() if len(chosen)}
    if len(of_class) < 2:
        raise ValueError(
            f"{data.name!r} has {counted(len(of_class), 'class')} of {labels!r} to train on; "
            "give a label with two or more"
        )
    few = {name: len(chosen) for name, chosen in of_class.items() if len(chosen) < per_class}
    if few:
        name, least = min(few.items(), key=lambda item: item[1])
        raise ValueError(
            f"{counted(len(few), 'class')} of {labels!r} in {data.name!r} have fewer than {per_class} pictures to "
            f"train on, {name!r} only {least}; give --per-class {least}"
        )
    folders = {_folder(name): chosen for name, chosen in of_class.items()}
    if len(folders) < len(of_class):
        raise ValueError(f"two classes of {labels!r} in {data.name!r} would have one folder: rename one")
    return folders


def _folder(name: str) -> str:
    """Return the name of a class's folder: its own, without what separates folders, and not hidden."""
    return name.replace("/", "-").replace("\\", "-").lstrip(".") or "-"


def _begin(folder: Path, plan: _Plan) -> bool:
    """Begin a folder, or check that it was begun by the same plan; return whether it is done.

    Raises:
        ValueError: for a folder that holds something else.
    """
    path = folder / WORK / _PLAN
    if not path.exists():
        if any(path.name != WORK for path in contents(folder)):
            raise ValueError(f"{folder} holds something else; name a new folder")
        write_json(path, plan.model_dump())
        return False
    begun = read_json(path, _Plan, f"delete {folder} and condense anew")
    for name, value in plan.model_dump().items():
        if name not in ("done", "source") and (was := getattr(begun, name)) != value:
            changed = (
                "the data has changed since" if name == "digest" else f"its {name} is {was}, not {value}"
            )
            raise ValueError(f"{folder} was begun otherwise: {changed}; name a new folder")
    return begun.done


def _states(path: Path, real: RealPictures, plan: _Plan) -> Iterator[Condensed]:
    """Yield states up to the last one, from where an earlier process stopped; each is kept."""
    if plan.way == "herding":
        yield herded(real, plan.per_class, plan.seed, width=plan.width)
        return
    if path.exists():
        kept = load_file(path)
        state = Condensed(kept["pictures"], kept["momentum"], int(kept["iteration"]))
    else:
        state = start(real, plan.per_class, plan.seed)
    yield state
    if plan.way == "random":
        return
    going_on: dict[str, Any] = {"iterations": plan.iterations, "seed": plan.seed, "width": plan.width}
    for moved in condensed(real, state, plan.way, **going_on):
        with writing(path) as part:
            save_file({name: torch.as_tensor(value) for name, value in asdict(moved).items()}, part)
        yield moved


def pictures_of(data: PictureData, rows: Rows, size: int) -> Tensor:
    """Return the pictures of some rows as squares of a size, ``(n, 3, size, size)``."""
    sized = data.sized(size)
    parts = np.array_split(rows, -(-len(rows) // _READ))
    return torch.cat([resize(sized.images(part), [size, size], antialias=True) for part in parts])


def _write(folder: Path, pictures: Tensor) -> None:
    """Write the pictures of a class, all of them or none."""
    part = folder.parent / WORK / folder.name
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    for number, picture in enumerate(pictures):
        Image.fromarray(picture.permute(1, 2, 0).numpy()).save(part / f"{number:04}.png")
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)
