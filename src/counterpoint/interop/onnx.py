"""Graphs of ONNX: a file for each tower with its heads, for onnxruntime and other readers of such graphs."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float32, Int64
from PIL import Image
from pydantic import BaseModel, ConfigDict
from tokenizers import Tokenizer as Backend
from torch import Tensor, nn

from ..files import FORMAT, read_json, write_json
from ..methods.tower_method import TowerMethod, scale_of
from ..modalities import MODALITIES
from ..networks.base import ImageTower, TextTower, Tower
from ..networks.towers.parts.pixels import Normalise
from ..registry import require
from ..types import Fit
from ._layout import MOST, Embed, Layout, uncompared
from ._samples import TEXTS
from .open_clip import OpenClipTokenizer

_VECTORS = "vectors"
_BATCHES = (1, 2, 17)


class OnnxLayout(Layout):
    """A graph ``TOWER.onnx`` for each tower: from what `FILE` says to unit-norm embeddings, an output for each head.

    Pictures are resized, and texts made ids of, outside the graphs: `FILE` states how, and the tokenizer is a file of
    the ``tokenizers`` library. Any number of examples goes through at once, and texts of any number of tokens up to the
    context, where the tower takes them.
    """

    form: ClassVar[str] = "a graph for each tower; onnxruntime"
    packages: ClassVar[Mapping[str, str]] = {"onnx": "onnx", "onnxscript": "onnx", "onnxruntime": "onnx"}
    keeps_scale: ClassVar[bool] = True
    keeps_heads: ClassVar[bool] = True
    library: ClassVar[str] = "onnx"

    def refusal(self, model: TowerMethod) -> str:
        if why := uncompared(model):
            return why
        for column in model.columns:
            if model.tower(column).core is not model.tower(column):
                return f"a graph has one input, and that of {model.columns[column]} is of {column} too, in another way"
        for tower in _towers(model).values():
            if not isinstance(tower, ImageTower | TextTower):
                return f"a graph is written of pictures and of texts, and not of {MODALITIES.get(tower.modality).noun}"
            if isinstance(tower, TextTower):
                try:
                    backend_of(tower)
                except LookupError as error:
                    return str(error)
        return ""

    def leaves_out(self, model: TowerMethod) -> Sequence[str]:
        texts = [tower for tower in _towers(model).values() if isinstance(tower, TextTower)]
        if any(isinstance(tower.tokenizer, OpenClipTokenizer) for tower in texts):
            return ("what open_clip mends in texts (ftfy, HTML's names of characters)",)
        return ()

    def write(self, model: TowerMethod, folder: Path) -> None:
        graphs = {}
        outputs = {_VECTORS if n == 0 else f"{_VECTORS}_{head}": head for n, head in enumerate(model.heads)}
        for name, tower in _towers(model).items():
            file = folder / f"{name}.onnx"
            graphs[name] = Graph(
                file=file.name,
                modality=tower.modality,
                columns=[column for column, of in model.columns.items() if of == name],
                input=name,
                outputs=outputs,
                width=model.width,
                picture=Picture.of(tower) if isinstance(tower, ImageTower) else None,
                text=Text.of(tower) if isinstance(tower, TextTower) else None,
            )
            if isinstance(tower, TextTower):
                backend_of(tower).save(str(folder / TOKENIZER))
            whole = _WithHeads(model, name).eval()
            _trace(whole, graphs[name], _example(tower, 2), file)
            _check(whole, graphs[name], tower, file)
        scale, bias = scale_of(model) or (None, None)
        stated = Preprocessing(graphs=graphs, scale=scale, bias=bias, fingerprint=model.fingerprint)
        write_json(folder / FILE, stated.model_dump(exclude_none=True))

    def use(self, model: TowerMethod, picture: str) -> Sequence[str]:
        lines = ["", "import numpy, onnxruntime, tokenizers", ""]
        for name, tower in _towers(model).items():
            if isinstance(tower, TextTower):
                lines += [
                    'tokenizer = tokenizers.Tokenizer.from_file(f"{folder}/tokenizer.json")',
                    "tokenizer.encode_special_tokens = True",
                    'ids = numpy.array([it.ids for it in tokenizer.encode_batch(["a red car"])])',
                    f'graph = onnxruntime.InferenceSession(f"{{folder}}/{name}.onnx")',
                    f'text_vectors = graph.run(["{_VECTORS}"], {{"{name}": ids}})[0]',
                ]
            elif isinstance(tower, ImageTower):
                lines += [
                    *Picture.of(tower).lines(picture),
                    f'graph = onnxruntime.InferenceSession(f"{{folder}}/{name}.onnx")',
                    f'image_vectors = graph.run(["{_VECTORS}"], {{"{name}": pixels}})[0]',
                ]
        return lines

    def read(self, folder: Path) -> Embed:
        graphs = read_json(folder / FILE, Preprocessing, "export the model again").graphs
        sessions = {name: _session(folder / graph.file) for name, graph in graphs.items()}

        def embed(modality: str, raw: Any) -> Tensor:
            name, graph = next((name, graph) for name, graph in graphs.items() if graph.modality == modality)
            if graph.picture is not None:
                inputs = np.concatenate([graph.picture.pixels(picture) for picture in raw])
            else:
                assert graph.text is not None
                inputs = ids(Backend.from_file(str(folder / graph.text.tokenizer)), raw)
            return torch.from_numpy(sessions[name].run([_VECTORS], {graph.input: inputs})[0])

        return embed


class _WithHeads(nn.Module):
    """A tower with all its heads, from its input to unit-norm embeddings, in the heads' order."""

    def __init__(self, model: TowerMethod, column: str) -> None:
        super().__init__()
        self.model, self.column = model, column

    def forward(self, inputs: Tensor) -> tuple[Tensor, ...]:
        features = self.model.features(self.column, inputs)
        embeddings = (self.model.project(self.column, features, head) for head in self.model.heads)
        return tuple(F.normalize(vectors, dim=-1) for vectors in embeddings)


