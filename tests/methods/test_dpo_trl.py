"""DPO against trl: loss and gradients of all weights and of adapters, on conversations without pictures."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from counterpoint.methods.dpo import pairs
from counterpoint.networks.towers.chat import EXCHANGE, REPLY, TOKEN
from counterpoint.networks.tuning import tune
from counterpoint.raw import Exchange
from fixtures.speaking import speaking

pytestmark = pytest.mark.slow  # trl takes seconds to import
BETA = 0.3
REQUESTS = ["What is it?", "Where is the cat, and where is the dog?", "Why?", "Is it red?"]
GOOD = ["A", "Two dogs and a bus beside a tree.", "No.", "It is as red as a cat can be, I think."]
WORSE = ["A blue cat on a hat.", "B", "Yes, there is one.", "No."]


def trainer(model: Any, reference: Any, tokenizer: Any, folder: Path) -> Any:
    trl = pytest.importorskip("trl")
    datasets = pytest.importorskip("datasets")
    options = trl.DPOConfig(
        output_dir=str(folder),
        beta=BETA,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        report_to="none",
        disable_tqdm=True,
    )
    data = datasets.Dataset.from_list([{"prompt": "a", "chosen": "b", "rejected": "c"}] * 2)
    return trl.DPOTrainer(
        model, reference, args=options, train_dataset=data, processing_class=deepcopy(tokenizer)
    )


def inputs_of(talk: Tensor, side: str, padding: int) -> dict[str, Tensor]:
    """Return conversations as trl takes them, good replies before worse ones."""
    kept = talk[:, EXCHANGE] > 0
    longest = int(kept.sum(1).max())
    ids = torch.full((len(talk), longest), padding)
    mask, reply = torch.zeros_like(ids), torch.zeros_like(ids)
    for row, (of, at) in enumerate(zip(talk, kept, strict=True)):
        count = int(at.sum())
        where = slice(0, count) if side == "right" else slice(longest - count, longest)
        ids[row, where], mask[row, where] = of[TOKEN, at], 1
        reply[row, where] = (of[REPLY, at] > 0).long()
    return {"input_ids": ids, "attention_mask": mask, "completion_mask": reply}


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("way", ["full", "lora"])
def test_loss_and_gradients_are_those_of_trl(way: str, side: str, tmp_path: Path) -> None:
    method = speaking(f"dpo,beta={BETA}", "talk", "worse").float()
    speaker, language = method.speaker, method.language
    tune(language, way)
    talk = language.chat(
        [
            (Exchange(request, reply),)
            for replies in (GOOD, WORSE)
            for request, reply in zip(REQUESTS, replies, strict=True)
        ]
    )
    lengths = (talk[:, REPLY] > 0).sum(1)
    assert (int(lengths.min()), int(lengths.max()) > 15) == (2, True)  # with the end of the reply
    reference = deepcopy(language.model)
    with torch.no_grad():
        before = speaker.log_p(talk, None).sum(1)
        generator = torch.Generator().manual_seed(5)
        for weight in language.model.parameters():
            if weight.requires_grad:
                weight.add_(torch.randn(weight.shape, generator=generator), alpha=0.02)
    policy = speaker.log_p(talk, None).sum(1)
    loss = method.objective(pairs(policy.view(2, -1).T), pairs(before.view(2, -1).T))
    loss.backward()
    gradients = {n: w.grad.clone() for n, w in language.model.named_parameters() if w.grad is not None}
    assert any("lora" in name for name in gradients) is (way == "lora")
    language.model.zero_grad()
    peer = trainer(language.model, reference, language.chat.tokenizer, tmp_path)
    expected = peer.compute_loss(peer.model, inputs_of(talk, side, language.chat.padding))
    expected.backward()
    torch.testing.assert_close(loss, expected, atol=1e-5, rtol=1e-5)
    assert gradients
    for name, weight in language.model.named_parameters():
        if name in gradients:
            torch.testing.assert_close(gradients[name], weight.grad, atol=1e-5, rtol=1e-5)
        else:
            assert weight.grad is None
