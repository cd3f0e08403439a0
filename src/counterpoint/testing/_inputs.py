"""Inputs of a loss, from the signature of its ``forward``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from inspect import Parameter, signature, unwrap
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..pairwise import Loss

Inputs = tuple[Any, ...]
_ANNOTATION = re.compile(r"(Float|Int|Bool|Num)\[Tensor, '([^']*)'\]")
_CLASSES = 3
_OTHERS = 6
"""The size of an axis that is neither the batch nor the embedding."""


def inputs_of(loss: nn.Module, generator: torch.Generator, n: int, d: int) -> Inputs:
    """Return random arguments of a loss; a dictionary at the end holds keywords.

    Arguments without a shape annotation are embeddings ``(n, d)``; optional arguments are left out.

    Raises:
        ValueError: for an argument whose annotation says nothing of its shape.
    """
    values: list[Any] = []
    keywords: dict[str, Any] = {}
    for parameter in signature(unwrap(type(loss).forward)).parameters.values():
        if parameter.name == "self" or parameter.kind is Parameter.VAR_KEYWORD:
            continue
        if parameter.kind is Parameter.VAR_POSITIONAL:
            count = 3 if isinstance(loss, Loss) and loss.many_views else 2
            values += [_value(parameter, loss, generator, n, d) for _ in range(count)]
        elif parameter.default is not Parameter.empty:
            continue
        elif parameter.kind is Parameter.KEYWORD_ONLY:
            keywords[parameter.name] = _value(parameter, loss, generator, n, d)
        else:
            values.append(_value(parameter, loss, generator, n, d))
    return (*values, keywords) if keywords else tuple(values)


def fixed_of(loss: nn.Module) -> tuple[int, ...]:
    """Return the positions of the required arguments that do not begin with the batch, such as a bank of classes."""
    parameters = [p for p in signature(unwrap(type(loss).forward)).parameters.values() if p.name != "self"]
    shapes = [_ANNOTATION.search(_text(p)) for p in parameters if p.default is Parameter.empty]
    return tuple(k for k, shape in enumerate(shapes) if shape and shape[2].split()[:1] != ["B"])


def swapped_order(loss: nn.Module) -> tuple[int, ...] | None:
    """Return the order of the positional arguments with the sides x and y exchanged; None where no names say them."""
    parameters = [p for p in signature(unwrap(type(loss).forward)).parameters.values() if p.name != "self"]
    if parameters[0].kind is Parameter.VAR_POSITIONAL:
        return (1, 0)
    names = [
        p.name for p in parameters if p.kind is not Parameter.KEYWORD_ONLY and p.default is Parameter.empty
    ]
    other = {"x": "y", "y": "x"}
    swapped = ["_".join(other.get(part, part) for part in name.split("_")) for name in names]
    return tuple(names.index(name) for name in swapped) if {"x", "y"} <= {*names} >= {*swapped} else None


def _text(parameter: Parameter) -> str:
    annotation = parameter.annotation
    return annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))


def _value(parameter: Parameter, loss: nn.Module, generator: torch.Generator, n: int, d: int) -> Any:
    text = _text(parameter)
    shape = _ANNOTATION.search(text if "Sequence" not in text else text.partition("Sequence")[2])
    if shape is None:
        if parameter.annotation is not Parameter.empty and "Tensor" not in text:
            raise ValueError(
                f"no inputs can be made for {parameter.name}: {text} of {type(loss).__name__}.forward; "
                "give inputs=, a function of a generator, B and d that returns the arguments"
            )
        kind, axes = "Float", ["B", "d"]
    else:
        kind, axes = shape[1], shape[2].split()
    sizes = [_size(axis, n, d) for axis in axes]
    if "Sequence" in text:
        return [_random(kind, parameter.name, sizes, generator) for _ in range(2)]
    return _random(kind, parameter.name, sizes, generator)


def _size(axis: str, n: int, d: int) -> int:
    sizes: Mapping[str, int] = {"B": n, "d": d, "D": d, "e": d + 1, "w": d + 1, "l": _CLASSES - 1}
    return int(axis) if axis.isdigit() else sizes.get(axis, _OTHERS)


def _random(kind: str, name: str, sizes: list[int], generator: torch.Generator) -> Tensor:
    if kind == "Bool":
        return torch.rand(sizes, generator=generator) < 0.5
    if kind == "Float" and len(sizes) > 1:
        return F.normalize(torch.randn(sizes, generator=generator, dtype=torch.float64), dim=-1)
    if kind == "Float":
        return 0.1 + torch.rand(sizes, generator=generator, dtype=torch.float64)
    if len(sizes) > 1:  # several distinct classes of each example
        return torch.rand(sizes[0], _OTHERS, generator=generator).argsort(1)[:, : sizes[1]]
    if "partner" in name:
        return torch.randperm(sizes[0], generator=generator)
    return torch.randint(0, _OTHERS if "ids" in name else _CLASSES, sizes, generator=generator)
