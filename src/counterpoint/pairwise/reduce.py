"""`reduce`: from a declaration of tiles to reduced vectors, by the evaluator that fits."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Literal, TypeAlias, cast, get_args

import torch
from torch import Tensor

from . import guard
from .declaration import check_sizes, declared
from .inputs import upcast
from .ranks import Ranks
from .reductions import DIMS, Reduction
from .tile import Tile
from .tiled import engine

PAPERS = {"inf-cl": ("reduce",)}

Evaluator: TypeAlias = Literal["auto", "dense", "tiled", "distributed"]
TileSize: TypeAlias = int | tuple[int, int]
Terms: TypeAlias = Callable[[Tile], Mapping[str, Mapping[str, Reduction]]]

DENSE_PAIRS = 1024 * 1024
"""``auto`` forms the whole matrix up to this many pairs, and tiles above it."""
DEFAULT_TILE = (1536, 512)

_FORCED: ContextVar[tuple[Evaluator, TileSize | None] | None] = ContextVar("evaluator", default=None)
_logged: set[str] = set()
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReductionResults:
    """The results by name: ``r.row.NAME`` (B,), ``r.column.NAME`` (columns,), ``r.total.NAME`` ()."""

    row: SimpleNamespace = field(default_factory=SimpleNamespace)
    column: SimpleNamespace = field(default_factory=SimpleNamespace)
    total: SimpleNamespace = field(default_factory=SimpleNamespace)


@contextmanager
def evaluate_with(evaluator: Evaluator, *, tile: TileSize | None = None) -> Iterator[None]:
    """Let everything reduced inside use this evaluator (and tile), whatever the losses say.

    It holds in this thread alone, not in threads started inside, and what ``torch.utils.checkpoint`` computes again in
    a backward pass after the block is not inside: there ``evaluated`` of the loss is the way.

    >>> from counterpoint.losses import NTXentLoss
    >>> x, y = torch.eye(4), torch.eye(4)
    >>> with evaluate_with("tiled", tile=3):
    ...     print(round(NTXentLoss()(x, y).item(), 5))
    0.00027
    """
    token = _FORCED.set((known(evaluator), tile))
    try:
        yield
    finally:
        _FORCED.reset(token)


def known(evaluator: str) -> Evaluator:
    """Return the evaluator, or raise an error that lists the evaluators there are."""
    if evaluator not in get_args(Evaluator):
        raise ValueError(f"evaluator must be one of {', '.join(get_args(Evaluator))}, got {evaluator!r}")
    return cast(Evaluator, evaluator)


def in_force(evaluator: Evaluator, tile: TileSize | None) -> tuple[Evaluator, TileSize | None]:
    """Return the forced evaluator and tile, else those given."""
    forced = _FORCED.get()
    return forced if forced is not None else (evaluator, tile)


def ranks_of(evaluator: Evaluator) -> Ranks:
    """Return the ranks that take part: all there are, or this process alone under ``dense`` and ``tiled``."""
    return Ranks.present() if evaluator in ("auto", "distributed") else Ranks()


def reduce(
    terms: Terms,
    *,
    rows: Mapping[str, Tensor],
    columns: Mapping[str, Tensor],
    shared: Mapping[str, Tensor] | None = None,
    evaluator: Evaluator = "auto",
    tile: TileSize | None = None,
    same_columns: bool = False,
    ranks: Ranks | None = None,
    bags: tuple[int, int] = (1, 1),
) -> ReductionResults:
    """Reduce a similarity matrix that need never exist.

        r_i = reduction over j of terms(x_i, y_j), tile by tile, as
        log Σ_j exp S_ij = log Σ_tiles exp( log Σ_{j in tile} exp S_ij )

    Args:
        terms: from a `Tile` to ``{"row" | "column" | "total": {name: Reduction}}``; called on a first row, to
            see what is reduced, then once or twice per tile, and so a pure function of the tile.
        rows: tensors ``(B, ...)`` sliced with the rows.
        columns: tensors ``(M, ...)`` sliced with the columns.
        shared: tensors that every tile sees whole.
        evaluator: ``dense`` forms the matrix in one piece and keeps it for the backward pass; ``tiled`` keeps
            vectors, and computes each tile again for the exact gradient; ``distributed`` is tiled with the
            columns of all ranks; ``auto`` is distributed where there are several ranks, else dense up to
            `DENSE_PAIRS` pairs, else tiled. ``dense`` and ``tiled`` always mean this process alone.
        tile: rows and columns of a tile, 1,536 and 512 unless stated (three megabytes: it stays in the cache), so
            many fewer as each holds several vectors.
        same_columns: every rank holds the same columns (a queue of keys, the vectors of classes) rather than
            its share of them; columns cannot be reduced then, and row numbers and totals are this rank's own.
        ranks: those whose columns meet, where it is not all (see `Ranks.part`).
        bags: how many vectors a row and a column hold, where each pair of these has a similarity.

    Returns:
        The results, differentiable in every tensor named; tiled ones once, and by backward passes alone.

    Raises:
        RuntimeError: where a tiled result is to be differentiated twice (``create_graph=True``).
        ValueError: for mismatched lengths, for no rows or columns at all (one of several ranks may have none), for
            terms that use a differentiable tensor that is not named, and for anything but rows to reduce where columns
            are the same on every rank.
    """
    shared = shared or {}
    evaluator, tile = in_force(known(evaluator), tile)
    n, m = _length("rows", rows), _length("columns", columns)
    # Before any tile is formed: exponentials and their sums are float32's, and float64 stays.
    rows, columns, shared = ({k: upcast(t) for k, t in side.items()} for side in (rows, columns, shared))
    # Columns that everybody holds already are not gathered: they would count once a rank.
    ranks = Ranks() if same_columns else ranks or ranks_of(evaluator)
    # One of several ranks may have none, where examples lack something.
    shared_out = ranks_of(evaluator).size > 1
    if (n == 0 and not shared_out) or (m == 0 and (same_columns or not shared_out)):
        raise ValueError(f"{'columns' if n else 'rows'} must not be empty")
    chosen = evaluator == "auto"
    if chosen:
        pairs = n * m * bags[0] * bags[1]
        evaluator = "distributed" if ranks.size > 1 else "dense" if pairs <= DENSE_PAIRS else "tiled"
    device = next(iter(rows.values())).device
    # Autocast would form the products in half precision again.
    with torch.autocast(device.type, enabled=False):
        if evaluator == "dense":
            reduced = _dense(terms, rows, columns, shared)
        else:
            results, m = engine.run(terms, rows, columns, shared, _tile(tile, bags), ranks)
            reduced = ReductionResults(
                **{per: SimpleNamespace(**of_side) for per, of_side in results.items()}
            )
    if chosen:
        _say_once(evaluator, n, m)
    # Only the terms say what they reduce, and they have been called by now.
    if same_columns and vars(reduced.column):
        raise ValueError("columns that are the same on every rank cannot be reduced")
    return reduced


def _dense(
    terms: Terms, rows: Mapping[str, Tensor], columns: Mapping[str, Tensor], shared: Mapping[str, Tensor]
) -> ReductionResults:
    # Views of the inputs mark where the tile's graph ends and the caller's begins.
    rows, columns, shared = ({k: t.view_as(t) for k, t in side.items()} for side in (rows, columns, shared))
    reductions = declared(terms(Tile(rows, columns, shared)))
    # While a function is compiled there is no graph to walk yet.
    if torch.is_grad_enabled() and not torch.compiler.is_compiling():
        inputs = [t for side in (rows, columns, shared) for t in side.values()]
        guard.check(terms, [t for _, _, reduction in reductions for t in reduction.used()], inputs)
    check_sizes(reductions, _length("rows", rows), _length("columns", columns))
    results: dict[str, dict[str, Any]] = {}
    for per, name, reduction in reductions:
        results.setdefault(per, {})[name] = reduction.dense(DIMS[per])
    return ReductionResults(**{per: SimpleNamespace(**named) for per, named in results.items()})


def _length(side: str, named: Mapping[str, Tensor]) -> int:
    if not named:
        raise ValueError(f"{side} must name at least one tensor")
    lengths = {name: len(tensor) for name, tensor in named.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"all {side} must have the same length, got {lengths}")
    return next(iter(lengths.values()))


def _tile(tile: TileSize | None, bags: tuple[int, int]) -> tuple[int, int]:
    if tile is None:
        height, width = (max(1, side // held) for side, held in zip(DEFAULT_TILE, bags, strict=True))
    else:
        height, width = (tile, tile) if isinstance(tile, int) else tile
    if height < 1 or width < 1:
        raise ValueError(f"tile must be at least 1 × 1, got {height} × {width}")
    return height, width


def _say_once(evaluator: str, n: int, m: int) -> None:
    if evaluator not in _logged:
        _logged.add(evaluator)
        _log.info("pairwise: %d anchors, each against %d candidates, are evaluated %s", n, m, evaluator)
