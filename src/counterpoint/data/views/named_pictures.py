"""Image views by name, and those that a recipe has in their place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol, TypeVar, runtime_checkable

from ...registry import unknown
from .pictures import EitherView, ImageView

V = TypeVar("V")

_WEAK = ImageView(crop=(0.5, 1.0))
_SIMCLR = ImageView(
    crop=(0.08, 1.0), mirror=0.5, jitter=(0.4, 0.4, 0.4, 0.1), jitter_p=0.8, gray_p=0.2, blur_p=0.5
)
_SWAV = ImageView(
    crop=(0.14, 1.0), mirror=0.5, jitter=(0.8, 0.8, 0.8, 0.2), jitter_p=0.8, gray_p=0.2, blur_p=0.5
)
_JIGSAW = replace(_SIMCLR, crop=(0.2, 1.0))
_BYOL_JITTER = (0.4, 0.4, 0.2, 0.1)

IMAGE_VIEWS: Mapping[str, ImageView | EitherView] = {
    "plain": ImageView(),
    "weak": _WEAK,
    "strong": _SIMCLR,  # CLIP-rocket's strong view and SLIP's self-supervised one are the same chain
    "simclr": _SIMCLR,
    "weak_or_strong": EitherView(_WEAK, _SIMCLR),
    "byol_1": ImageView(
        crop=(0.08, 1.0), mirror=0.5, jitter=_BYOL_JITTER, jitter_p=0.8, gray_p=0.2, blur_p=1.0
    ),
    "byol_2": ImageView(
        crop=(0.08, 1.0),
        mirror=0.5,
        jitter=_BYOL_JITTER,
        jitter_p=0.8,
        gray_p=0.2,
        blur_p=0.1,
        solarize_p=0.2,
    ),
    "swav": _SWAV,
    "swav_small": replace(_SWAV, crop=(0.05, 0.14)),
    # Eight tenths of each side: an overlap ratio of 0.3 in the paper's words.
    "search": replace(_WEAK, mirror=0.5),
    "exemplar_plain": ImageView(crop=(0.05, 0.48)),
    "exemplar": ImageView(
        crop=(0.05, 0.48),
        mirror=0.5,
        rotate=45.0,
        zoom=(1.0, 1.4),
        jitter=_BYOL_JITTER,
        jitter_p=0.8,
        gray_p=0.2,
        blur_p=0.5,
        solarize_p=0.2,
    ),
    "jigsaw_1": replace(_JIGSAW, region=(0.0, 0.0, 0.8, 0.8)),
    "jigsaw_2": replace(_JIGSAW, region=(0.0, 0.2, 0.8, 1.0)),
    "jigsaw_3": replace(_JIGSAW, region=(0.2, 0.0, 1.0, 0.8)),
    "jigsaw_4": replace(_JIGSAW, region=(0.2, 0.2, 1.0, 1.0)),
    "convirt": ImageView(
        crop=(0.6, 1.0),
        mirror=0.5,
        rotate=20.0,
        translate=0.1,
        zoom=(0.95, 1.05),
        jitter=(0.4, 0.4, 0.0, 0.0),
        jitter_p=1.0,
        sigma=(0.1, 3.0),
        blur_p=1.0,
    ),
    "written": ImageView(
        crop=(0.5, 1.0),
        rotate=15.0,
        translate=0.1,
        zoom=(0.9, 1.1),
        jitter=(0.4, 0.4, 0.0, 0.0),
        jitter_p=0.8,
        sigma=(0.1, 1.0),
        blur_p=0.5,
    ),
}

PARTS: Mapping[str, tuple[str, ...]] = {
    "crop": ("crop",),
    "mirror": ("mirror",),
    "colour": ("jitter", "jitter_p"),
    "gray": ("gray_p",),
    "blur": ("sigma", "blur_p"),
}
"""Changes of the view ``simclr`` by name, each with those attributes of `ImageView` that it sets."""


@runtime_checkable
class ImageOptions(Protocol):
    """The keys of a recipe's ``augmentation`` section that the image views read."""

    @property
    def paired(self) -> str: ...
    @property
    def contrasted(self) -> str: ...


