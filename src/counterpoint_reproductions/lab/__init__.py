"""The laboratory: where a claim's experiment is carried out, and how its results are judged."""

from counterpoint.catalog.evidence import Result, ThresholdOrigin

from . import effects
from .grid import Arrays, Grid, GridScores
from .lab import FIRST, UNSEEN, Lab
from .results import above, below, decides, secondary, within
from .score import Score, ScoreEstimate, arm, best, combined, exact, mean, per_seed, rate, worst
from .study import TrainedScores, TrainedStudy, TrainingComparison

__all__ = [
    "FIRST",
    "UNSEEN",
    "Arrays",
    "Grid",
    "GridScores",
    "Lab",
    "Result",
    "Score",
    "ScoreEstimate",
    "ThresholdOrigin",
    "TrainedScores",
    "TrainedStudy",
    "TrainingComparison",
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
