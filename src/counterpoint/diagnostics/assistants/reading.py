"""States inside the language model of a vision-language model: at a picture's tokens and at a reply's.

Any model of transformers is read by its public outputs: ``output_hidden_states=True``, and the picture's token in its
configuration.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ...networks.towers.parts.blocks import residual_blocks
from ...reasons import counted

Grid = tuple[int, int]
"""Rows and columns of the places of a picture."""

_PICTURE_TOKENS = ("image_token_id", "image_token_index")
"""Names under which configurations keep the token that stands for a place of a picture."""
_NORMS = ("norm", "final_layernorm", "final_layer_norm", "ln_f")
"""Names that decoders give to the norm after their last block."""


@dataclass(frozen=True)
class ReplyReading:
    """One reply about one picture, read in one pass.

    Layer 0 is what enters the language model (word embeddings, projected patches), layer l the residual stream after
    l blocks; the last has been through the final norm. The state of a word is the one at the position where the word
    is the input. Places come before the text, so with causal attention they know nothing of the question.

    Attributes:
        patches: states of the picture's places.
        words: states of the reply's tokens.
        predicting: states at the positions that predict the reply's tokens: each one position earlier.
        tokens: the reply.
        log_probabilities: of each of its tokens, given all before it.
    """

    patches: Float[Tensor, "layers h w d"]
    words: Float[Tensor, "layers m d"]
    predicting: Float[Tensor, "layers m d"]
    tokens: Int[Tensor, " m"]
    log_probabilities: Float[Tensor, " m"]

    @property
    def grid(self) -> Grid:
        return self.patches.shape[1], self.patches.shape[2]

    def meaning(self, tokens: slice = slice(None)) -> Float[Tensor, "layers d"]:
        """Return the mean state of some tokens of the reply, all unless given: what they mean where they stand.

        Raises:
            ValueError: for no token.
        """
        chosen = self.words[:, tokens].float()
        if not chosen.shape[1]:
            raise ValueError(f"tokens {tokens} of a reply of {len(self.tokens)} are none: nothing to average")
        return chosen.mean(1)


class PicturePositions(NamedTuple):
    """The positions of a picture's places in a row of tokens, in reading order."""

    positions: Int[Tensor, " n"]
    grid: Grid


@torch.no_grad()
def read(model: Any, inputs: Mapping[str, Any], replies: Sequence[Sequence[int]]) -> list[ReplyReading]:
    """Read replies: one pass over the prompts, each followed by its reply.

    Args:
        model: a vision-language model of transformers.
        inputs: what its processor made of some prompts with one picture each, padded on the left.
        replies: the token ids of a reply to each, generated or written.

    Raises:
        ValueError: for an empty reply, another number of replies, a model or inputs without a picture's tokens, or
            tokens that are no grid of places (see `where`).
    """
    ids = _ids(inputs)
    if len(replies) != len(ids) or not all(len(reply) for reply in replies):
        raise ValueError(
            f"give as many replies as prompts, each of at least one token: there are {counted(len(ids), 'prompt')}, "
            f"and replies of lengths {[*map(len, replies)]}"
        )
    places = where(model, inputs)
    prompt, longest = ids.shape[1], max(map(len, replies))
    outputs = model(
        **continued(inputs, replies),
        output_hidden_states=True,
        use_cache=False,
        return_dict=True,
        logits_to_keep=longest + 1,
    )
    states = torch.stack(_hidden(model, outputs, prompt + longest), 1)
    log_p = outputs.logits.float().log_softmax(-1)
    readings = []
    for row, (reply, patches) in enumerate(zip(replies, places, strict=True)):
        tokens = torch.tensor(list(reply), device=ids.device)
        of_reply = states[row]
        readings.append(
            ReplyReading(
                of_reply[:, patches.positions].reshape(len(of_reply), *patches.grid, -1),
                of_reply[:, prompt : prompt + len(reply)],
                of_reply[:, prompt - 1 : prompt - 1 + len(reply)],
                tokens,
                log_p[row, torch.arange(len(reply)), tokens],
            )
        )
    return readings


@torch.no_grad()
def prompt_states(model: Any, inputs: Mapping[str, Any]) -> Float[Tensor, "b layers d"]:
    """Return the states at the last token of each prompt, where its reply begins; with or without a picture.

    Args:
        model: a model of transformers.
        inputs: what the processor or tokenizer made of some prompts, padded on the left.
    """
    outputs = model(**inputs, output_hidden_states=True, use_cache=False, return_dict=True, logits_to_keep=1)
    hidden = _hidden(model, outputs, _ids(inputs).shape[1])
    return torch.stack([states[:, -1] for states in hidden], 1)


