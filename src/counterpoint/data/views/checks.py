"""Errors that a run's views can have, found before the run starts."""

from __future__ import annotations

from ...registry import unknown
from ...types import ViewSpec
from . import wordnet
from .captions import TEXT_VIEWS, Options
from .pictures import IMAGE_VIEWS


def check(views: ViewSpec, augmentation: Options) -> None:
    """Raise the error that these views would meet in the middle of a run.

    Raises:
        UnknownName: for a modality or a view that is not known.
        MissingPackage: if a view needs WordNet and it is not installed.
    """
    for name, view in views.items():
        if view.modality not in {"image", "text"}:
            raise unknown(f"modality of view {name!r}:", view.modality, ("image", "text"))
        known = tuple(IMAGE_VIEWS) if view.modality == "image" else TEXT_VIEWS
        if view.augmentation not in known:
            raise unknown(f"{view.modality} view", view.augmentation, known)
    needs_words = any(v.modality == "text" and v.augmentation == "strong" for v in views.values())
    if needs_words and augmentation.synonyms:
        wordnet.find()
