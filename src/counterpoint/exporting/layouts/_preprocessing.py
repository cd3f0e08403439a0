"""The way from pictures and texts to what a graph takes, stated in a file beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Int64
from PIL import Image
from pydantic import BaseModel, ConfigDict
from tokenizers import Tokenizer as Backend

from ...files import FORMAT
from ...networks.base import ImageTower, TextTower
from ...networks.towers.parts.pixels import Normalise
from ...types import Fit
from .._samples import TEXTS

FILE = "preprocessing.json"
TOKENIZER = "tokenizer.json"


@runtime_checkable
class PortableTokenizer(Protocol):
    """A tokenizer that the ``tokenizers`` library can stand in for."""

    def backend(self) -> Backend: ...


class Picture(BaseModel):
    """The way from a picture to a graph's input.

    Attributes:
        fit: resized and cut to a square; see `counterpoint.types.Fit`.
        mode: of what is resized: upright by its EXIF tag, in sRGB, transparent parts on white, 16 bits scaled to 8.
        crop: the part of the resized picture that is taken.
        layout: of the input: examples, channels, rows, columns.
        range: of the input's values.
        mean, std: of each channel of a range from 0 to 1, by which values are normalised.
        normalised: whether the graph itself does that.
    """

    model_config = ConfigDict(extra="forbid")
    fit: Fit
    mode: Literal["RGB"] = "RGB"
    crop: Literal["middle"] = "middle"
    layout: Literal["NCHW"] = "NCHW"
    range: tuple[float, float] = (0.0, 1.0)
    mean: tuple[float, ...]
    std: tuple[float, ...]
    normalised: Literal["in the graph"] = "in the graph"

    @classmethod
    def of(cls, tower: ImageTower) -> Picture:
        """State what a tower of pictures takes."""
        norm = next(
            (part for part in tower.modules() if isinstance(part, Normalise)),
            Normalise((0.0,) * 3, (1.0,) * 3),
        )
        mean, std = (tuple(float(f"{v:.7g}") for v in values.flatten()) for values in (norm.mean, norm.std))
        return cls(fit=tower.input.evaluation_fit, mean=mean, std=std)

    def pixels(self, picture: Image.Image) -> Float32[np.ndarray, "1 3 size size"]:
        """Return a graph's input of one picture, with Pillow or torchvision alone."""
        fit = self.fit
        height, width = fit.resized(picture.height, picture.width)
        if fit.resizer == "pillow":
            resized = picture.resize((width, height), Image.Resampling[fit.interpolation.upper()])
        else:
            from torchvision.transforms.v2 import functional as F

            filter_ = F.InterpolationMode(fit.interpolation)
            bytes_ = F.resize(F.pil_to_tensor(picture), [height, width], filter_, antialias=True)
            resized = F.to_pil_image(bytes_)
        square = Image.new("RGB", (fit.size, fit.size), fit.fill)
        square.paste(resized, (-fit.start(width), -fit.start(height)))
        return np.asarray(square, np.float32).transpose(2, 0, 1)[None] / np.float32(255)

    def lines(self, picture: str) -> list[str]:
        """Return the lines of Python that make a graph's input, ``pixels``, of a picture; `pixels` in other words."""
        fit = self.fit
        if fit.resize == "longest" or fit.resizer != "pillow":
            zeros = f"numpy.zeros((1, 3, {fit.size}, {fit.size}), numpy.float32)"
            return [f"pixels = {zeros}  # resize and crop the picture as preprocessing.json states"]
        lines = [f"picture = {picture}", f"width = height = {fit.side}"]
        if fit.resize == "shortest":
            lines += [
                "short, long = sorted(picture.size)",
                "if picture.width > picture.height:",
                f"    width = int({fit.side} * long / short)",
                "else:",
                f"    height = int({fit.side} * long / short)",
            ]
        starts = [f"round(({n} - {fit.size}) / 2)" for n in ("width", "height")]
        if fit.half == "lower":
            starts = [f"({n} - {fit.size}) // 2" for n in ("width", "height")]
        return [
            *lines,
            f"picture = picture.resize((width, height), Image.Resampling.{fit.interpolation.upper()})",
            f"left, top = {', '.join(starts)}",
            f"picture = picture.crop((left, top, left + {fit.size}, top + {fit.size}))",
            "pixels = numpy.asarray(picture, numpy.float32).transpose(2, 0, 1)[None] / 255",
        ]


