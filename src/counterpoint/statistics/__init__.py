"""Intervals and verdicts over seeds and examples: the Multi-Bootstrap, and what a comparison adds to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..registry import lazy_exports

if TYPE_CHECKING:
    from . import simulation
    from .bootstrap import MultiBootstrap, StatisticsWarning, Summary, multi_bootstrap
    from .clustered import clustered_regression, interactions
    from .comparison import Comparison, Difference, Verdict, compare_arms, decide
    from .contrasts import Contrast, contrast, linear
    from .intervals import TInterval, VerdictInterval, holm, interval_of_mean, t_interval
    from .outcomes import ArmOutcomes, Outcomes, Statistic
    from .power import SeedsNeeded, seeds_needed
    from .sentences import sentence

__all__ = [
    "ArmOutcomes",
    "Comparison",
    "Contrast",
    "Difference",
    "MultiBootstrap",
    "Outcomes",
    "SeedsNeeded",
    "Statistic",
    "StatisticsWarning",
    "Summary",
    "TInterval",
    "Verdict",
    "VerdictInterval",
    "clustered_regression",
    "compare_arms",
    "contrast",
    "decide",
    "holm",
    "interactions",
    "interval_of_mean",
    "linear",
    "multi_bootstrap",
    "seeds_needed",
    "sentence",
    "simulation",
    "t_interval",
]

_EXPORTS = {
    "ArmOutcomes": "outcomes",
    "Comparison": "comparison",
    "Contrast": "contrasts",
    "Difference": "comparison",
    "MultiBootstrap": "bootstrap",
    "Outcomes": "outcomes",
    "SeedsNeeded": "power",
    "Statistic": "outcomes",
    "StatisticsWarning": "bootstrap",
    "Summary": "bootstrap",
    "TInterval": "intervals",
    "Verdict": "comparison",
    "VerdictInterval": "intervals",
    "clustered_regression": "clustered",
    "compare_arms": "comparison",
    "contrast": "contrasts",
    "decide": "comparison",
    "holm": "intervals",
    "interactions": "clustered",
    "interval_of_mean": "intervals",
    "linear": "contrasts",
    "multi_bootstrap": "bootstrap",
    "seeds_needed": "power",
    "sentence": "sentences",
    "simulation": "",
    "t_interval": "intervals",
}
__getattr__, __dir__ = lazy_exports(__name__, _EXPORTS)
