"""counterpoint fidelity."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic.dataclasses import dataclass as form

from ..forms import FORM, Count, OutFolder
from .arguments import parse
from .terminal import Terminal


@form(frozen=True, config=FORM)
class Fidelity:
    """A test of how often a vision-language model leaves the question's language with a picture, and where inside."""

    model: str
    """A folder or a hub name that transformers loads, or tiny-vlm, the one that comes along."""
    data: str = "scenes:basic"
    """Scenes to ask about."""
    languages: tuple[Literal["en", "de", "fr", "es"], ...] = ("en", "de", "fr", "es")
    """Languages of the questions; English is the control."""
    rows: Count = 100
    """Test scenes that are asked about, at most."""
    out: OutFolder = Path("fidelity")
    """The folder for fidelity.html and fidelity.json."""
    max_new_tokens: Count = 32
    """Tokens after which a reply is cut off."""
    json: bool = False
    """Print the numbers as JSON instead of sentences."""


def main(arguments: Sequence[str]) -> int:
    given = parse(Fidelity, arguments, "fidelity")

    console = Terminal(stderr=given.json)
    with console.status("loading the model") as status:
        from ..data.source import load as load_data
        from ..data.worlds.scenes.world import Scenes
        from ..decoding.assistant import VisionLanguageAssistant
        from ..study.decoding.model import located
        from ..study.report.fidelity import PAGE, write_fidelity

        data = load_data(given.data, 48)
        if not isinstance(data, Scenes):
            raise ValueError(
                f"--data {given.data}: questions in several languages are asked about scenes alone"
            )
        rows = next(rows for rows in data.splits.test.values() if len(rows))[: given.rows]
        assistant = VisionLanguageAssistant.load(located(given.model), max_new_tokens=given.max_new_tokens)
        status.update("asking")
        found = write_fidelity(
            given.out,
            assistant,
            data,
            rows,
            given.languages,
            model=given.model,
            command=["counterpoint", "fidelity", *arguments],
            tell=lambda title: status.update(f"asking: {title}"),
        )
    if given.json:
        json.dump(found, sys.stdout, indent=2, ensure_ascii=False)
        print()
        return 0
    for section in found["sections"].values():
        console.print(f"• {section['sentence']}")
    console.print(f"\npage: {given.out / PAGE}", soft_wrap=True)
    return 0
