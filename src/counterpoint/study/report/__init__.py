"""The report: a study on one page that opens anywhere."""

from __future__ import annotations

from .page import write_report

__all__ = ["write_report"]
