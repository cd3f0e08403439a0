"""Tuning of weights: frozen stays in evaluation mode, low rank starts as nothing, layers freeze in order."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from counterpoint import registry
from counterpoint.networks import (
    BytePairTokenizer,
    ConvNet,
    ImageTower,
    TextTower,
    TextTransformer,
    Tower,
    VisionTransformer,
    freeze_layers,
    initialise,
    tune,
)

TOKENIZER = BytePairTokenizer.train(["a red car"], 270, 8)
TOKENS = TOKENIZER(["a red car", "car"])
IMAGES = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


class WithStatistics(ImageTower):
    """A tower with everything that changes while training."""

    def __init__(self) -> None:
        super().__init__()
        self.size, self.width = 32, 4
        self.net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5))

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B width"]:
        features: Tensor = self.net(images).mean((2, 3))
        return features


class WithTorchAttention(TextTower):
    """Torch's attention reads its output layer's weight without calling it."""

    def __init__(self) -> None:
        super().__init__()
        self.tokenizer, self.width = TOKENIZER, 8
        self.table, self.attention = nn.Embedding(270, 8), nn.MultiheadAttention(8, 2, batch_first=True)
        self.last = nn.Linear(8, 8)

    def forward(self, tokens: Int[Tensor, "B L"], dropout: float = 0.0) -> Float[Tensor, "B width"]:
        x = self.table(tokens)
        features: Tensor = self.last(self.attention(x, x, x, need_weights=False)[0].mean(1))
        return features


TOWERS: dict[str, tuple[Callable[[], Tower], Tensor]] = {
    "convolutions": (lambda: ConvNet(32, (8, 16)), IMAGES),
    "patches": (lambda: VisionTransformer(32, 16, 16, 1, 2), IMAGES),
    "text": (lambda: TextTransformer(TOKENIZER, 16, 2, 2), TOKENS),
    "attention": (WithTorchAttention, TOKENS),
}


def test_frozen_stays_in_evaluation_mode_whatever_parent_does() -> None:
    torch.manual_seed(0)
    tower = WithStatistics()
    parent = nn.ModuleDict({"tower": tower, "head": nn.Linear(4, 4)})
    tune(tower, "frozen")
    before = copy.deepcopy(tower.state_dict())
    first = tower(IMAGES)
    for _ in range(2):
        parent.train()
        assert parent["head"].training
        assert not any(m.training for m in tower.modules())
        assert torch.equal(tower(IMAGES), first)
    assert all(torch.equal(v, before[k]) for k, v in tower.state_dict().items())
    assert not any(p.requires_grad for p in tower.parameters())


@pytest.mark.parametrize("again", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_stay_frozen(again: Callable[[Tower], Tower]) -> None:
    tower = WithStatistics()
    tune(tower, "frozen")
    assert not again(tower).train().training


def test_full_undoes_frozen() -> None:
    tower = WithStatistics()
    tune(tower, "frozen")
    tune(tower, "full")
    assert tower.train().net[1].training
    assert all(p.requires_grad for p in tower.parameters())


@pytest.mark.parametrize("name", TOWERS)
def test_lora_starts_as_nothing_and_only_it_moves(name: str) -> None:
    pytest.importorskip("peft")
    build, inputs = TOWERS[name]
    tower = build().train()
    before, weights = tower(inputs), copy.deepcopy(dict(tower.named_parameters()))
    tune(tower, "lora", rank=2)
    assert torch.allclose(tower(inputs), before, atol=1e-6)
    moving = {n: p for n, p in tower.named_parameters() if p.requires_grad}
    assert moving
    assert all("lora_" in n for n in moving)
    kept = [p for n, p in tower.named_parameters() if n not in moving]
    assert len(kept) == len(weights)
    assert sum(p.numel() for p in moving.values()) < sum(p.numel() for p in kept)
    for p in moving.values():
        p.data.normal_()
    changed = tower(inputs)
    assert not torch.allclose(changed, before, atol=1e-3)
    changed.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in moving.values())
    assert all(p.grad is None for p in kept)


def test_lora_start_is_its_seeds_and_survives_initialise() -> None:
    pytest.importorskip("peft")
    torch.manual_seed(0)
    one = TextTransformer(TOKENIZER, 16, 2, 2)
    two, three = copy.deepcopy(one), copy.deepcopy(one)
    state = torch.random.get_rng_state()
    tune(one, "lora", rank=2)
    assert torch.equal(state, torch.random.get_rng_state())
    tune(two, "lora", rank=2)
    tune(three, "lora", rank=2, seed=1)
    initialise(nn.ModuleDict({"text": one}), 7)
    same = [torch.equal(p, q) for p, q in zip(one.parameters(), two.parameters(), strict=True)]
    assert all(same)
    assert not all(torch.equal(p, q) for p, q in zip(one.parameters(), three.parameters(), strict=True))


def test_lora_twice_and_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("peft")
    tower = TextTransformer(TOKENIZER, 16, 1, 2)
    tune(tower, "lora")
    with pytest.raises(ValueError, match="already"):
        tune(tower, "lora")
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    with pytest.raises(registry.MissingPackageError, match=r"counterpoint\[peft\]"):
        tune(TextTransformer(TOKENIZER, 16, 1, 2), "lora")


def test_unknown_mode() -> None:
    with pytest.raises(registry.UnknownNameError, match="did you mean 'frozen'"):
        tune(ConvNet(32, (8,)), "frozn")


def test_layers_freeze_from_the_front() -> None:
    text = TextTransformer(TOKENIZER, 16, 3, 2)
    freeze_layers(text, 2)
    moving = {
        name.split(".")[0] + name.split(".")[1] for name, p in text.named_parameters() if p.requires_grad
    }
    assert moving == {"blocks2", "normweight", "normbias"}
    picture = VisionTransformer(32, 16, 16, 2, 2)
    freeze_layers(picture, 0)
    still = {name.split(".")[0] for name, p in picture.named_parameters() if not p.requires_grad}
    assert still == {"patch_embedding", "position_embedding"}


def test_berts_embeddings_and_layers_freeze() -> None:
    transformers = pytest.importorskip("transformers")
    from counterpoint.interop.transformers import TransformersTower

    config = transformers.BertConfig(
        vocab_size=270, hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32
    )
    text = TransformersTower(transformers.BertModel(config, add_pooling_layer=False), TOKENIZER, "max")
    freeze_layers(text, 2)
    assert {n.split(".layer.")[-1][0] for n, p in text.named_parameters() if p.requires_grad} == {"2"}


def test_more_layers_than_there_are() -> None:
    with pytest.raises(ValueError, match=r"freeze 4 layers.*has 3"):
        freeze_layers(TextTransformer(TOKENIZER, 16, 3, 2), 4)


def test_biases_alone_move_and_those_of_norms_too() -> None:
    tower = VisionTransformer(16)
    tune(tower, "biases")
    moving = {name for name, p in tower.named_parameters() if p.requires_grad}
    assert moving == {name for name, _ in tower.named_parameters() if name.endswith("bias")}
    assert {"norm.bias", "blocks.0.qkv.bias", "patch_embedding.bias"} <= moving
    assert not tower.frozen
