"""Words that a painter learns: their vectors, their positions, and the loss of their maps."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from counterpoint.generation import LearnedWords, NewWords, attention_loss, draw_words, recorded_attention
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
        learned = LearnedWords(painter, "a <one>", "cat", keys=keys)
        expected = painter.draw(["a red cat"], steps=2)
        torch.testing.assert_close(learned.draw(["a red <one>"], steps=2), expected, atol=1e-4, rtol=0)


def test_first_token_gives_no_gradient_to_keys(painter: PaintingNetwork) -> None:
    learned = LearnedWords(painter, "a <one>", "cat", keys=True)
    states = torch.zeros(1, 10, 8)
    states[:, 0] = 1  # all others are 0, so that the weights read the first token alone
    with recorded_attention(painter.unet, *learned.additions()):
        painter(pictures(1), torch.tensor([5]), states).square().mean().backward()
    assert all(not it.grad.any() for it in (*learned.keys.parameters(), *learned.values.parameters()))


def test_words_of_several_painters_or_of_one_name_do_not_draw_together(painter: PaintingNetwork) -> None:
    other = copy.deepcopy(painter)
    initialise(other, 1)
    one = LearnedWords(painter, "a <one>", "cat")
    for second, message in (
        (LearnedWords(other, "a <two>", "cat"), "different painters"),
        (LearnedWords(painter, "a <one>", "fish"), "two words are called <one>"),
    ):
        with pytest.raises(ValueError, match=message):
            draw_words([one, second], ["a <one>"], steps=1)
    with pytest.raises(ValueError, match="learned from another painter"):
        LearnedWords(other, "a <one>", "cat").load_state_dict(one.state_dict())


def test_words_drawn_together_without_boxes_have_the_sum_of_their_additions(painter: PaintingNetwork) -> None:
    one, two = (LearnedWords(painter, f"a <{it}>", "cat", keys=True) for it in ("one", "two"))
    for number, part in enumerate((*one.parameters(), *two.parameters())):
        part.data += torch.randn(part.shape, generator=torch.Generator().manual_seed(number))
    both = LearnedWords(painter, "a <one> and a <two>", "cat", keys=True)
    both.words.vectors.data = torch.cat([one.words.vectors, two.words.vectors]).detach()
    for mine, *theirs in zip(
        both.keys.parameters(), one.keys.parameters(), two.keys.parameters(), strict=True
    ):
        mine.data = sum(theirs).detach()
    for mine, *theirs in zip(
        both.values.parameters(), one.values.parameters(), two.values.parameters(), strict=True
    ):
        mine.data = sum(theirs).detach()
    drawn = draw_words([one, two], ["a <one> and a <two>"], steps=2)
    torch.testing.assert_close(drawn, both.draw(["a <one> and a <two>"], steps=2))


def test_boxes_keep_a_word_to_its_cells(painter: PaintingNetwork) -> None:
    one = LearnedWords(painter, "a <one>", "cat", keys=True)
    for part in one.parameters():
        part.data += 1
    text = ["a red <one>"]
    apart = draw_words([one], text, boxes={"<one>": (0, 0, 1, 1)}, prompts={"<one>": text[0]}, steps=2)
    torch.testing.assert_close(apart, one.draw(text, steps=2))
    with pytest.raises(ValueError, match="the box of <two>"):
        draw_words([one], text, boxes={"<two>": (0, 0, 1, 1)})
    with pytest.raises(ValueError, match="lacks the word"):
        draw_words([one], ["a cat"], boxes={"<one>": (0, 0, 1, 1)})
    with pytest.raises(ValueError, match="must hold"):
        draw_words([one], text, boxes={"<one>": (0, 0, 1, 1.5)})


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
            LearnedWords(painter, prompt, like)
    learned = LearnedWords(painter, "a <one>", "cat")
    with pytest.raises(ValueError, match="<two> was not learned"):
        learned.draw(["a <two>"])
    with pytest.raises(ValueError, match="the painter reads 10"):
        learned.draw(["a <one> and a cat and a fish and a cat"])
