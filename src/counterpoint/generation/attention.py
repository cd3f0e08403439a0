"""Cross-attention of diffusers' U-Nets: recorded with gradient, and with concepts restricted to boxes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import ceil, floor, isqrt
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

Box = tuple[float, float, float, float]
"""Left, top, right and bottom, in shares of the sides."""
_NAME = ".attn2.processor"


class AttentionMaps:
    """Cross-attention probabilities of the last pass of a U-Net, with gradient.

    Maps of passes before it are dropped when the next one begins, so that no graph of an earlier step is kept.
    """

    def __init__(self) -> None:
        self._layers: dict[int, list[Float[Tensor, "B cells L"]]] = {}

    @property
    def sides(self) -> tuple[int, ...]:
        """The sides of recorded maps, the largest first."""
        return tuple(sorted(self._layers, reverse=True))

    def add(self, probabilities: Float[Tensor, "B heads cells L"]) -> None:
        """Add the probabilities of a layer, averaged over its heads; of square pictures alone."""
        side = isqrt(probabilities.shape[2])
        if side**2 != probabilities.shape[2]:
            raise ValueError(f"maps are of square pictures, and a layer has {probabilities.shape[2]} cells")
        self._layers.setdefault(side, []).append(probabilities.mean(1))

    def clear(self) -> None:
        """Drop all maps."""
        self._layers.clear()

    def at(self, side: int) -> Float[Tensor, "B L side side"]:
        """Return the probabilities of each token at a side, averaged over heads and layers."""
        mean = torch.stack(self._layers[side]).mean(0)
        return mean.mT.reshape(len(mean), -1, side, side)

    def of(self, positions: Int[Tensor, " B"], side: int | None = None) -> Float[Tensor, "B s s"]:
        """Return the map of one token of each picture: at a side, or averaged over all sides and of [0, 1].

        The average is that of maps that are enlarged to the largest side, each moved to [0, 1] by its own minimum and
        maximum; a constant map is 0.
        """
        rows = torch.arange(len(positions), device=positions.device)
        if side is not None:
            return self.at(side)[rows, positions]
        largest = self.sides[0]
        maps = [
            F.interpolate(self.at(s)[rows, positions][:, None], (largest, largest), mode="bilinear")[:, 0]
            for s in self.sides
        ]
        return torch.stack([_stretched(it) for it in maps]).mean(0)


def _stretched(maps: Float[Tensor, "B s s"]) -> Float[Tensor, "B s s"]:
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    return (maps - low) / (high - low).clamp_min(1e-8)


@dataclass(frozen=True, eq=False)
class _Recording:
    """An attention processor that computes probabilities and notes them."""

    maps: AttentionMaps
    key: Float[Tensor, "d w"] | None = None
    value: Float[Tensor, "d w"] | None = None

    def __call__(
        self,
        attn: Any,
        hidden_states: Float[Tensor, "B cells d"],
        encoder_hidden_states: Float[Tensor, "B L w"],
        attention_mask: Tensor | None = None,
        **_: Any,
    ) -> Float[Tensor, "B cells d"]:
        states = encoder_hidden_states
        q = attn.to_q(hidden_states)
        k, v = _added(attn.to_k(states), states, self.key), _added(attn.to_v(states), states, self.value)
        probabilities, out = _attended(attn, q, k, v, attention_mask)
        self.maps.add(probabilities)
        return attn.to_out[1](attn.to_out[0](out))


def _added(
    projected: Float[Tensor, "B L d"], states: Float[Tensor, "B L w"], addition: Float[Tensor, "d w"] | None
) -> Float[Tensor, "B L d"]:
    """Return keys or values with an addition to their weights; those of the first token get no gradient."""
    if addition is None:
        return projected
    projected = projected + F.linear(states, addition)
    return torch.cat([projected[:, :1].detach(), projected[:, 1:]], 1)


def _attended(
    attn: Any,
    q: Float[Tensor, "B n d"],
    k: Float[Tensor, "B L d"],
    v: Float[Tensor, "B L d"],
    mask: Tensor | None = None,
) -> tuple[Float[Tensor, "B heads n L"], Float[Tensor, "B n d"]]:
    """Return probabilities, and the values that they weigh."""
    q, k, v = (it.view(*it.shape[:2], attn.heads, -1).transpose(1, 2) for it in (q, k, v))
    scores = q @ k.mT * attn.scale
    probabilities = (scores if mask is None else scores + mask[:, None]).softmax(-1)
    return probabilities, (probabilities @ v).transpose(1, 2).flatten(2)


@contextmanager
def recorded_attention(
    unet: nn.Module,
    keys: Mapping[str, Float[Tensor, "d w"]] = MappingProxyType({}),
    values: Mapping[str, Float[Tensor, "d w"]] = MappingProxyType({}),
) -> Iterator[AttentionMaps]:
    """Record the cross-attention of a U-Net inside a ``with`` block; its processors are as before behind it.

    Args:
        unet: with cross-attention, of square pictures.
        keys, values: additions to the weights of keys and values, by the names of attention layers. The first token's
            key and value then get no gradient, as in Custom Diffusion (Kumari et al., 2022, arXiv 2212.04488).

    Raises:
        LookupError: for a U-Net without cross-attention.
    """
    maps = AttentionMaps()
    before = _processors(unet)
    hook = unet.register_forward_pre_hook(lambda *_: maps.clear())
    layers = {name: name.removesuffix(".processor") for name in before if name.endswith(_NAME)}
    noting = {name: _Recording(maps, keys.get(it), values.get(it)) for name, it in layers.items()}
    _set(unet, {**before, **noting})
    try:
        yield maps
    finally:
        hook.remove()
        _set(unet, before)


@dataclass(frozen=True, eq=False)
class BoxedConcept:
    """What is drawn inside a box.

    Attributes:
        states: of the text that its cells read.
        box: in shares of the sides.
        keys, values: additions to the weights of keys and values, by the names of attention layers; none unless given.
        weight: in the mean over overlapping boxes.

    Raises:
        ValueError: for a box that is empty or reaches outside the picture, and a weight that is not positive.
    """

    states: Float[Tensor, "1 L w"]
    box: Box
    keys: Mapping[str, Float[Tensor, "d w"]] = field(default_factory=dict)
    values: Mapping[str, Float[Tensor, "d w"]] = field(default_factory=dict)
    weight: float = 1.0

    def __post_init__(self) -> None:
        left, top, right, bottom = self.box
        if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
            raise ValueError(f"box {self.box}: 0 ≤ left < right ≤ 1 and 0 ≤ top < bottom ≤ 1 must hold")
        if not self.weight > 0:
            raise ValueError(f"weight={self.weight} must be above 0")


def cells_of(box: Box, side: int) -> Bool[Tensor, "side side"]:
    """Return the cells of a grid that a box touches: sides are rounded outwards, so that it has one cell at least.

    >>> cells_of((0.3, 0.0, 0.4, 0.1), 2).tolist()
    [[True, False], [False, False]]
    """
    # Rounding errors such as 0.1 · 10 > 1 add no row of cells.
    left, top = (floor(it * side + 1e-9) for it in box[:2])
    right, bottom = (ceil(it * side - 1e-9) for it in box[2:])
    inside = torch.zeros(side, side, dtype=torch.bool)
    inside[top : max(bottom, top + 1), left : max(right, left + 1)] = True
    return inside


class _Regional:
    """An attention processor in which the cells of boxes read texts of their own, with keys and values of their own."""

    def __init__(self, name: str, before: Any, concepts: Sequence[BoxedConcept], guided: bool) -> None:
        self.name, self.before, self.concepts, self.guided = name, before, concepts, guided

    def __call__(
        self, attn: Any, hidden_states: Float[Tensor, "B cells d"], *args: Any, **kwargs: Any
    ) -> Float[Tensor, "B cells d"]:
        base = self.before(attn, hidden_states, *args, **kwargs)
        # The unconditional half comes first, and has no concept.
        first = len(base) // 2 if self.guided else 0
        side = isqrt(hidden_states.shape[1])
        total, weights = torch.zeros_like(base[first:]), base.new_zeros(hidden_states.shape[1])
        for concept in self.concepts:
            cells = cells_of(concept.box, side).flatten().to(base.device)
            total[:, cells] += concept.weight * self._drawn(attn, hidden_states[first:, cells], concept)
            weights = weights + concept.weight * cells
        mixed = torch.where((weights > 0)[:, None], total / weights.clamp_min(1e-12)[:, None], base[first:])
        return torch.cat([base[:first], mixed])

    def _drawn(
        self, attn: Any, cells: Float[Tensor, "B n d"], concept: BoxedConcept
    ) -> Float[Tensor, "B n d"]:
        states = concept.states.to(cells).expand(len(cells), -1, -1)
        k, v = attn.to_k(states), attn.to_v(states)
        if (update := concept.keys.get(self.name)) is not None:
            k = k + F.linear(states, update.to(states))
        if (update := concept.values.get(self.name)) is not None:
            v = v + F.linear(states, update.to(states))
        _, out = _attended(attn, attn.to_q(cells), k, v)
        return attn.to_out[1](attn.to_out[0](out))


@contextmanager
def regional_attention(
    unet: nn.Module, concepts: Sequence[BoxedConcept], *, guided: bool = True
) -> Iterator[None]:
    """Restrict concepts to their boxes in all cross-attention of a U-Net inside a ``with`` block.

    A cell in a box reads the concept's text alone; in several boxes, the weighted mean of what it reads in each; in no
    box, what it reads without concepts, bit for bit. No weight changes.

    Args:
        unet: with cross-attention, of square pictures.
        concepts: any number.
        guided: whether a batch has an unconditional half, which comes first and has no concept.

    Raises:
        LookupError: for a U-Net without cross-attention, and updates of layers that it does not have.

    Source: Zhu et al., "MultiBooth: Towards Generating All Your Concepts in an Image from Text" (2024), arXiv
    2404.14239, with a weighted mean where boxes overlap: the printed one is divided twice.
    """
    before = _processors(unet)
    layers = {name.removesuffix(".processor"): name for name in before if name.endswith(_NAME)}
    if missing := {layer for it in concepts for layer in (*it.keys, *it.values)} - {*layers}:
        raise LookupError(
            f"the U-Net has no cross-attention {min(missing)!r}: the concept is of another model"
        )
    new = {name: _Regional(layer, before[name], concepts, guided) for layer, name in layers.items()}
    _set(unet, {**before, **new})
    try:
        yield
    finally:
        _set(unet, before)


def cross_attention(unet: Any) -> dict[str, tuple[int, int]]:
    """Return the names of cross-attention layers, each with the rows and columns of its keys' weights.

    Raises:
        LookupError: for a U-Net without cross-attention.
    """
    names = [name.removesuffix(".processor") for name in _processors(unet) if name.endswith(_NAME)]
    return {name: tuple(unet.get_submodule(name).to_k.weight.shape) for name in names}


def _processors(unet: nn.Module) -> dict[str, Any]:
    processors: dict[str, Any] = getattr(unet, "attn_processors", {})
    if not any(name.endswith(_NAME) for name in processors):
        raise LookupError(f"{type(unet).__name__} has no cross-attention")
    return dict(processors)


def _set(unet: Any, processors: Mapping[str, Any]) -> None:
    unet.set_attn_processor(dict(processors))  # which it empties


def positions_of(tokens: Int[Tensor, "B L"], token: int) -> Int[Tensor, " B"]:
    """Return where a token stands first in each text.

    >>> positions_of(torch.tensor([[1, 7, 9, 2], [1, 9, 2, 0]]), 9).tolist()
    [2, 1]

    Raises:
        ValueError: where a text does not have it.
    """
    found = tokens == token
    if not bool(found.any(1).all()):
        raise ValueError(f"text {int((~found.any(1)).nonzero()[0])} does not have the token {token}")
    return found.long().argmax(1)
