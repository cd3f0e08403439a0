"""The inside of a tower, between input and output: states after every step, and attention between tokens.

Built-in towers, transformers of ``timm`` and towers of ``open_clip`` are read by hooks; nothing of them
changes. A step is the attention or the feed-forward half of a residual block with its residual added, or, where
a block has no halves (convolutions), the whole block.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..networks.base import ImageTower, Tower
from ..networks.towers.parts.blocks import residual_blocks
from ..networks.towers.parts.pooling import Packing, inside
from ..networks.towers.transformer import TextTransformer

PAPERS = {"teaching-matters": ("captured",)}


class Halves(NamedTuple):
    """Names inside a pre-norm block: what ends its attention branch, its feed-forward branch, the norm between."""

    attention: str
    mlp: str
    norm: str


_HALVES = (
    Halves("out", "down", "norm_2"),  # built in
    Halves("attn", "mlp", "norm2"),  # timm
    Halves("attn", "mlp", "ln_2"),  # open_clip
)


@dataclass(frozen=True)
class Step:
    """The step of a tower after which a state was taken.

    Attributes:
        block: which block, from 0.
        kind: ``"attention"``, ``"mlp"`` or ``"block"``.
    """

    block: int
    kind: str

    def __str__(self) -> str:
        return f"{self.block} {self.kind}"


@dataclass(frozen=True)
class Captured:
    """The states, attention and output of a tower for a batch.

    Attributes:
        steps: where the states were taken, in order.
        states: after each step, tokens ``(B, n, W)`` or maps ``(B, C, H, W)``.
        attention: of each block that has any, ``(B, heads, n, n)``; rows are queries and sum to 1.
        output: the tower's own.
        grid: rows and columns of patches, where tokens are patches.
        entry: the state that enters the first block.
    """

    steps: tuple[Step, ...]
    states: tuple[Tensor, ...]
    attention: tuple[Float[Tensor, "B heads n n"], ...]
    output: Float[Tensor, "B width"]
    grid: tuple[int, int] | None
    entry: Tensor

    @property
    def prefix(self) -> int:
        """Return the number of tokens before the patches: the class token and registers."""
        tokens = self.states[0].shape[1]
        return 0 if self.grid is None else tokens - self.grid[0] * self.grid[1]

    @property
    def patches(self) -> tuple[int, int]:
        """Return the grid of patches.

        Raises:
            ValueError: if tokens are no patches.
        """
        if self.grid is None:
            raise ValueError("there is no grid of patches: give a vision transformer (vit, timm:vit_…)")
        return self.grid

    def maps(self) -> tuple[Float[Tensor, "B C H W"], ...]:
        """Return the states as maps over the picture, without class and register tokens.

        Raises:
            ValueError: for a tower of texts, whose tokens are no map.
        """
        if self.states[0].ndim == 4:
            return self.states
        if self.grid is None:
            raise ValueError("these states are of tokens of a text: they are no map over a picture")
        return tuple(s[:, self.prefix :].mT.reshape(len(s), -1, *self.grid) for s in self.states)

    def block_maps(self) -> dict[int, Float[Tensor, "B C H W"]]:
        """Return the map after each block, by its number.

        Raises:
            ValueError: as of `maps`.
        """
        return {step.block: each for step, each in zip(self.steps, self.maps(), strict=True)}

    def branches(self) -> tuple[tuple[Tensor, Tensor], ...]:
        """Return for each step the state that the step is given, and the change that the step adds to this state.

        Raises:
            ValueError: for blocks that have no halves (convolutions), which may do more than add.
        """
        if any(step.kind == "block" for step in self.steps):
            raise ValueError(
                "what a step adds is known of pre-norm transformer blocks alone: give a transformer "
                "(vit, transformer, timm:vit_…, open_clip:ViT-…)"
            )
        entries = (self.entry, *self.states[:-1])
        return tuple((before, after - before) for before, after in zip(entries, self.states, strict=True))

    def attended(self) -> tuple[Float[Tensor, "B heads n n"], ...]:
        """Return the attention of each block that has any.

        Raises:
            ValueError: if the tower has none that can be read.
        """
        if not self.attention:
            raise ValueError(
                "this tower has no attention to read: give a transformer "
                "(vit, transformer, timm:vit_…, open_clip:ViT-…)"
            )
        return self.attention


@torch.no_grad()
def captured(tower: Tower, inputs: Tensor) -> Captured:
    """Run a tower on a batch and keep what happens inside.

    Attention is recorded wherever a block calls ``scaled_dot_product_attention``, as all these libraries do.
    The tower is in evaluation mode meanwhile. Keep batches small: every state is held.

    Args:
        tower: of pictures or of texts.
        inputs: as it takes them, prepared pictures or token ids.

    Raises:
        ValueError: if no residual blocks are found, or their states are neither tokens nor maps of the batch.

    >>> from counterpoint.networks.towers.transformer import VisionTransformer
    >>> found = captured(VisionTransformer(size=16, depth=2, width=8, heads=2), torch.zeros(3, 3, 16, 16))
    >>> [str(step) for step in found.steps], found.maps()[0].shape, found.attention[1].shape
    (['0 attention', '0 mlp', '1 attention', '1 mlp'], torch.Size([3, 8, 2, 2]), torch.Size([3, 2, 4, 4]))
    """
    blocks = blocks_of(tower)
    steps: list[Step] = []
    states: list[Tensor] = []
    attention: list[Tensor] = []
    entry: list[Tensor] = []
    current: list[int] = []

    def keep(step: Step, state: Any) -> None:
        steps.append(step)
        states.append((state[0] if isinstance(state, tuple) else state).detach())

    def enter(index: int) -> Any:
        def hook(block: nn.Module, args: Any, kwargs: Any) -> None:
            current.append(index)
            if not entry:
                entry.append((args[0] if args else kwargs["hidden_states"]).detach())

        return hook

    def leave(index: int, kind: str) -> Any:
        def hook(block: nn.Module, args: Any, output: Any) -> None:
            current.clear()
            keep(Step(index, kind), output)

        return hook

    def between(index: int) -> Any:
        return lambda norm, args: keep(Step(index, "attention"), args[0])

    def attend(q: Tensor, k: Tensor, mask: Tensor | None, causal: bool, scale: float | None) -> None:
        if current:
            attention.append(_weights(q, k, mask, causal, scale))

    handles = []
    for index, block in enumerate(blocks):
        halves = halves_of(block)
        handles.append(block.register_forward_pre_hook(enter(index), with_kwargs=True))
        handles.append(block.register_forward_hook(leave(index, "mlp" if halves else "block")))
        if halves:
            handles.append(block.get_submodule(halves.norm).register_forward_pre_hook(between(index)))
    was_training = tower.training
    tower.eval()
    try:
        with _listening(attend):
            output = tower(inputs)
    finally:
        tower.train(was_training)
        for handle in handles:
            handle.remove()
    return _checked(tower, inputs, steps, [*entry, *states], attention, output)


def blocks_of(tower: nn.Module) -> Sequence[nn.Module]:
    """Return the residual blocks of a tower, in order.

    Raises:
        ValueError: if it has none.
    """
    blocks = residual_blocks(tower)
    if not blocks:
        raise ValueError(
            f"{type(tower).__name__} has no list of residual blocks, so its inside cannot be read"
        )
    return blocks


def halves_of(block: nn.Module) -> Halves | None:
    """Return the names of a pre-norm transformer block's parts; None for any other block."""
    return next((h for h in _HALVES if all(hasattr(block, name) for name in h)), None)


