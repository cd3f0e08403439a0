"""Log-sum-exps of the same logits, over rows, columns or both, from one exponential.

Each needs ``exp(logit − something)``; one number as that something serves all rows, columns and tiles, as long as no
sum underflows or overflows. Every pass over a tile costs, and every small operation beside it, so nothing at all is
taken off where that can be, else the maximum of the tile at which that came to light; and where that is not exact
either, each row and column of the tile takes off its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from ..declaration import Declared, Key
from ..exponential import exponential
from ..reductions import DIMS, LogSumExp, Reduction, State, finite, spread
from ..tile import NEG

Within: TypeAlias = Callable[[str], slice]
"""The place of a tile along its rows ("row") or columns ("column")."""

_SMALLEST_SUM, _LARGEST_SUM = 1e-20, 1e20
"""Sums between these have lost nothing to underflow in float32, whose smallest normal number is 1e-38, nor to
overflow."""
_SMALL = 40.0
"""exp(±40) is far from the ends of float32, and so are products of two such numbers."""
_LARGEST_SPREAD = 60.0
"""exp(60) is 1e26: no overflow in float32, and what underflows beside it is below its precision."""


def _sharing(reductions: Declared) -> Iterator[tuple[tuple[Key, ...], Tensor]]:
    """Yield logits with the keys of every `LogSumExp` of their rows or columns."""
    readers: dict[int, list[Key]] = {}
    logits: dict[int, Tensor] = {}
    for per, name, reduction in reductions:
        # The class itself: a subclass may reduce otherwise.
        if type(reduction) is LogSumExp and per != "total":
            (read,) = reduction.tensors
            readers.setdefault(id(read), []).append((per, name))
            logits[id(read)] = read
    for index, keys in readers.items():
        yield tuple(keys), logits[index]


@dataclass
class _Sums:
    """Sums of ``exp(logits − taken)`` over the tiles so far, by what is reduced; ``taken`` is None for nothing."""

    taken: Tensor | None
    totals: dict[Key, Tensor]

    def add(self, logits: Tensor, within: Within) -> bool:
        """Take a tile in, unless some sum would not be exact."""
        weights = exponential(logits, self.taken)
        # Written only below: a tile that is refused must be able to come again with something else taken off.
        sums = {k: t[within(k[0])] + weights.sum(DIMS[k[0]]) for k, t in self.totals.items()}
        low, high = torch.cat(list(sums.values())).aminmax()
        # NaN is in no range: it goes the ordinary way, which passes it on.
        if not bool((low > _SMALLEST_SUM) & (high < _LARGEST_SUM)):
            return False
        for (per, name), total in sums.items():
            self.totals[per, name][within(per)] = total
        return True


class Forward:
    """The log-sum-exps of a sweep that one exponential can serve.

    Args:
        states: of all reductions, by key; `add` and `settle` merge what was summed into them.
        reductions: of any tile, by key.
    """

    def __init__(self, states: dict[Key, State], reductions: Mapping[Key, Reduction]) -> None:
        self._states = states
        self._reductions = reductions
        self._running: dict[tuple[Key, ...], _Sums] = {}

    def add(self, reductions: Declared, within: Within) -> set[Key]:
        """Take a tile in; return the reductions that need nothing else of the tile."""
        served: set[Key] = set()
        for keys, logits in _sharing(reductions):
            running = self._running.get(keys) or self._start(keys, None)
            exact = running.add(logits, within)
            if not exact and len(keys) > 1:  # a single one is as fast with a number a row
                self._settle(running)
                exact = self._start(keys, finite(logits.amax())).add(logits, within)
            if exact:
                served.update(keys)
        return served

    def settle(self) -> None:
        """Merge the last sums into the states, after the last tile."""
        for running in self._running.values():
            self._settle(running)

    def _start(self, keys: tuple[Key, ...], taken: Tensor | None) -> _Sums:
        self._running[keys] = _Sums(taken, {key: torch.zeros_like(self._states[key][1]) for key in keys})
        return self._running[keys]

    def _settle(self, running: _Sums) -> None:
        for key, total in running.totals.items():
            taken = total.new_zeros(()) if running.taken is None else running.taken
            # Rows that had no logit in these tiles keep −inf: the offset is no maximum of theirs.
            met = torch.where(total > 0, taken, NEG)
            self._states[key] = self._reductions[key].merge(self._states[key], [met, total])


class Backward:
    """The gradients of a sweep's log-sum-exps that one exponential can serve, by tile.

    Args:
        results: the log-sum-exps of all rows and columns, by key.
        grads: of the loss with respect to them; None where it does not depend on them.
    """

    def __init__(
        self, results: Mapping[Key, Sequence[Tensor]], grads: Mapping[Key, Sequence[Tensor | None]]
    ) -> None:
        self._results = results
        self._grads = grads
        self._weights: dict[tuple[Key, ...], tuple[Tensor | None, dict[Key, Tensor]]] = {}

    def cotangents(self, reductions: Declared, within: Within) -> dict[Key, list[tuple[Tensor, Tensor]]]:
        """Return logits and their gradients, those of all that read the same logits under one of their keys."""
        pairs: dict[Key, list[tuple[Tensor, Tensor]]] = {}
        for keys, logits in _sharing(reductions):
            if keys not in self._weights:
                self._weights[keys] = self._weigh(keys)
            taken, weights = self._weights[keys]
            if weights:
                # softmax · gradient = exp(logit − taken) · exp(taken − result) · gradient
                spreads = [spread(w[within(per)], DIMS[per]) for (per, _), w in weights.items()]
                weight = sum(spreads[1:], spreads[0])
                # The first one brings the gradient of all; the others are served, with nothing to add.
                pairs |= {key: [] for key in weights}
                pairs[next(iter(weights))] = [(logits, exponential(logits, taken).mul_(weight))]
        return pairs

    def _weigh(self, keys: tuple[Key, ...]) -> tuple[Tensor | None, dict[Key, Tensor]]:
        """Return the offset, and ``gradient · exp(taken − result)`` by key; no weights where that is not exact."""
        grads = {key: grad for key in keys if (grad := self._grads[key][0]) is not None}
        results = {key: self._results[key][0] for key in grads}
        met = torch.cat([r[r != NEG] for r in results.values()]) if results else torch.empty(0)
        if not len(met):
            return None, {}
        low, high = met.aminmax()
        # One offset would under- or overflow at one end: every reduction then takes its own.
        if not bool(high - low < _LARGEST_SPREAD):
            return None, {}
        taken = None if bool(torch.maximum(high, -low) < _SMALL) else high
        lifted = {key: (0.0 if taken is None else taken) - result for key, result in results.items()}
        # Rows and columns without any logit have no softmax.
        return taken, {
            key: lifted[key].exp().masked_fill(results[key] == NEG, 0.0) * g for key, g in grads.items()
        }
