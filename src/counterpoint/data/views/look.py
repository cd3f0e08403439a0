"""The looks that a run takes, found by their names before the run starts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from ...modalities import MODALITIES, resolve
from ...registry import unknown
from ...types import ViewSpec
from . import captions, pictures

Look = Callable[..., Tensor]
"""``look(raw, keys, input)``: from a raw form and a key for each example to the input of a tower."""


@runtime_checkable
class Options(captions.Options, pictures.Options, Protocol):
    """The keys of a recipe's ``augmentation`` section that views read."""


def looks(views: ViewSpec, augmentation: Options) -> dict[str, Look]:
    """Return the look of every view.

    Raises:
        UnknownName: for a modality or a view that is not known.
        MissingPackage: if a view needs WordNet and it is not installed.
    """
    looks_of: dict[str, Look] = {}
    for name, view in views.items():
        if view.modality not in MODALITIES:
            raise unknown(f"modality of view {name!r}:", view.modality, MODALITIES.names())
        made: Any = resolve(MODALITIES.get(view.modality).view)
        looks_of[name] = made(view.augmentation, augmentation)
    return looks_of
