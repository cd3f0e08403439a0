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
from ...networks.towers.libraries.exported import NotExportable
from ...networks.towers.libraries.sentence_encoder import pooling_in_sentence_transformers
from ...networks.towers.libraries.transformers_tower import TransformersTower
from .._layout import Embed, Layout
from .._parts import head_of
from .safetensors import Safetensors
from .transformers import Transformers

INNER = "0_Encoder"


class SentenceTransformers(Layout):
    """An encoder of texts, or of texts and pictures through one ``encode``: ``SentenceTransformer("FOLDER")``."""

    form: ClassVar[str] = "what embeds, by encode: SentenceTransformer('FOLDER')"
    library: ClassVar[str] = "sentence-transformers"
    packages: ClassVar[Mapping[str, str]] = {"sentence_transformers": "sentences"}

    def refusal(self, model: TowerMethod) -> str:
        try:
            if _is_text(model):
                head_of(model, model.embeds[0])
                pooling_in_sentence_transformers(model.text_tower)
                return ""
        except NotExportable as error:
            return str(error)
        if strange := sorted({*self.modalities(model)} - {"image", "text"}):
            return f"sentence-transformers would not know what to do with {', '.join(strange)}"
        return "" if _pair(model) else Safetensors().refusal(model)

    def write(self, model: TowerMethod, folder: Path) -> None:
        if not _is_text(model) and not _pair(model):
            (folder / INNER).mkdir()
            Safetensors().write(model, folder / INNER)
            modules = [{"idx": 0, "name": "0", "path": INNER, "type": "counterpoint.exporting.Encoder"}]
            _json(folder / "modules.json", modules)
            about = {"model_type": "SentenceTransformer", "similarity_fn_name": "cosine"}
            _json(folder / "config_sentence_transformers.json", about)
            return
        from sentence_transformers import SentenceTransformer

        parts = folder / "parts"
        parts.mkdir()
        made = _text(model, parts) if _is_text(model) else _whole(model, parts)
        SentenceTransformer(modules=made, device="cpu").save(str(folder), create_model_card=False)
        shutil.rmtree(parts)

    def use(self, model: TowerMethod) -> Sequence[str]:
        ours = not _is_text(model) and not _pair(model)
        why = ["# Its module is counterpoint's, which has to be installed."] if ours else []
        return [
            "",
            "from sentence_transformers import SentenceTransformer",
            "",
            *why,
            f"model = SentenceTransformer(folder{', trust_remote_code=True' if ours else ''})",
            *(['vectors = model.encode(["a red car"])'] if "text" in self.modalities(model) else []),
        ]

    def read(self, folder: Path) -> Embed:
        from sentence_transformers import SentenceTransformer

        listed = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
        ours = any(part["type"].startswith("counterpoint.") for part in listed)
        model = SentenceTransformer(str(folder), device="cpu", trust_remote_code=ours)

        def embed(modality: str, raw: Any) -> Tensor:
            return torch.from_numpy(model.encode(list(raw), show_progress_bar=False))

        return embed


def _is_text(model: TowerMethod) -> bool:
    """Return whether a model is an encoder of transformers alone, which a pooling and a head follow."""
    return len(model.embeds) == 1 and isinstance(model.tower(model.embeds[0]), TransformersTower)


def _pair(model: TowerMethod) -> bool:
    """Return whether transformers can hold the whole model as a dual encoder."""
    return not Transformers().refusal(model) and len(Transformers().modalities(model)) == 2


def _whole(model: TowerMethod, folder: Path) -> list[Any]:
    from sentence_transformers.sentence_transformer.modules import Normalize, Transformer

    Transformers().write(model, folder)
    return [Transformer(str(folder)), Normalize()]


def _text(model: TowerMethod, folder: Path) -> list[Any]:
    from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Transformer

    tower = model.text_tower
    assert isinstance(tower, TransformersTower)
    head = tower.below(head_of(model, model.embeds[0]))
    width = head.weight.shape[1]
    tower.save(folder)
    modules = [
        Transformer(str(folder), max_seq_length=tower.tokenizer.context),
        Pooling(width, pooling_in_sentence_transformers(tower)),
    ]
    if not head.is_identity:
        linear = Dense(
            width, head.width, head.bias is not None, None, init_weight=head.weight, init_bias=head.bias
        )
        modules.append(linear)
    return [*modules, Normalize()]


def _json(file: Path, value: object) -> None:
    file.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
