"""Maps of where in a picture a phrase applies: similarities with the embeddings of places."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, Shaped, UInt8
from torch import Tensor

from ..data.embeddings import EmbeddingCache
from ..types import EncodesPatches, PatchEmbedder, PhraseMapper
from .item_scores import ROUNDING
from .task import NotApplicableError, similarity


def place_embeddings(
    features: EmbeddingCache, pictures: UInt8[Tensor, "k 3 H W"], task: str
) -> Float[Tensor, "k h w d"]:
    """Embed the places of pictures.

    Raises:
        NotApplicableError: if the model has no ``embed_patches``, or its image tower no features of places.
        ValueError: if they are not finite.
    """
    model = features.model
    if not isinstance(model, PatchEmbedder):
        raise NotApplicableError(
            f"{task} needs a model with embed_patches, which {type(model).__name__} is not"
        )
    return _checked(model.embed_patches, pictures, task)


def patch_features(
    features: EmbeddingCache, pictures: UInt8[Tensor, "k 3 H W"], task: str
) -> Float[Tensor, "k h w d"]:
    """Return the image tower's features of patches, of a model without a tower of its own their embeddings.

    Raises:
        NotApplicableError: if the model has neither, or its image tower no features of patches.
        ValueError: if they are not finite.
    """
    model = features.model
    if isinstance(model, EncodesPatches):
        return _checked(model.patch_features, pictures, task)
    return place_embeddings(features, pictures, task)


def _checked(
    embed: Callable[[Tensor], Tensor], pictures: UInt8[Tensor, "k 3 H W"], task: str
) -> Float[Tensor, "k h w d"]:
    try:
        patches = embed(pictures)
    except LookupError as error:
        raise NotApplicableError(
            f"{task} asks where things are: {error.args[0] if error.args else error}"
        ) from error
    if not torch.isfinite(patches).all():
        raise ValueError("the model's embeddings of patches are NaN or infinite, so no map means anything")
    return patches.detach().float().cpu().permute(0, 2, 3, 1)


def maps_of(
    features: EmbeddingCache,
    pictures: UInt8[Tensor, "k 3 h w"],
    phrases: Sequence[str],
    size: tuple[int, int],
    task: str,
) -> Float[Tensor, "k H W"]:
    """Return a map of each picture for its own phrase: the model's own, or else similarities with its patches.

    Raises:
        NotApplicableError: if the model has neither.
        ValueError: if embeddings of patches are not finite.
    """
    model = features.model
    if isinstance(model, PhraseMapper) and model.maps_phrases:
        return enlarge(model.phrase_maps(pictures, phrases)[:, None], size)[:, 0]
    patches = place_embeddings(features, pictures, task)
    return phrase_maps(features, patches, features.texts(phrases), size)


def phrase_maps(
    features: EmbeddingCache,
    patches: Float[Tensor, "k h w d"],
    phrases: Float[Tensor, "k d"],
    size: tuple[int, int],
) -> Float[Tensor, "k H W"]:
    """Return the similarity of each picture's places with its own phrase, bilinearly interpolated to ``size``.

    A map whose values differ by rounding alone is the same everywhere.
    """
    maps = torch.stack(
        [
            similarity(features, grid.flatten(0, 1), phrase[None])[:, 0].view(grid.shape[:2])
            for grid, phrase in zip(patches, phrases, strict=True)
        ]
    )
    spread = maps.amax((1, 2), keepdim=True) - maps.amin((1, 2), keepdim=True)
    maps = torch.where(spread > ROUNDING, maps, torch.zeros_like(maps))
    return enlarge(maps[:, None], size)[:, 0]


def enlarge(maps: Float[Tensor, "k c h w"], size: tuple[int, int]) -> Float[Tensor, "k c H W"]:
    """Interpolate bilinearly between the centres of places; constant beyond the outermost."""
    return F.interpolate(maps, size, mode="bilinear", align_corners=False)


def centre_square(masks: Shaped[Tensor, "k H W"]) -> Shaped[Tensor, "k S S"]:
    """Cut out the part of pictures or masks that towers are shown: the largest square in the middle.

    >>> centre_square(torch.tensor([[[True, False, True]]])).tolist()
    [[[False]]]
    """
    side = min(masks.shape[1:])
    top, left = ((length - side) // 2 for length in masks.shape[1:])
    return masks[:, top : top + side, left : left + side]


def labelling(
    features: EmbeddingCache,
    patches: Float[Tensor, "h w d"],
    names: Float[Tensor, "K d"],
    size: tuple[int, int],
    panel: int = 64,
) -> tuple[Int[Tensor, "H W"], Float[Tensor, "H W"]]:
    """Find the most similar name at each pixel (−1 where several are, up to rounding), and its similarity.

    Names are compared a panel at a time, so memory does not grow with their number.
    """
    flat = patches.flatten(0, 1)
    best = torch.full(size, -torch.inf)
    label = torch.full(size, -1)
    for start in range(0, len(names), panel):
        near = similarity(features, flat, names[start : start + panel])
        maps = near.T.reshape(1, -1, *patches.shape[:2])
        for number, one in enumerate(enlarge(maps, size)[0], start):
            above, equal = one > best + ROUNDING, (one - best).abs() <= ROUNDING
            label = torch.where(above, number, torch.where(equal, -1, label))
            best = torch.maximum(best, one)
    return label, best


def boxes(mask: Bool[Tensor, "H W"]) -> list[tuple[int, int, int, int]]:
    """Return the box around each connected part of a mask, the largest part's first: left, top, right, bottom.

    Right and bottom are the first pixels outside. Pixels touch at their sides.

    >>> boxes(torch.tensor([[True, False, True], [True, False, False]]))
    [(0, 0, 1, 2), (2, 0, 3, 1)]
    """
    from scipy import ndimage

    labels, _ = ndimage.label(mask.numpy())
    parts = []
    for number, region in enumerate(ndimage.find_objects(labels), 1):
        rows, columns = region
        parts.append(
            (int((labels[region] == number).sum()), (columns.start, rows.start, columns.stop, rows.stop))
        )
    return [box for _, box in sorted(parts, key=lambda part: -part[0])]


def box_iou(a: Sequence[float], b: Sequence[float]) -> float:
    """Return the intersection over union of two boxes.

    >>> box_iou((0, 0, 2, 2), (1, 0, 3, 2))
    0.3333333333333333
    """
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    areas = [(c[2] - c[0]) * (c[3] - c[1]) for c in (a, b)]
    return shared / (sum(areas) - shared)
