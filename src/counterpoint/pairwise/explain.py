"""Forces of a loss on each pair of a batch: pulls, pushes, and their strength."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from . import recording
from .reduce import evaluate_with


@dataclass(frozen=True)
class Force:
    """The force on every pair of one score matrix.

    Attributes:
        pull: ``(rows, columns)``, −rows · ∂loss/∂score: positive where the loss draws a pair together,
            negative where it drives it apart.
    """

    pull: Tensor

    def positives(self, anchor: int) -> list[int]:
        """Return columns that the anchor is drawn to, strongest first."""
        row = self.pull[anchor]
        return [j for j in row.argsort(descending=True).tolist() if row[j] > 0]

    def negatives(self, anchor: int) -> list[int]:
        """Return columns that the anchor is driven from, strongest first."""
        row = self.pull[anchor]
        return [j for j in row.argsort().tolist() if row[j] < 0]

    def __str__(self) -> str:
        rows, columns = self.pull.shape
        drawn, driven = (mask.sum(1).double().mean().item() for mask in (self.pull > 0, self.pull < 0))
        return f"{rows} anchors x {columns}: {drawn:.1f} positives, {driven:.1f} negatives per anchor"


@dataclass(frozen=True)
class LossExplanation:
    """The loss of a batch, and a `Force` for each score matrix that the loss forms."""

    loss: float
    forces: tuple[Force, ...]

    def __str__(self) -> str:
        return "\n".join([f"loss {self.loss:.4f}", *map(str, self.forces)])


def explain(objective: Callable[..., Tensor], *args: Any, **kwargs: Any) -> LossExplanation:
    """Evaluate densely on this process, and ask the loss for its gradient at every score.

    Scores of matched pairs that the loss forms apart are added where they belong in the matrix. What
    acts on a whole batch at once (label smoothing, cross-correlations) is no force on pairs and not shown.

    >>> from counterpoint.losses import InfoNCELoss
    >>> print(InfoNCELoss(temperature=1.0).explain(torch.eye(3), torch.eye(3)))
    loss 0.5514
    3 anchors x 3: 1.0 positives, 2.0 negatives per anchor
    """
    recorder = recording.Recorder()
    token = recording.ACTIVE.set(recorder)
    try:
        with torch.enable_grad(), evaluate_with("dense"):
            loss = objective(*_leaves(args), **_leaves(kwargs))
    finally:
        recording.ACTIVE.reset(token)
    scores = [*recorder.matrices, *recorder.diagonals]
    gradients = torch.autograd.grad(loss, [s.values for s in scores], allow_unused=True) if scores else ()
    pulls = [
        # Losses are means over anchors: times their number, it is the force on one, whatever the size of the batch.
        torch.zeros_like(s.values) if g is None else -s.sign * len(s.values) * g
        for s, g in zip(scores, gradients, strict=True)
    ]
    matrices = [pull.clone() for pull in pulls[: len(recorder.matrices)]]
    for matched, pull in zip(recorder.diagonals, pulls[len(recorder.matrices) :], strict=True):
        _add_pull(matched, pull, recorder.matrices, matrices)
    return LossExplanation(loss.item(), tuple(Force(pull) for pull in matrices))


def _leaves(value: Any) -> Any:
    """Return the inputs, cut off from their history and differentiable."""
    if isinstance(value, Tensor):
        return value.detach().requires_grad_() if value.is_floating_point() else value
    if isinstance(value, dict):
        return {name: _leaves(item) for name, item in value.items()}
    return type(value)(map(_leaves, value)) if isinstance(value, (list, tuple)) else value


def _add_pull(
    matched: recording.PairScores, pull: Tensor, scores: list[recording.PairScores], matrices: list[Tensor]
) -> None:
    """Add the pull on matched pairs to the matrix of the same vectors, else as a matrix of its own."""
    rows = torch.arange(len(pull), device=pull.device)
    for candidate, matrix in zip(scores, matrices, strict=False):
        if matched.left.shape != candidate.left.shape or not torch.equal(matched.left, candidate.left):
            continue
        same = (matched.right[:, None] == candidate.right[None]).all(-1)
        if same.any(1).all():
            # Of several equal vectors the partner is the one in the anchor's own place, if it is among them.
            diagonal = same.diagonal() if same.shape[0] == same.shape[1] else same[:, 0] & False
            columns = torch.where(diagonal, rows, same.double().argmax(1))
            matrix[rows, columns] += pull
            return
    matrices.append(torch.diag(pull))
