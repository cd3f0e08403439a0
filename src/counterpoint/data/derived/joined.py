"""Parts of several sources as one: a label of theirs, the raw forms of a column."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import polars as pl
import torch
import torch.nn.functional as F
from jaxtyping import Int
from torch import Tensor

from ...raw import Clips, Raw, Table
from ..labels import Classes, Label, Tags, Timelines, label_of, unknown_values


def joined_label(of_each: Sequence[Label | None], sizes: Sequence[int], what: str) -> Label:
    """Return a label of the sources that have it, with the classes or tags of all of them.

    Args:
        of_each: the label of every source, None for one that does not have it.
        sizes: the rows of every source.
        what: the label is called in messages.

    Raises:
        ValueError: if it is not of one kind.
    """
    having = [label for label in of_each if label is not None]
    if len(kinds := dict.fromkeys(label.kind for label in having)) > 1:
        raise ValueError(f"{what} holds {' here and '.join(kinds)} there; rename one")
    if all(isinstance(label, Timelines) for label in having):
        return _joined_timelines(of_each, sizes)
    names = tuple(dict.fromkeys(known for label in having for known in label.names))
    parts = [
        unknown_values(having[0].kind, len(names), rows) if label is None else _renumbered(label, names)
        for rows, label in zip(sizes, of_each, strict=True)
    ]
    templates = having[0].templates if isinstance(having[0], Classes) else ()
    return label_of(having[0].kind, names, np.concatenate(parts), templates)


def _joined_timelines(of_each: Sequence[Label | None], sizes: Sequence[int]) -> Timelines:
    """Return timelines as long as the longest, NaN behind shorter ones."""
    longest = max(label.values.shape[1] for label in of_each if label is not None)
    whole = np.full((sum(sizes), longest), np.nan)
    start = 0
    for rows, label in zip(sizes, of_each, strict=True):
        if label is not None:
            whole[start : start + rows, : label.values.shape[1]] = label.values
        start += rows
    return Timelines(whole)


def _renumbered(label: Label, names: Sequence[str]) -> np.ndarray:
    """Return the values of a label where classes or tags have the numbers of other names, which hold all of its own."""
    number = {name: k for k, name in enumerate(names)}
    places = [number[name] for name in label.names]
    if isinstance(label, Classes):
        return np.array([*places, -1])[label.values]  # one class more, the last, which −1 stands for
    if isinstance(label, Tags):
        values = np.full((len(label.values), len(names)), -1, dtype=label.values.dtype)
        values[:, places] = label.values
        return values
    return label.values


def joined_texts(
    parts: Iterable[tuple[Int[np.ndarray, " _"], Mapping[str, pl.Series]]], count: int
) -> dict[str, pl.Series]:
    """Return the texts of several sources by name, each with its places among all; null where none has one.

    >>> parts = [(np.array([2, 0]), {"a": pl.Series(["x", "y"])}), (np.array([1]), {"b": pl.Series(["z"])})]
    >>> {name: texts.to_list() for name, texts in joined_texts(parts, 3).items()}
    {'a': ['y', None, 'x'], 'b': [None, 'z', None]}
    """
    columns: dict[str, np.ndarray] = {}
    for positions, of_part in parts:
        for name, texts in of_part.items():
            columns.setdefault(name, np.full(count, None, dtype=object))[positions] = texts.to_numpy()
    return {name: pl.Series(texts.tolist(), dtype=pl.String) for name, texts in columns.items()}


def joined_raw(
    parts: Sequence[tuple[Int[np.ndarray, " _"], Any]], count: int, what: str, blank_text: Any = ""
) -> Any:
    """Return one raw form of the parts of several sources, each with its places in it.

    Between them stand zeros, of a table cells that nothing is known of.

    Args:
        parts: at least one.
        count: of the examples.
        what: the column is called in messages.
        blank_text: stands between texts.

    Raises:
        ValueError: for raw forms that are not measured alike: other channels, other cells.
    """
    places, first = parts[0]
    if len(parts) == 1 and len(places) == count:
        return first
    if isinstance(first, list):
        # Only texts have an empty form; of anything else that is a list, what stands in a gap is any example.
        examples = [one for _, raw in parts for one in raw[:1] if not isinstance(one, str | list)]
        texts = [*examples, blank_text][:1] * count
        for places, raw in parts:
            for place, text in zip(places.tolist(), raw, strict=False):
                texts[place] = text
        return texts
    values = [raw.values if isinstance(raw, Raw) else raw for _, raw in parts]
    for _, raw in parts[1:]:
        if _facts(raw) != _facts(first):
            raise ValueError(
                f"{what}: sources do not measure alike ({_facts(first)} and {_facts(raw)}): give the columns of one of "
                "them other names"
            )
    if isinstance(first, Tensor):
        height, width = (max(it.shape[axis] for it in values) for axis in (-2, -1))
        values = [_of_size(it, (height, width)) for it in values]
    shape = [max(lengths) for lengths in zip(*(it.shape[1:] for it in values), strict=True)]
    blank = float("nan") if isinstance(first, Table) else 0
    beyond = float("nan") if values[0].is_floating_point() else 0  # the end of a shorter example
    whole = torch.full((count, *shape), blank, dtype=values[0].dtype)
    lengths = torch.ones(count, dtype=torch.int64)
    for (places, raw), part in zip(parts, values, strict=True):
        if not len(places):
            continue
        if longer := shape[0] - part.shape[1]:
            part = F.pad(part, (*[0] * (2 * (part.ndim - 2)), 0, longer), value=beyond)
        whole[torch.from_numpy(places)] = part
        if isinstance(raw, Clips):
            lengths[torch.from_numpy(places)] = raw.lengths
    if isinstance(first, Clips):
        return Clips(whole, lengths)
    return first.with_values(whole) if isinstance(first, Raw) else whole


def _facts(raw: Any) -> dict[str, Any]:
    """Return what a raw form says of itself beside its values: a rate, names of channels, the size of what it holds."""
    if not isinstance(raw, Raw) or not is_dataclass(raw):
        return {}
    attributes: dict[str, Any] = {it.name: getattr(raw, it.name) for it in fields(raw)}
    facts = {name: value for name, value in attributes.items() if not isinstance(value, Tensor)}
    return {**facts, "of each": tuple(raw.values.shape[2:])}


def _of_size(pictures: Tensor, size: tuple[int, int]) -> Tensor:
    """Return uint8 pictures of a size, as they are where they are of it."""
    if tuple(pictures.shape[-2:]) == size:
        return pictures
    larger = F.interpolate(pictures.float(), size, mode="bicubic", antialias=True)
    return larger.round().clamp(0, 255).to(torch.uint8)
