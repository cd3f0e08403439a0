"""Presets of ``compare`` from claims: a paper's question, asked of whatever data a user has."""

from __future__ import annotations

from counterpoint.registry import unknown
from counterpoint.study.presets import PRESETS, StudyPreset

from ._registry import CLAIMS, module


def stated(slug: str) -> StudyPreset | None:
    """Return the preset that a claim states; None where it compares no training runs that other data could be given to.

    That is the claim's ``COMPARISON``, or its ``PRESET`` where the claim's own arms need what only its data has.
    """
    claim = module(slug)
    if hasattr(claim, "PRESET"):
        return claim.PRESET
    return claim.COMPARISON.preset(slug, claim.CLAIM) if hasattr(claim, "COMPARISON") else None


def find(name: str) -> StudyPreset:
    """Return a preset by its name: a published protocol, or what a paper's claim asks, by the paper's slug.

    Raises:
        UnknownNameError: with the nearest name that is one.
        ValueError: for a claim that compares no training runs.
    """
    if name in PRESETS:
        return PRESETS[name]
    if name not in CLAIMS:
        raise unknown("preset of compare", name, (*PRESETS, *CLAIMS.names()))
    if (preset := stated(name)) is None:
        raise ValueError(
            f"--preset {name}: its claim compares no training runs that other data could be given to; "
            f"see counterpoint papers show {name}"
        )
    return preset
