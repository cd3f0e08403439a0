"""Keeps pytest from importing what are parts of scripts."""

from __future__ import annotations

collect_ignore = ["given", "short"]
