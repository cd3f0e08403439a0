"""Pictures and words inside one language model: similarity by layer, the weights that both use, skipped computation.

Source: Shukor and Cord, "Implicit Multimodal Alignment: On the Generalization of Frozen LLMs to Multimodal Inputs"
(NeurIPS 2024), arXiv 2405.16700.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple, final

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from .reading import ReplyReading, blocks_of, continued, where

PAPERS = {
    "implicit-multimodal-alignment": (
        "ActivatedWeights",
        "layer_similarity",
        "mask_overlap",
        "norm_range",
        "similarity_by_layer",
        "skipping",
    )
}

Reduction = Literal["pooled", "mean", "median", "max", "min", "max-mean"]
Pairs = Literal["all", "matching", "others"]
MODALITIES = ("picture", "text")
SINK = 10.0
"""A token whose norm is so many times the median of its layer is a sink: a massive activation and no content."""
_MLPS = ("mlp", "feed_forward")


class TokenSample(NamedTuple):
    """Indices of as many tokens of a picture as of a reply.

    Attributes:
        patches: of the picture's grid, in reading order.
        words: of the reply's tokens.
    """

    patches: Int[Tensor, " n"]
    words: Int[Tensor, " n"]


def token_sample(reading: ReplyReading, count: int, rng: np.random.Generator) -> TokenSample | None:
    """Draw ``count`` tokens of the picture and as many of the reply, without sinks; None where either has fewer.

    The highest similarity rises with the number of tokens, so that both modalities need the same. A token is a sink if
    its norm is ten times the median of the tokens of the reading in any layer.
    """
    sides = [reading.patches.flatten(1, 2).float(), reading.words.float()]
    norms = [side.norm(dim=-1) for side in sides]
    median = torch.cat(norms, 1).median(1, keepdim=True).values
    ordinary = [(norm < SINK * median).all(0).nonzero()[:, 0].cpu() for norm in norms]
    if min(map(len, ordinary)) < count:
        return None
    return TokenSample(
        *(tokens[np.sort(rng.choice(len(tokens), count, replace=False))] for tokens in ordinary)
    )


def similarity(
    a: Float[Tensor, "*b n d"], b: Float[Tensor, "*b m d"], reduction: Reduction = "pooled"
) -> Float[Tensor, "*b"]:
    """Return one similarity of two sets of tokens.

    ``"pooled"`` is the cosine of the mean states. The others reduce the cosines of all pairs of tokens; ``"max-mean"``
    is the mean over tokens of ``a`` of the highest one. They can order models differently, so state which one is used.

    >>> similarity(torch.eye(2), torch.tensor([[1.0, 0.0]]), "max-mean").item()
    0.5
    """
    if reduction == "pooled":
        return F.cosine_similarity(a.mean(-2), b.mean(-2), dim=-1)
    cosines = F.normalize(a, dim=-1) @ F.normalize(b, dim=-1).mT
    if reduction == "max-mean":
        return cosines.amax(-1).mean(-1)
    flat = cosines.flatten(-2)
    if reduction == "median":
        return flat.quantile(0.5, -1)
    if reduction == "mean":
        return flat.mean(-1)
    return flat.amax(-1) if reduction == "max" else flat.amin(-1)


def similarity_by_layer(
    a: Float[Tensor, "b layers n d"],
    b: Float[Tensor, "c layers m d"],
    reduction: Reduction = "pooled",
    pairs: Pairs = "all",
) -> Float[Tensor, " layers"]:
    """Return the mean similarity of the examples of two sets at each layer; the mean over layers is the paper's score.

    Args:
        a, b: tokens of examples: of pictures, of replies, or twice the same.
        reduction: as in `similarity`.
        pairs: ``"all"`` compares every example of ``a`` with every one of ``b``, which measures how the distributions
            overlap; ``"matching"`` those of one index, which is about meaning; ``"others"`` all but these, for the
            similarity within one set.

    Raises:
        ValueError: for sets of different sizes where indices are compared.
    """
    if pairs != "all" and len(a) != len(b):
        raise ValueError(f"pairs={pairs!r} compares examples by index, got {len(a)} and {len(b)} of them")
    layers = []
    for layer in range(a.shape[1]):
        x, y = a[:, layer].float(), b[:, layer].float()
        if pairs == "matching":
            layers.append(similarity(x, y, reduction).mean())
            continue
        matrix = torch.stack([similarity(one.expand(len(y), -1, -1), y, reduction) for one in x])
        if pairs == "others":
            matrix = matrix[~torch.eye(len(x), dtype=torch.bool, device=matrix.device)]
        layers.append(matrix.mean())
    return torch.stack(layers)


def layer_similarity(
    states: Float[Tensor, "b layers n d"], interval: int = 1
) -> Float[Tensor, " layers_less_interval"]:
    """Return the mean cosine of each token's state with its own state ``interval`` layers later."""
    return F.cosine_similarity(states[:, :-interval].float(), states[:, interval:].float(), dim=-1).mean(
        (0, 2)
    )


def norm_range(states: Float[Tensor, "b layers n d"]) -> Float[Tensor, "layers 3"]:
    """Return the lowest, the median and the highest norm of the tokens at each layer."""
    norms = states.float().norm(dim=-1).transpose(0, 1).flatten(1)
    return torch.stack([norms.amin(1), norms.median(1).values, norms.amax(1)], 1)


