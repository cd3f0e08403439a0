"""A counterpoint loss in open_clip's trainer, here on a tiny random model.

    python examples/open_clip_loss.py

In a copy of ``open_clip_train`` (3.3) it takes one line: in ``main.py``, instead of ``create_loss(args)``,
``loss = OpenClipLoss(losses.create("siglip")).to(device)``. An objective with a bias needs a model with one, which
``--siglip`` gives.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from open_clip import CLIP
from torch import Tensor, nn
from torch.func import functional_call

from counterpoint import losses
from counterpoint.pairwise import Loss


class OpenClipLoss(nn.Module):
    """A counterpoint loss behind the call of open_clip's losses.

    open_clip's model holds the logit scale and bias: its optimiser, DDP, clamp and checkpoints look for them there.
    So they stand in for the temperature and the bias that the loss would learn. The temperature must be one
    that is learned (``losses.create("ntxent", temperature=Temperature(0.07))``), or the scale has no gradient.
    The loss finds the other ranks by itself: no ``--gather-with-grad``, no ``--local-loss``.
    """

    def __init__(self, objective: Loss) -> None:
        super().__init__()
        self.objective = objective

    def forward(
        self,
        image_features: Tensor,
        text_features: Tensor,
        logit_scale: Tensor,
        logit_bias: Tensor | None = None,
        output_dict: bool = False,
    ) -> Tensor | dict[str, Tensor]:
        held = {"temperature.parameter": logit_scale.log(), "bias": logit_bias}
        learned = {name: held[name] for name, _ in self.objective.named_parameters()}
        loss = functional_call(self.objective, learned, (image_features, text_features))
        return {"contrastive_loss": loss} if output_dict else loss


def train_one_epoch(
    model: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    loss: OpenClipLoss,
    optimizer: torch.optim.Optimizer,
) -> list[float]:
    """The losses of an epoch whose steps are in the order of ``open_clip_train.train.train_one_epoch``."""
    model.train()
    history = []
    for images, texts in batches:
        optimizer.zero_grad()
        losses = loss(
            **model(images, texts), output_dict=True
        )  # features of unit norm, exp of the scale, bias
        total_loss = sum(losses.values())
        total_loss.backward()
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(100))
        history.append(total_loss.item())
    return history


def tiny_clip(**options: Any) -> CLIP:
    vision = {"image_size": 16, "patch_size": 8, "width": 32, "layers": 1, "head_width": 16}
    text = {"context_length": 8, "vocab_size": 64, "width": 32, "heads": 2, "layers": 1}
    return CLIP(16, vision, text, output_dict=True, **options)


def pairs(n: int = 32) -> tuple[Tensor, Tensor]:
    """Random pictures and token ids; the end of a text is its highest id."""
    ends = torch.full((n, 1), 63)
    return torch.randn(n, 3, 16, 16), torch.cat([torch.randint(1, 63, (n, 7)), ends], 1)


def main() -> list[float]:
    torch.manual_seed(0)
    model, loss = tiny_clip(), OpenClipLoss(losses.create("infonce"))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    history = train_one_epoch(model, [pairs()] * 30, loss, optimizer)
    print(f"loss: {history[0]:.3f} at the first step, {history[-1]:.3f} at the last")
    return history


if __name__ == "__main__":
    main()
