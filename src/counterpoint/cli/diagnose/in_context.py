"""counterpoint diagnose MODEL --what in-context."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from pathlib import Path
from typing import Annotated

from pydantic.dataclasses import dataclass as form

from ...forms import FORM, Count, FlatField, Natural, OutFolder
from ..common.files import FileOptions
from ._options import Diagnosis, ModelDiagnoseOptions, Notify


@form(frozen=True, config=FORM, kw_only=True)
class InContextOptions(ModelDiagnoseOptions):
    """Measure what examples in context do to a vision-language model: hallucinations, abstention, compositionality."""

    data: str = "scenes:basic"
    """Data that the model is asked about; its training rows give the examples."""
    files: Annotated[FileOptions, FlatField()] = field(default_factory=FileOptions)
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


def diagnose(options: InContextOptions, command: Sequence[str], notify: Notify) -> Diagnosis:
    """Ask the model along every axis, with more and more examples, and write the page."""
    from ...data.source import load
    from ...decoding.assistant import VisionLanguageAssistant
    from ...evaluation.in_context import examine
    from ...evaluation.in_context_shots import NOTHING, ZERO_SHOT, Shots
    from ...study.decoding.model import located
    from ...study.report.flaws import PAGE, write_flaws

    notify("loading the model")
    data = load(options.files.of(options.data))
    rows = next(rows for rows in data.splits.test.values() if len(rows))[: options.rows]
    assistant = VisionLanguageAssistant.load(located(options.model), max_new_tokens=options.max_new_tokens)
    table = examine(
        assistant,
        data,
        rows,
        shots=(NOTHING, *(Shots(count) if count else ZERO_SHOT for count in options.shots)),
        seeds=range(options.seeds),
        axes=options.axes,
        notify=lambda text: notify(f"asking: {text}"),
    )
    values = write_flaws(
        options.out,
        table,
        model=options.model,
        data=data.name,
        rows=len(rows),
        command=command,
        attribution=data.attribution,
    )
    lines = [f"• {axis['sentence']}" for axis in values["axes"].values()]
    return Diagnosis(values, lines, options.out / PAGE)
