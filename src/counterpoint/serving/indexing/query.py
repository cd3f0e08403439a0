"""Queries, from what a user gives to vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from ...data.pictures.single import raw_pictures
from ...methods.tower_method import TowerMethod
from ...modalities import MODALITIES, Modality, resolve
from ...networks.base import FormedInput, Input
from ...raw import check_pictures
from ..vectors import VectorProvenance

Query: TypeAlias = str | Path | bytes | Image.Image | Tensor
"""A text; a file's path, a picture's, a sound's, a film's; a picture as bytes, Pillow's, or uint8 ``(3, H, W)``."""

_AT_ONCE = 64


def embedded(
    queries: Sequence[Query], model: TowerMethod, about: VectorProvenance, searched: Sequence[str]
) -> Float[np.ndarray, "m d"]:
    """Embed queries, those of one modality together.

    Args:
        queries: at least one.
        model: that made the vectors.
        about: the origin of the vectors.
        searched: the modalities of the vectors that are searched.

    Raises:
        ValueError: for no query, an empty one, and one that the vectors cannot be compared with.
        OSError: for a file that cannot be read.
    """
    if not queries:
        raise ValueError("there is no query")
    vectors = np.empty((len(queries), about.width), np.float32)
    indices: dict[str, list[int]] = {}
    for index, query in enumerate(queries):
        indices.setdefault(_modality(query), []).append(index)
    for modality, those in indices.items():
        column = _column(modality, model, about, searched)
        raws = _raws(modality, [queries[index] for index in those], model.inputs[column])
        vectors[those] = torch.cat([model.embed(column, raw) for raw in raws]).float().cpu().numpy()
    return vectors


def _modality(query: Query) -> str:
    """Return the modality of a query; a file whose ending says nothing is taken for a picture."""
    if isinstance(query, str):
        return "text"
    ending = query.suffix.lower() if isinstance(query, Path) else ""
    return next((modality.name for modality in MODALITIES if ending in modality.endings), "image")


def _raws(modality: str, queries: Sequence[Query], shown: Input) -> Iterator[Any]:
    """Yield the raw forms of queries of one modality, some at a time."""
    if modality == "text":
        written = [_text(query) for query in queries]
        yield from (written[start : start + _AT_ONCE] for start in range(0, len(written), _AT_ONCE))
    elif modality == "image":
        pictures = [_picture(query, shown) for query in queries]
        alike = len({picture.shape for picture in pictures}) == 1
        yield from torch.split(torch.cat(pictures), _AT_ONCE) if alike else pictures
    else:
        yield from (_example(query, MODALITIES.get(modality), shown) for query in queries)


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
    return _read(query, MODALITIES.get("image"), lambda data: raw_pictures([data], shown))


def _example(query: Query, modality: Modality, shown: Input) -> Any:
    """Return what a file holds as a raw form of one example."""
    form = shown.form if isinstance(shown, FormedInput) else modality.form
    read, pack = resolve(modality.read), resolve(modality.pack)
    return _read(query, modality, lambda data: pack([read(data, form)], form))


def _read(query: Query, modality: Modality, form: Callable[[bytes], Any]) -> Any:
    assert isinstance(query, Path)
    try:
        return form(query.read_bytes())
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no {modality.one} {query}") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"{query} cannot be read as a {modality.one}: {error}") from error


def _column(kind: str, model: TowerMethod, about: VectorProvenance, searched: Sequence[str]) -> str:
    """Return the model's column that embeds a kind of query."""
    modalities = {column: model.tower(column).modality for column in model.embeds}
    columns = [column for column, modality in modalities.items() if modality == kind]
    if not columns:
        raise ValueError(
            f"the model of these vectors embeds {', '.join(modalities)} alone, and cannot search by {kind}"
        )
    apart = [column for column in searched if modalities[column] != kind]
    if apart and not about.shares_space:
        raise ValueError(
            f"{kind} and {apart[0]} share no space in this model, so a query of {kind} cannot be compared with "
            f"vectors of {apart[0]}: search {columns[0]} alone (--modality {columns[0]})"
        )
    return columns[0]
