"""The sides of a split: what is trained on, what is chosen by, and what is tested on."""

from __future__ import annotations

from typing import Literal, get_args

Side = Literal["train", "validation", "test"]
SIDES: tuple[Side, ...] = get_args(Side)
MOST_HELD_OUT = 5_000
"""Rows that validation and test are each made of at most, unless more are asked for."""