class Text(BaseModel):
    """The way from texts to a graph's input.

    Attributes:
        tokenizer: its file, of the ``tokenizers`` library, which cuts and pads too.
        context: the most tokens of a text, start and end included.
        pad, start, end: ids; no start where texts begin with none.
        padded_to: the longest of the texts that are read together, or always the context.
        special_tokens: what looks like a special token in a text is text: set ``encode_special_tokens``, which the file
            does not keep.
    """

    model_config = ConfigDict(extra="forbid")
    tokenizer: str = TOKENIZER
    context: int
    pad: int
    start: int | None = None
    end: int
    padded_to: Literal["longest", "context"]
    special_tokens: Literal["are text"] = "are text"

    @classmethod
    def of(cls, tower: TextTower) -> Text:
        """State what a tower of texts takes.

        Raises:
            LookupError: for a tokenizer that cannot be written.
        """
        backend = backend_of(tower)
        empty = backend.encode("")
        special = [token for token, there in zip(empty.ids, empty.attention_mask, strict=True) if there]
        assert backend.padding is not None
        return cls(
            context=tower.tokenizer.context,
            pad=backend.padding["pad_id"],
            start=special[0] if len(special) > 1 else None,
            end=tower.tokenizer.end,
            padded_to="context" if backend.padding["length"] else "longest",
        )


def backend_of(tower: TextTower) -> Backend:
    """Return a tower's tokenizer as one of the ``tokenizers`` library, which gives the same ids.

    Raises:
        LookupError: where there is none; the message says why.
    """
    tokenizer = tower.tokenizer
    if not isinstance(tokenizer, PortableTokenizer):
        raise LookupError(
            f"its {type(tokenizer).__name__} cannot be written as a file of the tokenizers library"
        )
    try:
        backend = tokenizer.backend()
    except LookupError as error:
        raise LookupError(f"its tokenizer cannot be written: {error}") from None
    for text in TEXTS:
        if ids(backend, [text]).tolist() != tokenizer([text]).tolist():
            raise LookupError(
                f"its tokenizer cannot be written: the tokenizers library reads {text[:40]!r} differently"
            )
    return backend


def ids(backend: Backend, texts: Sequence[str]) -> Int64[np.ndarray, "n length"]:
    """Return a graph's input of some texts."""
    backend.encode_special_tokens = True
    return np.array([encoded.ids for encoded in backend.encode_batch(list(texts))], np.int64)


class Graph(BaseModel):
    """One graph: a tower with its heads.

    Attributes:
        file: of the graph.
        modality: of what it embeds.
        columns: of the data that the model was made for.
        input: the name of the graph's input.
        outputs: heads by the name of their output, unit-norm embeddings; the first is the one to use.
        width: of the first head's embeddings.
        picture, text: the way to the input.
    """

    model_config = ConfigDict(extra="forbid")
    file: str
    modality: str
    columns: list[str]
    input: str
    outputs: dict[str, str]
    width: int
    picture: Picture | None = None
    text: Text | None = None


class Preprocessing(BaseModel):
    """``preprocessing.json``.

    Attributes:
        graphs: by the name of their tower.
        scale, bias: of similarities: cosine · scale + bias are the logits that the model was trained with.
        fingerprint: of the model that was exported.
    """

    model_config = ConfigDict(extra="forbid")
    format: int = FORMAT
    graphs: dict[str, Graph]
    scale: float | None = None
    bias: float | None = None
    fingerprint: str
