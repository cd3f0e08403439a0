"""X-Former: who reads whom, reconstruction from updated states, positions of visible patches, stages and controls."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import ViTMAEConfig, ViTMAEForPreTraining
from transformers.models.vit_mae.modeling_vit_mae import ViTMAEDecoderOutput

from counterpoint.methods import create
from counterpoint.networks import tune
from counterpoint.networks.bridges.dual import DualBridge
from counterpoint.networks.bridges.qformer import QFormerBridge
from counterpoint.networks.init import initialise
from counterpoint.networks.masked_autoencoder import MaskedAutoencoder
from counterpoint.networks.towers.transformer import VisionTransformer
from counterpoint.testing._stubs import RECIPE, SIZE, loaded, stub_towers
from counterpoint.types import Batch, StepInfo

READS = {"image": "image", "talk": "talk", "text": "text"}
MASKING, ALIGNING, SPEAKING = (StepInfo(1, 4, stage=stage) for stage in ("mask", "align", "speak"))
PATCHES = 16


def build(**options: Any) -> Any:
    towers = stub_towers(READS)
    towers["image"] = VisionTransformer(SIZE, SIZE // 4, width=12, depth=1, heads=2)
    tune(towers["talk"], "frozen")
    method: Any = create("x-former", towers, RECIPE, tokens=3, **options)
    initialise(method, 0)
    return method.eval()


def at(method: Any, clock: StepInfo, seed: int = 0) -> Batch:
    torch.manual_seed(seed)
    return method.prepare(loaded(method, 4), clock)


def gradients(method: Any, loss: Any) -> set[str]:
    method.zero_grad()
    loss.backward()
    return {name for name, p in method.named_parameters() if p.grad is not None and p.grad.any()}


@torch.no_grad()
def test_details_read_the_queries_first_and_are_then_read() -> None:
    method = build()
    bridge, patches = method.bridge, torch.randn(4, PATCHES + 5, 12)
    queries, _ = QFormerBridge.query_states(bridge, patches[:, 5:])
    details = bridge.into_details(patches[:, :5], queries)
    torch.testing.assert_close(bridge.updated(patches), details)
    torch.testing.assert_close(bridge.query_states(patches)[0], bridge.into_queries(queries, details))
    # The other order is another model.
    assert not torch.allclose(bridge.query_states(patches)[0], bridge.into_queries(queries, patches[:, :5]))


@torch.no_grad()
def test_blocks_that_add_nothing_leave_the_q_former_and_joined_patches_are_one_sequence() -> None:
    method, joined = build(), build(reading="joined")
    bridge, patches = method.bridge, torch.randn(4, 2 * PATCHES, 12)
    plain = QFormerBridge(12, bridge.out.in_features, bridge.grid, 3, bridge.std)
    initialise(plain, 0)
    dual = DualBridge(12, bridge.out.in_features, bridge.grid, 3, bridge.std)
    initialise(dual, 0)
    for block in (dual.into_details, dual.into_queries):
        for name, parameter in block.named_parameters():
            if name.startswith(("out", "mlp")):
                parameter.zero_()
    own = patches[:, PATCHES:]
    torch.testing.assert_close(dual.query_states(patches)[0], plain.query_states(own)[0])
    bridge = joined.bridge
    torch.testing.assert_close(
        bridge.query_states(patches)[0], QFormerBridge.query_states(bridge, patches)[0]
    )
    assert "reconstruction" not in losses_of(joined, ALIGNING)


def losses_of(method: Any, clock: StepInfo) -> dict[str, Tensor]:
    given = at(method, clock)
    z = method.second_round(method.encode(given), given)
    return method.losses(z, given, clock)


def test_the_error_is_of_updated_states_and_moves_queries() -> None:
    method = build(reconstruction=2.0)
    given = at(method, ALIGNING)
    z = method.encode(given)
    index = given["visible.image"]
    assert index.shape == (4, PATCHES // 4)
    autoencoder, pictures = method.autoencoder, given["image"]
    updated = method.bridge.updated(z["image"])
    error = autoencoder.errors(pictures, updated, index)
    torch.testing.assert_close(z["error.image"], error)
    assert not torch.allclose(error, autoencoder.errors(pictures, autoencoder.states(pictures, index), index))
    torch.manual_seed(0)
    losses = losses_of(method, ALIGNING)
    torch.testing.assert_close(losses["reconstruction"], 2 * error.mean())
    reached = gradients(method, losses["reconstruction"])
    prefix = "bridge_projections.image."
    assert {f"{prefix}transformer.query.weight", f"{prefix}into_details.kv.weight"} <= reached
    assert not [name for name in reached if name.startswith((f"{prefix}into_queries", "towers.talk"))]
    stages = {stage.name: stage.moves for stage in method.stages}
    assert [*stages] == ["mask", "align", "speak"]
    assert stages["mask"] == (f"{prefix}masked.",)
    assert not [name for name in stages["align"] if name.startswith(f"{prefix}masked.encoder")]
    assert {f"{prefix}masked.decoder.", f"{prefix}masked.predict."} <= {*stages["align"]}
    assert not [name for name in stages["speak"] if name.startswith(f"{prefix}masked")]
    # The first stage moves the autoencoder alone.
    reached = gradients(method, losses_of(method, MASKING)["reconstruction"])
    assert reached
    assert all(name.startswith(f"{prefix}masked.") for name in reached)
    without = losses_of(build(reconstruction=0.0), ALIGNING)
    for name, loss in without.items():
        torch.testing.assert_close(loss, losses[name])
    assert {*losses} - {*without} == {"reconstruction"}


@torch.no_grad()
def test_states_have_the_positions_of_their_patches() -> None:
    autoencoder = MaskedAutoencoder(8, (4, 4), 12)
    initialise(autoencoder, 0)
    pictures = torch.rand(2, 3, 8, 8)
    index = torch.tensor([[0, 3, 9], [2, 4, 15]])
    states = autoencoder.states(pictures, index)
    moved = index[:, [2, 0, 1]]
    torch.testing.assert_close(autoencoder.states(pictures, moved), states[:, [2, 0, 1]])
    errors = autoencoder.errors(pictures, states, index)
    torch.testing.assert_close(autoencoder.errors(pictures, states[:, [2, 0, 1]], moved), errors)
    whole = torch.arange(16).expand(2, -1)
    torch.testing.assert_close(
        autoencoder.states(pictures, whole), autoencoder.encoder.patches(pictures).flatten(2).mT
    )
    # A patch that is hidden does not matter, but for what is to be predicted.
    changed = pictures.clone()
    changed[0, :, :2, 2:4] = 0.5  # patch 1
    torch.testing.assert_close(autoencoder.states(changed, index), states)
    assert not torch.allclose(autoencoder.errors(changed, states, index)[0], errors[0])


@torch.no_grad()
def test_the_error_is_that_of_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    autoencoder = MaskedAutoencoder(8, (4, 4), 12)
    initialise(autoencoder, 0)
    config = ViTMAEConfig(
        hidden_size=12,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=12,
        image_size=8,
        patch_size=2,
        decoder_hidden_size=12,
        decoder_num_hidden_layers=1,
        decoder_num_attention_heads=2,
        decoder_intermediate_size=12,
        mask_ratio=13 / 16,
        norm_pix_loss=True,
    )
    oracle = ViTMAEForPreTraining(config)
    pictures, index = torch.rand(2, 3, 8, 8), torch.tensor([[0, 3, 9], [2, 4, 15]])
    states = autoencoder.states(pictures, index)
    _, decoded = autoencoder.decoder(states.mean(1), states, index)
    by_pixel = autoencoder.predict(decoded).unflatten(2, (3, 4)).transpose(2, 3).flatten(2)
    monkeypatch.setattr(oracle.decoder, "forward", lambda *_, **__: ViTMAEDecoderOutput(logits=by_pixel))
    noise = torch.ones(2, 16).scatter(1, index, 0.0)
    expected = oracle(autoencoder.encoder.normalise(pictures), noise=noise).loss
    torch.testing.assert_close(
        autoencoder.errors(pictures, states, index).mean(), expected, rtol=1e-4, atol=1e-5
    )


@torch.no_grad()
def test_both_encoders_are_swapped_together_and_whole_pictures_are_read_in_use() -> None:
    method = build()
    given = at(method, ALIGNING)
    z = method.encode(given)
    pairs = method.pairs(z, given)
    logits = method.fuse(z, pairs)["pair.match"]
    row = len(pairs["pair.picture"]) - 1
    other = int(pairs["pair.picture"][row])
    patches = torch.cat(
        [
            method.autoencoder.states(given["image"], given["visible.image"])[other],
            method.image_tower.patches(given["image"]).flatten(2).mT[other],
        ]
    )[None]
    torch.testing.assert_close(method.matched(patches, pairs["pair.tokens"][row : row + 1])[0], logits[row])
    given = at(method, SPEAKING)
    assert "visible.image" not in given.views
    patches = method.speaker.patches(given["image"])
    assert patches.shape[1] == 2 * PATCHES
    expected = method.speaker.log_p(given["talk"], method.speaker.given(patches))
    torch.testing.assert_close(method.encode(given)["talk"], expected)
    assert method.embed("image", [torch.zeros(3, 10, 10, dtype=torch.uint8)]).shape[0] == 1


def test_patches_that_are_not_square_are_refused() -> None:
    with pytest.raises(ValueError, match="does not cut a square of 9 pixels"):
        MaskedAutoencoder(9, (4, 4), 12)
    with pytest.raises(ValueError, match="leaves none visible"):
        build(hidden=0.99)
    with pytest.raises(ValueError, match="mask=0 and align=0 and speak=0 leave no stage"):
        build(mask=0.0, align=0.0, speak=0.0)
