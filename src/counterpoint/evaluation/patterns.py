"""Patterns that several models fail on: the models' accuracies by kind, and how these accuracies go together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from jaxtyping import Float

from ..reasons import counted
from ..types import Scores

PAPERS = {"mmvp": ("pattern_profile",)}

LEAST = 3
"""The least number of patterns: through two points there is always a line."""


@dataclass(frozen=True)
class PatternProfile:
    """The accuracies of models in each pattern, and the correlations between models.

    Attributes:
        models: their names.
        patterns: those that all of them were asked about.
        accuracy: of each model in each pattern.
        correlation: Pearson's, over patterns, of each model with each other; NaN where one is as good in all.
    """

    models: tuple[str, ...]
    patterns: tuple[str, ...]
    accuracy: Float[np.ndarray, "models patterns"]
    correlation: Float[np.ndarray, "models models"]


def pattern_profile(
    scores: Mapping[str, Scores], metric: str, patterns: Mapping[str, Sequence[str]] | None = None
) -> PatternProfile:
    """Return accuracies of some models by pattern, and their correlation over patterns.

    Encoders and the assistants that see through them can be compared: from each, the scores of a task whose subsets
    are kinds of items. High correlations say that models share blind spots, not why. With nine patterns |r| below about
    0.67 is within chance at 5 %.

    Args:
        scores: of each model.
        metric: of the scores, such as ``"pair_accuracy"``.
        patterns: a pattern's name to the subsets that belong to it, as in
            :data:`counterpoint.data.synthetic.scenes.items.patterns.PATTERNS`; each subset by itself unless given.
            Patterns that a model has no example of are left out.

    Raises:
        ValueError: for fewer than two models, or fewer than three patterns that all have.

    Source: the correlation of MMVP-VLM with MMVP in Tong et al., "Eyes Wide Shut?" (2024), arXiv 2401.06209.
    """
    if patterns is None:
        subsets = sorted({name for each in scores.values() for name in each.examples["subset"].unique()})
        patterns = {name: (name,) for name in subsets}
    outcomes = {
        name: [_value(each, metric, kinds) for each in scores.values()] for name, kinds in patterns.items()
    }
    complete = {name: values for name, values in outcomes.items() if not np.isnan(values).any()}
    if len(scores) < 2 or len(complete) < LEAST:
        raise ValueError(
            f"a correlation over patterns needs two models and {LEAST} patterns that all were asked about, got "
            f"{counted(len(scores), 'model')} and {len(complete)}: {', '.join(complete) or 'none'}"
        )
    accuracy = np.array(list(complete.values())).T
    return PatternProfile(tuple(scores), tuple(complete), accuracy, _correlations(accuracy))


def _value(scores: Scores, metric: str, kinds: Sequence[str]) -> float:
    chosen = replace(scores, examples=scores.examples.filter(pl.col("subset").is_in(list(kinds))))
    return chosen.value(metric)


def _correlations(rows: Float[np.ndarray, "models patterns"]) -> Float[np.ndarray, "models models"]:
    centred = rows - rows.mean(1, keepdims=True)
    spread = np.sqrt((centred**2).sum(1))
    spread[spread < 1e-12] = np.nan
    return centred @ centred.T / (spread[:, None] * spread[None])
