"""CoCa: parity with open_clip, its limits, and what the class token sees."""

from __future__ import annotations

from typing import Any

import open_clip
import pytest
import torch
import torch.nn.functional as F
from method_stubs import LATE, RECIPE, batch, build, loaded
from torch import nn

from counterpoint.losses import InfoNCELoss
from counterpoint.networks import initialise
from counterpoint.networks.attention_pooling import AttentionPooler

WIDTH, VOCABULARY = 12, 65
"""Of the method on small towers, its start token included."""


def moved(name: str = "coca", **options: Any) -> Any:
    """Return a method whose output layer is not zero any more, in evaluation mode."""
    method = build(name, **options)
    nn.init.normal_(method.head.weight, std=0.5, generator=torch.Generator().manual_seed(1))
    return method.eval()


def copied(theirs: nn.Module, ours: dict[str, torch.Tensor]) -> None:
    """Set parameters of open_clip's module, all of them."""
    state = theirs.state_dict()
    assert state.keys() == ours.keys()
    theirs.load_state_dict({name: value.detach().view_as(state[name]) for name, value in ours.items()})


def of_block(block: nn.Module, prefix: str) -> dict[str, torch.Tensor]:
    """Return the parameters of a block of self-attention by open_clip's names."""
    parts = {
        "ln_1": block.norm_1,
        "ln_2": block.norm_2,
        "attn.in_proj": block.qkv,
        "attn.out_proj": block.out,
        "mlp.c_fc": block.up,
        "mlp.c_proj": block.down,
    }
    return {
        f"{prefix}.{name}{'_' if name.endswith('in_proj') else '.'}{kind}": value
        for name, part in parts.items()
        for kind, value in part.named_parameters()
    }


def of_cross(block: nn.Module, prefix: str) -> dict[str, torch.Tensor]:
    """Return the parameters of a block of cross-attention by open_clip's names."""
    norm, up, _, _, down = block.mlp.branch
    parts = {
        "ln_1": block.norm,
        "ln_1_kv": block.context_norm,
        "ln_2": norm,
        "attn.out_proj": block.out,
        "mlp.c_fc": up,
        "mlp.c_proj": down,
    }
    joined = {
        f"{prefix}.attn.in_proj_{kind}": torch.cat([getattr(block.q, kind), getattr(block.kv, kind)])
        for kind in ("weight", "bias")
    }
    return joined | {
        f"{prefix}.{name}.{kind}": value
        for name, part in parts.items()
        for kind, value in part.named_parameters()
    }


def test_decoder_is_open_clips_with_its_correct_mask() -> None:
    method = moved()
    length = method.length + 1
    text = open_clip.transformer.TextTransformer(
        length,
        VOCABULARY,
        WIDTH,
        4,
        2,
        output_dim=8,
        embed_cls=True,
        correct_cls_mask=True,
        output_tokens=True,
    ).eval()
    position = method.position_embedding.weight
    ours = {
        "cls_emb": method.class_token.weight,
        "positional_embedding": F.pad(position, (0, 0, 0, 1)),
        "token_embedding.weight": method.token_embedding.weight,
        "text_projection": method.projections["text"].weight.T,
        **{f"ln_final.{kind}": value for kind, value in method.class_norm.named_parameters()},
    }
    for number, block in enumerate(method.lower):
        ours |= of_block(block, f"transformer.resblocks.{number}")
    copied(text, ours)
    decoder = open_clip.transformer.MultimodalTransformer(
        WIDTH, 2, 4, length, output_dim=VOCABULARY - 1
    ).eval()
    ours = {"text_projection": method.head.weight.T}
    ours |= {f"ln_final.{kind}": value for kind, value in method.norm.named_parameters()}
    for number, (block, cross) in enumerate(zip(method.upper, method.cross, strict=True)):
        ours |= of_block(block, f"resblocks.{number}") | of_cross(cross, f"cross_attn.{number}")
    copied(decoder, ours)

    # Padding is id 0 in both, and no token of these texts is.
    tokens = F.pad(torch.randint(1, 60, (3, 4), generator=torch.Generator().manual_seed(0)), (0, 2))
    tokens[:, 4], tokens[0, 3], tokens[0, 4] = method.tokenizer.end, method.tokenizer.end, 0
    targets, mask = method.targets_of(tokens)
    states = torch.randn(3, 5, WIDTH, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        vectors, words = text(F.pad(tokens, (1, 0), value=method.start))
        logits = decoder(states, words[:, :-1])
    measured, of_class = method._lower(targets, mask)
    torch.testing.assert_close(method.projections["text"](of_class), vectors)
    own = F.pad(mask, (1, 0), value=True)
    torch.testing.assert_close(measured[own], words[own])
    likelihood = method.log_likelihood_of_tokens(targets, mask, states)[:, 0]
    expected = -F.cross_entropy(logits.mT, targets, reduction="none")
    torch.testing.assert_close(likelihood, (expected * mask).sum(1))


def test_pooling_is_open_clips() -> None:
    ours = AttentionPooler(8, 3, 2)
    initialise(ours, 0)
    theirs = open_clip.transformer.AttentionalPooler(8, 8, n_head=2, n_queries=3)
    own = {"query": ours.query.weight}
    for name, part in {"ln_q": ours.query_norm, "ln_k": ours.state_norm, "attn": ours.attention}.items():
        own |= {f"{name}.{kind}": value for kind, value in part.state_dict().items()}
    copied(theirs, own)
    x = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ours(x), F.layer_norm(theirs(x), (8,)))  # as it follows in open_clip's tower


