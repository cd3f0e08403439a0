"""counterpoint flaws."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic.dataclasses import dataclass as form

from ..forms import FORM, Count, Natural, OutFolder
from .arguments import parse
from .terminal import Terminal


@form(frozen=True, config=FORM)
class Flaws:
    """The effects of examples in context on a vision-language model's hallucinations, abstention, compositionality …"""

    model: str
    """A folder or a hub name that transformers loads, or tiny-vlm, the one that comes along."""
    data: str = "scenes:basic"
    """Data that the model is asked about; its training rows give the examples."""
    axes: tuple[str, ...] = ()
    """hallucination, abstention, matching, selection, explanation, following; all that apply unless given."""
    shots: tuple[Natural, ...] = (0, 4, 8)
    """Numbers of examples; 0 is two without their pictures. No example at all comes by itself."""
    seeds: Count = 3
    """Draws of the examples."""
    rows: Count = 100
    """Test rows that are asked about, at most."""
    out: OutFolder = Path("flaws")
    """The folder for flaws.html and flaws.json."""
    max_new_tokens: Count = 64
    """Tokens after which a reply is cut off."""
    json: bool = False
    """Print the numbers as JSON instead of sentences."""


def main(arguments: Sequence[str]) -> int:
    given = parse(Flaws, arguments, "flaws")

    console = Terminal(stderr=given.json)
    with console.status("loading the model") as status:
        from ..data.source import load as load_data
        from ..decoding.assistant import VisionLanguageAssistant
        from ..evaluation.answering.in_context import NOTHING, ZERO_SHOT, Shots, examine
        from ..study.decoding.model import located
        from ..study.report.flaws import PAGE, write_flaws

        data = load_data(given.data, 48)
        rows = next(rows for rows in data.splits.test.values() if len(rows))[: given.rows]
        assistant = VisionLanguageAssistant.load(located(given.model), max_new_tokens=given.max_new_tokens)
        table = examine(
            assistant,
            data,
            rows,
            shots=(NOTHING, *(Shots(count) if count else ZERO_SHOT for count in given.shots)),
            seeds=range(given.seeds),
            axes=given.axes,
            tell=lambda text: status.update(f"asking: {text}"),
        )
        found = write_flaws(
            given.out,
            table,
            model=given.model,
            data=data.name,
            rows=len(rows),
            command=["counterpoint", "flaws", *arguments],
            attribution=data.attribution,
        )
    if given.json:
        json.dump(found, sys.stdout, indent=2, ensure_ascii=False)
        print()
        return 0
    for axis in found["axes"].values():
        console.print(f"• {axis['sentence']}")
    console.print(f"\npage: {given.out / PAGE}", soft_wrap=True)
    return 0
