"""What stands where in scenes: maps of classes and of depth, and boxes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from ....raw import Boxes, Maps
from .concepts import CONCEPTS
from .config import SceneConfig
from .pixels.render import layers
from .pixels.sprites import box_of
from .scene import Scene

MAPS = ("classes", "depth", "subjects")
"""Maps that scenes have: the concept of each pixel, the order of the things from front to back, and where things are
that captions mention."""
SUBJECT = "subject"
"""The class of pixels of a thing that captions mention."""
BACKGROUND = "background"
"""The first class, of pixels in which no thing is seen."""


def class_names(configs: Sequence[SceneConfig]) -> tuple[str, ...]:
    """Return the classes of maps: the background, and the concepts of things in their own order."""
    used = {concept for it in configs for concept in (*it.concepts, *(it.marks if it.marked else ()))}
    return (BACKGROUND, *(concept for concept in CONCEPTS if concept in used))


def classes(scenes: Sequence[Scene], size: int, names: Sequence[str]) -> Maps:
    """Return the class of each pixel of scenes that are drawn at a size."""
    number = {name: position for position, name in enumerate(names)}
    tables = [[0, *(number[thing.concept] for thing in scene)] for scene in scenes]
    return Maps(_looked_up(layers(scenes, size)[:, 3], tables, torch.uint8), tuple(names))


def depth(scenes: Sequence[Scene], size: int, names: Sequence[str] = ()) -> Maps:
    """Return the depth of each pixel of scenes that are drawn at a size.

    It is 1 for the background. Of n things the nearest has 0, and each further one 1/n more.
    """
    tables = [[1.0, *(1 - (k + 1) / len(scene.things) for k in range(len(scene.things)))] for scene in scenes]
    return Maps(_looked_up(layers(scenes, size)[:, 3], tables, torch.float32))


def subjects(scenes: Sequence[Scene], size: int, names: Sequence[str] = ()) -> Maps:
    """Return in which pixels of scenes that are drawn at a size a thing is seen that is no clutter."""
    tables = [[0, *(not thing.clutter for thing in scene)] for scene in scenes]
    return Maps(_looked_up(layers(scenes, size)[:, 3], tables, torch.uint8), (BACKGROUND, SUBJECT))


def boxes(scenes: Sequence[Scene], size: int, names: Sequence[str] = ()) -> Boxes:
    """Return boxes around what is seen of each thing of scenes that are drawn at a size, from back to front."""
    around = []
    for scene, seen in zip(scenes, layers(scenes, size)[:, 3].numpy(), strict=True):
        all_boxes = [box_of(seen == k + 1) for k in range(len(scene.things))]
        around.append(np.array([box for box in all_boxes if any(box)]).reshape(-1, 4) / size)
    return Boxes.of(around)


READERS: Mapping[str, Callable[[Sequence[Scene], int, Sequence[str]], Any]] = {
    "classes": classes,
    "depth": depth,
    "subjects": subjects,
    "boxes": boxes,
}
"""The columns of what stands where, each with its function of scenes, their size in pixels and the names of classes."""


def _looked_up(seen: UInt8[Tensor, "n H W"], tables: Sequence[Sequence[float]], dtype: torch.dtype) -> Tensor:
    values = torch.empty(seen.shape, dtype=dtype)
    for one, table, result in zip(seen, tables, values, strict=True):
        result[:] = torch.tensor(table, dtype=dtype)[one.long()]
    return values
