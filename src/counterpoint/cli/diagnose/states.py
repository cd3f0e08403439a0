"""counterpoint diagnose MODEL --what states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from pathlib import Path
from typing import Annotated

from pydantic.dataclasses import dataclass as form

from ...forms import FORM, Count, FlatField, OutFolder
from ..common.files import FileOptions
from ._options import Diagnosis, ModelDiagnoseOptions, Notify


@form(frozen=True, config=FORM, kw_only=True)
class StatesOptions(ModelDiagnoseOptions):
    """Read the states inside a vision-language model that describes pictures.

    The page shows the concepts of a word, how similar pictures and words are by layer, and the weights that both use.
    """

    data: str = "scenes:basic"
    """Data whose pictures are described."""
    files: Annotated[FileOptions, FlatField()] = field(default_factory=FileOptions)
    word: str | None = None
    """The word whose concepts are learned; the most frequent word of the descriptions unless given."""
    concepts: Count = 8
    """Concepts of the word."""
    rows: Count = 400
    """Test rows that are described, at most."""
    out: OutFolder = Path("states")
    """The folder for states.html and states.json."""
    max_new_tokens: Count = 32
    """Tokens after which a description is cut off."""


def diagnose(options: StatesOptions, command: Sequence[str], notify: Notify) -> Diagnosis:
    """Let the model describe pictures, examine its states, and write the page."""
    from ...data.source import load
    from ...decoding.assistant import VisionLanguageAssistant
    from ...study.decoding.model import located
    from ...study.report.states import PAGE, write_states

    notify("loading the model")
    data = load(options.files.of(options.data))
    rows = next(rows for rows in data.splits.test.values() if len(rows))[: options.rows]
    assistant = VisionLanguageAssistant.load(located(options.model), max_new_tokens=options.max_new_tokens)
    notify("describing pictures")
    values = write_states(
        options.out,
        assistant,
        data,
        rows,
        word=options.word,
        concepts=options.concepts,
        model=options.model,
        command=command,
        notify=notify,
    )
    lines = [f"• {section['sentence']}" for section in values["sections"].values()]
    return Diagnosis(values, lines, options.out / PAGE)
