"""The layout of open_clip."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from safetensors.torch import save_file
from torch import Tensor

from ...methods.tower_method import TowerMethod, scale_of
from ...networks.towers.libraries.exported import ExportedTower, NotExportableError
from .._layout import Embed, Layout
from .._parts import head_of, solid

CONFIG = "open_clip_config.json"


class OpenClipLayout(Layout):
    """A tower of pictures and one of texts: ``open_clip.create_model_and_transforms("local-dir:FOLDER")``."""

    form: ClassVar[str] = "both towers; open_clip"
    library: ClassVar[str] = "open_clip"
    keeps_scale: ClassVar[bool] = True

    def refusal(self, model: TowerMethod) -> str:
        try:
            _whole(model)
        except NotExportableError as error:
            return str(error)
        return ""

    def leaves_out(self, model: TowerMethod) -> Sequence[str]:
        text = model.text_tower.in_open_clip(head_of(model, _column(model, "text"))).config["text_cfg"]
        if "hf_tokenizer_name" not in text:
            return ()
        return ["texts as they are: open_clip mends their characters, and makes one space of several"]

    def write(self, model: TowerMethod, folder: Path) -> None:
        image, text, config = _whole(model)
        weights = solid({**image.weights, **text.weights})
        if not config["custom_text"]:
            weights = {name.removeprefix("text."): weight for name, weight in weights.items()}
        scale, bias = scale_of(model) or image.scale or (1 / 0.07, None)
        weights["logit_scale"] = torch.tensor(math.log(scale))
        if bias is not None:
            weights["logit_bias"] = torch.tensor(bias)
            config["init_logit_bias"] = bias
        save_file(weights, folder / "open_clip_model.safetensors", {"format": "pt"})
        _write(folder, {"model_cfg": config, "preprocess_cfg": dict(image.preprocessing)})
        for half in (image, text):
            half.save(folder)

    def read(self, folder: Path) -> Embed:
        import open_clip

        model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
        model, tokenizer = model.eval(), open_clip.get_tokenizer(f"local-dir:{folder}")

        def embed(modality: str, raw: Any) -> Tensor:
            if modality == "image":
                return model.encode_image(torch.stack([transform(picture) for picture in raw]))
            return model.encode_text(tokenizer(list(raw)))

        return embed

    def custom_code(self, model: TowerMethod) -> str:
        architecture = _whole(model)[2]["vision_cfg"].get("timm_model_name", "")
        if architecture.startswith("counterpoint_cut"):
            return f"its picture tower {model.image_tower.name}, which open_clip cannot build for this size"
        return (
            f"its picture tower {model.image_tower.name}" if architecture.startswith("counterpoint_") else ""
        )

    def use(self, model: TowerMethod, picture: str) -> Sequence[str]:
        hf_text = "hf_model_name" in _whole(model)[2]["text_cfg"]
        where = ["# Where the folder has moved: set hf_model_name in open_clip_config.json to its place."]
        return [
            "",
            "import open_clip",
            *(
                ["import counterpoint  # registers the picture tower with timm"]
                if self.custom_code(model)
                else []
            ),
            "",
            *(where if hf_text else []),
            'model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")',
            'tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")',
            'text_vectors = model.eval().encode_text(tokenizer(["a red car"]), normalize=True)',
            f"image_vectors = model.encode_image(transform({picture})[None], normalize=True)",
        ]

    def settle(self, folder: Path, location: str) -> None:
        """Name the folder itself where open_clip looks for the configuration of a text encoder of transformers."""
        written = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        text = written["model_cfg"]["text_cfg"]
        for name in ("hf_model_name", "hf_tokenizer_name"):
            if name in text:
                text[name] = location
        _write(folder, written)


def _whole(model: TowerMethod) -> tuple[ExportedTower, ExportedTower, dict[str, Any]]:
    """Return both towers in open_clip's words, and the configuration of the whole.

    Raises:
        NotExportableError: for a model that is not of pictures and texts, and towers that open_clip cannot have
            together.
    """
    modalities = [model.tower(column).modality for column in model.embeds]
    if sorted(modalities) != ["image", "text"]:
        raise NotExportableError(
            f"open_clip's models embed pictures and texts, and this one {' and '.join(modalities)}"
        )
    columns = (_column(model, "image"), _column(model, "text"))
    heads = [head_of(model, column) for column in columns]
    image, text = (model.tower(c).in_open_clip(head) for c, head in zip(columns, heads, strict=True))
    activations = {half.config["quick_gelu"] for half in (image, text) if "quick_gelu" in half.config}
    if len(activations) > 1:
        raise NotExportableError("open_clip has one GELU for both towers, and one of these has QuickGELU")
    config = {
        "embed_dim": heads[0].width,
        "vision_cfg": dict(image.config["vision_cfg"]),
        "text_cfg": dict(text.config["text_cfg"]),
        "quick_gelu": activations == {True},
        # One of open_clip's own pairs stays the kind of model that it was.
        "custom_text": any(half.config.get("custom_text", True) for half in (image, text)),
    }
    return image, text, config


def _column(model: TowerMethod, modality: str) -> str:
    return next(column for column in model.embeds if model.tower(column).modality == modality)


def _write(folder: Path, config: dict[str, Any]) -> None:
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
