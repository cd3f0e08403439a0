"""Graphs of ONNX: a file for each tower with its heads, for onnxruntime and whatever else runs such graphs."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer as Backend
from torch import Tensor, nn

from ...files import read_json, write_json
from ...methods.tower_method import TowerMethod, scale_of
from ...modalities import MODALITIES
from ...networks.base import ImageTower, TextTower, Tower
from ...networks.towers.libraries.open_clip_tower import OpenClipTokenizer
from ...registry import require
from .._comparison import MOST, uncompared
from .._layout import Embed, Layout
from .._samples import TEXTS
from ._preprocessing import FILE, TOKENIZER, Graph, Picture, Preprocessing, Text, backend_of, ids

_VECTORS = "vectors"
_BATCHES = (1, 2, 17)


class Onnx(Layout):
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
