"""Add directions to the residual stream while a model writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from ...decoding.running import cache_of
from .reading import blocks_of

PAPERS = {"image-induced-fidelity-loss": ("steered",)}


@contextmanager
def steered(model: Any, directions: Mapping[int, Float[Tensor, " d"]], gamma: float) -> Iterator[None]:
    """Add directions inside, ``h_l ← h_l + γ·d_l``, at every position that writes: the prompt's last and all later.

    Layers count as in `ReplyReading`: l is the stream after l blocks, so that a direction between `prompt_states` is
    added where it was measured. Meant for ``generate`` with a cache, greedily, sampled or in beams; prompts are padded
    on the left. A large γ gives fluent text about something else: look at whether the answers are still right.

    Args:
        model: a model of transformers.
        directions: by layer, from 1 to the number of blocks; what is added after the last block is added before the
            final norm.
        gamma: how far; 0 changes nothing.

    Raises:
        ValueError: for a layer that there is not, a direction of another width, or (while writing) a model that runs
            without a cache: what was steered would be computed anew, and not steered.

    Source: the intervention of "Why do LLaVA Vision-Language Models Reply to Images in English?" (arXiv 2407.02333),
    on the residual stream.
    """
    blocks = blocks_of(model)
    width = model.get_output_embeddings().weight.shape[1]
    for layer, direction in directions.items():
        if not 1 <= layer <= len(blocks):
            raise ValueError(f"layer {layer}: there are layers 1 to {len(blocks)} to steer")
        if direction.shape != (width,) or not direction.isfinite().all():
            raise ValueError(
                f"the direction of layer {layer} must be {width} finite numbers, got {tuple(direction.shape)}"
            )
    handles = [
        blocks[layer - 1].register_forward_hook(_adding(gamma * direction), with_kwargs=True)
        for layer, direction in directions.items()
        if gamma
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _adding(shift: Float[Tensor, " d"]) -> Any:
    def hook(block: nn.Module, args: Any, kwargs: Mapping[str, Any], output: Any) -> Any:
        if _cache(kwargs) is None:
            raise ValueError("steering needs the cache: leave use_cache as it is, and do not set it to False")
        whole = isinstance(output, tuple)
        states = (output[0] if whole else output).clone()
        states[:, -1:] += shift.to(states)  # all but the last are the prompt's, or have been steered and kept
        return (states, *output[1:]) if whole else states

    return hook


def _cache(kwargs: Mapping[str, Any]) -> Any:
    """Return the block's cache, in the words of the transformers at hand."""
    cache = cache_of(kwargs)
    return kwargs.get("past_key_value") if cache is None else cache
