"""Both towers of a dual encoder of ``transformers``: CLIP, SigLIP, VisionTextDualEncoder and their kin."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor, nn

from ....types import Fit
from ...base import ImageTower, TextTower
from ...init import seeded
from ...weights import TowerSource
from ..parts.blocks import dropped_inputs, residual_blocks
from ..parts.pixels import Normalise, fitted
from ..parts.pooling import inside
from .exported import ExportedTower, Head, with_head
from .hugging_face import ModelFiles
from .transformers_tokenizer import TransformersTokenizer
from .whole_model import whole_model

_FULL = ("siglip", "siglip2")
"""Kinds of model that read a caption's last place, whatever stands there: padding counts, and fills the context."""


class TransformersImage(ImageTower):
    """The image half of a dual encoder with its projection: ``get_image_features``.

    Args:
        model: the whole one.
        fit, mean, std: the preprocessing of its processor.

    Attributes:
        processor: of transformers, which an export writes down.
    """

    projected = True
    processor: Any = None

    def __init__(self, model: Any, fit: Fit, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.fit, self.size = fit, fit.size
        self.scale = _scale(model)
        self.normalise = Normalise(mean, std)
        blank = torch.zeros(1, 3, fit.size, fit.size)
        self.model = _part(model, lambda whole: whole.get_image_features(pixel_values=blank))
        self.weights_set = True
        self.width = _vectors(self.model.get_image_features(pixel_values=blank)).shape[1]

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B width"]:
        return _vectors(self.model.get_image_features(pixel_values=self.normalise(images)))

    def in_transformers(self, head: Head) -> ExportedTower:
        """Return the half as it came, a head put into its projection, with the processor."""
        weights = with_head(
            self.model.state_dict(), head, ("visual_projection",), f"{self.name}'s image half"
        )
        return _in_transformers(self, weights, self.processor.save_pretrained)


class TransformersText(TextTower):
    """The text half of a dual encoder with its projection: ``get_text_features``.

    Args:
        model: the whole one.
        tokenizer: whose ids it takes.
        masked: padding is hidden from what attends, as the model's own tokenizer says.
    """

    projected = True
    pooling = None

    def __init__(self, model: Any, tokenizer: TransformersTokenizer, *, masked: bool) -> None:
        super().__init__()
        self.tokenizer, self.begins_with_end = tokenizer, tokenizer.begins_with_end
        self.masked, self.scale = masked, _scale(model)
        tokens = tokenizer(["a"])
        self.model = _part(model, lambda whole: whole.get_text_features(input_ids=tokens))
        self.weights_set = True
        self.width = self(tokens).shape[1]

    def forward(self, tokens: Int[Tensor, "B L"], dropout: float = 0.0) -> Float[Tensor, "B width"]:
        attended = inside(tokens, self.tokenizer.end, begins_with_end=self.begins_with_end)
        mask = {"attention_mask": attended.long()} if self.masked else {}
        p = dropout if self.training else 0.0
        with dropped_inputs(residual_blocks(self.model) if p > 0 else (), p):
            return _vectors(self.model.get_text_features(input_ids=tokens, **mask))

    def in_transformers(self, head: Head) -> ExportedTower:
        """Return the half as it came, a head put into its projection, with the tokenizer."""
        names, tokenizer = ("text_projection", "text_model.head"), self.tokenizer
        assert isinstance(tokenizer, TransformersTokenizer)
        weights = with_head(self.model.state_dict(), head, names, f"{self.name}'s text half")
        return _in_transformers(self, weights, tokenizer.save_pretrained)


def transformers_pair(source: TowerSource, seed: int) -> tuple[TransformersImage, TransformersText]:
    """Build both towers of a folder: with its weights where the source names some, else random ones.

    They take pictures of the size, and texts of the length, that the model was made for.

    Raises:
        ValueError: for weights that are missing, broken or incomplete, and for a processor that treats pictures or
            texts in a way which is not known here.
    """
    import transformers

    files = ModelFiles.of(source)
    assert files is not None, "a dual encoder has a folder"
    with source.reading():
        processor = transformers.AutoImageProcessor.from_pretrained(**files.arguments)
        hf_tokenizer = transformers.AutoTokenizer.from_pretrained(**files.arguments)
        if source.weights is None:
            config = transformers.AutoConfig.from_pretrained(**files.arguments)
            with seeded(seed, str(source)):
                model = transformers.AutoModel.from_config(config)
        else:
            model = whole_model(files)
        model = model.float().eval()
        with torch.no_grad():
            image = TransformersImage(model, *_preprocessing(processor))
            image.processor = processor
            full = model.config.model_type in _FULL
            tokenizer = TransformersTokenizer(hf_tokenizer, files.context, full=full)
            tokenizer.check()
            text = TransformersText(
                model, tokenizer, masked="attention_mask" in hf_tokenizer.model_input_names
            )
        return image, text


def _in_transformers(half: Any, weights: dict[str, Tensor], save: Callable[[Path], None]) -> ExportedTower:
    """Return a half in transformers' words; the configuration is that of the whole model."""
    return ExportedTower(
        {"kind": type(half.model).__name__, "config": half.model.config.to_dict()},
        weights,
        save=save,
        scale=half.scale,
    )


def _scale(model: Any) -> tuple[float, float | None] | None:
    """Return the scale and the bias of similarities of a whole model; None of one without."""
    if getattr(model, "logit_scale", None) is None:
        return None
    bias = getattr(model, "logit_bias", None)
    return float(model.logit_scale.detach().exp()), None if bias is None else float(bias.detach())


def _vectors(output: Any) -> Tensor:
    """Return features, which are a field of an output since transformers 5."""
    return output if isinstance(output, Tensor) else output.pooler_output


def _part(model: nn.Module, call: Callable[[Any], object]) -> Any:
    """Copy a model without the parts that a call does not run."""
    run: set[str] = set()
    hooks = [
        child.register_forward_pre_hook(lambda _, __, name=name: run.add(name))
        for name, child in model.named_children()
    ]
    call(model)
    for hook in hooks:
        hook.remove()
    part = copy.copy(model)
    part._parameters = {}
    part._modules = {name: child for name, child in model._modules.items() if name in run}
    return copy.deepcopy(part)


def _preprocessing(processor: Any) -> tuple[Fit, Sequence[float], Sequence[float]]:
    """Return what a processor does to pictures, found in its settings and seen to be so on a picture.

    Raises:
        ValueError: where no fit does the same.
    """
    mean, std = (
        (processor.image_mean, processor.image_std) if processor.do_normalize else ((0.0,) * 3, (1.0,) * 3)
    )
    pixels = np.random.default_rng(0).integers(0, 256, (61, 97, 3), dtype=np.uint8)
    shown = np.asarray(processor(Image.fromarray(pixels), return_tensors="np")["pixel_values"][0])
    for fit in _fits(processor):
        made = Normalise(mean, std)(_by(fit, pixels))[0].numpy()
        if made.shape == shown.shape and np.abs(made - shown).max() < 1e-5:
            return fit, mean, std
    raise ValueError(
        f"its {type(processor).__name__} makes of a picture of 97 × 61 pixels one of {shown.shape} in a way that is "
        "not known here; known are resizing, a square cut from the middle, and a mean and deviation for each channel"
    )


def _fits(processor: Any) -> Iterator[Fit]:
    """Yield the fits that a processor's settings can mean, by either resizer."""
    size = {name: value for name, value in dict(processor.size).items() if value}
    cut = dict(processor.crop_size or {}) if getattr(processor, "do_center_crop", False) else {}
    filter_: Any = Image.Resampling(processor.resample).name.lower()
    shortest = size.get("shortest_edge")
    side = shortest or size.get("height") or 0
    for resizer in ("torchvision", "pillow"):
        yield Fit(
            cut.get("height") or side,
            side,
            "shortest" if shortest else "squash",
            filter_,
            resizer=resizer,
            half="lower",
        )


def _by(fit: Fit, pixels: np.ndarray) -> Float[Tensor, "1 3 size size"]:
    """Return a picture in [0, 1] as data of files would show it to a tower of this fit."""
    picture = Image.fromarray(pixels)
    if fit.resizer == "pillow":  # what is resized already stays as it is below
        height, width = fit.resized(picture.height, picture.width)
        picture = picture.resize((width, height), Image.Resampling[fit.interpolation.upper()])
    return fitted(torch.from_numpy(np.asarray(picture).transpose(2, 0, 1).copy())[None], fit)
