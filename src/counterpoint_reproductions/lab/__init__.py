"""The laboratory: where a claim's experiment is carried out, and how its results are judged."""

from counterpoint.catalog.evidence import Result, Source

from . import effects
from .grid import Arrays, Grid, Scores
from .lab import FIRST, UNSEEN, Lab
from .results import above, below, decides, secondary, within
from .score import Measured, Score, arm, best, combined, exact, mean, per_seed, rate, worst
from .study import Comparison, Trained, TrainedScores

__all__ = [
    "FIRST",
    "UNSEEN",
    "Arrays",
    "Comparison",
    "Grid",
    "Lab",
    "Measured",
    "Result",
    "Score",
    "Scores",
    "Source",
    "Trained",
    "TrainedScores",
    "above",
    "arm",
    "below",
    "best",
    "combined",
    "decides",
    "effects",
    "exact",
    "mean",
    "per_seed",
    "rate",
    "secondary",
    "within",
    "worst",
]
