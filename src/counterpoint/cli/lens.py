"""counterpoint lens."""

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
class Lens:
    """Ask a vision-language model about a picture and see, word by word, what supports its reply, and where."""

    model: str
    """A folder or a hub name that transformers loads, or tiny-vlm, the one that comes along."""
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
    json: bool = False
    """Print the numbers as JSON."""


def main(arguments: Sequence[str]) -> int:
    given = parse(Lens, arguments, "lens")
    from rich.text import Text

    console = Terminal(stderr=given.json)
    with console.status("loading the model"):
        from ..decoding.assistant import VisionLanguageAssistant
        from ..decoding.prompts import read_picture
        from ..diagnostics.assistants.captions import contextual_lens, reply_tokens
        from ..study.decoding.model import located
        from ..study.report.lens import PAGE, pieces, write_lens
        from ..types import Prompt

        picture = read_picture(given.image)
        assistant = VisionLanguageAssistant.load(located(given.model))
        prompt = Prompt(given.prompt, picture)
        found = contextual_lens(
            assistant.model,
            assistant.processor.tokenizer,
            assistant.inputs([prompt]),
            None if given.reply is None else reply_tokens(assistant.processor, prompt, given.reply),
            layers=given.layers,
            centred=given.centred,
            least=given.least,
        )
    values = write_lens(
        given.out,
        found,
        picture,
        prompt=given.prompt,
        model=given.model,
        command=["counterpoint", "lens", *arguments],
        cropped=bool(getattr(assistant.processor.image_processor, "do_center_crop", False)),
    )
    if given.json:
        json.dump(values, sys.stdout, indent=2, ensure_ascii=False)
        print()
        return 0
    text = Text()
    for piece in pieces(found):
        doubtful = piece.doubt is not None and piece.doubt > 2 / 3
        text.append(piece.text, style="red" if doubtful else "")
    console.print(text)
    if values["remark"]:
        console.print(values["remark"], style="yellow")
    console.print(f"\npage: {given.out / PAGE}", soft_wrap=True)
    return 0
