"""Either or both towers of an ``open_clip`` model."""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ....registry import unknown
from ....types import Fit
from ...base import ImageTower, TextTower, Tokenizer
from ...init import seeded
from ...weights import TowerSource, is_restored
from ..parts.blocks import dropped_inputs, residual_blocks
from ..parts.pixels import Normalise
from .exported import ExportedTower, Head, with_head
from .open_clip_checks import check_activation, check_form, check_positions
from .timm_tower import place_features
from .transformers_tokenizer import backend_of, padded, stated

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Backend

_IMAGE = ("visual",)
_TEXT = ("text", "transformer", "token_embedding", "positional_embedding", "ln_final", "text_projection")
_NEITHER = ("text_decoder", "logit_scale", "logit_bias")
_LAST = {
    "image": ("visual.proj", "visual.attnpool.c_proj", "visual.head.proj", "visual.head.mlp.fc2"),
    "text": ("text.text_projection", "text.proj.2", "text.proj"),
}
"""The last linear map of a half, by the names that it has in one or another kind of model: into the shared space."""


class OpenClipTokenizer:
    """An ``open_clip`` tokenizer, padded to the model's full context, which its text tower needs."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.context: int = tokenizer.context_length
        inner = getattr(tokenizer, "tokenizer", tokenizer)
        self.vocabulary: int = getattr(tokenizer, "vocab_size", None) or len(inner)
        ends = (getattr(inner, name, None) for name in ("eot_token_id", "sep_token_id", "eos_token_id"))
        self.end: int = next((end for end in ends if end is not None), -1)

    def __call__(self, captions: Sequence[str]) -> Int[Tensor, "B L"]:
        if not captions:
            return torch.zeros(0, self.context, dtype=torch.long)
        return self._tokenizer(list(captions)).long()

    def backend(self) -> Backend:
        """Return the same tokenizer as one of the ``tokenizers`` library, which mends no broken texts.

        Raises:
            LookupError: for one that does more than that library can.
        """
        inner = getattr(self._tokenizer, "tokenizer", self._tokenizer)
        backend = backend_of(inner)
        if backend is not None:
            return padded(backend, self.context, int(inner.pad_token_id or 0), self.end, full=True)
        if getattr(inner, "reduction_fn", None) is not None or not hasattr(inner, "bpe_ranks"):
            raise LookupError(f"{type(inner).__name__} does more than the tokenizers library can")
        return padded(_byte_pairs(inner), self.context, 0, self.end, full=True)

    def stated(self) -> str:
        inner = getattr(self._tokenizer, "tokenizer", self._tokenizer)
        words = str(inner.encoder) if hasattr(inner, "encoder") else stated(inner)
        cleaned = getattr(getattr(self._tokenizer, "clean_fn", None), "__name__", "")
        return f"{words} {self.context} {cleaned}"

    def too_long(self, captions: Sequence[str]) -> Bool[Tensor, " B"]:
        """Say of each caption whether ``context`` cuts it: with one place more its end stands elsewhere."""
        one_more: Tensor = self._tokenizer(list(captions), context_length=self.context + 1).long()
        return (one_more[:, :-1] != self(captions)).any(1)


def _byte_pairs(tokenizer: Any) -> Backend:
    """Return open_clip's own tokenizer in the form of the ``tokenizers`` library."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

    words = models.BPE(tokenizer.encoder, list(tokenizer.bpe_ranks), end_of_word_suffix="</w>")
    made = Tokenizer(words)
    spaces = [normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()]
    lower = [normalizers.Lowercase()] if tokenizer.clean_fn("A") == "a" else []
    made.normalizer = normalizers.Sequence([normalizers.NFC(), *spaces, *lower])
    pieces = Regex(r"(?i)'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+")
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(pieces, behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    start, end = (tokenizer.decoder[i] for i in (tokenizer.sot_token_id, tokenizer.eot_token_id))
    ids = [(start, tokenizer.sot_token_id), (end, tokenizer.eot_token_id)]
    made.post_processor = processors.TemplateProcessing(single=f"{start} $A {end}", special_tokens=ids)
    return made


class OpenClipImage(ImageTower):
    """The image half of an ``open_clip`` model with its projection: ``encode_image`` before normalisation."""

    projected = True

    def __init__(self, model: nn.Module) -> None:
        from open_clip.model import get_model_preprocess_cfg
        from open_clip.transform import PreprocessCfg

        super().__init__()
        preprocessing = asdict(PreprocessCfg()) | get_model_preprocess_cfg(model)
        size = preprocessing["size"]
        height, width = size if isinstance(size, tuple | list) else (size, size)
        if height != width:
            raise ValueError(f"it takes pictures of {height}×{width} pixels; only square ones are supported")
        self.size = height
        self.fit = Fit(
            height,
            height,
            preprocessing["resize_mode"],
            "bilinear" if preprocessing["interpolation"] == "bilinear" else "bicubic",
            (int(preprocessing["fill_color"]),) * 3,
        )
        self.normalise = Normalise(preprocessing["mean"], preprocessing["std"])
        self.preprocessing = preprocessing
        self.scale = _scale(model)
        self.model = _without(model, (*_TEXT, *_NEITHER))
        self.weights_set = True
        was_training = self.training
        with torch.no_grad():
            self.width = self.eval()(torch.zeros(1, 3, self.size, self.size)).shape[1]
        self.train(was_training)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B width"]:
        return self.model.encode_image(self.normalise(images), normalize=False)  # type: ignore[operator]

    def patches(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B width h w"]:
        """Return the last states of patches in place of the class token's, or places of a ``timm`` trunk.

        Where the class token is what was trained, patches need not say what they show.
        """
        visual: Any = self.model.visual
        x = self.normalise(images)
        if hasattr(visual, "trunk") and not hasattr(visual.head, "pool"):
            maps = place_features(visual.trunk, x)
            projected: Tensor = visual.head(maps.permute(0, 2, 3, 1).flatten(0, 2))
            return projected.view(len(x), *maps.shape[2:], -1).permute(0, 3, 1, 2)
        if not hasattr(visual, "ln_post") or visual.attn_pool is not None:
            return super().patches(images)
        intermediates = visual.forward_intermediates(
            x, indices=1, normalize_intermediates=True, intermediates_only=True
        )
        maps = intermediates["image_intermediates"][0]
        return maps if visual.proj is None else torch.einsum("bchw,cd->bdhw", maps, visual.proj)

    def in_open_clip(self, head: Head) -> ExportedTower:
        """Return the half as it came, a head put into its last linear map."""
        config, weights = _half("image", self.model, head)
        kept = ("mean", "std", "interpolation", "resize_mode", "fill_color")
        preprocessing = {name: self.preprocessing[name] for name in kept}
        return ExportedTower(config, weights, preprocessing, scale=self.scale)


class OpenClipText(TextTower):
    """The text half of an ``open_clip`` model with its projection: ``encode_text`` before normalisation."""

    projected = True
    pooling = None

    def __init__(self, model: nn.Module, tokenizer: Tokenizer) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.model = _without(model, (*_IMAGE, *_NEITHER))
        self.weights_set = True
        was_training = self.training
        with torch.no_grad():
            self.width = self.eval()(tokenizer([""])).shape[1]
        self.train(was_training)

    def forward(self, tokens: Int[Tensor, "B L"], dropout: float = 0.0) -> Float[Tensor, "B width"]:
        p = dropout if self.training else 0.0
        with dropped_inputs(residual_blocks(self.model) if p > 0 else (), p):
            features: Tensor = self.model.encode_text(tokens, normalize=False)  # type: ignore[operator]
        return features

    def in_open_clip(self, head: Head) -> ExportedTower:
        """Return the half as it came, a head put into its last linear map, with the tokenizer where it is a file."""
        config, weights = _half("text", self.model, head)
        tokenizer: Any = self.tokenizer
        hf_tokenizer = getattr(
            tokenizer._tokenizer, "tokenizer", None
        )  # of transformers; open_clip's own needs no file
        encoder = getattr(self.model.text, "config", None) if "hf_model_name" in config["text_cfg"] else None
        if hf_tokenizer is not None:
            config["text_cfg"] = {**config["text_cfg"], "hf_tokenizer_name": "."}

        def save(folder: Path) -> None:
            if hf_tokenizer is not None:
                hf_tokenizer.save_pretrained(folder)
            if encoder is not None:
                encoder.save_pretrained(folder)

        return ExportedTower(config, weights, save=save)


def open_clip_model(
    source: TowerSource, seed: int, text_layers: int | None = None
) -> tuple[nn.Module, OpenClipTokenizer]:
    """Read or build the whole model and its tokenizer: random weights, ``@PATH`` or ``@TAG``.

    With ``text_layers`` the text tower has so many layers, where the model's configuration says how many.

    A path may be a file of weights for a model that ``open_clip`` knows, or a folder with
    ``open_clip_config.json`` and weights, whatever the model is called.

    Raises:
        UnknownNameError: for a model or a tag that ``open_clip`` does not have.
        ValueError: for weights that are missing, broken or do not fit.
    """
    import open_clip

    path, tag = source.path, None
    folder = path is not None and path.is_dir()
    if not folder and not source.name.startswith("hf-hub:") and source.name not in open_clip.list_models():
        raise unknown("open_clip model", source.name, open_clip.list_models())
    if source.weights is not None and path is None and not source.name.startswith("hf-hub:"):
        tag = source.weights
        tags = open_clip.list_pretrained_tags_by_model(source.name)
        if tag not in tags:
            raise unknown(f"weights of open_clip:{source.name}", tag, tags)
        check_activation(source, tag)
    if path is not None and not folder and not is_restored():
        check_form(source, path)
    name = f"local-dir:{path}" if folder else source.name
    changes: dict[str, Any] = {}
    if text_layers is not None:
        text = (open_clip.get_model_config(source.name) or {}).get("text_cfg", {})
        if "layers" not in text:
            raise ValueError(
                f"towers.text_layers={text_layers}: {source} does not say how deep its text tower is"
            )
        changes["text_cfg"] = {**text, "layers": text_layers}
    if folder and path is not None:
        changes |= _saved_config(path)
    with source.reading(), _quiet(), seeded(seed, f"open_clip:{source.name}"):
        model = open_clip.create_model(
            name,
            pretrained=tag or (str(path) if path and not folder else None),
            require_pretrained=source.weights is not None and not is_restored(),
            pretrained_text=False,  # never half of a model: all weights or none
            **changes,
        )
        if path is not None and not is_restored():
            check_positions(model, path)
        model.stated = (open_clip.get_model_config(name) or {}) | changes
        return model, OpenClipTokenizer(open_clip.get_tokenizer(name))


def _scale(model: Any) -> tuple[float, float | None] | None:
    """Return the scale and the bias of similarities of a whole model; None of half of one."""
    if getattr(model, "logit_scale", None) is None:
        return None
    bias = getattr(model, "logit_bias", None)
    shift = None if bias is None else float(bias.detach().mean())
    return float(model.logit_scale.detach().exp().mean()), shift


def _half(half: str, model: nn.Module, head: Head) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return a half's entries in open_clip's configuration, and its weights by the names in its model of two towers.

    Raises:
        NotExportableError: for a head where the half ends in no linear map.
    """
    stated: dict[str, Any] = getattr(model, "stated", {})
    section = "vision_cfg" if half == "image" else "text_cfg"
    config = {
        section: {**stated[section], "output_tokens": False},
        "quick_gelu": bool(stated.get("quick_gelu")),
        "custom_text": bool(stated.get("custom_text")) or "hf_model_name" in stated["text_cfg"],
    }
    weights = dict(model.state_dict())
    if half == "text":
        weights = {n if n.startswith("text.") else f"text.{n}": weight for n, weight in weights.items()}
    return config, with_head(weights, head, _LAST[half], f"open_clip's {half} half")


def _saved_config(folder: Path) -> dict[str, Any]:
    """Return the change of a folder's configuration that names the folder itself for a text encoder that lies in it.

    open_clip finds such an encoder by its name alone, which is a path that another machine may not have.
    """
    file = folder / "open_clip_config.json"
    stated = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    text = stated.get("model_cfg", {}).get("text_cfg", {})
    if "hf_model_name" not in text or not (folder / "config.json").is_file():
        return {}
    return {"text_cfg": {**text, "hf_model_name": str(folder), "hf_model_pretrained": False}}


def _without(model: nn.Module, parts: Sequence[str]) -> nn.Module:
    """Copy the model without some of its parts."""
    model = copy.copy(model)
    model._parameters, model._modules = dict(model._parameters), dict(model._modules)
    for part in parts:
        if part in model._parameters or part in model._modules:
            delattr(model, part)
    return copy.deepcopy(model)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence ``open_clip``'s warning that a model that was asked to be random is random."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
