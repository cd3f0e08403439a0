"""Trackers: where the numbers of a run go while it trains, a file for each; Parquet always, others when asked for."""

from __future__ import annotations

from ._log import MetricLog
from ._registry import TRACKERS, check
from ._tracker import Remote, Tracker

__all__ = ["TRACKERS", "MetricLog", "Remote", "Tracker", "check"]