@final
class ActivatedWeights:
    """The weights of the language model that each modality uses most, by their importance ``|W_ij| ‖X_j‖``.

    X_j is input j of a linear layer at the tokens of one modality. Only the layers of the blocks count, not the
    embeddings and the head.

    Args:
        model: a vision-language model of transformers.

    Source: the importance is that of Sun et al., "A Simple and Effective Pruning Approach for Large Language Models"
    (Wanda, 2023), arXiv 2306.11695.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._layers = {
            f"{number}.{name}": module
            for number, block in enumerate(blocks_of(model))
            for name, module in block.named_modules()
            if isinstance(module, nn.Linear)
        }
        self._squares: dict[tuple[str, str], Tensor] = {}

    @torch.no_grad()
    def update(
        self, inputs: Mapping[str, Any], replies: Sequence[Sequence[int]], tokens: Sequence[TokenSample]
    ) -> ActivatedWeights:
        """Add a batch of prompts with a picture and a reply each, at some of their tokens."""
        prompt = inputs["input_ids"].shape[1]
        positions = {
            "picture": [
                of_row.positions[one.patches.to(of_row.positions.device)]
                for of_row, one in zip(where(self._model, inputs), tokens, strict=True)
            ],
            "text": [prompt + one.words for one in tokens],
        }

        def record(name: str) -> Any:
            def hook(module: nn.Module, args: tuple[Tensor, ...]) -> None:
                for modality, of_rows in positions.items():
                    squares = sum(
                        row[at.to(row.device)].double().square().sum(0)
                        for row, at in zip(args[0], of_rows, strict=True)
                    )
                    self._squares[modality, name] = self._squares.get((modality, name), 0) + squares

            return hook

        handles = [module.register_forward_pre_hook(record(name)) for name, module in self._layers.items()]
        try:
            self._model(**continued(inputs, replies), use_cache=False, logits_to_keep=1)
        finally:
            for handle in handles:
                handle.remove()
        return self

    def masks(self, modality: str, sparsity: float = 0.5) -> dict[str, Bool[Tensor, "out in"]]:
        """Return the mask of each linear layer: the share ``1 - sparsity`` of largest importance in each output row.

        Args:
            modality: ``"picture"`` or ``"text"``.
            sparsity: share of each row that is left out.
        """
        masks = {}
        for name, layer in self._layers.items():
            importance = layer.weight.double().abs() * self._squares[modality, name].sqrt()
            best = importance.topk(round((1 - sparsity) * importance.shape[1])).indices
            masks[name] = torch.zeros_like(importance, dtype=torch.bool).scatter_(1, best, True)
        return masks


def mask_overlap(
    a: Mapping[str, Bool[Tensor, "out in"]], b: Mapping[str, Bool[Tensor, "out in"]]
) -> dict[str, float]:
    """Return ``|A ∩ B| / |A ∪ B|`` for the masks of each linear layer.

    Random masks of density d overlap by ``d / (2 - d)``, which is 1/3 at one half. Weights differ in size, so that the
    masks of an untrained model overlap by more too: compare with one of the same shape (`untrained`).

    >>> mask = torch.tensor([[True, False, True, False]])
    >>> mask_overlap({"0.q": mask}, {"0.q": mask.roll(1) | mask})
    {'0.q': 0.5}
    """
    return {
        name: float((mask & b[name]).sum() / (mask | b[name]).sum().clamp(min=1)) for name, mask in a.items()
    }


def untrained(model: Any, seed: int = 0) -> Any:
    """Return a model of the same shape with random weights: the control of everything that is measured inside."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return type(model)(model.config).to(model.device, model.dtype).eval()


@contextmanager
def skipping(
    model: Any,
    positions: Bool[Tensor, "b t"],
    layers: Collection[int],
    part: Literal["block", "mlp"] = "mlp",
) -> Iterator[None]:
    """Skip some blocks, or their feed-forward parts, at some positions; the others are processed as usual.

    The attention of a skipped block still computes keys and values at all positions, from their unchanged states, since
    later positions attend to them. The result is that of a model that skips; nothing is saved here.

    Args:
        model: a model of transformers.
        positions: where to skip, such as at a picture's tokens. In ``generate`` they are those of the prompt, and
            nothing is skipped at the tokens that are written.
        layers: numbers of blocks, from 0.
        part: ``"block"`` or ``"mlp"``.

    Raises:
        ValueError: for a block that does not exist, blocks without a feed-forward part of a known name, or (while the
            model runs) an input of another size.
    """
    blocks = blocks_of(model)
    handles = []
    try:
        for layer in layers:
            if not 0 <= layer < len(blocks):
                raise ValueError(f"layer {layer}: the model has blocks 0 to {len(blocks) - 1}")
            module: nn.Module | None = blocks[layer]
            if part == "mlp":
                module = next((getattr(module, name) for name in _MLPS if hasattr(module, name)), None)
            if module is None:
                raise ValueError(f"{type(blocks[layer]).__name__} has no part {' or '.join(_MLPS)} to skip")
            handles.append(module.register_forward_hook(_skip(positions, part), with_kwargs=True))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _skip(positions: Bool[Tensor, "b t"], part: str) -> Any:
    def hook(module: nn.Module, args: Any, kwargs: Mapping[str, Any], output: Any) -> Any:
        whole = isinstance(output, tuple)
        states = output[0] if whole else output
        if states.shape[1] == 1 and positions.shape[1] > 1:  # a token that is written
            return output
        if states.shape[:2] != positions.shape:
            raise ValueError(
                f"positions of shape {tuple(positions.shape)} for an input of {tuple(states.shape[:2])} tokens"
            )
        before = args[0] if args else kwargs["hidden_states"]
        unchanged = before if part == "block" else torch.zeros_like(states)
        states = torch.where(positions.to(states.device)[..., None], unchanged, states)
        return (states, *output[1:]) if whole else states

    return hook
