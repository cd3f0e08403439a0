"""Next tokens of both kinds: what predicts a code, codes of clusters, and a split model's start and weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from counterpoint.networks.state_space import SplitLinear
from counterpoint.types import Batch, StepInfo
from fixtures.speaking import RECIPE, batch_of, speaking

CLOCK = StepInfo(step=0, steps=1)


class Examples:
    """All rows of a batch as training examples."""

    def __init__(self, batch: Batch) -> None:
        self.batch, self.ids, self.labels = batch, batch.ids, batch.labels

    def map(self, function: Any) -> torch.Tensor:
        return torch.cat([function(part) for part in self.batch.split(2)])


def begun(options: str = "", lm: str = "mamba") -> tuple[Any, Batch]:
    towers = RECIPE.towers.model_copy(update={"talk": lm})
    method = speaking(
        f"next-token,vocabulary=5{options}", "talk", recipe=RECIPE.model_copy(update={"towers": towers})
    )
    batch = batch_of(method)
    torch.manual_seed(0)
    method.on_epoch_start(Examples(batch), CLOCK)
    return method, batch


def test_codes_are_those_of_the_nearest_centres() -> None:
    method, batch = begun()
    patches = method.speaker.patches(batch["image"])
    codes = method.codes.codes(patches)
    distances = (patches[:, :, None] - method.codes.centres).square().sum(-1)
    assert torch.equal(codes, distances.argmin(-1))
    assert len(codes.unique()) == 5
    with pytest.raises(ValueError, match="codes=5 of 4 patches to train on"):
        method.codes.fit(patches[0], 0)


@torch.no_grad()
def test_each_code_is_predicted_from_those_before_it() -> None:
    method, batch = begun()
    z = method.encode(batch)
    opening, tokens = method.language.chat.opening, batch["talk"][:1, 0]
    codes = method.codes.codes(method.speaker.patches(batch["image"]))[0]
    vectors = method.codes.embedding.weight
    for n in range(len(codes)):
        before = torch.cat([method.language.embed(tokens[:, :opening]), vectors[codes[:n]][None]], 1)
        logits = method.language.token_states(before)[0, -1] @ vectors.T
        expected = F.log_softmax(logits, -1)[codes[n]]
        torch.testing.assert_close(z["codes.image"][0, n], expected, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(method.code_log_p(batch["image"]), z["codes.image"])
    # Replies are read as those of any other speaking method.
    given = method.speaker.given(method.speaker.patches(batch["image"]))
    torch.testing.assert_close(z["talk"], method.speaker.log_p(batch["talk"], given))
    losses = method.losses(z, batch, CLOCK)
    torch.testing.assert_close(losses["codes"], -z["codes.image"].mean())


@torch.no_grad()
def test_a_split_model_begins_as_the_dense_one() -> None:
    (dense, batch), (split, _) = begun(), begun(",split=in+x+dt+out")
    for name, expected in dense.encode(batch).items():
        torch.testing.assert_close(split.encode(batch)[name], expected, msg=name)
    layers = [layer for layer in split.modules() if isinstance(layer, SplitLinear)]
    assert len(layers) == 2 * 4
    # Weights for pictures serve these alone, and a conversation without one none of them.
    alone = split.speaker.states(batch["talk"][:, 0], None)
    for layer in layers:
        layer.weight[1] += 1
    assert torch.equal(split.speaker.states(batch["talk"][:, 0], None), alone)
    assert not torch.allclose(split.encode(batch)["codes.image"], dense.encode(batch)["codes.image"])


def test_both_kinds_of_weights_learn_and_the_picture_tower_does_not() -> None:
    method, batch = begun(",split=in+x+dt+out")
    sum(method.losses(method.encode(batch), batch, CLOCK).values()).backward()
    for name, parameter in method.named_parameters():
        assert (parameter.grad is None) == name.startswith("towers.image"), name
    for layer in method.modules():
        if isinstance(layer, SplitLinear):
            grad = layer.weight.grad
            assert grad is not None
            assert grad.flatten(1).any(1).all()


def test_a_split_of_another_language_model_is_refused() -> None:
    with pytest.raises(ValueError, match="take lm=mamba"):
        begun(",split=in", lm="llama")
    with pytest.raises(ValueError, match="unknown projection of a Mamba"):
        begun(",split=gate")
    begun(lm="llama")
