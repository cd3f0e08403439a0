"""A model as a folder that needs no other library: towers and heads in one file, their weights in another."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..files import FORMAT, MANIFEST, DamagedFileError, check_manifest, read_json, write_json
from ..methods.tower_method import TowerMethod, scale_of
from ..networks.base import FittedInput, ImageTower, Pooling, TextTower, Tower
from ..networks.batch_norm import BatchNorm1d
from ..networks.libraries import library_of
from ..networks.towers.build import build_towers
from ..networks.towers.joined import JoinedTower
from ..networks.towers.parts.blocks import residual_blocks
from ..networks.towers.parts.pixels import Normalise
from ..networks.weights import TowerSource, restored
from ..recipes import schema
from ..types import Fit
from ._layout import Embed, Layout, uncompared
from ._loader import ModelLoader, TowerLoader
from ._pretrained import Pretrained

FILE = "counterpoint.json"
WEIGHTS = "model.safetensors"
_REMEDY = "export the model again"


class Layer(BaseModel):
    """A layer of a head.

    Attributes:
        kind: of the layer.
        width: of its input.
        out: of a linear layer's output.
        bias: whether a linear layer has one.
        affine: whether a batch norm has scale and shift.
        eps: of a batch norm.
    """

    model_config = ConfigDict(extra="forbid")
    kind: Literal["linear", "batch norm", "relu", "gelu"]
    width: int | None = None
    out: int | None = None
    bias: bool | None = None
    affine: bool | None = None
    eps: float | None = None

    def build(self) -> nn.Module:
        """Build the layer, with whatever weights."""
        if self.kind == "linear":
            return nn.Linear(self._number(self.width), self._number(self.out), bias=bool(self.bias))
        if self.kind == "batch norm":
            return BatchNorm1d(self._number(self.width), affine=bool(self.affine), eps=self.eps or 1e-5)
        return nn.ReLU() if self.kind == "relu" else nn.GELU()

    @staticmethod
    def _number(value: int | None) -> int:
        if value is None:
            raise ValueError("a layer without its width")
        return value


class StatedTower(BaseModel):
    """A tower, as it is built anew.

    Attributes:
        modality: of what it embeds.
        name: as recipes have it, without weights.
        configuration: the folder beside the file that it is built from, of a library whose folders say what a model is.
        size, fit, mean, std: of pictures: the side in pixels, the way to it, and the normalisation of pixels.
        context, layers, pooling: of texts: the most tokens, the number of blocks where a name does not say it, and how
            the states of the tokens become one vector.
        sizes: further keys of a recipe's section on towers that it is built with.
        fitted: the file beside this one with what its input learned of the data, a tokenizer.
    """

    model_config = ConfigDict(extra="forbid")
    modality: str
    name: str = Field(pattern=r"^([\w-]+:)?[\w.-]+$")  # neither weights nor the hub's
    configuration: str | None = Field(default=None, pattern=r"^\w+$")
    size: int | None = None
    fit: Fit | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    context: int | None = None
    layers: int | None = None
    pooling: Pooling | None = None
    sizes: dict[str, int | float | str] = {}
    fitted: str | None = None


class ModelManifest(BaseModel):
    """``counterpoint.json``: all of a model but its weights.

    Attributes:
        columns: each column of data with the name of its tower.
        towers: by name.
        heads: the layers from a tower's features to an embedding, by the head's and the tower's name; the first head is
            the one to use, and no layers leave features as they are.
        width: of the first head's embeddings.
        scale, bias: of similarities: cosine · scale + bias are the logits that the model was trained with.
        fingerprint: of the model that was exported.
    """

    model_config = ConfigDict(extra="forbid")
    format: int = FORMAT
    columns: dict[str, str]
    towers: dict[str, StatedTower]
    heads: dict[str, dict[str, list[Layer]]]
    width: int
    scale: float | None = None
    bias: float | None = None
    fingerprint: str

    @classmethod
    def of(cls, model: TowerMethod, scale: float | None = None, bias: float | None = None) -> Self:
        """State a model.

        Raises:
            LookupError: for one that is more than towers and layers; the message says what.
        """
        for column in model.columns:
            if (tower := model.tower(column)).core is not tower:
                raise LookupError(
                    f"the tower of {column} is that of {model.columns[column]} under another input, which has no name "
                    "here"
                )
        names = tuple(dict.fromkeys(model.columns.values()))
        paths: dict[Path, str] = {}
        towers = {name: _stated(name, model.tower(name), paths) for name in names}
        heads = {
            head: {name: [_layer(part) for part in _parts(head_of(model, name, head))] for name in names}
            for head in model.heads
        }
        return cls(
            columns=dict(model.columns),
            towers=towers,
            heads=heads,
            width=model.width,
            scale=scale,
            bias=bias,
            fingerprint=model.fingerprint,
        )

    def write(self, model: TowerMethod, folder: Path) -> None:
        """Write the model that this states into a folder."""
        write_json(folder / FILE, self.model_dump(exclude_none=True))
        tensors: dict[str, Tensor] = {}
        for name, stated in self.towers.items():
            tower = model.tower(name)
            if stated.configuration and not (folder / stated.configuration).exists():
                source = TowerSource.parse(tower.name)
                library = _library(source)
                assert library is not None
                configuration = library.configuration(source)
                assert configuration is not None  # as there was one when this was stated
                _copy(configuration, folder / stated.configuration)
            if isinstance(tower.input, FittedInput):
                tower.input.save(folder / tower.input.file)
            tensors |= _named(f"towers.{name}", tower.state_dict())
            for head in self.heads:
                for number, part in enumerate(_parts(head_of(model, name, head))):
                    tensors |= _named(f"projections.{head}.{name}.{number}", part.state_dict())
        save_file({name: t.detach().clone().contiguous() for name, t in tensors.items()}, folder / WEIGHTS)


def read(folder: Path) -> Pretrained:
    """Build the model of a folder.

    Raises:
        DamagedFileError: for a file that is missing or no such file, and weights that are not those of the model.
        MissingPackageError: for a tower of a library that is not installed.
    """
    if (folder / MANIFEST).exists():  # an export reads the folder back before its manifest is written
        check_manifest(folder, _REMEDY, (WEIGHTS,))
    stated = read_json(folder / FILE, ModelManifest, _REMEDY)
    for tower in stated.towers.values():
        if tower.fitted is not None and not (folder / tower.fitted).is_file():
            raise DamagedFileError(folder / tower.fitted, "it is missing", _REMEDY)
    names = {tower.modality: _name(tower, folder) for tower in stated.towers.values()}
    sizes: dict[str, Any] = {}
    for tower in stated.towers.values():
        options = {"image_size": tower.size, "context": tower.context, "text_layers": tower.layers}
        sizes |= {key: value for key, value in options.items() if value is not None} | tower.sizes
    columns = {column: stated.towers[name].modality for column, name in stated.columns.items()}
    try:
        with restored():
            towers = build_towers(schema.Towers(**sizes), {}, 0, columns=columns, names=names, folder=folder)
        for name, tower in stated.towers.items():
            _settle(towers[name], tower)
        heads = {
            head: {name: nn.Sequential(*(layer.build() for layer in layers)) for name, layers in of.items()}
            for head, of in stated.heads.items()
        }
        model = Pretrained(towers, heads)
    except ValueError as error:
        raise DamagedFileError(folder / FILE, str(error), _REMEDY) from error
    try:
        model.load_state_dict(load_file(folder / WEIGHTS))
    except FileNotFoundError:
        raise DamagedFileError(folder / WEIGHTS, "it is missing", _REMEDY) from None
    except Exception as error:  # of safetensors, of torch: no such file, not the model's weights
        raise DamagedFileError(folder / WEIGHTS, " ".join(str(error).split())[:200], _REMEDY) from error
    return model.eval()


def head_of(model: TowerMethod, name: str, head: str) -> nn.Module | None:
    """Return the network that makes a head's embeddings of a tower's features; None where they stay as they are.

    Raises:
        LookupError: where it is not one network of one vector.
    """
    if type(model).features is not TowerMethod.features:
        raise LookupError(f"{type(model).__name__} compares parts of an example, and not one vector of each")
    features = torch.randn(2, model.tower(name).width, generator=torch.Generator().manual_seed(0))
    made: list[tuple[nn.Module, Any]] = []

    def note(part: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if inputs and inputs[0] is features:
            made.append((part, output))

    hooks = [part.register_forward_hook(note) for part in model.modules()]
    try:
        with torch.no_grad():
            embeddings = model.project(name, features, head)
    finally:
        for hook in hooks:
            hook.remove()
    if embeddings is features:
        return None
    network = next((part for part, result in made if result is embeddings), None)
    if network is None:
        raise LookupError(
            f"the head {head!r} of {type(model).__name__} is more than layers one after another"
        )
    return network


def _parts(head: nn.Module | None) -> Iterator[nn.Module]:
    """Yield the layers of a head, the innermost."""
    if isinstance(head, nn.Sequential):
        for part in head:
            yield from _parts(part)
    elif head is not None and not isinstance(head, nn.Identity | nn.Dropout):
        yield head


def _layer(part: nn.Module) -> Layer:
    if isinstance(part, nn.Linear):
        return Layer(kind="linear", width=part.in_features, out=part.out_features, bias=part.bias is not None)
    if isinstance(part, nn.BatchNorm1d):
        return Layer(kind="batch norm", width=part.num_features, affine=part.affine, eps=part.eps)
    if isinstance(part, nn.ReLU):
        return Layer(kind="relu")
    if isinstance(part, nn.GELU) and part.approximate == "none":
        return Layer(kind="gelu")
    raise LookupError(
        f"its head has a {type(part).__name__}, which is none of the layers that are known here"
    )


def _stated(name: str, tower: Tower, names: dict[Path, str]) -> StatedTower:
    if not tower.name:
        raise LookupError(
            f"the tower of {name}s was not built by a name, so nothing says how to build it again"
        )
    if isinstance(tower, JoinedTower):
        raise LookupError(f"the tower of {name}s is several that are joined, and one name is stated")
    source = TowerSource.parse(tower.name)
    library = _library(source)
    configuration = None if library is None else library.configuration(source)
    if configuration is not None:
        names.setdefault(configuration, name)
    stated = StatedTower(
        modality=tower.modality,
        name=_built_as(tower, source, configuration),
        configuration=None if configuration is None else names[configuration],
        sizes=dict(tower.sizes),
        fitted=tower.input.file if isinstance(tower.input, FittedInput) else None,
    )
    if isinstance(tower, ImageTower):
        stated.size, stated.fit = tower.size, tower.fit
        norm = _normalisation(tower)
        stated.mean, stated.std = (tuple(values.flatten().tolist()) for values in (norm.mean, norm.std))
    if isinstance(tower, TextTower):
        stated.context, stated.pooling = tower.tokenizer.context, tower.pooling
        blocks = residual_blocks(tower)
        if blocks and (library is None or (library.has_text_layers and configuration is None)):
            stated.layers = len(blocks)
    return stated


def _built_as(tower: Tower, source: TowerSource, configuration: Path | None) -> str:
    """Return the name under which a tower is built without its weights, and without the hub."""
    if configuration is not None:
        return f"{source.library}:{Path(source.name).name.removeprefix('hf-hub:')}"
    library = _library(source)
    return str(replace(source, weights=None)) if library is None else library.bare_name(tower, source)


def _library(source: TowerSource) -> TowerLoader | None:
    """Return the library of a tower; None for a built-in tower."""
    library = library_of(source)
    assert library is None or isinstance(library, TowerLoader)
    return library


def _normalisation(tower: Tower) -> Normalise:
    return next(part for part in tower.modules() if isinstance(part, Normalise))


def _name(tower: StatedTower, folder: Path) -> str:
    """Return the name under which a tower is built from a folder."""
    source = TowerSource.parse(tower.name)
    if tower.configuration is None:
        return tower.name
    library, path = _library(source), (folder / tower.configuration).resolve()
    if library is None:
        raise ValueError(f"the tower {tower.name} is of no library that has a configuration")
    return library.name_in(path, tower.name)


def _settle(tower: Tower, stated: StatedTower) -> None:
    """Make a tower's facts those that are stated, where its name alone says others."""
    if isinstance(tower, ImageTower):
        tower.fit = stated.fit
        norm = _normalisation(tower)
        for buffer, values in ((norm.mean, stated.mean), (norm.std, stated.std)):
            if values is not None:
                buffer.copy_(torch.tensor(values).view_as(buffer))
    if isinstance(tower, TextTower):
        tower.pooling = stated.pooling


