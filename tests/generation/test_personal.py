"""Words that a painter learns: their vectors, their positions, and the loss of their maps."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from counterpoint.generation import NewWords, Personal, attention_loss
from counterpoint.networks.init import initialise
from counterpoint.networks.painter import PaintingNetwork
from counterpoint.networks.towers.tokenizer import BytePairTokenizer


@pytest.fixture(scope="module")
def painter() -> PaintingNetwork:
    tokenizer = BytePairTokenizer.train(["a red cat and a blue fish"], 400, 10)
    made = PaintingNetwork(tokenizer, 8, width=4, blocks=2, text_width=8, text_layers=1)
    initialise(made, 0)
    return made.eval()


def pictures(count: int = 3) -> Tensor:
    return torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def halves(count: int = 3) -> Tensor:
    """Masks of two things: the left half, and the right one."""
    left = torch.zeros(8, 8, dtype=torch.bool)
    left[:, :4] = True
    return torch.stack([left, ~left]).expand(count, 2, 8, 8)


def test_new_words_have_ids_behind_the_vocabulary_wherever_they_stand(painter: PaintingNetwork) -> None:
    table = painter.text.get_input_embeddings().weight
    words = NewWords(painter.tokenizer, table, "a <one> and a <two>", "cat+fish")
    first, second = (painter.tokenizer.vocabulary + k for k in (0, 1))
    cat, fish = (int(painter.tokenizer([word])[0, 1]) for word in ("cat", "fish"))
    known = painter.tokenizer(["a cat and a fish", "a fish"]).clone()
    expected = torch.where(known == cat, first, torch.where(known == fish, second, known))
    assert torch.equal(words.tokens(["a <one> and a <two>", "a <two>"]), expected)
    assert torch.equal(words.vectors, table[[cat, fish]])


def test_a_word_that_did_not_move_is_the_one_it_began_as(painter: PaintingNetwork) -> None:
    for keys in (False, True):
        learner = Personal(painter, "a <one>", "cat", keys=keys)
        expected = painter.draw(["a red cat"], steps=2)
        torch.testing.assert_close(learner.draw(["a red <one>"], steps=2), expected, atol=1e-4, rtol=0)


def test_both_of_two_words_learn_and_nothing_of_the_painter_moves(painter: PaintingNetwork) -> None:
    before = copy.deepcopy(painter.state_dict())
    learner = Personal(painter, "a <one> and a <two>", "cat+fish", keys=True)
    learner.fit(pictures(), halves(), steps=2, batch=2)
    assert (learner.words.vectors != learner.words.start).any(1).all()
    assert all((it != 0).any() for it in (*learner.keys.values(), *learner.values.values()))
    assert all(torch.equal(it, before[name]) for name, it in painter.state_dict().items())


def test_first_token_gives_no_gradient_to_keys(painter: PaintingNetwork) -> None:
    learner = Personal(painter, "a <one>", "cat", keys=True)
    states = torch.zeros(1, 10, 8)
    states[:, 0] = 1  # all others are 0, so that the weights read the first token alone
    from counterpoint.generation import recorded_attention
    from counterpoint.generation.personal import _named

    with recorded_attention(painter.unet, _named(learner.keys), _named(learner.values)):
        painter(pictures(1), torch.tensor([5]), states).square().mean().backward()
    assert all(not it.grad.any() for it in (*learner.keys.values(), *learner.values.values()))


def test_attention_weight_0_is_custom_diffusion_and_another_moves_the_words_elsewhere(
    painter: PaintingNetwork,
) -> None:
    vectors = []
    for masks, weight in ((None, 1.0), (halves(), 0.0), (halves(), 1.0)):
        learner = Personal(painter, "a <one> and a <two>", "cat+fish", keys=True)
        learner.fit(pictures(), masks, steps=2, batch=2, attention=weight)
        vectors.append(learner.words.vectors.detach())
    assert torch.equal(vectors[0], vectors[1])
    assert not torch.allclose(vectors[0], vectors[2])


def test_attention_moves_into_the_masks_and_follows_them_when_they_are_swapped(
    painter: PaintingNetwork,
) -> None:
    def inside(masks: Tensor) -> Tensor:
        learner = Personal(painter, "a <one> and a <two>", "cat+cat", keys=True)
        learner.fit(pictures(), masks, steps=12, rate=0.1, attention=10.0)
        maps = learner.attended(pictures()).mean(0)
        return maps[:, :, :2].mean((1, 2)) - maps[:, :, 2:].mean((1, 2))

    one, other = inside(halves()), inside(halves().flip(1))
    assert one[0] > other[0]
    assert one[1] < other[1]


@pytest.mark.parametrize("guidance", ["hard", "soft"])
def test_attention_loss_is_that_of_loops(guidance: str) -> None:
    maps, masks = torch.rand(2, 2, 4, 4, dtype=torch.float64), torch.rand(2, 2, 4, 4) > 0.5
    masks[1, 1] = False
    terms = []
    for b, n in ((0, 0), (0, 1), (1, 0)):  # the fourth word is not in its picture
        total = 0.0
        for i in range(4):
            for j in range(4):
                a, m = float(maps[b, n, i, j]), bool(masks[b, n, i, j])
                total += (a - m) ** 2 if guidance == "hard" or not m else 0.0
        terms.append(total / 16)
    assert attention_loss(maps, masks, guidance).item() == pytest.approx(sum(terms) / 3)


def test_a_full_mask_asks_nothing_softly_and_empty_masks_ask_nothing() -> None:
    maps = torch.rand(1, 1, 4, 4)
    assert attention_loss(maps, torch.ones(1, 1, 8, 8, dtype=torch.bool), "soft") == 0
    assert attention_loss(maps, torch.zeros(1, 1, 8, 8, dtype=torch.bool), "hard") == 0


def test_refusals(painter: PaintingNetwork) -> None:
    for prompt, like, message in (
        ("a cat", "cat", "no new word"),
        ("a <one> and a <two>", "cat+fish+red", "names 3 words"),
        ("a <one>", "guitar", "is not one token"),
    ):
        with pytest.raises(ValueError, match=message):
            Personal(painter, prompt, like)
    learner = Personal(painter, "a <one>", "cat")
    with pytest.raises(ValueError, match="<two> was not learned"):
        learner.draw(["a <two>"])
    with pytest.raises(ValueError, match="the painter reads 10"):
        learner.draw(["a <one> and a cat and a fish and a cat"])
