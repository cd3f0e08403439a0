"""A counterpoint loss in a LightningModule with two tiny towers.

    python examples/lightning_module.py

On several ranks nothing but the Trainer changes: ``Trainer(devices=8, strategy="ddp")``. Each rank passes its own
rows, the loss takes the negatives of all ranks, and DDP's average of the gradients is that of the whole batch;
so do not call ``self.all_gather``. The loss is the same number on every rank: log it without ``sync_dist``.
"""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from counterpoint import losses


class TwoTowers(L.LightningModule):
    """Pictures and words, each through one layer."""

    def __init__(self, objective: str = "siglip") -> None:
        super().__init__()
        self.image = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 32))
        self.text = nn.EmbeddingBag(64, 32)
        # A submodule: the optimiser, DDP and checkpoints then take care of what it learns, too.
        self.objective = losses.create(objective)
        self.history: list[float] = []

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        images, words = batch
        x, y = F.normalize(self.image(images), dim=-1), F.normalize(self.text(words), dim=-1)
        loss: Tensor = self.objective(x, y)
        self.history.append(loss.item())
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=1e-2, weight_decay=0)


def main(**options: Any) -> list[float]:
    """Train; ``options`` go to the Trainer."""
    torch.manual_seed(0)
    data = TensorDataset(torch.randn(128, 3, 8, 8), torch.randint(64, (128, 6)))
    loader = DataLoader(
        data, batch_size=32, shuffle=True, drop_last=True
    )  # a short batch has fewer negatives
    module = TwoTowers()
    trainer = L.Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=10,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )
    trainer.fit(module, loader)
    print(f"loss: {module.history[0]:.3f} at the first step, {module.history[-1]:.3f} at the last")
    return module.history


if __name__ == "__main__":
    main()