def _weights(q: Tensor, k: Tensor, mask: Tensor | None, causal: bool, scale: float | None) -> Tensor:
    """Return the probabilities of the call, in float32, ``(B, heads, n, n)``."""
    scores = q.float() @ k.float().mT * (q.shape[-1] ** -0.5 if scale is None else scale)
    if causal:
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
    return scores.softmax(-1)


@contextmanager
def _listening(attend: Any) -> Iterator[None]:
    """Tell every fused attention inside to ``attend`` first, and keep all off the fast path, which cannot be heard."""
    original, fast = F.scaled_dot_product_attention, torch.backends.mha.get_fastpath_enabled()

    def recorded(
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        **options: Any,
    ) -> Tensor:
        attend(query, key, attn_mask, is_causal, scale)
        return original(query, key, value, attn_mask, dropout_p, is_causal, scale=scale, **options)

    F.scaled_dot_product_attention = recorded  # type: ignore[assignment] # the one place that all libraries call
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        F.scaled_dot_product_attention = original
        torch.backends.mha.set_fastpath_enabled(fast)


def _checked(
    tower: Tower,
    inputs: Tensor,
    steps: Sequence[Step],
    states: Sequence[Tensor],
    attention: Sequence[Tensor],
    output: Tensor,
) -> Captured:
    """Check and collect the captured; ``states`` are the one that enters the first block and those after the steps."""
    if isinstance(tower, TextTransformer):  # its states are packed: those of the captions' own tokens alone
        packing = Packing(inside(inputs, tower.tokenizer.end))
        states = [packing.unpack(s) for s in states]
    if any(s.ndim not in (3, 4) or len(s) != len(inputs) for s in states):
        raise ValueError(
            f"the blocks of {type(tower).__name__} give states of shape {tuple(states[1].shape)} for "
            f"{len(inputs)} inputs: neither tokens (B, n, W) nor maps (B, C, H, W) of the batch"
        )
    if any(a.ndim != 4 or len(a) != len(inputs) for a in attention):
        attention = []  # in windows: no matrix of all tokens
    grid = None
    if isinstance(tower, ImageTower) and states[1].ndim == 3:
        grid = _grid(tower, states[1].shape[1])
    return Captured(tuple(steps), tuple(states[1:]), tuple(attention), output, grid, states[0])


def _grid(tower: ImageTower, tokens: int) -> tuple[int, int]:
    """Return rows and columns of patches: what the tower says, else the largest square."""
    size = next((m.grid_size for m in tower.modules() if hasattr(m, "grid_size")), None)
    rows, columns = size if isinstance(size, tuple) else (int(tokens**0.5),) * 2
    if rows * columns > tokens:
        raise ValueError(
            f"{type(tower).__name__} has {tokens} tokens for {rows} × {columns} patches: some were dropped or merged, "
            f"so its states are no map over the picture"
        )
    return rows, columns
