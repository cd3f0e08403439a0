"""counterpoint generate."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from pydantic.dataclasses import dataclass as form
from rich.text import Text

from ..forms import FORM, Count, Positive, Seed
from .common.arguments import parse
from .common.terminal import Terminal, print_json


@form(frozen=True, config=FORM)
class GenerateOptions:
    """Let a vision-language model reply about a picture, decoded by a method, and say what that cost.

    Of the run of a captioner (cappa, coca): let it write a caption of the picture. Of the run of a method that speaks
    (sft): let it reply to the prompt.
    """

    model: str
    """A vision-language model: a folder as transformers saves it, a name on the Hugging Face hub, or tiny-vlm; or the
    run of a captioner, or of a method that speaks."""
    image: Path
    """A picture file."""
    prompt: str = ""
    """Prompt, as a person would ask; the model's chat template is put around the prompt. A captioner takes none."""
    decoding: str = "plain"
    """A method (see: counterpoint list decoding), with options after commas: vcd,alpha=0.5; two at once: vcd+ritual."""
    lead: str | None = None
    """Put before the prompt ("I think it is red."): what the method lqcd takes off again."""
    sample: bool = False
    """Sample; else the likeliest token is taken."""
    temperature: Positive = 1.0
    """Temperature of the sampling."""
    beams: Count = 1
    """Texts that the model of a run follows at once (beam search)."""
    max_new_tokens: Count = 64
    """Tokens after which the reply is cut off."""
    seed: Seed = 0
    """Seed of the sampling, and of what the method draws by chance."""
    json: bool = False
    """Print the reply and its cost as JSON."""


def main(arguments: Sequence[str]) -> int:
    options = parse(GenerateOptions, arguments, "generate")
    # Names and files are checked before torch is loaded, so that a typo is answered at once.
    from ..study.decoding.arm import DecodingArm
    from ..training.folder import is_checkpoint, is_run

    arm = DecodingArm.parse(options.decoding)
    if options.temperature != GenerateOptions.temperature and not options.sample:
        raise ValueError("--temperature is of the sampling, and the likeliest token is taken: add --sample")
    if not options.image.is_file():
        raise FileNotFoundError(f"there is no picture {options.image}")
    if is_run(Path(options.model)) or is_checkpoint(Path(options.model)):
        return _of_run(options)
    if not options.prompt:
        raise ValueError("--prompt is missing: only the run of a captioner writes without one")
    if options.beams > 1:
        raise ValueError("--beams is of the model of a run: leave it out")

    console = Terminal(stderr=options.json)
    with console.status("loading torch") as status:
        from ..decoding import VisionLanguageAssistant, read_picture
        from ..study.decoding.model import located
        from ..study.decoding.tables import times
        from ..types import Prompt

        method, picture = arm.method(options.seed), read_picture(options.image)
        _check_inputs(arm.spec, {branch.needs for branch in method.branches()}, options.lead)
        status.update(f"loading {options.model}")
        assistant = VisionLanguageAssistant.load(
            located(options.model),
            method,
            do_sample=options.sample,
            temperature=options.temperature,
            max_new_tokens=options.max_new_tokens,
        )
        status.update("replying")
        led = options.prompt if options.lead is None else f"{options.lead} {options.prompt}"
        (reply,) = assistant.reply([Prompt(led, picture, neutral=options.prompt)], seed=options.seed)
    cost = assistant.cost
    assert cost is not None
    if options.json:
        spent = {
            "passes": dict(cost.passes),
            "positions": dict(cost.positions),
            "relative_passes": cost.relative_passes,
            "relative_positions": cost.relative_positions,
        }
        values = {"reply": reply, "decoding": arm.spec, "method": repr(method), "cost": spent}
        print_json(values)
        return 0
    console.print(reply or Text("(nothing)", style="dim"), soft_wrap=True)
    console.print(
        f"\n{arm.spec}: {sum(cost.passes.values())} forward passes, {times(cost.relative_passes)} those of plain "
        f"decoding; decoder positions {times(cost.relative_positions)}",
        style="dim",
    )
    return 0


def _of_run(options: GenerateOptions) -> int:
    """Print the caption, or the reply to the prompt, that the model of a run writes."""
    for name in ("lead", "decoding"):
        if getattr(options, name) != getattr(GenerateOptions, name):
            raise ValueError(
                f"--{name} is of vision-language models of transformers, and {options.model} is a run: leave it out"
            )
    console = Terminal(stderr=options.json)
    with console.status("loading torch") as status:
        from ..decoding import CaptioningAssistant, read_picture
        from ..methods._speaking import SpeakingMethod
        from ..models import load
        from ..types import Captioner, Prompt

        picture = read_picture(options.image)
        status.update(f"loading {options.model}")
        model = load(options.model)
        status.update("writing")
        if isinstance(model, SpeakingMethod):
            if not options.prompt:
                raise ValueError(
                    f"--prompt is missing: {options.model} is a run of a model that replies to one"
                )
            (text,) = model.reply(
                [Prompt(options.prompt, picture)],
                seed=options.seed,
                beams=options.beams,
                sample=options.sample,
                temperature=options.temperature,
                max_tokens=options.max_new_tokens,
            )
        elif isinstance(model, Captioner):
            if options.prompt:
                raise ValueError(
                    f"--prompt: {options.model} is a run of a captioner, which takes none; leave it out"
                )
            assistant = CaptioningAssistant(
                model,
                beams=options.beams,
                do_sample=options.sample,
                temperature=options.temperature,
                max_new_tokens=options.max_new_tokens,
            )
            (text,) = assistant.reply([Prompt("", picture)], seed=options.seed)
        else:
            raise ValueError(
                f"{options.model} is a run of {type(model).__name__}, which writes nothing: train sft, cappa or coca"
            )
    if options.json:
        print_json({"reply" if isinstance(model, SpeakingMethod) else "caption": text})
    else:
        console.print(text or Text("(nothing)", style="dim"), soft_wrap=True)
    return 0


def _check_inputs(decoding: str, needed: Collection[str | None], lead: str | None) -> None:
    """Refuse one prompt without a lead and without examples, which would be contrasted with itself."""
    if "leading" in needed and lead is None:
        raise ValueError(
            f"{decoding} takes off what a lead makes the model say; give one: --lead 'I think it is red.'"
        )
    if "without_examples" in needed:
        raise ValueError(
            f"{decoding} contrasts worked examples with none, and a single prompt holds none; from Python: "
            "ExampleContrastive().on(inputs, without_examples=…)"
        )
