"""The table that says which methods are for which problem, and what was measured of them here."""

from __future__ import annotations

import re
from collections.abc import Iterator

from evidence_page import deciding, table

from counterpoint import catalog
from counterpoint.catalog.evidence import Evidence
from counterpoint.catalog.render import measured
from counterpoint.methods import METHODS, Arm
from counterpoint.methods.options import required
from counterpoint.study.presets import PRESETS, StudyPreset

PLACE = re.compile(r"^<!-- problems((?: [\w-]+)*) -->$", re.MULTILINE)
"""A line of a page that the table takes the place of: of all comparisons with a name, or of those that stand there."""

_PAIR = ("image", "text")
_WORDS = frozenset(("text", "talk"))


def problems(place: re.Match[str]) -> str:
    """Return a row for each comparison of a place: the problem, its arms, the answer, the claims of their papers."""
    rows = [
        (
            f"{preset.about}<br>`--preset {preset.name}`: {', '.join(f'`{arm}`' for arm in preset.arms)}",
            answer(preset),
            found(preset),
        )
        for preset in (PRESETS[name] for name in place[1].split() or PRESETS)
    ]
    return "\n".join(table(("problem, command and arms", "answer", "measured here"), rows))


def answer(preset: StudyPreset) -> str:
    """Return the arms to take, those whose papers' claims all held here; that it is open without any.

    A claim is about a method as it is, so that an arm with options beyond those that the method cannot do without is
    none of them, and so is one of the method that the others are held against. A paper names its own method first
    (``multimodn``, ``conan-embedding``): one that it compares with, as cross-entropy is, answers nothing.
    """
    arms = {arm: Arm.parse(arm) for arm in preset.arms}
    held = [
        f"`{arm}`"
        for arm, parsed in arms.items()
        if parsed.method != arms[preset.baseline].method
        if {*parsed.options} <= {*required(METHODS.get(parsed.method))}
        if any(slug.startswith(parsed.method) for slug in _papers(preset, arm))
        if _verdicts(preset, arm) == {"reproduced"}
    ]
    return f"take {' or '.join(held)}" if held else "open"


def _verdicts(preset: StudyPreset, arm: str) -> set[str]:
    papers = [catalog.paper(slug) for slug in _papers(preset, arm)]
    return {"" if paper.evidence is None else Evidence.read(paper.evidence).verdict for paper in papers}


def found(preset: StudyPreset) -> str:
    """Return what was measured of the papers whose methods a comparison holds, a line each."""
    return "<br>".join(_said(slug) for slug in _papers(preset, *preset.arms)) or "–"


def _papers(preset: StudyPreset, *arms: str) -> Iterator[str]:
    """Yield the papers of some arms of a comparison, each once.

    Methods that make pairs of pictures and captions were measured on these, which says nothing of other columns.
    """
    methods = [METHODS.get(Arm.parse(arm).method) for arm in arms]
    pictured = any(_takes_pictures_with_words(Arm.parse(arm).method) for arm in preset.arms)
    for slug in dict.fromkeys(slug for method in methods for slug in method.papers):
        if pictured or not _is_of_pairs(slug):
            yield slug


def _is_of_pairs(slug: str) -> bool:
    """Return whether a paper is about pairs of pictures and captions: it is of both, and so is a method of it."""
    own = [name for name in METHODS.names() if slug in METHODS.get(name).papers]
    return {*catalog.paper(slug).modalities} == {*_PAIR} and any(
        _takes(name, least=2, most=2) for name in own
    )


def _takes_pictures_with_words(method: str) -> bool:
    needs = getattr(METHODS.get(method), "needs", None)
    modalities = {*(needs.modalities or ())} if needs is not None else set[str]()
    return "image" in modalities and bool(modalities & _WORDS) and modalities <= {"image", *_WORDS}


def _takes(method: str, **columns: object) -> bool:
    """Return whether a method states that it takes such columns; a loss states nothing."""
    needs = getattr(METHODS.get(method), "needs", None)
    return needs is not None and all(getattr(needs, name) == value for name, value in columns.items())


def _said(slug: str) -> str:
    paper = catalog.paper(slug)
    if paper.evidence is None:
        return f"[{slug}](../papers/{slug}.md): its claim was not run yet"
    evidence = Evidence.read(paper.evidence)
    result = deciding(evidence)
    return f"[{slug}](../papers/{slug}.md): {evidence.verdict}; {result.name}: {measured(result)}"
