"""The parts of a model as layouts write them: heads as linear maps, weights as files hold them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..methods.tower_method import TowerMethod
from ..networks.exported import Head, NotExportableError


@torch.no_grad()
def head_of(model: TowerMethod, column: str) -> Head:
    """Return the way from a tower's features to a column's embeddings, where it is linear by its arithmetic.

    Raises:
        NotExportableError: where it is not.
    """
    head = plain(model, column)
    if head is None:
        raise NotExportableError(
            f"its {column} head is no linear map (a perceptron, or one over several vectors of an example)"
        )
    return head


@torch.no_grad()
def plain(model: TowerMethod, column: str) -> Head | None:
    """Return a column's head as a linear map; None where it is none."""
    if type(model).features is not TowerMethod.features:
        return None
    width, name = model.tower(column).width, model.heads[0]
    generator = torch.Generator().manual_seed(0)
    probe = 3 * torch.randn(16, width, generator=generator)
    bias = model.project(column, torch.zeros(1, width), name)[0]
    weight = (model.project(column, torch.eye(width), name) - bias).T.contiguous()
    head = Head(weight, bias if bias.any() else None)
    close = torch.allclose(model.project(column, probe, name), probe @ weight.T + bias, rtol=1e-4, atol=1e-4)
    return head if close else None


def solid(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights each with memory of its own, in one order, as files of safetensors hold them."""
    return {name: weight.detach().clone().contiguous() for name, weight in weights.items()}
