"""The layout of sentence-transformers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from ...methods.tower_method import TowerMethod
from ...networks.base import ImageTower, Tower
from ...networks.towers.libraries.exported import Head, NotExportableError
from ...networks.towers.libraries.sentence_encoder import pooling_in_sentence_transformers
from ...networks.towers.libraries.transformers_tower import TransformersTower
from .._layout import Embed, Layout
from .._parts import head_of, solid
from .._quiet import quiet
from .safetensors import SafetensorsLayout
from .timm import is_custom, write_tower
from .transformers import TransformersLayout

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
                _check(model.tower(column))
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


def _check(tower: Tower) -> None:
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
