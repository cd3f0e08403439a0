"""Single pictures, from their files to what a model takes: the road of a data set without a data set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from ...networks.base import Input
from ...networks.towers.parts.pixels import Square
from ...types import Fit
from ..base import IMAGE_SIZE, stored_size
from .decode import decode, decoded


def raw_pictures(
    pictures: Sequence[bytes | Image.Image], shown: Input | None
) -> UInt8[Tensor, "n 3 side side"]:
    """Return what ``model.embed("image", …)`` takes of some pictures, as `Data.suited` gives it of a data set's.

    >>> picture = Image.new("RGB", (40, 30), "red")
    >>> raw_pictures([picture, picture], Square(24)).shape
    torch.Size([2, 3, 24, 24])

    Args:
        pictures: the bytes of files, or pictures as Pillow opened them; at least one.
        shown: the model's input of pictures, ``model.inputs["image"]``.

    Raises:
        OSError: for bytes that are no picture, or not a whole one.
        ValueError: for a picture of more than `counterpoint.data.pictures.decode.MOST_PIXELS`.
    """
    form = form_of(shown)
    return torch.from_numpy(np.stack([_pixels(picture, form) for picture in pictures]))


def form_of(shown: Input | None) -> int | Fit:
    """Return the form in which a model outside training wants pictures."""
    if not isinstance(shown, Square):
        return stored_size(IMAGE_SIZE)
    return shown.evaluation_fit


def _pixels(picture: bytes | Image.Image, form: int | Fit) -> UInt8[np.ndarray, "3 side side"]:
    return decode(picture, form) if isinstance(picture, bytes) else decoded(picture, form)
