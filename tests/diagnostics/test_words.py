"""What words rest on, captions beside true ones, and what re-ranking changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from counterpoint.diagnostics.report import words
from counterpoint.diagnostics.report.reranking import RankChange, rank_changes, reranked
from counterpoint.diagnostics.report.subject import Subject
from counterpoint.diagnostics.report.words import END, captions, word_maps, word_spans
from counterpoint.methods.arm import Arm
from counterpoint.networks.towers.tokenizer import BytePairTokenizer
from counterpoint.recipes import Recipe
from counterpoint.recipes.schema import Towers
from counterpoint.study.report.frame import drawn
from fixtures.tiny import TinyData

ROWS = np.arange(20, 40)


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words, "SHOWN", 3)


def subject(arm: str, data: Any, **towers: Any) -> Subject:
    recipe = Recipe(towers=Towers(image_size=24, vocabulary=280, **towers))
    model = Arm.parse(arm).build(recipe, {"text": ["a red car", "a blue car"]}, 0, columns=data.columns)
    return Subject(model.eval(), None, data, ROWS, None, 0.0)


def test_words_have_their_own_tokens_in_order() -> None:
    tokenizer = BytePairTokenizer.train(["a red car"], vocabulary=280, context=9)
    text = "a red wagon, car"
    spans = word_spans(tokenizer, text)
    (ids,) = tokenizer([text])
    assert [tokenizer.decode(ids[span]) for _, span in spans] == ["a", "red", "wago"]  # cut by the context
    assert [word for word, _ in spans] == ["a", "red", "wagon,"]
    assert [span.start for _, span in spans][1:] == [span.stop for _, span in spans][:-1]
    assert word_spans(tokenizer, "") == []


def test_maps_of_words_are_relevances_of_a_joint_encoder(tiny_data: TinyData) -> None:
    of = subject("albef,queue=0,alpha=0", tiny_data, text="reader")
    section = word_maps(of)
    assert len(section.cards) == 3
    rows, texts = of.captioned(3)
    pictures = of.pictures(rows)
    model: Any = of.model
    maps = model.word_maps(pictures, texts)
    mask = model.text_tower.states(model.text_tower.tokenizer(texts)).ne(0).any(2)
    # The map of a phrase is the mean over its words.
    mean = (maps.flatten(2) * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    torch.testing.assert_close(
        words.unit_range(mean).view(3, *maps.shape[2:]), model.phrase_maps(pictures, texts)
    )
    for card, text in zip(section.cards, texts, strict=True):
        assert [one.word for one in card.maps] == text.split()
        assert sum(float(one.note) for one in card.maps) == pytest.approx(1, abs=0.02)
        assert all(one.values.shape == maps.shape[2:] for one in card.maps)
    (shown,) = drawn([section], {"words": {"numbers": {}}})
    assert shown["cards"][0]["maps"][0][2].startswith("data:image/png;base64,")


def test_maps_of_words_are_similarities_without_one(tiny_data: TinyData) -> None:
    section = word_maps(subject("clip", tiny_data, image="vit"))
    assert "similarity of patches" in section.sentence
    assert all(-1 <= float(one.note) <= 1 for card in section.cards for one in card.maps)
    assert all(0 <= one.values.min() <= one.values.max() <= 1 for card in section.cards for one in card.maps)


def test_models_without_words_say_which_have_them(tiny_data: TinyData) -> None:
    with pytest.raises(ValueError, match="take one with a joint encoder"):
        word_maps(subject("cappa", tiny_data))
    with pytest.raises(ValueError, match="no captions of pictures, as models of cappa"):
        captions(subject("clip", tiny_data))
    with pytest.raises(ValueError, match="no joint score of pairs"):
        reranked(subject("clip", tiny_data))
    with pytest.raises(ValueError, match="nothing is ranked"):
        reranked(subject("cappa", tiny_data))


@pytest.mark.parametrize("arm", ["cappa", "coca"])
def test_likelihoods_of_words_add_up_to_those_of_captions(arm: str, tiny_data: TinyData) -> None:
    of = subject(arm, tiny_data)
    model: Any = of.model
    with torch.no_grad():  # its last layer starts at zero, which every token is equally likely by
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    rows, texts = of.captioned(3)
    texts[1] = "a"
    for pictures in (of.pictures(rows), None):
        tokens = model.token_log_likelihood(pictures, texts)
        summed = model.log_likelihood(pictures, texts)
        torch.testing.assert_close(tokens.nansum(1), summed[:, 0], rtol=1e-4, atol=1e-4)
        assert (~tokens.isnan()).sum(1).tolist() == summed[:, 1].tolist()
    with pytest.raises(ValueError, match="give one for each"):
        model.token_log_likelihood(of.pictures(rows), ["a"])
    section = captions(of)
    assert set(section.numbers) == {
        "negative log-likelihood of a token",
        "without the picture",
        "of the model's own captions",
    }
    lines = dict(section.cards[0].lines)
    assert [word.text for word in lines["true"]] == [*of.captioned(3)[1][0].split(), END]
    assert all(0 <= word.strength <= 1 for word in lines["written"])
    assert "without the picture" in lines["true"][0].note


def test_ranks_change_among_the_best_alone() -> None:
    scores = torch.tensor([[0.9, 0.8, 0.1, 0.3], [0.9, 0.8, 0.1, 0.3]])
    best = torch.tensor([[0, 1], [0, 1]])
    joint = torch.tensor([[-9.0, 5.0], [-9.0, 5.0]])
    right = torch.tensor([[True, False, False, False], [False, False, False, True]])
    assert rank_changes(scores, best, joint, right) == [
        RankChange(0, 1, 2, (0, 1)),
        RankChange(1, 3, 3, (0, 1)),
    ]


def test_queries_are_shown_with_what_came_first_before_and_after(tiny_data: TinyData) -> None:
    section = reranked(subject("albef,queue=0,alpha=0", tiny_data, text="reader"))
    for direction in ("picture to text", "text to picture"):
        changed = section.numbers[f"{direction}, lifted"] + section.numbers[f"{direction}, lost"]
        assert 0 <= changed <= section.numbers[f"{direction}, queries"]
    kinds = {card.title.partition(":")[0] for card in section.cards}
    assert kinds <= {f"{d}, {k}" for d in ("picture to text", "text to picture") for k in ("lifted", "lost")}
    for card in section.cards:
        names = [name for name, _ in card.lines] + [name for name, _ in card.pictures]
        assert {"before", "after", "right"} <= set(names)
