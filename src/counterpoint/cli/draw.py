"""counterpoint draw."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic.dataclasses import dataclass as form

from ..forms import FORM, Count, NonNegative, Seed
from .common.arguments import parse
from .common.terminal import Terminal, print_json

if TYPE_CHECKING:
    from ..generation import LearnedWords
    from ..networks.painter import PaintingNetwork


@form(frozen=True, config=FORM)
class DrawOptions:
    """Let painters draw a text, which may have the words that runs have learned, each in a box of its own."""

    model: tuple[str, ...]
    """Runs of methods that learn words (textual-inversion, custom-diffusion, textual-localization), all from one
    painter; or one painter: its run, a pipeline that it wrote, or tiny-painter."""
    prompt: str
    """Text; new words stand in angle brackets: "a <bucket> beside a <doll>"."""
    out: Path = Path("drawn.png")
    """The picture's file; of several pictures, a number stands behind its name."""
    boxes: tuple[str, ...] = ()
    """Boxes of new words, left, top, right and bottom in shares of the sides: "<bucket>:0,0,0.5,1"."""
    pictures: Count = 1
    """Pictures, with seeds from --seed on."""
    steps: Count = 12
    """Steps of the solver."""
    guidance: NonNegative = 3.0
    """Factor of the difference that the text makes; 1 for none."""
    seed: Seed = 0
    """Seed of the first picture."""
    json: bool = False
    """Print the files as JSON."""


def main(arguments: Sequence[str]) -> int:
    options = parse(DrawOptions, arguments, "draw")
    boxes = boxes_of(options.boxes)
    if options.out.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp"):
        raise ValueError(f"--out {options.out} must end in .png, .jpg or .webp")
    console = Terminal(stderr=options.json)
    with console.status("loading torch") as status:
        from PIL import Image

        from ..execution.folders import check_writable
        from ..generation import draw_words

        check_writable(options.out.parent)
        status.update("loading the models")
        opened = _opened(options.model)
        status.update("drawing")
        seeds = range(options.seed, options.seed + options.pictures)
        texts = [options.prompt] * options.pictures
        settings: dict[str, Any] = {
            "seeds": list(seeds),
            "steps": options.steps,
            "guidance": options.guidance,
        }
        if isinstance(opened, list):
            drawn = draw_words(opened, texts, boxes=boxes, **settings)
        elif boxes:
            raise ValueError(f"--boxes are of new words, and {options.model[0]} is a painter: leave them out")
        else:
            drawn = opened.draw(texts, **settings)
    files = [options.out] if len(seeds) == 1 else [_numbered(options.out, seed) for seed in seeds]
    for file, picture in zip(files, drawn, strict=True):
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((255 * picture).round().byte().permute(1, 2, 0).cpu().numpy()).save(file)
    if options.json:
        print_json({"files": [str(file) for file in files]})
    else:
        console.print(*map(str, files), sep="\n", soft_wrap=True)
    return 0


def boxes_of(texts: Sequence[str]) -> dict[str, tuple[float, float, float, float]]:
    """Read boxes of words.

    >>> boxes_of(["<one>:0,0,0.5,1"])
    {'<one>': (0.0, 0.0, 0.5, 1.0)}

    Raises:
        ValueError: for a text that is no box, and two boxes of one word.
    """
    boxes: dict[str, tuple[float, float, float, float]] = {}
    for text in texts:
        word, _, numbers = text.partition(":")
        try:
            left, top, right, bottom = map(float, numbers.split(","))
        except ValueError:
            raise ValueError(
                f'--boxes {text!r} is no box: write a word and its left, top, right and bottom, "<word>:0,0,0.5,1"'
            ) from None
        if word in boxes:
            raise ValueError(f"--boxes gives {word} two boxes: leave one out")
        boxes[word] = left, top, right, bottom
    return boxes


def _numbered(file: Path, seed: int) -> Path:
    return file.with_stem(f"{file.stem}-{seed}")


def _opened(names: Sequence[str]) -> list[LearnedWords] | PaintingNetwork:
    """Return the words of runs that have learned some, or the one painter.

    Raises:
        ValueError: for a run without words beside others.
    """
    from ..methods._personal import Personal, painter_of
    from ..models import load
    from ..training.folder import is_checkpoint, is_run

    models = [load(name) if is_run(Path(name)) or is_checkpoint(Path(name)) else None for name in names]
    learned = [model.learned for model in models if isinstance(model, Personal)]
    if len(learned) == len(models):
        return learned
    if len(models) > 1:
        other = next(
            name for name, model in zip(names, models, strict=True) if not isinstance(model, Personal)
        )
        raise ValueError(f"{other} has learned no words: several models are runs that have")
    return painter_of(names[0])