def test_class_token_sees_words_and_no_word_sees_it() -> None:
    method = moved()
    targets, mask = method.targets_of(loaded(method)["text"])
    words, of_class = method._lower(targets, mask)
    with torch.no_grad():
        method.class_token.weight += 1.0
    again, other_class = method._lower(targets, mask)
    assert torch.equal(words, again)
    assert not torch.allclose(of_class, other_class)
    # Padding changes nothing.
    longer = method._lower(F.pad(targets, (0, 1)), F.pad(mask, (0, 1)))[1]
    torch.testing.assert_close(longer, other_class)
    changed = targets.clone()
    changed[:, -1] = 1 + changed[:, -1] % 60
    assert not torch.allclose(method._lower(changed, mask)[1], other_class)


@pytest.mark.parametrize("pooling", ["cascade", "parallel", "single"])
def test_three_ways_of_pooling(pooling: str) -> None:
    method = moved(pooling=pooling, queries=3)
    given = loaded(method)
    pooled, vector = method._pooled(given["image"])
    assert (pooled.shape[1:], vector.shape[1:]) == ((3, WIDTH), (WIDTH,))
    torch.testing.assert_close(method.encode(given)["image"], vector)
    patches = method.image_tower.patches(given["image"]).flatten(2).mT + method.patch_positions.weight
    if pooling == "single":
        torch.testing.assert_close(method.generative(patches)[:, 0], vector)
    else:
        read = pooled if pooling == "cascade" else patches
        torch.testing.assert_close(method.contrastive(read)[:, 0], vector)


def test_weights_of_zero_leave_one_loss_alone() -> None:
    both, one, other = build("coca"), build("coca", captioning=0.0), build("coca", contrast=0.0)
    given = batch(both)
    losses = both.losses(both.encode(given), given, LATE)
    (contrast,) = one.losses(one.encode(given), given, LATE).items()
    (caption,) = other.losses(other.encode(given), given, LATE).items()
    torch.testing.assert_close(dict([contrast, caption]), losses)
    x, y = (F.normalize(one.project(c, one.encode(given)[c], "global"), dim=-1) for c in ("image", "text"))
    assert contrast[1].item() == pytest.approx(InfoNCELoss(0.07)(x, y).item(), rel=1e-5)
    for method in (one, other):
        torch.stack([*method.losses(method.encode(given), given, LATE).values()]).sum().backward()
        assert all(p.grad is not None for p in method.parameters() if p.requires_grad)
    with pytest.raises(ValueError, match="leave no loss"):
        build("coca", contrast=0.0, captioning=0.0)


def test_embeddings_are_those_of_the_losses() -> None:
    method = moved()
    texts = ["a small red cat", "hill"]
    tokens = method.tokenizer(texts)
    of_class = method._lower(*method.targets_of(tokens))[1]
    expected = F.normalize(method.project("text", of_class, "global"), dim=-1)
    torch.testing.assert_close(method.embed("text", texts), expected)
    assert method.width == RECIPE.widths.embedding
