"""Models of sentence-transformers: loading, and export to its layout."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..methods.tower_method import TowerMethod
from ..networks.base import ImageTower, Pooling, TextTower, Tower
from ..networks.exported import Head, NotExportableError
from ..networks.towers.build import build_towers
from ..networks.weights import TowerSource
from ..recipes.schema import Towers
from ._heads import head_of, solid
from ._hugging_face import ModelFiles, opened
from ._layout import Embed, Layout
from ._pretrained import Pretrained, pretrained
from ._quiet import quiet
from ._sentence_encoder import linear_of, pooling_at, pooling_in_sentence_transformers
from ._tokenizer import TransformersTokenizer
from .safetensors import SafetensorsLayout, SafetensorsLoader
from .timm import config_of, is_custom, write_tower
from .transformers import TransformersLayout, TransformersLoader, TransformersTower

OURS = "counterpoint.exporting.Encoder"
"""The module of an export, a folder of safetensors, that none of sentence-transformers' own could hold."""


class SentenceTransformersLoader(TransformersLoader):
    """A sentence encoder, or a dual encoder that sentence-transformers saved; embeddings are those of ``encode``."""

    form: ClassVar[str] = "sentence-transformers:PATH or sentence-transformers:NAME@hub"
    library = "sentence-transformers"
    modalities = ("image", "text")
    embeds = "counterpoint.interop._hugging_face:embeds"

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
        _check_texts(files)
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


def _check_texts(files: ModelFiles) -> None:
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


INNER = "0_Encoder"


class SentenceTransformersLayout(Layout):
    """An encoder of texts, of pictures, or of both through one ``encode``: ``SentenceTransformer("FOLDER")``.

    It has the library's own modules where these can hold the model: ``Transformer``, ``Pooling``, ``Dense`` and
    ``Normalize``, a ``Router`` over them for pictures and texts, which reads pictures by a model of timm. Any other
    model is one module of this package.
    """

    form: ClassVar[str] = "texts and pictures; encode"
    library: ClassVar[str] = "sentence-transformers"
    packages: ClassVar[Mapping[str, str]] = {"sentence_transformers": "sentences"}

    def refusal(self, model: TowerMethod) -> str:
        if strange := sorted({*self.modalities(model)} - {"image", "text"}):
            return f"sentence-transformers has no {', '.join(strange)} tower like this model's"
        return SafetensorsLayout().refusal(model) if self.custom_code(model) else ""

    def custom_code(self, model: TowerMethod) -> str:
        if _pair(model):
            return ""
        if len(model.embeds) > len(self.modalities(model)):
            return "its columns, which are more than one of a modality"
        try:
            for column in model.embeds:
                head_of(model, column)
                _check_tower(model.tower(column))
        except NotExportableError as error:
            return f"a part that sentence-transformers has no module for ({error})"
        return ""

    def leaves_out(self, model: TowerMethod) -> Sequence[str]:
        if (
            self.custom_code(model)
            or "image" not in self.modalities(model)
            or "text" not in self.modalities(model)
        ):
            return ()
        return [
            'texts that end like the name of a picture file: encode opens them as pictures; write {"text": …}',
            "lists of pictures and texts together: encode takes either",
        ]

    @quiet()
    def write(self, model: TowerMethod, folder: Path) -> None:
        if self.custom_code(model):
            (folder / INNER).mkdir()
            SafetensorsLayout().write(model, folder / INNER)
            modules = [{"idx": 0, "name": "0", "path": INNER, "type": "counterpoint.exporting.Encoder"}]
            _json(folder / "modules.json", modules)
            about = {"model_type": "SentenceTransformer", "similarity_fn_name": "cosine"}
            _json(folder / "config_sentence_transformers.json", about)
            return
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.sentence_transformer.modules import Normalize, Router, Transformer

        parts = folder / "parts"
        parts.mkdir()
        if _pair(model):
            TransformersLayout().write(model, parts)
            made = [Transformer(str(parts))]
        else:
            columns = sorted(model.embeds, key=lambda column: model.tower(column).modality != "text")
            routes = {model.tower(c).modality: _modules(model, c, parts / c) for c in columns}
            made = [Router(routes)] if len(routes) > 1 else next(iter(routes.values()))
        SentenceTransformer(modules=[*made, Normalize()], device="cpu").save(
            str(folder), create_model_card=False
        )
        shutil.rmtree(parts)

    def use(self, model: TowerMethod, picture: str) -> Sequence[str]:
        held = self.modalities(model)
        custom = bool(self.custom_code(model))
        return [
            "",
            "from sentence_transformers import SentenceTransformer",
            "",
            f"model = SentenceTransformer(folder{', trust_remote_code=True' if custom else ''})",
            *(['text_vectors = model.encode(["a red car"])'] if "text" in held else []),
            *([f"image_vectors = model.encode([{picture}])"] if "image" in held else []),
        ]

    @quiet()
    def read(self, folder: Path) -> Embed:
        from sentence_transformers import SentenceTransformer

        listed = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
        ours = any(part["type"].startswith("counterpoint.") for part in listed)
        model = SentenceTransformer(str(folder), device="cpu", trust_remote_code=ours)

        def embed(modality: str, raw: Any) -> Tensor:
            return torch.from_numpy(model.encode(list(raw), show_progress_bar=False))

        return embed


