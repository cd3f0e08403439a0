"""Scenes as plain values, for files and for comparing byte by byte."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from jaxtyping import Bool

from .scene import Relation, Scene, Thing


def annotation(scene: Scene) -> dict[str, Any]:
    """Return a scene in values that JSON has; `scene_of` reads it back.

    >>> scene = Scene(3, (Thing("cat", None, "small", 200, 300, 500),))
    >>> scene_of(annotation(scene)) == scene
    True
    """
    return asdict(scene)


def scene_of(values: Mapping[str, Any]) -> Scene:
    """Return the scene of an annotation, read from JSON or not."""
    return Scene(
        values["index"],
        tuple(Thing(**thing) for thing in values["things"]),
        tuple(Relation(**relation) for relation in values["relations"]),
        values["background"],
        values["corruption"],
    )


def canonical(scene: Scene) -> bytes:
    """Return an annotation as bytes: equal scenes have equal ones, on every machine."""
    return json.dumps(annotation(scene), sort_keys=True, separators=(",", ":")).encode()


def run_lengths(mask: Bool[np.ndarray, "H W"]) -> list[int]:
    """Return a mask as COCO's uncompressed run lengths: down the columns, first how many pixels are outside.

    >>> run_lengths(np.array([[False, True], [True, True]]))
    [1, 3]
    >>> run_lengths(np.array([[True, False]]))
    [0, 1, 1]
    """
    flat = np.concatenate([[False], mask.T.ravel(), [not mask[-1, -1]]])
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    return np.diff(changes, prepend=0).tolist()
