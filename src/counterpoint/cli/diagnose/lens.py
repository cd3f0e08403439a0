"""counterpoint diagnose MODEL --what lens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic.dataclasses import dataclass as form
from rich.console import RenderableType

from ...forms import FORM, Count, Natural, OutFolder
from ._options import Diagnosis, ModelDiagnoseOptions, Notify


@form(frozen=True, config=FORM, kw_only=True)
class LensOptions(ModelDiagnoseOptions):
    """Ask a vision-language model about a picture and see, word by word, what supports its reply, and where."""

    image: Path
    """A picture."""
    prompt: str = "Describe the picture."
    """Prompt that the model is asked."""
    reply: str | None = None
    """A reply to look at, in place of the model's own."""
    layers: tuple[Natural, Natural] | None = None
    """Layer of the places and layer of the words; the middle of the language model unless given."""
    centred: bool = False
    """Take the picture's mean state off all states first."""
    least: Count = 1
    """Places that a box has at least."""
    out: OutFolder = Path("lens")
    """The folder for lens.html, lens.png and lens.json."""


def diagnose(options: LensOptions, command: Sequence[str], notify: Notify) -> Diagnosis:
    """Ask the model, look at its reply's words, and write the page."""
    from rich.text import Text

    from ...decoding.assistant import VisionLanguageAssistant
    from ...decoding.prompts import read_picture
    from ...diagnostics.assistants.captions import contextual_lens, reply_tokens
    from ...study.decoding.model import located
    from ...study.report.lens import PAGE, pieces, write_lens
    from ...types import Prompt

    notify("loading the model")
    picture = read_picture(options.image)
    assistant = VisionLanguageAssistant.load(located(options.model))
    prompt = Prompt(options.prompt, picture)
    reply = contextual_lens(
        assistant.model,
        assistant.processor.tokenizer,
        assistant.inputs([prompt]),
        None if options.reply is None else reply_tokens(assistant.processor, prompt, options.reply),
        layers=options.layers,
        centred=options.centred,
        least=options.least,
    )
    values = write_lens(
        options.out,
        reply,
        picture,
        prompt=options.prompt,
        model=options.model,
        command=command,
        cropped=bool(getattr(assistant.processor.image_processor, "do_center_crop", False)),
    )
    text = Text()
    for piece in pieces(reply):
        doubtful = piece.doubt is not None and piece.doubt > 2 / 3
        text.append(piece.text, style="red" if doubtful else "")
    remark: list[RenderableType] = [Text(values["remark"], style="yellow")] if values["remark"] else []
    return Diagnosis(values, [text, *remark], options.out / PAGE)
