"""Models of sentence-transformers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from torch import nn

from ..networks.base import Pooling, TextTower
from ..networks.towers.build import build_towers
from ..networks.towers.libraries.hugging_face import ModelFiles
from ..networks.towers.libraries.sentence_encoder import linear_of, pooling_at
from ..networks.towers.libraries.timm_tower import config_of
from ..networks.towers.libraries.transformers_tokenizer import TransformersTokenizer
from ..networks.weights import TowerSource
from ..recipes.schema import Towers
from ._folder import opened
from ._kind import ModelLoader
from ._pretrained import Pretrained, pretrained
from .safetensors import SafetensorsLoader

OURS = "counterpoint.exporting.Encoder"
"""The module of an export, a folder of safetensors, that none of sentence-transformers' own could hold."""


class SentenceTransformersLoader(ModelLoader):
    """A sentence encoder, or a dual encoder that sentence-transformers saved; embeddings are those of ``encode``."""

    form: ClassVar[str] = "sentence-transformers:PATH or sentence-transformers:NAME@hub"

    def holds(self, folder: Path) -> bool:
        return (folder / "modules.json").is_file()

    def towers(self, name: str) -> str:
        if (ours := _ours(Path(name))) is not None:
            return SafetensorsLoader().towers(str(ours))
        if routes := _routes(Path(name)):
            parts = ",".join(f"{modality}={route.tower}" for modality, route in routes.items())
            raise ValueError(f"{name} has a tower for each modality: name each, as in clip,{parts}")
        return str(self._opened(name)[0])

    def load(self, name: str) -> Pretrained:
        if (ours := _ours(Path(name))) is not None:
            return SafetensorsLoader().load(str(ours))
        if routes := _routes(Path(name)):
            return _routed(routes)
        source, files, command = self._opened(name)
        model = pretrained(source, command, files.context)
        tokenizer = model.text_tower.tokenizer
        if isinstance(tokenizer, TransformersTokenizer):
            tokenizer.check()
        return model

    def _opened(self, name: str) -> tuple[TowerSource, ModelFiles, str]:
        source, files, command = opened(self, f"sentence-transformers:{name}")
        if files.json("modules.json") is None and source.path is not None:
            raise ValueError(f"{source.path} is no folder of sentence-transformers: it has no modules.json")
        _check(files)
        return source, files, command


@dataclass(frozen=True)
class _Route:
    """Modules of an export, from the examples of a modality to embeddings.

    Attributes:
        tower: its name, with the folder of its weights.
        files: of the text encoder, or of the model of timm.
        dense: the folder of the linear layer; None for none.
        pooling: of a text encoder whose folder does not state it.
    """

    tower: str
    files: ModelFiles
    dense: Path | None
    pooling: Pooling | None


def _routes(folder: Path) -> dict[str, _Route]:
    """Return the routes of a folder with pictures by a model of timm, as exports have them; none for any other."""
    listed = ModelFiles(str(folder)).json("modules.json") if folder.is_dir() else None
    modules = [(str(part["type"]), str(part["path"])) for part in listed or ()]
    if modules and modules[0][0].endswith(".Router"):
        router = ModelFiles(str(folder)).json("router_config.json") or {}
        of_routes = router.get("structure", {}).values()
        sequences = [[(str(router["types"][name]), name) for name in names] for names in of_routes]
    else:
        sequences = [modules]
    routes: dict[str, _Route] = {}
    for sequence in sequences:
        paths = {kind.rpartition(".")[2]: folder / path for kind, path in sequence}
        if (encoder := paths.get("Transformer")) is None:
            return {}
        stated = config_of(encoder)
        modality, name = (
            ("image", f"timm:{stated['architecture']}") if stated else ("text", "transformers:folder")
        )
        pooling = (
            None if "Pooling" not in paths else pooling_at(ModelFiles(str(folder)), paths["Pooling"].name)
        )
        files = ModelFiles(str(encoder))
        routes[modality] = _Route(f"{name}@{encoder.absolute()}", files, paths.get("Dense"), pooling)
    return routes if "image" in routes else {}


def _routed(routes: Mapping[str, _Route]) -> Pretrained:
    columns = {modality: modality for modality in routes}
    context = next((route.files.context for modality, route in routes.items() if modality == "text"), None)
    sizes = Towers() if context is None else Towers(context=context)
    names = {modality: route.tower for modality, route in routes.items()}
    towers = build_towers(sizes, dict.fromkeys(columns), 0, columns=columns, names=names)
    heads: dict[str, nn.Module] = {}
    for modality, route in routes.items():
        tower = towers[modality]
        if isinstance(tower, TextTower) and route.pooling is not None:
            tower.pooling = route.pooling
        heads[modality] = nn.Identity() if route.dense is None else linear_of(ModelFiles(str(route.dense)))
    return Pretrained(towers, {"global": heads}).eval()


def _ours(folder: Path) -> Path | None:
    """Return the folder of safetensors in an export of which no module of sentence-transformers' own could hold all."""
    parts = ModelFiles(str(folder)).json("modules.json") if folder.is_dir() else None
    return folder / parts[0]["path"] if parts and parts[0]["type"] == OURS else None


def _check(files: ModelFiles) -> None:
    """Refuse what would change texts before they are read.

    Raises:
        ValueError: for a prompt that is put before every text, and for small letters.
    """
    prompt = (files.json("config_sentence_transformers.json") or {}).get("default_prompt_name")
    if prompt is not None:
        raise ValueError(
            f"{files.root} puts the prompt {prompt!r} before every text, which is not known here: set "
            "default_prompt_name to null in config_sentence_transformers.json, and write the prompt into the texts"
        )
    if (files.json(f"{files.subfolder}/sentence_bert_config.json".lstrip("/")) or {}).get("do_lower_case"):
        raise ValueError(
            f"{files.root} reads texts in small letters (do_lower_case), which is not known here"
        )
