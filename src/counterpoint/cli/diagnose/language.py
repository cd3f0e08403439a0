"""counterpoint diagnose MODEL --what language."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic.dataclasses import dataclass as form

from ...forms import FORM, Count, OutFolder
from ._options import Diagnosis, ModelDiagnoseOptions, Notify


@form(frozen=True, config=FORM, kw_only=True)
class LanguageOptions(ModelDiagnoseOptions):
    """Test how often a vision-language model leaves the question's language with a picture, and where inside."""

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


def diagnose(options: LanguageOptions, command: Sequence[str], notify: Notify) -> Diagnosis:
    """Ask the model in every language, with a picture and without, and write the page."""
    from ...data.source import load
    from ...data.synthetic.scenes.world import Scenes
    from ...decoding.assistant import VisionLanguageAssistant
    from ...study.decoding.model import located
    from ...study.report.fidelity import PAGE, write_fidelity

    notify("loading the model")
    data = load(options.data)
    if not isinstance(data, Scenes):
        raise ValueError(
            f"--data {options.data}: questions in several languages are asked about scenes alone"
        )
    rows = next(rows for rows in data.splits.test.values() if len(rows))[: options.rows]
    assistant = VisionLanguageAssistant.load(located(options.model), max_new_tokens=options.max_new_tokens)
    notify("asking")
    values = write_fidelity(
        options.out,
        assistant,
        data,
        rows,
        options.languages,
        model=options.model,
        command=command,
        notify=lambda title: notify(f"asking: {title}"),
    )
    lines = [f"• {section['sentence']}" for section in values["sections"].values()]
    return Diagnosis(values, lines, options.out / PAGE)
