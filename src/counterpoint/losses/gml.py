"""GML: a class scores by the mean similarity of its keys, and by how frequent it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..forms import Positive
from ..pairwise.inputs import paired, softplus
from ..pairwise.reductions import LogSumExp, Reduction, Sum
from ..pairwise.temperature import Temperature
from ..pairwise.tile import NEG, Tile
from ._class_scores import ClassLoss


class GMLLoss(ClassLoss):
    """Each query must find its class, whose score is the mean exponential of similarities to the class's keys.

        log S_c(z) = log (1/K_c) Σ_{j: y_j = c} exp(<z, k_j> / T)
        L = −mean_i log [ π_y S_y(z_i) / Σ_c π_c S_c(z_i) ]
        loss = L with T constant, and L with <z, k> constant, T learned, without keys of the query's own item

    K_c is the number of keys of class c, π_c its share of the training examples. No score of a class is formed:
    ``log Σ_c π_c S_c`` is the log-sum-exp of ``<z, k_j> / T + log π_{y_j} − log K_{y_j}`` over all keys. The mean, as a
    sum over keys would count the prior twice where the queue follows it. The second branch tunes T alone, which would
    else fall without end. With equal priors and one key a class this is cross-entropy over keys.

    Keys labelled −1 are nobody's; a query without a class, or of a class without keys, counts for nothing. Classes
    without keys are left out.

    Args:
        temperature: T, learned from 0.1 unless given; a number is fixed, and the second branch then left out.
        average: whether a class scores by the mean over its keys; else by their sum, a control.

    Raises:
        ValueError: for shapes that do not fit.

    Source: Suh and Seo, "Long-Tailed Recognition by Mutual Information Maximization between Latent Features and
    Ground-Truth Labels" (2023), arXiv 2305.01160.

    >>> k = torch.eye(4)                              # scores: log((e + 1) / 2) and log 1, the priors ½ and ½
    >>> labels = torch.tensor([0, 0, 1, 1])
    >>> round(GMLLoss(temperature=1.0)(k[:1], k, labels, labels=labels[:1]).item(), 4)
    0.4304
    """

    family = "supervised"
    stop_gradient = True
    papers = ("gml",)
    tunable: ClassVar[Mapping[str, tuple[float, float]]] = {"temperature": (0.05, 0.5)}

    def __init__(self, temperature: Positive | Temperature | None = None, *, average: bool = True) -> None:
        super().__init__()
        self.temperature, self.average = Temperature.of(temperature, Temperature(0.1)), average

    def forward(
        self,
        z: Float[Tensor, "B d"],
        keys: Float[Tensor, "K d"],
        key_labels: Int[Tensor, " K"],
        prior: Float[Tensor, " C"] | None = None,
        key_ids: Int[Tensor, " K"] | None = None,
        *,
        labels: Int[Tensor, " B"],
        ids: Int[Tensor, " B"] | None = None,
        weights: Float[Tensor, " B"] | None = None,
    ) -> Float[Tensor, ""]:
        """Return the loss of unit-norm queries and keys; the keys are the same on every rank.

        Args:
            z: the queries.
            keys: k; they have a gradient where whatever makes them has.
            key_labels: y, the class of each key, −1 for a key of nobody.
            prior: π, > 0; equal unless given.
            key_ids: the item of each key, for the second branch.
            labels: the class of each query, −1 for none.
            ids: the item of each query.
            weights: of the queries, ≥ 0; all alike unless given.
        """
        (z,), (keys,) = paired(z=z), paired(keys=keys)
        _check(z, keys, key_labels, key_ids, labels, ids)
        # One class at least: of keys that are all of nobody there is none.
        start = z.new_zeros(max(int(key_labels.max()), 0) + 1) if prior is None else prior.to(z).log()
        label = key_labels.clamp_min(0)
        among = torch.bincount(label[key_labels >= 0], minlength=len(start)).clamp_min(1).to(z).log()
        bias = start - among if self.average else start
        # Nobody's keys are of no class, and nor are queries without one: −1 and −2 never agree.
        rows = {"label": labels.masked_fill(labels < 0, -2)}
        columns = {"label": key_labels, "bias": bias[label].masked_fill(key_labels < 0, NEG)}
        log_prior = start[labels.clamp(0, len(start) - 1)]
        inverse, k = self.temperature.inverse(z.dtype), keys.to(z.dtype)
        loss = self.branch({**rows, "z": z * inverse.detach()}, {**columns, "z": k}, log_prior, weights)
        if self.temperature.parameter is None:
            return loss
        if ids is not None and key_ids is not None:
            rows["id"], columns["id"] = ids, key_ids
        tuned = {**rows, "z": z.detach() * inverse}
        return loss + self.branch(tuned, {**columns, "z": k.detach()}, log_prior, weights)

    def branch(
        self,
        rows: Mapping[str, Tensor],
        columns: Mapping[str, Tensor],
        start: Float[Tensor, " B"],
        weights: Float[Tensor, " B"] | None,
    ) -> Float[Tensor, ""]:
        """Compute the loss of queries ``z`` and keys ``z`` with their labels, and ids where own keys are left out.

        Args:
            rows: of the queries.
            columns: of the keys; ``bias`` is what a key's class adds to the similarity.
            start: log π of each query's own class.
            weights: of the queries.
        """

        def terms(tile: Tile) -> dict[str, dict[str, Reduction]]:
            s, of_class = tile.dot(), tile.same("label")
            positives = of_class & ~tile.same("id") if "id" in rows else of_class
            others = (s + tile.column.bias).masked_fill(of_class, NEG)
            reductions = {"own": LogSumExp(s.masked_fill(~positives, NEG)), "others": LogSumExp(others)}
            return {"row": {**reductions, "count": Sum(positives.to(s))}}

        r = self.reduce(terms, rows=rows, columns=columns, same_columns=True).row
        counts = (r.count > 0).to(start)
        # Without any key of its class a query's score would be −inf, whose gradient is none.
        positive = torch.where(r.count > 0, r.own, 0.0) + start
        if self.average:
            positive = positive - r.count.clamp_min(1).log()
        return self.mean(softplus(r.others - positive), counts if weights is None else counts * weights)


def _check(
    z: Tensor, keys: Tensor, key_labels: Tensor, key_ids: Tensor | None, labels: Tensor, ids: Tensor | None
) -> None:
    """Refuse keys of another width, and labels or ids that are not one integer a row."""
    if keys.shape[1] != z.shape[1]:
        raise ValueError(f"z has {z.shape[1]} dimensions but keys {keys.shape[1]}")
    if (ids is None) != (key_ids is None):
        raise ValueError("ids and key_ids are compared with each other: give both, or neither")
    sides = (
        ("z", z, {"labels": labels, "ids": ids}),
        ("keys", keys, {"key_labels": key_labels, "key_ids": key_ids}),
    )
    for name, of, named in sides:
        for other, values in named.items():
            if values is not None and (values.shape != of.shape[:1] or values.is_floating_point()):
                raise ValueError(
                    f"{name} is {tuple(of.shape)} but {other} {tuple(values.shape)} {values.dtype}: "
                    "row i of one must belong to row i of the other, one integer each"
                )
