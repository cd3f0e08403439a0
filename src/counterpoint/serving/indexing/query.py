"""Queries, from what a user gives to vectors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from ...data.pictures.single import raw_pictures
from ...methods.base import TowerMethod
from ...networks.base import Input
from ...raw import check_pictures
from ..vectors import About

Query: TypeAlias = str | Path | bytes | Image.Image | Tensor
"""A text, or a picture: a file's path or its bytes, Pillow's, or uint8 ``(3, H, W)``."""

_AT_ONCE = 64


def embedded(
    queries: Sequence[Query], model: TowerMethod, about: About, searched: Sequence[str]
) -> Float[np.ndarray, "m d"]:
    """Embed queries, texts and pictures each together.

    Args:
        queries: at least one.
        model: that made the vectors.
        about: the origin of the vectors.
        searched: the modalities of the vectors that are searched.

    Raises:
        ValueError: for no query, an empty one, and one that the vectors cannot be compared with.
        OSError: for a file that is no picture.
    """
    if not queries:
        raise ValueError("there is no query")
    vectors = np.empty((len(queries), about.width), np.float32)
    texts = [place for place, query in enumerate(queries) if isinstance(query, str)]
    pictures = [place for place, query in enumerate(queries) if not isinstance(query, str)]
    if texts:
        column = _column("text", model, about, searched)
        written = [_text(queries[place]) for place in texts]
        parts = [
            model.embed(column, written[start : start + _AT_ONCE])
            for start in range(0, len(written), _AT_ONCE)
        ]
        vectors[texts] = torch.cat(parts).float().cpu().numpy()
    if pictures:
        column = _column("image", model, about, searched)
        raw = [_picture(queries[place], model.inputs[column]) for place in pictures]
        alike = len({picture.shape for picture in raw}) == 1
        parts = [
            model.embed(column, some) for some in (torch.split(torch.cat(raw), _AT_ONCE) if alike else raw)
        ]
        vectors[pictures] = torch.cat(parts).float().cpu().numpy()
    return vectors


def _text(query: object) -> str:
    text = str(query)
    if not text.strip():
        raise ValueError("the query is empty: write what is searched for")
    return text


def _picture(query: Query, shown: Input) -> UInt8[Tensor, "1 3 H W"]:
    if isinstance(query, Tensor):
        return check_pictures(query[None])
    if isinstance(query, bytes | Image.Image):
        return raw_pictures([query], shown)
    assert isinstance(query, Path)
    try:
        return raw_pictures([query.read_bytes()], shown)
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no picture {query}") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"{query} cannot be read as a picture: {error}") from error


def _column(kind: str, model: TowerMethod, about: About, searched: Sequence[str]) -> str:
    """Return the model's column that embeds a kind of query."""
    modalities = {column: model.tower(column).modality for column in model.embeds}
    own = [column for column, found in modalities.items() if found == kind]
    if not own:
        raise ValueError(
            f"the model of these vectors embeds {', '.join(modalities)} alone, and cannot search by {kind}"
        )
    apart = [column for column in searched if modalities[column] != kind]
    if apart and not about.shares_space:
        raise ValueError(
            f"{kind} and {apart[0]} share no space in this model, so a query of {kind} cannot be compared with "
            f"vectors of {apart[0]}: search {own[0]} alone (--modality {own[0]})"
        )
    return own[0]
