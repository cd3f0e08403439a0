"""A counterpoint loss in ``SentenceTransformerTrainer``, with a tiny random BERT.

    pip install accelerate sentence-transformers
    python examples/sentence_transformers_loss.py

``InfoNCELoss(0.05, weights=(1.0, 0.0))`` is ``MultipleNegativesRankingLoss`` at its default scale of 20, with the
negatives of all ranks. The optimiser trains what a loss learns, but DDP does not average its gradients: keep τ a
number.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from datasets import Dataset
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from torch import Tensor, nn
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from counterpoint.losses import InfoNCELoss
from counterpoint.pairwise import Loss

QUIET = {"logging_steps": 5, "disable_tqdm": True, "save_strategy": "no", "report_to": "none"}
# Of two made-up languages.
WORDS = {side: [f"{side}{i}" for i in range(50)] for side in ("anchor", "positive")}


class PairLoss(nn.Module):
    def __init__(self, model: SentenceTransformer, objective: Loss) -> None:
        super().__init__()
        self.model, self.objective = model, objective

    def forward(self, sentence_features: Iterable[dict[str, Tensor]], labels: Tensor | None = None) -> Tensor:
        x, y = (F.normalize(self.model(f)["sentence_embedding"], dim=-1) for f in sentence_features)
        loss: Tensor = self.objective(x, y)
        return loss


def tiny_model(folder: str) -> SentenceTransformer:
    """A random BERT and its tokenizer, by way of a folder; ``SentenceTransformer`` adds mean pooling."""
    vocabulary = {word: i for i, word in enumerate(["[PAD]", "[UNK]", *WORDS["anchor"], *WORDS["positive"]])}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(
        folder
    )
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    BertModel(BertConfig(vocab_size=len(vocabulary), **sizes)).save_pretrained(folder)
    return SentenceTransformer(folder, device="cpu")


def main(**options: Any) -> list[float]:
    """Train; ``options`` are further training arguments."""
    torch.manual_seed(0)
    sentences = torch.randint(50, (128, 6)).tolist()
    pairs = {side: [" ".join(words[i] for i in s) for s in sentences] for side, words in WORDS.items()}
    with tempfile.TemporaryDirectory() as folder:
        model = tiny_model(folder)
        loss = PairLoss(model, InfoNCELoss(0.05, weights=(1.0, 0.0)))
        arguments = SentenceTransformerTrainingArguments(
            folder,
            use_cpu=True,
            max_steps=30,
            per_device_train_batch_size=32,
            dataloader_drop_last=True,  # a short batch has fewer negatives
            learning_rate=3e-3,
            **QUIET,
            **options,
        )
        trainer = SentenceTransformerTrainer(model, arguments, Dataset.from_dict(pairs), loss=loss)
        trainer.train()
    history = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    print(f"loss: {history[0]:.3f} in the first five steps, {history[-1]:.3f} in the last")
    return history


if __name__ == "__main__":
    main()
