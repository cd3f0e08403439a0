"""The page of one reply about one picture: its words by how well the picture supports them, and where."""

from __future__ import annotations

import base64
import io
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from ...data.views.stopwords import STOP_WORDS
from ...decoding.prompts import image_of
from ...diagnostics.assistants.captions import ReplySupport, Word
from ...files import write_json, writing
from ...types import Picture
from .frame import write_page

FILE, PAGE, SHEET = "lens.json", "lens.html", "lens.png"
_SIDE = 336  # of a picture on the page, at least, in pixels
_BOX, _HOT = (255, 255, 255), (209, 52, 21)


class WordPicture(NamedTuple):
    """A word with its picture, as a data URI."""

    word: Word
    picture: str


def write_lens(
    folder: Path,
    reply: ReplySupport,
    picture: Picture,
    *,
    prompt: str,
    model: str,
    command: Sequence[str],
    cropped: bool = False,
) -> dict[str, Any]:
    """Write ``lens.html``, which opens offline, ``lens.png`` with the same pictures, and ``lens.json``.

    Args:
        folder: to write into.
        reply: the reply, and what was found about its words.
        picture: what was asked about.
        prompt: what was asked.
        model: its name.
        command: that makes the page again.
        cropped: whether the model was shown the square in the middle alone, as some processors do.

    Returns:
        What the JSON file holds.
    """
    seen = _seen(picture, cropped)
    # Articles and prepositions are coloured in the text, and have no place of their own in a picture.
    content = [word for word in reply.words if word.text.lower() not in STOP_WORDS] or list(reply.words)
    drawn = [overlay(seen, word) for word in content]
    values = numbers(reply, prompt, model)
    write_json(folder / FILE, values)
    _write_sheet(folder / SHEET, seen, content, drawn)
    write_page(
        folder / PAGE,
        "lens.html.j2",
        about=values,
        pieces=pieces(reply),
        seen=_uri(seen),
        shown=[WordPicture(word, _uri(one)) for word, one in zip(content, drawn, strict=True)],
        command=shlex.join(command),
    )
    return values


def numbers(reply: ReplySupport, prompt: str, model: str) -> dict[str, Any]:
    """Return what was found, in values that JSON has; boxes are shares of the picture: left, top, right, bottom."""
    return {
        "format": 1,
        "model": model,
        "prompt": prompt,
        "reply": reply.reply,
        "remark": remark(reply),
        "layers": reply.layers._asdict(),
        "grid": list(reply.grid),
        "words": [
            {
                "word": word.text,
                "start": word.start,
                "end": word.end,
                "support": word.support,
                "logit_lens": word.logit_lens,
                "probability": word.probability,
                "box": list(word.box.pixels(1, 1)),
                "area": word.box.area,
                "box_cosine": word.box.cosine,
            }
            for word in reply.words
        ],
    }


def remark(reply: ReplySupport) -> str | None:
    """Return a remark on what the words of a reply cannot tell, where the words are yes and no alone."""
    if all(word.text.lower() in ("yes", "no") for word in reply.words):
        return (
            "Yes and no have no meaning of their own that a picture could support. Ask what is there, or give the "
            "answer as a sentence: --reply 'There is a cat.'"
        )
    return None


class Piece(NamedTuple):
    """A piece of the reply; ``doubt`` is 0 for its best supported word and 1 for its least, None between words."""

    text: str
    doubt: float | None
    support: float | None


def pieces(reply: ReplySupport) -> list[Piece]:
    """Cut the reply into words and what stands between them."""
    values = [word.support for word in reply.words]
    low, high = min(values), max(values)
    result: list[Piece] = []
    at = 0
    for word in reply.words:
        if word.start > at:
            result.append(Piece(reply.reply[at : word.start], None, None))
        doubt = (high - word.support) / (high - low) if high > low else 0.0
        result.append(Piece(word.text, doubt, word.support))
        at = word.end
    return [*result, Piece(reply.reply[at:], None, None)] if at < len(reply.reply) else result


def overlay(seen: Image.Image, word: Word) -> Image.Image:
    """Draw a word's heat map and box on a picture."""
    heat = word.heat.double().numpy()
    spread = heat.max() - heat.min()
    share = (heat - heat.min()) / spread if spread > 0 else np.zeros_like(heat)
    alpha = Image.fromarray((share * 170).round().astype(np.uint8)).resize(
        seen.size, Image.Resampling.BILINEAR
    )
    result = seen.copy()
    result.paste(Image.new("RGB", seen.size, _HOT), mask=alpha)
    corners = word.box.pixels(seen.height - 1, seen.width - 1)
    pen = ImageDraw.Draw(result)
    pen.rectangle(corners, outline=(26, 29, 33), width=5)
    pen.rectangle([corners[0] + 1, corners[1] + 1, corners[2] - 1, corners[3] - 1], outline=_BOX, width=2)
    return result


def _seen(picture: Picture, cropped: bool) -> Image.Image:
    """Return the picture that the model was shown, large enough to look at."""
    image = image_of(picture)
    if cropped:
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        image = image.crop((left, top, left + side, top + side))
    scale = max(1.0, _SIDE / min(image.size))
    return image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)


def _uri(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _write_sheet(path: Path, seen: Image.Image, words: Sequence[Word], drawn: Sequence[Image.Image]) -> None:
    """Write the picture, then each word's, in rows of four, with the word and its support above."""
    titled: list[tuple[str, Image.Image]] = [("", seen)]
    titled += [(f"{word.text}  {word.support:.2f}", one) for word, one in zip(words, drawn, strict=True)]
    gap, head = 12, 22
    width, height = seen.width + gap, seen.height + head + gap
    columns = min(4, len(titled))
    rows = -(-len(titled) // columns)
    sheet = Image.new("RGB", (columns * width + gap, rows * height + gap), "white")
    pen = ImageDraw.Draw(sheet)
    for number, (title, one) in enumerate(titled):
        x, y = gap + number % columns * width, gap + number // columns * height
        pen.text((x, y + 4), title, fill=(26, 29, 33), font_size=14)
        sheet.paste(one, (x, y + head))
    with writing(path) as part:
        sheet.save(part, format="PNG")
