"""counterpoint data replies: worse replies to the requests of a data set."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic.dataclasses import dataclass as form

from ...forms import FORM, Count, Folder, Names, Positive, Seed
from ..common.terminal import Terminal
from ._source import DatasetOptions

if TYPE_CHECKING:
    from ...types import Assistant, Prompt


@form(frozen=True, config=FORM, kw_only=True)
class RepliesOptions(DatasetOptions):
    """Write worse replies to the requests of a data set, a column for each maker, for --data and dpo.

    The same command goes on where it was stopped.
    """

    out: Folder = None
    """Folder of the replies."""
    by: Names = ("random",)
    """Makers: random (another row's reply), noise (the model's reply about a noisy picture), blind (the model's reply
    while most of the picture is hidden, written along the good one), injected (the good reply with an error), albums
    (the model's wrong reply about one of several pictures, while it attends to the others; of data with
    ,albums=collage)."""
    model: str = ""
    """A vision-language model as generate takes it, or the run of a method that speaks; random needs none."""
    rows: Count | None = None
    """Make replies for the first of so many rows to train on."""
    temperature: Positive = 0.2
    """Temperature of the model's sampling."""
    max_new_tokens: Count = 64
    """Tokens after which a reply is cut off."""
    seed: Seed = 0
    """Seed of the makers and of the sampling."""


def main(options: RepliesOptions) -> int:
    from ..common.progress import counting

    console = Terminal()
    if options.out is None:
        raise ValueError("where to? For example: --out pairs")
    named, total = options.named, 0
    with console.status("loading"):
        from ...study.replies import make_replies

        assistant = _assistant(options)
    with counting(console, "replies") as notify:

        def on_replies(count: int) -> None:
            nonlocal total
            total += count
            notify(total, total)

        manifest = make_replies(
            assistant,
            named,
            options.out,
            options.by,
            model=options.model,
            seed=options.seed,
            rows=options.rows,
            on_replies=on_replies,
        )
    for maker, reasons in manifest.refused.items():
        refused = ", ".join(f"{count:,} {reason}" for reason, count in reasons.items())
        console.print(f"{maker}: {'left out: ' + refused if refused else 'a reply to every request'}")
    console.print(
        f"may these pairs be trusted: counterpoint data describe {shlex.quote(str(options.out))}",
        soft_wrap=True,
    )
    return 0


class _NoModel:
    """The assistant of a command without a model."""

    def reply(self, prompts: Sequence[Prompt], *, seed: int = 0) -> list[str]:
        if not prompts:
            return []
        raise ValueError("a model is asked for these replies: name it with --model")

    def word_logits(self, prompts: Sequence[Prompt], words: Sequence[str]) -> object:
        raise NotImplementedError


def _assistant(options: RepliesOptions) -> Assistant:
    from ...decoding import VisionLanguageAssistant
    from ...methods._speaking import SpeakingMethod
    from ...models import load
    from ...study.decoding.model import located
    from ...study.replies import SamplingAssistant
    from ...training.folder import is_checkpoint, is_run

    if not options.model:
        return _NoModel()  # type: ignore[return-value] # its logits are not asked for
    if is_run(Path(options.model)) or is_checkpoint(Path(options.model)):
        model = load(options.model)
        if not isinstance(model, SpeakingMethod):
            raise ValueError(
                f"{options.model} is a run of {type(model).__name__}, which replies to no request"
            )
        return SamplingAssistant(model, options.temperature, options.max_new_tokens)
    return VisionLanguageAssistant.load(
        located(options.model),
        do_sample=True,
        temperature=options.temperature,
        max_new_tokens=options.max_new_tokens,
    )
