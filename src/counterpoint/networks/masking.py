"""Masks of pictures: indices of visible patches, drawn in a method's ``prepare`` and passed on as a view of the batch.

A mask is an index ``(B, k)`` of the patches that stay, in ascending order, row by row of the grid. It is drawn for the
whole batch of all ranks, so that it depends neither on the number of ranks nor on microbatches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..pairwise.ranks import Ranks
from .base import ImageTower

MaskKind = Literal["random", "block", "reversed-block"]
"""Kinds of masks: single patches are hidden, blocks are hidden, or blocks are what stays."""
_ASPECT = 0.3
"""The least ratio of the sides of a block; the greatest is its inverse."""
_SMALLEST = 16 / 196
"""The least area of a block, as a share of the grid."""


def masked_grid(tower: ImageTower) -> tuple[int, int]:
    """Return the rows and columns of the patches of a tower that can leave patches out.

    Raises:
        ValueError: for another tower.
    """
    if not tower.takes_masks:
        raise ValueError(
            f"the image tower {tower.name or type(tower).__name__!r} cannot leave patches of a picture out; take "
            "image=vit, or a vision transformer of timm"
        )
    with torch.no_grad():
        rows, columns = tower.patches(torch.zeros(1, 3, tower.size, tower.size)).shape[2:]
    return rows, columns


def visible_count(patches: int, hidden: float) -> int:
    """Return how many patches stay visible where a share of them is hidden.

    >>> visible_count(36, 0.75), visible_count(36, 0)
    (9, 36)

    Raises:
        ValueError: where the share hides every patch, or is above 0 and hides none.
    """
    visible = round((1 - hidden) * patches)
    if visible < 1:
        raise ValueError(f"hidden={hidden:g} of {patches} patches leaves none visible: hide fewer")
    if hidden > 0 and visible == patches:
        raise ValueError(f"hidden={hidden:g} of {patches} patches hides none: hide more, or write hidden=0")
    return visible


def draw_visible(kind: MaskKind, count: int, grid: tuple[int, int], visible: int) -> Int[Tensor, "count k"]:
    """Draw the visible patches of so many pictures from torch's generator, by a kind of mask."""
    return {"random": random_patches, "block": blocks, "reversed-block": reversed_blocks}[kind](
        count, grid, visible
    )


def random_patches(count: int, grid: tuple[int, int], visible: int) -> Int[Tensor, "count k"]:
    """Draw visible patches, each set of them as likely as any other.

    >>> random_patches(2, (3, 3), 4).shape
    torch.Size([2, 4])
    """
    return torch.rand(count, grid[0] * grid[1]).topk(visible).indices.sort(1).values


def blocks(count: int, grid: tuple[int, int], visible: int) -> Int[Tensor, "count k"]:
    """Draw visible patches where blocks are hidden: rectangles of drawn area and aspect, until enough is hidden.

    Of the last block only as many patches are hidden as are missing.

    Source: BEiT (arXiv 2106.08254).
    """
    return hidden_patches(reversed_blocks(count, grid, grid[0] * grid[1] - visible), grid[0] * grid[1])


def reversed_blocks(count: int, grid: tuple[int, int], visible: int) -> Int[Tensor, "count k"]:
    """Draw visible patches that form blocks: rectangles as `blocks` hides them.

    Source: Unmasked Token Alignment (arXiv 2405.19009), which names the mask and does not define it.
    """
    rows, columns = torch.arange(grid[0]), torch.arange(grid[1])
    chosen = torch.zeros(count, grid[0] * grid[1], dtype=torch.bool)
    while (missing := visible - chosen.sum(1)).any():
        smallest = max(_SMALLEST * grid[0] * grid[1], 1.0)
        area, aspect, top, left = torch.rand(4, count).unbind()
        area = smallest + area * (missing - smallest).clamp_min(0)
        aspect = _ASPECT ** (2 * aspect - 1)
        height = (area * aspect).sqrt().round().clamp(1, grid[0])
        width = (area / aspect).sqrt().round().clamp(1, grid[1])
        inside_rows = _within(rows, top, height, grid[0])
        inside_columns = _within(columns, left, width, grid[1])
        new = (inside_rows[:, :, None] & inside_columns[:, None]).flatten(1) & ~chosen
        chosen |= new & (new.cumsum(1) <= missing[:, None])
    return chosen.nonzero()[:, 1].view(count, visible)


