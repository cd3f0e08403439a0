"""Divergences of a student's logits from a teacher's: at each pixel over classes, in each class over pixels."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

Logits = Float[Tensor, "B C h w"]


def _divergence(student: Tensor, teacher: Tensor, temperature: float, dim: int) -> Tensor:
    """Return ``T² KL(softmax(teacher / T) ‖ softmax(student / T))`` along a dimension; no gradient to the teacher."""
    log_q, log_p = ((it / temperature).log_softmax(dim) for it in (student, teacher.detach()))
    return temperature**2 * (log_p.exp() * (log_p - log_q)).sum(dim)


def pixel_divergence(student: Logits, teacher: Logits, temperature: float) -> Float[Tensor, "B P"]:
    """Return the divergence at each pixel, of the softmax over classes."""
    return _divergence(student.flatten(2), teacher.flatten(2), temperature, 1)


def channel_divergence(student: Logits, teacher: Logits, temperature: float) -> Float[Tensor, "B C"]:
    """Return the divergence of each class, of the softmax over pixels."""
    return _divergence(student.flatten(2), teacher.flatten(2), temperature, 2)
