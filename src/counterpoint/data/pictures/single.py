"""Single pictures, from their files to what a model takes: the road of a data set without a data set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

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


def accept_pictures(inputs: Any, input: Input) -> Any:
    """Return the raw form of pictures as users have them; a tensor, and what is no picture, stays as it is.

    >>> accept_pictures(Image.new("RGB", (40, 30), "red"), Square(24)).shape
    torch.Size([1, 3, 24, 24])

    Args:
        inputs: a picture of Pillow, a path, the bytes of a file, an array ``(H, W)``, ``(H, W, 3)`` or ``(H, W, 4)``,
            a tensor ``(3, H, W)``, or a list of these; or an array ``(n, H, W, 3)``.
        input: of the model's image tower.

    Raises:
        FileNotFoundError: for a path without a file.
        ValueError: for a file that is no picture, and values that are not from 0 to 255.
    """
    if isinstance(inputs, Tensor) and not (
        inputs.ndim == 3 and inputs.shape[0] == 3 and inputs.dtype == torch.uint8
    ):
        return inputs
    if isinstance(inputs, np.ndarray):
        if inputs.ndim == 4 and inputs.shape[1] == 3 and inputs.shape[3] not in (1, 3, 4):
            return torch.from_numpy(inputs)
        inputs = list(inputs) if inputs.ndim == 4 else [inputs]
    pictures = inputs if isinstance(inputs, list | tuple) else [inputs]
    if not pictures or not all(isinstance(picture, _ACCEPTED) for picture in pictures):
        return inputs
    return torch.cat([_accepted(picture, input) for picture in pictures])


_ACCEPTED = (Image.Image, str, Path, bytes, np.ndarray, Tensor)


def _accepted(picture: Any, input: Input) -> UInt8[Tensor, "1 3 side side"]:
    if isinstance(picture, str | Path):
        try:
            return raw_pictures([Path(picture).read_bytes()], input)
        except FileNotFoundError:
            raise FileNotFoundError(f"there is no picture {picture}") from None
        except (OSError, ValueError) as error:
            raise ValueError(f"{picture} cannot be read as a picture: {error}") from error
    if isinstance(picture, Tensor):
        picture = picture.permute(1, 2, 0).cpu().numpy() if picture.ndim == 3 else picture.cpu().numpy()
    if isinstance(picture, np.ndarray):
        picture = _from_array(picture)
    return raw_pictures([picture], input)


def _from_array(array: np.ndarray) -> Image.Image:
    if array.dtype != np.uint8:
        raise ValueError(f"an array of a picture holds uint8 values from 0 to 255, got {array.dtype}")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim == 3 and array.shape[2] not in (3, 4) and array.shape[0] == 3:
        array = array.transpose(1, 2, 0)
    if array.ndim != 2 and not (array.ndim == 3 and array.shape[2] in (3, 4)):
        raise ValueError(f"an array of a picture is (H, W), (H, W, 3) or (H, W, 4), got {array.shape}")
    return Image.fromarray(np.ascontiguousarray(array))


def _pixels(picture: bytes | Image.Image, form: int | Fit) -> UInt8[np.ndarray, "3 side side"]:
    return decode(picture, form) if isinstance(picture, bytes) else decoded(picture, form)
