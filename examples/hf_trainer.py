"""A counterpoint loss in the ``Trainer`` of transformers, with one tiny random BERT for two made-up languages.

    pip install accelerate
    python examples/hf_trainer.py

The optimiser and DDP know the model only, so the temperature here is a fixed number. To learn one, make the loss
a submodule of the model, call it in the model's ``forward`` and return its value under the key ``loss``.
"""

from __future__ import annotations

import tempfile
from typing import Any

import torch
import torch.nn.functional as F
from datasets import Dataset
from torch import Tensor, nn
from transformers import BertConfig, BertModel, Trainer, TrainingArguments

from counterpoint import losses
from counterpoint.pairwise import Loss

QUIET = {"logging_steps": 5, "disable_tqdm": True, "save_strategy": "no", "report_to": "none"}
WORDS = 50  # in each language


class PairEncoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
        self.bert = BertModel(BertConfig(vocab_size=2 * WORDS, **sizes), add_pooling_layer=False)

    def embed(self, tokens: Tensor) -> Tensor:
        return F.normalize(self.bert(tokens).last_hidden_state.mean(1), dim=-1)

    def forward(self, source: Tensor, target: Tensor) -> dict[str, Tensor]:
        return {"source": self.embed(source), "target": self.embed(target)}


class ContrastiveTrainer(Trainer):
    def __init__(self, *args: Any, objective: Loss, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.objective = objective.to(self.args.device)

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Tensor], return_outputs: bool = False, **_: Any
    ) -> Any:
        outputs = model(**inputs)
        loss = self.objective(outputs["source"], outputs["target"])
        return (loss, outputs) if return_outputs else loss


def main(**options: Any) -> list[float]:
    """Train; ``options`` are further training arguments."""
    torch.manual_seed(0)
    source = torch.randint(WORDS, (128, 6))
    pairs = Dataset.from_dict({"source": source.tolist(), "target": (source + WORDS).tolist()})
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            use_cpu=True,
            max_steps=30,
            per_device_train_batch_size=32,
            dataloader_drop_last=True,  # a short batch has fewer negatives
            learning_rate=3e-3,
            **QUIET,
            **options,
        )
        objective = losses.create("ntxent", temperature=0.1)
        trainer = ContrastiveTrainer(PairEncoder(), arguments, train_dataset=pairs, objective=objective)
        trainer.train()
    history = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    print(f"loss: {history[0]:.3f} in the first five steps, {history[-1]:.3f} in the last")
    return history


if __name__ == "__main__":
    main()
