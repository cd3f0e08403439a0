"""SoftMask++: what its masks are, what they leave alone, and ALBEF as a limit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from method_stubs import LATE, batch, build, loaded
from torch import Tensor

from counterpoint.methods._matching import LABEL, MATCH, PATCHES, PICTURE_OF, TEXT_OF, WORDS
from counterpoint.methods.softmask import ORDER, WORD
from counterpoint.types import Batch, Embeddings


def encoded(method: Any, given: Batch) -> Embeddings:
    z: Embeddings = method.targets(given) | method.encode(given)
    return z


def states(n: int = 4, patches: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    words = torch.randn(n, 5, 10, generator=generator, dtype=torch.float64)
    words[0, 4:] = 0.0
    return (
        words,
        torch.randn(n, patches, 12, generator=generator, dtype=torch.float64),
        torch.tensor([0, 1, 2, 3])[:n],
    )


def test_without_masks_focal_weight_and_hidden_texts_it_is_albef() -> None:
    ours, theirs = build("softmask", mask="none", gamma=0.0, masked_text=False), build("albef")
    ours.load_state_dict(theirs.state_dict())
    given, losses = batch(theirs), []
    for method in (ours, theirs):
        torch.manual_seed(0)
        losses.append(method.losses(method.second_round(encoded(method, given), given), given, LATE))
    torch.testing.assert_close(*losses)


def test_a_map_is_attention_times_the_gradient_of_the_match() -> None:
    method = build("softmask").double()
    words, patches, word = states()
    masks = method.masks(words, patches, word)
    for n in range(4):
        one, of_patches = words[n : n + 1], patches[n : n + 1]
        out, attention = method.joint(one, of_patches, attention_of=method.block)
        logit = method.match_head(method.read(out, like=one))[0, 1]
        (gradient,) = torch.autograd.grad(logit, attention)
        terms = [attention[0, h, word[n]] * gradient[0, h, word[n]] for h in range(attention.shape[1])]
        c = sum(term.clamp_min(0) for term in terms)
        expected = 1 - (c - c.min()) / (c.max() - c.min()) if c.max() > c.min() else torch.ones_like(c)
        torch.testing.assert_close(masks[n], expected.detach())
    assert not masks.requires_grad
    assert masks.min() == 0.0  # else no map tells patches apart, and the test shows nothing
    assert masks.max() == 1.0


def test_a_constant_map_masks_nothing() -> None:
    method = build("softmask").double()
    words, patches, word = states()
    method.joint.patch_positions.weight.data.zero_()
    same = patches[:, :1].expand(-1, 2, -1)  # all patches alike
    assert torch.equal(method.masks(words, same, word), torch.ones(4, 2, dtype=torch.float64))


@pytest.mark.parametrize(("mask", "removed"), [("soft", 0.3), ("hard", 0.5), ("random", 0.3)])
def test_masks_are_of_own_pairs_and_of_features(mask: str, removed: float) -> None:
    method = build("softmask", mask=mask, removed=removed)
    given = batch(method, 6)
    z = encoded(method, given)
    pairs = method.pairs(z, given)
    dimmed = pairs[WORD] >= 0
    assert dimmed.sum() == 6
    assert (pairs[LABEL][dimmed] == 1).all()
    assert torch.equal(pairs[PICTURE_OF][dimmed], pairs[TEXT_OF][dimmed])
    tokens = given["masked"][:, 0]
    drawn = tokens[pairs[TEXT_OF][dimmed], pairs[WORD][dimmed]]
    assert not (
        (drawn == method.text_tower.tokenizer.vocabulary) | (drawn == method.text_tower.tokenizer.end)
    ).any()
    words, patches = (z[f"{prefix}{name}"] for prefix, name in ((WORDS, "text"), (PATCHES, "image")))
    rows = pairs[TEXT_OF][dimmed]
    factors = method.masks(words[rows], patches[rows], pairs[WORD][dimmed])
    if mask == "random":
        other = factors.gather(1, pairs[ORDER][dimmed])
        torch.testing.assert_close(other.sum(1), factors.sum(1))  # of equal mass
        factors = other
    if mask == "hard":
        assert (factors.sum(1) == 1).all()  # half of two patches
    expected = method.matched(words[rows], patches[rows] * factors[..., None])
    torch.testing.assert_close(method.fuse(z, pairs)[MATCH][dimmed], expected)
    z = method.second_round(z, given)
    plain, soft = (F.cross_entropy(z[MATCH][rows], z[LABEL][rows]) for rows in (z[WORD] < 0, z[WORD] >= 0))
    torch.testing.assert_close(method.losses(z, given, LATE)["matching"], plain + soft)


def test_the_gradient_of_a_dimmed_pair_is_that_of_a_constant_mask() -> None:
    method = build("softmask").double()
    words, patches, word = states()
    leaf = patches.clone().requires_grad_()
    z = {WORDS + "text": words, PATCHES + "image": leaf}
    rows = torch.arange(4)
    pairs = {PICTURE_OF: rows, TEXT_OF: rows, WORD: word, ORDER: torch.zeros(4, 2, dtype=torch.long)}
    method.fuse(z, pairs)[MATCH].sum().backward()
    other = patches.clone().requires_grad_()
    method.matched(words, other * method.masks(words, patches, word)[..., None]).sum().backward()
    torch.testing.assert_close(leaf.grad, other.grad)


def test_a_text_of_hidden_words_alone_dims_nothing() -> None:
    method = build("softmask")
    given = loaded(method, 4)
    hidden = given["masked"].clone()
    hidden[0, 0] = method.text_tower.tokenizer.vocabulary
    given = replace(given, views={**given.views, "masked": hidden})
    pairs = method.pairs(encoded(method, given), given)
    assert 0 not in pairs[TEXT_OF][pairs[WORD] >= 0]


def test_hidden_words_and_keys_must_be_there() -> None:
    with pytest.raises(ValueError, match="words=0 never predicts: take masked_text=false"):
        build("softmask", words=0.0)
    with pytest.raises(ValueError, match="depth=1 has none: take depth=2"):
        build("softmask", depth=1)
    with pytest.raises(ValueError, match="gamma=2 weighs a contrast with keys: give a queue"):
        build("softmask", queue=0, alpha=0.0)