def _named(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in state.items()}


_WORDS = (".json", ".txt", ".model", ".tiktoken")
"""Ends of the names of files that say what a model is and how texts become ids; weights and code are none of them."""


def _copy(folder: Path, to: Path) -> None:
    """Copy the files of a folder that a tower is built from, but for weights."""
    for file in sorted(folder.rglob("*")):
        inside = file.relative_to(folder)
        if (
            file.is_file()
            and file.suffix in _WORDS
            and not any(part.startswith(".") for part in inside.parts)
        ):
            if file.name.endswith(".index.json"):
                continue
            (to / inside).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, to / inside)


class SafetensorsLoader(ModelLoader):
    """Towers and heads in safetensors, and a file that says what they are: what ``export --to safetensors`` writes."""

    form: ClassVar[str] = "a folder that was exported to safetensors"

    def holds(self, folder: Path) -> bool:
        return (folder / FILE).is_file()

    def towers(self, name: str) -> str:
        raise ValueError(
            f"{name} was exported to safetensors, to be used as it is: name the run that it was exported from, as "
            "clip,from=RUN, or export the run --to open_clip or transformers, whose folders are arms"
        )

    def load(self, name: str) -> Pretrained:
        return read(Path(name))


class SafetensorsLayout(Layout):
    """``model.safetensors``, and ``counterpoint.json`` with what it takes to build the towers and heads again.

    Beside them lie the tokenizer that a run has fitted, and the configurations of towers of transformers and open_clip.
    Embeddings are the same bit for bit.
    """

    form: ClassVar[str] = "towers and heads; counterpoint.load"
    packages: ClassVar[Mapping[str, str]] = {}
    keeps_scale: ClassVar[bool] = True
    keeps_heads: ClassVar[bool] = True
    library: ClassVar[str] = "counterpoint"
    ours: ClassVar[bool] = True

    def refusal(self, model: TowerMethod) -> str:
        if why := uncompared(model):
            return why
        try:
            ModelManifest.of(model)
        except LookupError as error:
            return str(error)
        return ""

    def write(self, model: TowerMethod, folder: Path) -> None:
        scale, bias = scale_of(model) or (None, None)
        ModelManifest.of(model, scale, bias).write(model, folder)

    def use(self, model: TowerMethod, picture: str) -> Sequence[str]:
        examples = {"text": '"a red car"', "image": '"picture.jpg"', "audio": '"sound.wav"'}
        embeds = [
            f'{_variable(model, column)} = model.embed("{column}", {examples[model.tower(column).modality]})'
            for column in model.embeds
            if model.tower(column).modality in examples
        ]
        return ["", "import counterpoint", "", "model = counterpoint.load(folder)", *embeds]

    def read(self, folder: Path) -> Embed:
        model = read(folder)

        def embed(modality: str, raw: Any) -> Tensor:
            return model.embed(next(c for c in model.embeds if model.tower(c).modality == modality), raw)

        return embed


def _variable(model: TowerMethod, column: str) -> str:
    name = column if column.isidentifier() else model.tower(column).modality
    return f"{name}_vectors"