@torch.no_grad()
def picture_states(model: Any, inputs: Mapping[str, Any]) -> Float[Tensor, "b layers d"]:
    """Return the mean state of each picture's places.

    Args:
        model: a vision-language model of transformers.
        inputs: what its processor made of some prompts with one picture each, padded on the left.

    Raises:
        ValueError: as `where` does.
    """
    places = where(model, inputs)
    outputs = model(**inputs, output_hidden_states=True, use_cache=False, return_dict=True, logits_to_keep=1)
    hidden = _hidden(model, outputs, _ids(inputs).shape[1])
    return torch.stack(
        [
            torch.stack([states[row, patches.positions].mean(0) for states in hidden])
            for row, patches in enumerate(places)
        ]
    )


def where(model: Any, inputs: Mapping[str, Any]) -> list[PicturePositions]:
    """Find the places of each row's picture among the tokens of the row.

    Where a picture comes in tiles, the last one is taken, which shows all of it; a class token is left out. Boxes and
    highest similarities only compare between pictures of one grid.

    Raises:
        ValueError: for a text-only model, a row without a picture or with several, tokens that are queries and no
            places (BLIP-2), or a number of them that fits no grid.
    """
    ids, config = _ids(inputs), model.config
    name = type(model).__name__
    token = next((getattr(config, key) for key in _PICTURE_TOKENS if hasattr(config, key)), None)
    if token is None:
        raise ValueError(
            f"{name} has no picture token in its configuration ({' or '.join(_PICTURE_TOKENS)}): "
            "give a vision-language model whose places are tokens (LLaVA-, Qwen-VL-, SmolVLM-, InternVL-class)"
        )
    if hasattr(config, "num_query_tokens"):
        raise ValueError(
            f"{name} reads a picture through {config.num_query_tokens} queries, which have no place in it"
        )
    pictures = ids == token
    for row, count in enumerate(pictures.sum(1).tolist()):
        if not count:
            raise ValueError(f"row {row} of input_ids has no picture token ({token}): give it a picture")
    if inputs.get("image_grid_thw") is not None:
        return _of_grids(pictures, inputs["image_grid_thw"], config)
    return _of_tiles(pictures, inputs, name)


