"""Data cards: a report as Markdown, with the block of metadata that Hugging Face reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

from ..sides import SIDES
from ._section import Finding
from ._seen import DataOverview

_TAGS = {
    "image": "image",
    "text": "text",
    "audio": "audio",
    "video": "video",
    "series": "timeseries",
    "table": "tabular",
}
_UNKNOWN = (
    "The files do not say who made these data, from what, and under which licence: ask whoever gave them to you before "
    "you use them."
)


def card(
    seen: DataOverview, sections: Mapping[str, Sequence[Finding]], commands: Iterable[tuple[str, str]]
) -> str:
    """Return a data card.

    Args:
        seen: the data.
        sections: the findings of a report, by the section's title.
        commands: that fit the data, each with what it does.
    """
    metadata = yaml.safe_dump(_metadata(seen, sections), sort_keys=False, allow_unicode=True).strip()
    lines = ["---", metadata, "---", "", f"# {seen.source}", ""]
    lines += [_UNKNOWN, ""]
    for title, findings in sections.items():
        lines += [f"## {title[0].upper()}{title[1:]}", "", "| | |", "| --- | --- |"]
        lines += [f"| {_cell(finding.name)} | {_cell(finding.text)} |" for finding in findings]
        lines += [""]
    lines += ["## Use", "", "```console", *(f"$ {command}  # {why}" for command, why in commands)]
    return "\n".join([*lines, "```", ""])


def _metadata(seen: DataOverview, sections: Mapping[str, Sequence[Finding]]) -> dict[str, Any]:
    held: dict[str, Any] = {"pretty_name": seen.source, "size_categories": [_size(seen.examples)]}
    held["modalities"] = sorted({_TAGS.get(modality, modality) for modality in seen.columns.values()})
    captions = {finding.name: finding.value for finding in sections.get("captions", ())}
    guessed = captions.get("languages (guessed)", {})
    known = [
        name
        for name, count in guessed.items()
        if isinstance(count, int) and name != "unclear" and count >= 20
    ]
    languages = known or [guessed["unclear, together"]] if guessed.get("unclear, together") or known else []
    if languages:
        held["language"] = languages
    if set(seen.columns.values()) == {"image", "text"}:
        held["task_categories"] = ["zero-shot-image-classification", "image-to-text"]
    if seen.sides.get("train"):
        counts = {side: seen.sides[side] for side in SIDES if seen.sides.get(side)}
        held["dataset_info"] = {"splits": [{"name": s, "num_examples": n} for s, n in counts.items()]}
    return held


def _size(rows: int) -> str:
    """Return Hugging Face's word for a number of rows.

    >>> _size(951), _size(10_000), _size(3_000_000)
    ('n<1K', '10K<n<100K', '1M<n<10M')
    """
    marks = [
        (1_000, "1K"),
        (10_000, "10K"),
        (100_000, "100K"),
        (10**6, "1M"),
        (10**7, "10M"),
        (10**8, "100M"),
    ]
    below = "n<1K"
    for (least, low), (_, high) in zip(marks, [*marks[1:], (10**9, "1B")], strict=True):
        if rows >= least:
            below = f"{low}<n<{high}"
    return below


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
