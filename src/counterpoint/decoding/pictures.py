"""A processor's output without its picture, with a noisy one, or with words in the picture's place."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .running import BranchCall

PAPERS = {"vcd": ("diffuse",)}

STEPS = 1000
_PLACEHOLDERS = (
    "image_token_id",
    "image_token_index",
    "video_token_id",
    "video_token_index",
    "vision_start_token_id",
    "vision_end_token_id",
)
"""Keys by which configurations say which tokens stand for a picture and its frame."""


def pixels(inputs: Mapping[str, Any], branch: str) -> dict[str, Tensor]:
    """Return the inputs that hold pixels.

    Raises:
        ValueError: where there is none.
    """
    pictures = {
        key: value
        for key, value in inputs.items()
        if key.startswith("pixel_values") and isinstance(value, Tensor) and value.is_floating_point()
    }
    if not pictures:
        raise ValueError(
            f"branch {branch!r} changes the picture, but the inputs hold no tensor pixel_values (only "
            f"{', '.join(inputs)}); bind the processor's whole output, made with return_tensors='pt'"
        )
    return pictures


def signal(step: int) -> float:
    """Return ``ᾱ_T = Π_{i≤T} (1 − β_i)``, with β_i a sigmoid from 10⁻⁵ to 0.005 over 1000 steps.

    >>> [round(signal(step), 5) for step in (100, 500, 999)]
    [0.99659, 0.7448, 0.08125]

    Source: the noise schedule of VCD (arXiv 2311.16922).
    """
    s = torch.linspace(-6.0, 6.0, STEPS, dtype=torch.float64)
    beta = s.sigmoid() * (0.005 - 1e-5) + 1e-5
    return float((1.0 - beta[: step + 1]).prod())


def diffuse(
    values: Float[Tensor, ...], step: int, seed: int, sizes: Sequence[int] | None = None, copies: int = 1
) -> Float[Tensor, ...]:
    """Return ``√ᾱ·v + √(1 − ᾱ)·ε`` of normalised pixels.

    The noise of a picture depends on the seed and the picture, not on its place in a batch, and torch's random
    state stays as it is.

    Args:
        values: pictures ``(…, c, h, w)``, or patches ``(n, d)``.
        step: T.
        seed: of ε.
        sizes: of patches: how many belong to each picture; else all are of one.
        copies: of patches: how often each holds its channel in a row (a still picture as a film); all copies
            get the same noise.
    """
    share = signal(step)
    noise = torch.empty(values.shape, dtype=torch.float32)
    for picture, out in zip(_each(values, sizes), _each(noise, sizes), strict=True):
        if not picture.any():
            out.zero_()  # padding, to models that pad the pictures of a row
            continue
        content = picture.detach().to("cpu", torch.float32).contiguous().numpy().tobytes()
        generator = torch.Generator().manual_seed(zlib.crc32(content, seed))
        if picture.ndim == 2:
            channels = 3
            shape = (len(out), channels, 1, out.shape[1] // (channels * copies))
            drawn = torch.randn(shape, generator=generator).expand(-1, -1, copies, -1)
            out.copy_(drawn.reshape(out.shape))
        else:
            out.copy_(torch.randn(out.shape, generator=generator))
    return math.sqrt(share) * values + math.sqrt(1.0 - share) * noise.to(values)


def blank(values: Float[Tensor, ...]) -> Float[Tensor, ...]:
    """Return pixels of all but zero: exact zeros are padding to some models (Idefics), and stay so."""
    result = torch.zeros_like(values)
    for picture, out in zip(_each(values, None), _each(result, None), strict=True):
        if picture.any():
            out.fill_(torch.finfo(values.dtype).tiny)
    return result


def patches(key: str, inputs: Mapping[str, Any], config: Any) -> dict[str, Any]:
    """Return what `diffuse` must know of pixels that come as patches (Qwen2-VL): sizes of pictures, copies in time."""
    grid = inputs.get("video_grid_thw" if key.endswith("videos") else "image_grid_thw")
    if inputs[key].ndim != 2 or grid is None:
        return {}
    still = not key.endswith("videos")
    copies = getattr(getattr(config, "vision_config", None), "temporal_patch_size", 1) if still else 1
    return {"sizes": grid.prod(-1).tolist(), "copies": copies}


def _each(values: Tensor, sizes: Sequence[int] | None) -> Iterator[Tensor]:
    """Yield views of single pictures."""
    if values.ndim == 2:
        yield from torch.split(values, list(sizes) if sizes is not None else len(values))
    else:
        yield from values.reshape(-1, *values.shape[-3:])


def spell(call: BranchCall, branch: str, words: Callable[[int, bool], Sequence[int]]) -> dict[str, Tensor]:
    """Return token ids and mask with words in the place of each run of picture tokens, padded on the left.

    Args:
        call: the call, whose inputs hold ``input_ids``.
        branch: named in errors.
        words: of a row, for its last run or another one; the last is of the picture that the question is about.

    Raises:
        ValueError: for a model without picture tokens, or a prompt without one.
    """
    ids = call.inputs.get("input_ids")
    if not isinstance(ids, Tensor):
        raise ValueError(f"branch {branch!r} needs input_ids; the inputs hold only {', '.join(call.inputs)}")
    config = call.model.config
    placeholders = {value for name in _PLACEHOLDERS if (value := getattr(config, name, None)) is not None}
    if not placeholders:
        raise ValueError(
            f"branch {branch!r} takes the picture out of the prompt, but {type(call.model).__name__} has no "
            "picture token in its configuration; it needs a vision-language model"
        )
    mask = call.inputs.get("attention_mask")
    mask = torch.ones_like(ids) if mask is None else mask
    rows = []
    for row, (tokens, real) in enumerate(zip(ids.tolist(), mask.bool().tolist(), strict=True)):
        kept = [token for token, is_real in zip(tokens, real, strict=True) if is_real]
        parts = [(is_picture, [*part]) for is_picture, part in groupby(kept, placeholders.__contains__)]
        runs = [number for number, (is_picture, _) in enumerate(parts) if is_picture]
        if not runs:
            raise ValueError(
                f"branch {branch!r} takes the picture out of the prompt, but row {row} of input_ids has no "
                f"picture token (any of {sorted(placeholders)})"
            )
        spelt: list[int] = []
        for number, (is_picture, part) in enumerate(parts):
            spelt += words(row, number == runs[-1]) if is_picture else part
        if not spelt:
            raise ValueError(
                f"branch {branch!r}: nothing is left of row {row} of input_ids without its picture"
            )
        rows.append(spelt)
    return _left_padded(rows, ids)


def _left_padded(rows: Sequence[Sequence[int]], like: Int[Tensor, "b t"]) -> dict[str, Tensor]:
    ids = like.new_zeros(len(rows), max(map(len, rows)))
    mask = torch.zeros_like(ids)
    for row, tokens in enumerate(rows):
        ids[row, -len(tokens) :] = torch.tensor(tokens).to(like)
        mask[row, -len(tokens) :] = 1
    return {"input_ids": ids, "attention_mask": mask}
