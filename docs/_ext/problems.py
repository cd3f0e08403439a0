"""The table that says which methods are for which problem, and what was measured of them here."""

from __future__ import annotations

import re
from collections.abc import Iterator

from evidence_page import table

from counterpoint import catalog
from counterpoint.catalog.evidence import Evidence
from counterpoint.catalog.render import measured
from counterpoint.methods import METHODS, Arm
from counterpoint.study.presets import PRESETS, Preset

PLACE = re.compile(r"^<!-- problems((?: [\w-]+)*) -->$", re.MULTILINE)
"""A line of a page that the table takes the place of: of all comparisons with a name, or of those that stand there."""

_PICTURES = {"image", "text"}


def problems(place: re.Match[str]) -> str:
    """Return a row for each comparison of a place: the problem, its arms, and the claims of their papers."""
    rows = [
        (
            preset.about,
            f"`--preset {preset.name}`: {', '.join(f'`{arm}`' for arm in preset.arms)}",
            found(preset),
        )
        for preset in (PRESETS[name] for name in place[1].split() or PRESETS)
    ]
    return "\n".join(table(("problem", "command and arms", "measured here"), rows))


def found(preset: Preset) -> str:
    """Return what was measured of the papers whose methods a comparison holds, a line each."""
    return "<br>".join(_said(slug) for slug in _papers(preset)) or "–"


def _papers(preset: Preset) -> Iterator[str]:
    """Yield the papers of arms, each once; not those of pairs of pictures and captions, which were measured on them."""
    methods = [METHODS.get(Arm.parse(arm).method) for arm in preset.arms]
    for slug in dict.fromkeys(slug for method in methods for slug in method.papers):
        if {*catalog.paper(slug).modalities} != _PICTURES:
            yield slug


def _said(slug: str) -> str:
    paper = catalog.paper(slug)
    if paper.evidence is None:
        return f"[{slug}](../papers/{slug}.md): its claim was not run yet"
    evidence = Evidence.read(paper.evidence)
    # The first of the results that the verdict rests on.
    result = next(it for it in evidence.results if it.decides and it.verdict == evidence.verdict)
    return f"[{slug}](../papers/{slug}.md): {evidence.verdict}; {result.name}: {measured(result)}"