def _within(
    positions: Int[Tensor, " n"], start: Float[Tensor, " B"], length: Float[Tensor, " B"], total: int
) -> Bool[Tensor, "B n"]:
    first = (start * (total - length + 1)).floor()[:, None]
    return (positions >= first) & (positions < first + length[:, None])


def patches_of_columns(
    count: int,
    sizes: Sequence[int],
    visible: int,
    concentration: float = 1.0,
    present: Bool[Tensor, "count columns"] | None = None,
) -> Int[Tensor, "count k"]:
    """Draw visible patches of several columns that share one budget.

    The shares of the columns are drawn from a symmetric Dirichlet distribution, example by example. Patches are drawn
    at random within a column. What rounding or a small column leaves over is drawn from all columns.

    Args:
        count: of examples.
        sizes: patches of each column.
        visible: patches of an example in all.
        concentration: of the Dirichlet distribution; large values make equal shares.
        present: the columns that each example has, which alone give patches; all unless given.

    Returns:
        The indices into the patches of all columns, one column after the other.

    Raises:
        ValueError: where an example has fewer patches than are to be visible.

    Source: MultiMAE (arXiv 2204.01678).

    >>> patches_of_columns(2, [9, 9], 6).shape
    torch.Size([2, 6])
    """
    has = torch.ones(count, len(sizes), dtype=torch.bool) if present is None else present.cpu()
    if count and int((available := has.long() @ torch.tensor(sizes)).min()) < visible:
        raise ValueError(f"{visible} visible patches of an example whose columns have {int(available.min())}")
    # In logarithms, since gamma variates of a small concentration are below the least float:
    # Gamma(α) is Gamma(α + 1) · U^(1/α).
    above = torch._standard_gamma(torch.full((count, len(sizes)), concentration + 1, dtype=torch.float64))
    uniform = torch.rand(count, len(sizes), dtype=torch.float64).clamp_min(1e-300)
    logs = (above.log() + uniform.log() / concentration).masked_fill(~has, -torch.inf)
    budget = (visible * logs.softmax(1)).round()
    scores = []
    for number, size in enumerate(sizes):
        order = torch.rand(count, size).argsort(1).argsort(1)
        score = torch.rand(count, size) + (order < budget[:, number, None])
        scores.append(score.masked_fill(~has[:, number, None], -1.0))
    return torch.cat(scores, 1).topk(visible).indices.sort(1).values


def hidden_patches(visible: Int[Tensor, "B k"], patches: int) -> Int[Tensor, "B m"]:
    """Return the indices of the patches that are not visible, in ascending order.

    >>> hidden_patches(torch.tensor([[0, 3]]), 5).tolist()
    [[1, 2, 4]]
    """
    hidden = torch.ones(len(visible), patches, dtype=torch.bool, device=visible.device)
    hidden.scatter_(1, visible, False)
    # A sort instead of nonzero(), for which a device would have to be waited.
    return hidden.int().sort(dim=1, descending=True, stable=True).indices[:, : patches - visible.shape[1]]


def drawn_for_batch(
    examples: int, device: torch.device, draw: Callable[[int], Int[Tensor, "whole k"]]
) -> Tensor:
    """Return this rank's rows of indices that are drawn for the whole batch.

    Args:
        examples: that this rank has.
        device: where they are needed.
        draw: draws the indices of so many examples on the processor, whose generator is the same on every rank.
    """
    ranks = Ranks.present()
    counts = ranks.counts(examples, device)
    return draw(sum(counts))[ranks.rows(counts)].to(device)


def gather_patches(
    states: Float[Tensor, "B n width"], index: Int[Tensor, "B k"]
) -> Float[Tensor, "B k width"]:
    """Return the states of some patches of each picture."""
    return states.gather(1, index[..., None].expand(-1, -1, states.shape[2]))