def _pair(model: TowerMethod) -> bool:
    """Return whether transformers can hold the whole model as a dual encoder."""
    return not TransformersLayout().refusal(model) and len(TransformersLayout().modalities(model)) == 2


def _check_tower(tower: Tower) -> None:
    """Check that modules of sentence-transformers can hold a tower.

    Raises:
        NotExportableError: where they cannot.
    """
    if isinstance(tower, TransformersTower):
        pooling_in_sentence_transformers(tower)
    elif isinstance(tower, ImageTower):
        if is_custom(tower):
            raise NotExportableError(f"timm has no picture tower like {tower.name}")
    elif not str(tower.in_transformers(_identity(tower)).config["kind"]).endswith("TextModelWithProjection"):
        raise NotExportableError(f"transformers has no text tower like {tower.name} alone")


def _modules(model: TowerMethod, column: str, folder: Path) -> list[Any]:
    """Return the modules from a column's examples to its embeddings, before these are normalised.

    Args:
        model: that embeds.
        column: of the model.
        folder: for the files that a module is read from, which does not exist.
    """
    from sentence_transformers.sentence_transformer.modules import Dense, Pooling, Transformer

    tower, head = model.tower(column), head_of(model, column)
    folder.mkdir()
    if isinstance(tower, TransformersTower):
        head = tower.below(head)
        tower.save(folder)
        width = head.weight.shape[1]
        made = [
            Transformer(str(folder), max_seq_length=tower.tokenizer.context),
            Pooling(width, pooling_in_sentence_transformers(tower)),
        ]
    else:
        if isinstance(tower, ImageTower):
            write_tower(tower, folder)
        else:
            _write_text(tower, folder)
        pooled = {tower.modality: {"method": "forward", "method_output_name": "pooler_output"}}
        made = [Transformer(str(folder), modality_config=pooled, module_output_name="sentence_embedding")]
    if not head.is_identity:
        width, bias = head.weight.shape[1], head.bias
        dense = Dense(width, head.width, bias is not None, None, init_weight=head.weight, init_bias=bias)
        made.append(dense)
    return made


@torch.no_grad()
def _write_text(tower: Tower, folder: Path) -> None:
    """Write a text tower as the encoder of transformers that it is, without a projection."""
    import transformers

    exported = tower.in_transformers(_identity(tower))
    kind = getattr(transformers, str(exported.config["kind"]).removesuffix("WithProjection"))
    encoder = kind(kind.config_class.from_dict(dict(exported.config["config"]))).eval()
    names = encoder.state_dict().keys()
    # Versions of transformers differ in this prefix.
    weights = {n if n in names else n.removeprefix("text_model."): w for n, w in exported.weights.items()}
    encoder.load_state_dict(solid({name: weight for name, weight in weights.items() if name in names}))
    encoder.save_pretrained(folder)
    exported.save(folder)


def _identity(tower: Tower) -> Head:
    return Head(torch.eye(tower.width))


def _json(file: Path, value: object) -> None:
    file.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