def _of_grids(
    pictures: Bool[Tensor, "b t"], grids: Int[Tensor, "b 3"], config: Any
) -> list[PicturePositions]:
    """Find the places for models like Qwen, where each picture has a grid of its own."""
    if len(grids) != len(pictures):
        raise ValueError(f"{len(grids)} pictures in {len(pictures)} prompts: give one picture each")
    merge = getattr(config.vision_config, "spatial_merge_size", 1)
    patches = []
    for row, (_, h, w) in zip(pictures, grids.tolist(), strict=True):
        positions, grid = row.nonzero()[:, 0], (h // merge, w // merge)
        if len(positions) != grid[0] * grid[1]:
            raise ValueError(f"{len(positions)} picture tokens do not fill a grid of {grid[0]} × {grid[1]}")
        patches.append(PicturePositions(positions, grid))
    return patches


def _of_tiles(pictures: Bool[Tensor, "b t"], inputs: Mapping[str, Any], name: str) -> list[PicturePositions]:
    """Find the places for all other models: a picture has one tile of pixels or more, with equally many tokens each."""
    pixels = inputs.get("pixel_values")
    if not isinstance(pixels, Tensor) or pixels.ndim not in (4, 5) or inputs.get("image_sizes") is not None:
        raise ValueError(
            f"{name}: cannot tell where the places of a picture are; they must come with pixel_values of shape "
            f"(b, 3, H, W) or (b, tiles, 3, H, W), or with image_grid_thw; the inputs hold {', '.join(inputs)}"
        )
    tiles = pixels.flatten(0, -4)
    real = int(tiles.flatten(1).any(1).sum())  # tiles of zeros fill up rows of fewer tiles
    total = int(pictures.sum())
    if real < len(pictures) or total % real:
        raise ValueError(
            f"{total} picture tokens for {counted(real, 'tile')} of pixels in "
            f"{counted(len(pictures), 'prompt')}: give each prompt one "
            "picture"
        )
    each = total // real
    grid, first = _grid(each, (tiles.shape[-2], tiles.shape[-1]), name)
    patches = []
    for row in pictures:
        positions = row.nonzero()[:, 0]
        if len(positions) % each:
            raise ValueError(f"{len(positions)} picture tokens are no whole number of tiles of {each}")
        patches.append(PicturePositions(positions[len(positions) - each + first :], grid))
    return patches


def _grid(tokens: int, size: tuple[int, int], name: str) -> tuple[Grid, int]:
    """Return the grid with the form of the pixels, and how many tokens stand before it: a class token, if any."""
    for first in (0, 1):
        places = tokens - first
        rows = isqrt(max(places * size[0] // size[1], 0))
        if rows and rows * rows * size[1] == places * size[0] and places % rows == 0:
            return (rows, places // rows), first
    raise ValueError(
        f"{name}: {tokens} picture tokens are no grid of the form of {size[0]} × {size[1]} pixels, with or without a "
        "class token; some were merged or dropped"
    )


def _ids(inputs: Mapping[str, Any]) -> Int[Tensor, "b t"]:
    ids = inputs.get("input_ids")
    if not isinstance(ids, Tensor) or ids.ndim != 2:
        raise ValueError(
            f"the inputs hold no input_ids of shape (b, t), only {', '.join(inputs)}; give the processor's whole "
            "output, made with return_tensors='pt'"
        )
    return ids


def continued(inputs: Mapping[str, Any], replies: Sequence[Sequence[int]]) -> dict[str, Any]:
    """Return the inputs with replies behind them, padded on the right, which causal attention does not see."""
    ids, longest = _ids(inputs), max(map(len, replies))
    tail = torch.tensor([[*reply, *[reply[-1]] * (longest - len(reply))] for reply in replies]).to(ids)
    real = torch.tensor([[k < len(reply) for k in range(longest)] for reply in replies]).to(ids)
    mask = inputs.get("attention_mask")
    # Whatever else there is one of a token (its type) is 0 for text.
    continued = {
        key: torch.cat([value, torch.zeros_like(tail, dtype=value.dtype)], 1)
        if isinstance(value, Tensor) and value.shape == ids.shape
        else value
        for key, value in inputs.items()
    }
    continued["input_ids"] = torch.cat([ids, tail], 1)
    continued["attention_mask"] = torch.cat([torch.ones_like(ids) if mask is None else mask, real], 1)
    return continued


def _hidden(model: Any, outputs: Any, length: int) -> tuple[Float[Tensor, "b t d"], ...]:
    hidden: tuple[Tensor, ...] | None = getattr(outputs, "hidden_states", None)
    if hidden is None or hidden[0].shape[1] != length:
        got = "no hidden states" if hidden is None else f"states of {hidden[0].shape[1]} positions"
        raise ValueError(
            f"{type(model).__name__} gives {got} for {length} tokens: it must return those of its language model, with "
            "as many tokens for a picture as it has places"
        )
    return hidden


def blocks_of(model: Any) -> Sequence[nn.Module]:
    """Return the blocks of the language model inside."""
    stack = model.get_decoder()
    return tuple(getattr(stack, "layers", None) or residual_blocks(stack))


class Unembedding:
    """A reader of states as probabilities over the vocabulary: the logit lens, ``softmax(W_U norm(h))``.

    Args:
        model: a model of transformers.

    Raises:
        ValueError: if its head or its final norm is not found: without the norm the lens would be unfairly weak.
    """

    def __init__(self, model: Any) -> None:
        stack = model.get_decoder()
        norm = next((getattr(stack, name) for name in _NORMS if hasattr(stack, name)), None)
        head = model.get_output_embeddings()
        if norm is None or head is None:
            raise ValueError(
                f"{type(model).__name__}: no {'output embedding' if head is None else 'final norm'} to read states with"
            )
        self.norm, self.head = norm, head

    @torch.no_grad()
    def __call__(self, states: Float[Tensor, "*n d"], *, last: bool) -> Float[Tensor, "*n v"]:
        """Return the probabilities over the vocabulary for each state.

        Args:
            states: of one layer.
            last: whether of the last, which has been through the final norm.
        """
        normed = states if last else self.norm(states)
        return self.head(normed.to(self.head.weight.dtype)).float().softmax(-1)
