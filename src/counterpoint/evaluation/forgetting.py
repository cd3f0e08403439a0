"""Numbers of a model that learns tasks in turn: what it knows after each, and what it forgets."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

PAPERS = {"coconut-slu": ("stream_numbers",)}


def stream_numbers(accuracy: Float[np.ndarray, "n m"]) -> dict[str, float]:
    """Return the numbers of tasks in turn.

    ``last`` is the mean accuracy over the tasks after the last one; ``average`` that over the tasks learned so far, in
    the mean over the ends of the tasks; ``forgetting`` how far the accuracy on a task is below the highest that it ever
    was, in the mean over all tasks but the last.

    Args:
        accuracy: row n has the accuracies on all tasks after task n; those on tasks still to come do not count.

    Raises:
        ValueError: for other than a square.

    Source: Chaudhry et al., "Riemannian Walk for Incremental Learning: Understanding Forgetting and Intransigence"
    (2018), arXiv 1801.10112.

    >>> stream_numbers(np.array([[0.9, 0.0], [0.6, 0.8]]))
    {'last': 0.7, 'average': 0.8, 'forgetting': 0.3}
    """
    count = len(accuracy)
    if accuracy.shape != (count, count) or not count:
        raise ValueError(f"accuracies after each task on each task are a square, got {accuracy.shape}")
    after = [float(accuracy[n, : n + 1].mean()) for n in range(count)]
    lost = [float(accuracy[n:-1, n].max() - accuracy[-1, n]) for n in range(count - 1)]
    numbers = {
        "last": after[-1],
        "average": float(np.mean(after)),
        "forgetting": float(np.mean(lost)) if lost else 0.0,
    }
    return {name: round(value, 12) for name, value in numbers.items()}