def _towers(model: TowerMethod) -> dict[str, Tower]:
    return {name: model.tower(name) for name in dict.fromkeys(model.columns.values())}


def _example(tower: Tower, count: int) -> Tensor:
    """Return an input of so many examples: noise, or texts of several lengths."""
    if isinstance(tower, ImageTower):
        noise = torch.Generator().manual_seed(count)
        return torch.rand(count, 3, tower.size, tower.size, generator=noise)
    return tower.input([TEXTS[(n + 1) % len(TEXTS)] for n in range(count)])


def _trace(whole: _WithHeads, graph: Graph, example: Tensor, file: Path) -> None:
    """Write a graph, traced by torch's exporter.

    Raises:
        ValueError: for a tower that cannot be traced.
    """
    axes = {0: "batch"}
    if graph.text is not None and graph.text.padded_to == "longest":
        axes[1] = "length"
    try:
        with torch.no_grad(), _quiet():
            program = torch.onnx.export(
                whole,
                (example,),
                dynamo=True,
                dynamic_shapes=(axes,),
                input_names=[graph.input],
                output_names=list(graph.outputs),
                verbose=False,
            )
    except Exception as error:  # whatever an operation that the exporter does not know raises
        cause = str(error.__cause__ or error).strip().splitlines()
        raise ValueError(
            f"the tower of {graph.input}s cannot be exported to onnx, as torch's exporter cannot trace it "
            f"({type(error.__cause__ or error).__name__}: {next(iter(cause), '')})"
        ) from error
    assert program is not None
    program.save(str(file))


def _check(whole: _WithHeads, graph: Graph, tower: Tower, file: Path) -> None:
    """Compare a graph's embeddings with the model's for several batches, and for texts of several lengths.

    Raises:
        ValueError: where they differ.
    """
    session = _session(file)
    examples = [_example(tower, count) for count in _BATCHES]
    if isinstance(tower, TextTower):
        examples += [tower.input([text]) for text in TEXTS]
    for inputs in examples:
        with torch.no_grad():
            expected = whole(inputs)
        for head, ours, theirs in zip(
            graph.outputs, expected, session.run(None, {graph.input: inputs.numpy()}), strict=True
        ):
            apart = float((ours - torch.from_numpy(theirs)).abs().max())
            if not apart <= MOST:
                raise ValueError(
                    f"nothing was exported: onnxruntime's {head} of {len(inputs)} examples, an input of "
                    f"{tuple(inputs.shape)}, are others by {apart:.1e}"
                )


def _session(file: Path) -> Any:
    runtime = require("onnxruntime", "onnx")
    return runtime.InferenceSession(str(file), providers=["CPUExecutionProvider"])


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what the exporter says of its own steps."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


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
