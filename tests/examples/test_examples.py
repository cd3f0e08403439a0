"""The examples of losses in other people's loops: they learn, agree with the peer's loss, and keep the rules."""

from __future__ import annotations

import math
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from counterpoint import losses
from counterpoint.losses import InfoNCELoss, NTXentLoss, SigLIPLoss
from counterpoint.pairwise import Temperature

PEERS = {
    "open_clip_loss": "open_clip",
    "lightning_module": "lightning",
    "hf_trainer": "accelerate",
    "sentence_transformers_loss": "sentence_transformers",
}


def example(name: str) -> ModuleType:
    pytest.importorskip(PEERS[name])
    return import_module(name)


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Yield what happens, in order: "step" of an optimizer and "update" of the state that each loss is given here."""
    seen: list[str] = []
    for kind in (InfoNCELoss, NTXentLoss, SigLIPLoss):
        monkeypatch.setattr(kind, "update_state", lambda _: seen.append("update"))
    hook = register_optimizer_step_pre_hook(lambda *_: seen.append("step"))
    yield seen
    hook.remove()


def gradients(loss: Tensor, module: nn.Module) -> dict[str, Tensor]:
    named = dict(module.named_parameters())
    found = torch.autograd.grad(loss, list(named.values()), retain_graph=True, allow_unused=True)
    return {name: g for name, g in zip(named, found, strict=True) if g is not None}


def assert_same_loss(ours: Tensor, theirs: Tensor, module: nn.Module) -> None:
    """Check that losses agree in value, and in the gradient of everything that the module learns."""
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=0)
    mine, peers = gradients(ours, module), gradients(theirs, module)
    assert peers
    torch.testing.assert_close(mine, peers, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("name", PEERS)
def test_the_loss_falls_and_each_step_is_followed_by_one_update(
    name: str, events: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    history = example(name).main()
    assert history[-1] < 0.8 * history[0]
    assert events
    assert events == ["step", "update"] * (len(events) // 2)
    printed = capsys.readouterr().out
    assert f"{history[0]:.3f}" in printed
    assert f"{history[-1]:.3f}" in printed


@pytest.mark.parametrize(
    ("name", "option", "steps"),
    [
        ("lightning_module", "accumulate_grad_batches", 20),  # of 40 batches
        ("hf_trainer", "gradient_accumulation_steps", 30),  # of 60 batches
        ("sentence_transformers_loss", "gradient_accumulation_steps", 30),
    ],
)
def test_accumulated_batches_share_one_update(name: str, option: str, steps: int, events: list[str]) -> None:
    example(name).main(**{option: 2})
    assert events == ["step", "update"] * steps


@pytest.mark.parametrize(("objective", "bias"), [("infonce", None), ("siglip", -4.0)])
def test_in_open_clip_the_loss_is_that_of_open_clip(objective: str, bias: float | None) -> None:
    module = example("open_clip_loss")
    peer = import_module("open_clip.loss")
    theirs = peer.ClipLoss() if objective == "infonce" else peer.SigLipLoss()
    torch.manual_seed(0)
    model = module.tiny_clip(init_logit_scale=math.log(3), init_logit_bias=bias).double()
    images, texts = module.pairs(6)
    outputs = model(images.double(), texts)
    ours = module.OpenClipLoss(losses.create(objective))
    name = "contrastive_loss"
    mine = ours(**outputs, output_dict=True)
    assert mine.keys() == theirs(**outputs, output_dict=True).keys() == {name}
    assert "logit_scale" in gradients(mine[name], model)
    assert ("logit_bias" in gradients(mine[name], model)) == (bias is not None)
    assert_same_loss(mine[name], theirs(**outputs), model)
    torch.testing.assert_close(ours(**outputs), mine[name])


def test_in_open_clip_the_models_scale_replaces_that_of_the_loss() -> None:
    module = example("open_clip_loss")
    x, y = (nn.functional.normalize(torch.randn(5, 4, dtype=torch.float64), dim=-1) for _ in range(2))
    loss = module.OpenClipLoss(losses.create("ntxent", temperature=Temperature(0.5)))
    expected = losses.create("ntxent", temperature=0.125)(x, y)
    torch.testing.assert_close(loss(x, y, torch.tensor(8.0, dtype=torch.float64)), expected)
    assert all(parameter.grad is None for parameter in loss.parameters())


def test_open_clip_objective_learns_more_than_model_holds() -> None:
    module = example("open_clip_loss")
    loss = module.OpenClipLoss(losses.create("rocket"))
    x = torch.eye(4)
    with pytest.raises(KeyError, match="parameter"):
        loss(x, x, torch.tensor(8.0))


def test_in_lightning_optimiser_trains_what_the_objective_learns() -> None:
    module = example("lightning_module").TwoTowers()
    trained = {id(p) for group in module.configure_optimizers().param_groups for p in group["params"]}
    assert {id(module.objective.bias), id(module.objective.temperature.parameter)} <= trained


def test_sentence_transformers_loss_multiple_negatives_ranking(tmp_path: Any) -> None:
    module = example("sentence_transformers_loss")
    peers = import_module("sentence_transformers.sentence_transformer.losses")
    torch.manual_seed(0)
    model = module.tiny_model(str(tmp_path)).double().eval()
    g = torch.Generator().manual_seed(0)
    features = [
        {
            "input_ids": torch.randint(2, 102, (5, 7), generator=g),
            "attention_mask": torch.ones(5, 7, dtype=torch.long),
        }
        for _ in range(2)
    ]
    ours = module.PairLoss(model, InfoNCELoss(0.05, weights=(1.0, 0.0)))
    theirs = peers.MultipleNegativesRankingLoss(model)
    mine, others = ours([dict(f) for f in features]), theirs([dict(f) for f in features], None)
    assert mine.dtype == torch.float64
    assert_same_loss(mine, others, model)
