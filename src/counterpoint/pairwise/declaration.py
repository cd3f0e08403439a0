"""The declaration of a tile's terms: reductions with their directions and names, checked, as a flat list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from .reductions import DIMS, Gather, Reduction, TopK, WholeRow

Key: TypeAlias = tuple[str, str]
"""Direction and name of a reduction."""
Declared: TypeAlias = list[tuple[str, str, Reduction]]


def declared(terms: Mapping[str, Mapping[str, Reduction]]) -> Declared:
    """Check the reductions of a tile, and return them in a flat list."""
    reductions: Declared = []
    for per, named in terms.items():
        if per not in DIMS:
            raise ValueError(f"terms are reduced per 'row', per 'column' or in 'total', got {per!r}")
        for name, reduction in named.items():
            if isinstance(reduction, WholeRow) and per == "column":
                raise ValueError(
                    f"{name!r} is a WholeRow, which is defined per row or in total, not per column"
                )
            if isinstance(reduction, Gather) and per != "row":
                raise ValueError(f"{name!r} is an At, which is defined per row alone")
            if isinstance(reduction, TopK) and per == "total":
                raise ValueError(f"{name!r} is a TopK, which is defined per row or per column, not in total")
            reductions.append((per, name, reduction))
    if not reductions:
        raise ValueError("the terms of a tile declare no reduction")
    return reductions


def check_sizes(reductions: Declared, n: int, m: int) -> None:
    """Refuse a ``k`` that is larger than what there is to choose from."""
    for per, name, reduction in reductions:
        available = m if per == "row" else n
        if isinstance(reduction, TopK) and reduction.k > available:
            raise ValueError(f"{name!r} takes the top k={reduction.k} of only {available}; lower k")