def image(name: str, augmentation: ImageOptions | None = None) -> ImageView | EitherView:
    """Return an image view by its name; for ``weak`` and ``simclr`` those that ``augmentation`` names.

    - ``plain``: the central square, resized. For evaluation and for basic recipes without augmentation.
    - ``weak``: a crop of 50–100 % of the area; no mirroring, no colour change. Source: Fini et al., 2023
      (CLIP-rocket).
    - ``strong``, ``simclr``: a crop of 8–100 %, mirroring, colour jitter, grayscale, blur. Source: the same,
      and Mu et al., 2021 (SLIP), after Chen et al., 2020 (SimCLR).
    - ``weak_or_strong``: one of the two, drawn for each example. Source: CLIP-rocket's option for its global
      view.
    - ``byol_1``, ``byol_2``: the asymmetric pair of Grill et al., 2020 (blur always, or rarely but with
      solarising).
    - ``swav``, ``swav_small``: the large and the small crops of Caron et al., 2020: 14–100 % and 5–14 % of the
      area, with stronger colour jitter than SimCLR's.
    - ``search``, ``exemplar``: a crop of 50–100 %, mirrored at random, and a small one of 5–48 % that is rotated by up
      to 45 degrees, mirrored and recoloured as in BYOL; ``exemplar_plain`` is that crop alone. Source: Li et al., 2023
      (CIM).
    - ``jigsaw_1`` … ``jigsaw_4``: a crop of 20–100 % of the upper left, upper right, lower left and lower right part,
      each eight tenths of either side, changed as in SimCLR. Source: Chen et al., 2021 (JigClu).
    - ``convirt``: crop, mirroring, a slight affine change, brightness, contrast, blur; no hue, for grey
      medical pictures. Source: Zhang et al., 2020.
    - ``written``: a crop of 50–100 %, a slight affine change, brightness, contrast, blur; no mirroring and no hue,
      for handwriting.
    - some of ``crop``, ``mirror``, ``colour``, ``gray``, ``blur`` with ``+`` between them: these changes of ``simclr``
      alone, in its order. Without ``crop`` they are made to the central square.

    >>> image("weak").crop
    (0.5, 1.0)
    >>> image("crop+blur").blur_p
    0.5

    Raises:
        UnknownNameError: for any other name.
        ValueError: for a change that is named twice.
    """
    if augmentation is not None:
        name = meant(name, augmentation)
    if name in IMAGE_VIEWS:
        return IMAGE_VIEWS[name]
    if "+" not in name and name not in PARTS:
        raise unknown("image view", name, (*IMAGE_VIEWS, *PARTS))
    return _of_parts(name)


def meant(name: str, augmentation: ImageOptions) -> str:
    """Return the name of the image view that a recipe has in the place of ``weak`` or ``simclr``; of others their own.

    >>> from counterpoint.recipes.schema import Augmentation
    >>> meant("simclr", Augmentation(contrasted="crop+blur"))
    'crop+blur'
    """
    return {"weak": augmentation.paired, "simclr": augmentation.contrasted}.get(name, name)


def named(views: Mapping[str, V], noun: str, name: str, augmentation: ImageOptions | None) -> V:
    """Return a view of another modality by its name: the plain one where a recipe has that in the place of ``weak``.

    Other names that a recipe may have there are those of views of pictures, which stand beside this modality.

    >>> from counterpoint.recipes.schema import Augmentation
    >>> views = {"plain": 0, "weak": 1}
    >>> [named(views, "sounds", "weak", Augmentation(paired=paired)) for paired in ("plain", "convirt")]
    [0, 1]

    Raises:
        UnknownNameError: for a name that no view has.
    """
    if augmentation is not None and (name, augmentation.paired) == ("weak", "plain"):
        name = "plain"
    if name not in views:
        raise unknown(f"view of {noun}", name, views)
    return views[name]


def _of_parts(name: str) -> ImageView:
    """Return the view that makes some of the changes of ``simclr``, named with ``+`` between them."""
    parts = name.split("+")
    for part in parts:
        if part not in PARTS:
            raise unknown(f"change in the image view {name!r}:", part, PARTS)
        if parts.count(part) > 1:
            raise ValueError(f"image view {name!r} names {part!r} twice; give each change once")
    return replace(ImageView(), **{key: getattr(_SIMCLR, key) for part in parts for key in PARTS[part]})
