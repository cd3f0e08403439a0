"""The looks that a run takes, found by their names before the run starts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from ...modalities import MODALITIES, resolve
from ...registry import unknown
from ...types import View, ViewSpec
from . import captions, named_pictures

Look = Callable[..., Tensor]
"""``look(raw, keys, input)``: from a raw form and a key for each example to the input of a tower."""


@runtime_checkable
class FollowingTransform(Protocol):
    """A look that can show the part of an example that another one shows."""

    def within(self, other: Self) -> Self:
        """Return the look on the part that another look of the same kind takes, whatever else it does.

        The result is called with a further argument, ``part``: the keys from which the other look draws its part.
        """
        ...


@runtime_checkable
class SpatialTransform(Protocol):
    """A look on a modality that says where in a picture something is, and can follow looks on pictures.

    The result of `within` is called with one more argument, ``followed``: the pictures and their input.

    Attributes:
        follows: classes of the looks that it can follow.
    """

    follows: ClassVar[tuple[type, ...]]

    def within(self, other: Any) -> Self: ...


@runtime_checkable
class CroppingTransform(Protocol):
    """A look that can say where in an example its view lies."""

    def frames(self, raw: Any, keys: Any, input: Any, /) -> Float[Tensor, "n 2 3"]:
        """Return the frames (`counterpoint.frames`) of what the look makes of the same arguments, ``part`` included."""
        ...


@runtime_checkable
class ViewOptions(captions.CaptionOptions, named_pictures.ImageOptions, Protocol):
    """The keys of a recipe's ``augmentation`` section that views read."""


def transforms(views: ViewSpec, augmentation: ViewOptions) -> dict[str, Look]:
    """Return the look of every view.

    Raises:
        UnknownNameError: for a modality or a view that is not known, also one that another is like.
        MissingPackageError: if a view needs WordNet and it is not installed.
        ValueError: for a view that is like one of another modality, or like one that has no part it could show, and
            for one that is to be framed and has no frame.
    """
    looks_of: dict[str, Look] = {}
    for name, view in views.items():
        if view.modality not in MODALITIES:
            raise unknown(f"modality of view {name!r}:", view.modality, MODALITIES.names())
        made: Any = resolve(MODALITIES.get(view.modality).view)
        look = looks_of[name] = made(view.augmentation, augmentation)
        if view.framed and not isinstance(look, CroppingTransform):
            raise ValueError(f"view {name!r} of {view.modality} has no frame; leave framed out")
    return looks_of | {
        name: _within(name, view, views, looks_of) for name, view in views.items() if view.like
    }


def _within(name: str, view: View, views: ViewSpec, looks_of: dict[str, Look]) -> Look:
    if view.like not in views:
        raise unknown(f"view that view {name!r} is like:", view.like, views)
    other, look, followed = views[view.like], looks_of[name], looks_of[view.like]
    if isinstance(look, SpatialTransform) and isinstance(followed, look.follows) and not other.like:
        return look.within(followed)
    if other.like or other.modality != view.modality:
        description = f"itself like {other.like!r}" if other.like else f"of {other.modality}"
        raise ValueError(
            f"view {name!r} of {view.modality} cannot be like {view.like!r}, which is {description}"
        )
    if not isinstance(look, FollowingTransform) or type(look) is not type(followed):
        raise ValueError(
            f"view {name!r} ({view.augmentation}) cannot be like {view.like!r} ({other.augmentation}): "
            "no part of an example is theirs to share"
        )
    return look.within(followed)
