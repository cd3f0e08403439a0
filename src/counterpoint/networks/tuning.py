"""Choice of the weights of a pretrained tower that move."""

from __future__ import annotations

import re

from torch import nn

from ..forms import Count, Positive
from ..registry import require, unknown
from .base import Tower
from .init import seeded
from .towers.parts.blocks import residual_blocks

MODES = ("frozen", "full", "lora", "biases")


def tune(
    tower: Tower,
    mode: str,
    *,
    rank: Count = 8,
    alpha: Positive | None = None,
    dora: bool = False,
    seed: int = 0,
) -> None:
    """Set which weights of a tower move, in place.

    - ``"full"``: all of them.
    - ``"frozen"``: none; and the tower stays in evaluation mode, dropout and batch statistics too, whatever
      its parent is told.
    - ``"lora"``: W + (alpha / rank) B A in place of W in every linear layer (every convolution, if there is none), A
      and B of rank ``rank``, and B zero at the start, so that features start as they were. With ``dora`` this weight
      has a magnitude of its own for each output, which begins as that of W and moves too.
    - ``"biases"``: the biases of every layer, those of norms too (BitFit).

    Args:
        tower: the tower to change.
        mode: one of the four.
        rank: of the low-rank updates.
        alpha: twice the rank unless given, so that the update is 2·B A.
        dora: decomposes weights into magnitude and direction.
        seed: of their start.

    Raises:
        UnknownNameError: for another mode.
        MissingPackageError: for ``"lora"`` without the package ``peft``.
        ValueError: for ``"lora"`` on a tower that has it already, and ``"biases"`` on one without any.

    Source: LiT (arXiv 2111.07991) for locking; LoRA (arXiv 2106.09685); DoRA (arXiv 2402.09353);
    BitFit (arXiv 2106.10199).
    """
    if mode not in MODES:
        raise unknown("tuning mode", mode, MODES)
    if mode == "lora":
        _add_lora(tower, rank, alpha or 2 * rank, dora, seed)
    elif mode == "biases":
        _move_biases(tower)
    else:
        tower.requires_grad_(mode == "full")
    tower.frozen = mode == "frozen"
    tower.train(tower.training)
    tower.weights_set = True


def _add_lora(tower: Tower, rank: int, alpha: float, dora: bool, seed: int) -> None:
    peft = require("peft", "peft")
    if any("lora_" in name for name, _ in tower.named_parameters()):
        raise ValueError("this tower has low-rank updates already; tune it once")
    # An attention layer reads its output layer's weight without calling it: adapt the whole, not that part.
    attention = [name for name, m in tower.named_modules() if isinstance(m, nn.MultiheadAttention)]
    linear = [
        name
        for name, m in tower.named_modules()
        if (isinstance(m, nn.Linear) or type(m).__name__ == "Conv1D")
        and not any(name.startswith(f"{a}.") for a in attention)
        and name not in tower.untuned
    ]
    convolutions = [name for name, m in tower.named_modules() if isinstance(m, nn.Conv2d) and m.groups == 1]
    targets = "|".join(map(re.escape, attention + linear or convolutions))
    if not targets:
        raise ValueError(f"the {tower.modality} tower {tower.name} has no layers that low-rank updates fit")
    if dora and attention:
        raise ValueError(
            f"dora: the {tower.modality} tower {tower.name} has attention layers of torch, whose weights peft does "
            "not decompose: leave dora out"
        )
    config = peft.LoraConfig(r=rank, lora_alpha=alpha, use_dora=dora, target_modules=targets)
    with seeded(seed, "lora"):
        peft.inject_adapter_in_model(config, tower)
    for name, parameter in tower.named_parameters():
        parameter.requires_grad_("lora_" in name)


def _move_biases(tower: Tower) -> None:
    for name, parameter in tower.named_parameters():
        parameter.requires_grad_("bias" in name.rpartition(".")[2])
    if not any(parameter.requires_grad for parameter in tower.parameters()):
        raise ValueError(f"the {tower.modality} tower {tower.name} has no biases to tune")


def freeze_layers(tower: Tower, count: int) -> None:
    """Freeze the embeddings and the first ``count`` residual blocks of a transformer tower, in place.

    Raises:
        ValueError: where the tower has fewer blocks.

    Source: ConVIRT (arXiv 2010.00747) freezes the embeddings and 6 of BERT's 12 layers.
    """
    blocks = residual_blocks(tower)
    if not 0 <= count <= len(blocks):
        raise ValueError(f"cannot freeze {count} layers: this tower has {len(blocks)} residual blocks")
    for block in blocks[:count]:
        block.requires_grad_(False)
    inside = {id(p) for block in blocks for p in block.parameters()}
    tables = {id(p) for m in tower.modules() if isinstance(m, nn.Embedding) for p in m.parameters()}
    for name, parameter in tower.named_parameters():
        if id(parameter) not in inside and (id(parameter) in tables or "embed" in name):
            parameter.requires_grad_(False)
