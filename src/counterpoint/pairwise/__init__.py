"""The only place that forms a similarity matrix: tiles, reductions, and exact gradients without the memory.

An objective declares, for a tile of the similarity matrix, what is to be reduced per row, per column or in
total (`PairwiseObjective.reduce`); the evaluators `dense`, `tiled` and `distributed` compute the same
declaration.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..registry import lazy_exports

if TYPE_CHECKING:
    from .explain import Explanation, Force
    from .inputs import check_values, dot, paired, paired_views, validating
    from .objective import Objective, PairwiseObjective
    from .reduce import Reduced, evaluate_with
    from .reductions import LogSumExp, Sum, Top, TopK, WeightedMean, WholeRow, log_sum_exp
    from .temperature import Temperature
    from .tile import NEG, Tile

_EXPORTS = {
    "Explanation": "explain",
    "Force": "explain",
    "LogSumExp": "reductions",
    "NEG": "tile",
    "Objective": "objective",
    "PairwiseObjective": "objective",
    "Reduced": "reduce",
    "Sum": "reductions",
    "Temperature": "temperature",
    "Tile": "tile",
    "Top": "reductions",
    "TopK": "reductions",
    "WeightedMean": "reductions",
    "WholeRow": "reductions",
    "check_values": "inputs",
    "dot": "inputs",
    "evaluate_with": "reduce",
    "log_sum_exp": "reductions",
    "moments": "",
    "paired": "inputs",
    "paired_views": "inputs",
    "validating": "inputs",
}
__all__ = [
    "NEG",
    "Explanation",
    "Force",
    "LogSumExp",
    "Objective",
    "PairwiseObjective",
    "Reduced",
    "Sum",
    "Temperature",
    "Tile",
    "Top",
    "TopK",
    "WeightedMean",
    "WholeRow",
    "check_values",
    "dot",
    "evaluate_with",
    "log_sum_exp",
    "moments",
    "paired",
    "paired_views",
    "validating",
]
__getattr__, __dir__ = lazy_exports(__name__, _EXPORTS)
