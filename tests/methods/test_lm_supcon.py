"""LM-SupCon: templates and their mask token, words of classes, and steps in turn."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from method_stubs import LATE, StubText, batch, build, loaded

from counterpoint.methods._templates import MaskedTemplate, own_tokens
from counterpoint.methods.lm_supcon import LMSupCon
from counterpoint.networks import BytePairTokenizer
from counterpoint.networks.towers.transformer import TextReader
from counterpoint.recipes import Recipe
from counterpoint.types import StepInfo, Target

TARGET = Target("mood", ("good", "bad"))
TEXTS = ["a good film", "a very long and rather bad film about a film", ""]


def reader(context: int = 12) -> TextReader:
    captions = [*TEXTS, "it was all in all this is"]
    return TextReader(BytePairTokenizer.train(captions, 300, context), width=8, depth=1, heads=2)


def method_of(**options: Any) -> LMSupCon:
    return LMSupCon({"text": reader()}, Recipe(), target=TARGET, **options)


def test_the_mask_is_never_cut_and_its_position_is_each_text_s_own() -> None:
    method = method_of(templates=("{} it was {mask}", "{mask} : {}"), words=("good", "bad"))
    tokenizer = method.text_tower.tokenizer
    tokens = tokenizer(TEXTS)
    assert tokenizer.too_long(TEXTS).tolist() == [False, True, False]
    filled = method.filled(tokens, [0, 0, 1])
    assert filled.shape[1] <= tokenizer.context
    mask = filled == tokenizer.vocabulary
    assert mask.sum(1).tolist() == [1, 1, 1]
    words = tokenizer.decode
    assert [words(row[row < tokenizer.vocabulary]) for row in filled][::2] == ["a good film it was", ":"]
    assert words(filled[1][filled[1] < tokenizer.vocabulary]).endswith("it was")
    assert ((filled == tokenizer.end).sum(1) == 1).all()
    states = method.text_tower.states(filled)
    torch.testing.assert_close(method.at_mask(filled), states[mask])


@pytest.mark.parametrize(
    ("template", "context", "message"),
    [
        ("it was {mask}", 12, "needs one {} and one {mask}"),
        ("{} {mask} {mask}", 12, "needs one {} and one {mask}"),
        ("{} it was all in all {mask}", 8, "leaves no room"),
    ],
)
def test_templates_that_cannot_be_filled_are_refused(template: str, context: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MaskedTemplate(template, reader(context))


def test_a_class_scores_by_its_word() -> None:
    method = method_of(words=("good", "very bad"))
    table = method.text_tower.token_table.weight
    h = torch.randn(3, 8)
    logits = method.logits({"text": h}, batch(build("lm-supcon"), 3))
    for c, word in enumerate(("good", "very bad")):
        vector = table[own_tokens(method.text_tower, word)].mean(0)
        torch.testing.assert_close(logits[:, c], method.word_head(h) @ vector)
    classes = method.classify({"text": ["a good film"]})
    torch.testing.assert_close(classes.sum(1), torch.ones(1))


def test_losses_come_in_turn_or_together() -> None:
    together, in_turn = build("lm-supcon", alternate=False), build("lm-supcon", alternate=True)
    given = batch(together)
    z = together.encode(given)
    both = together.losses(z, given, LATE)
    for step, term in ((0, "contrast"), (1, "words")):
        losses = in_turn.losses(z, given, StepInfo(step, 9))
        assert set(losses) == {term}
        torch.testing.assert_close(losses[term], both[term])
    f = F.normalize(torch.cat([together.projections["text"](z[f"{n}.text"]) for n in (1, 2)]), dim=1)
    labels, scores = given.labels["group"].repeat(2), f @ f.T / 0.07
    terms = []
    for a in range(len(f)):
        others = torch.arange(len(f)) != a
        log_p = scores[a] - scores[a][others].logsumexp(0)
        terms.append(-log_p[others & (labels == labels[a])].mean())
    torch.testing.assert_close(both["contrast"], torch.stack(terms).mean())


def test_without_contrast_words_are_of_as_many_templates() -> None:
    diverse = build("lm-supcon", contrast=0.0, diverse=True)
    given = batch(diverse)
    z = diverse.encode(given)
    terms = [diverse.cross_entropy(diverse.logits({"text": z[f"{n}.text"]}, given), given) for n in (1, 2)]
    (loss,) = diverse.losses(z, given, StepInfo(0, 9)).values()
    torch.testing.assert_close(loss, torch.stack(terms).mean())
    none = replace(given, labels={"group": torch.full_like(given.labels["group"], -1)})
    assert diverse.losses(z, none, StepInfo(0, 9))["words"].item() == 0.0


def test_the_second_template_is_drawn_among_the_others() -> None:
    method = build("lm-supcon")
    given = loaded(method, 64)
    prepared = batch(method, 64)
    first, second = prepared["text.1"], prepared["text.2"]
    assert torch.equal(first, method.filled(given["text"], [0] * 64))
    made = [method.filled(given["text"], [n] * 64) for n in range(4)]
    which = [next(n for n in range(4) if _same(second[k], made[n][k])) for k in range(64)]
    assert set(which) == {1, 2, 3}


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    width = min(len(a), len(b))
    return torch.equal(a[:width], b[:width]) and not a[width:].any() and not b[width:].any()


def test_what_cannot_be_told_apart_is_refused() -> None:
    with pytest.raises(ValueError, match="two views that are equal"):
        method_of(templates=("{} it was {mask}",))
    assert method_of(templates=("{} it was {mask}",), dropout=0.1).dropout == 0.1
    with pytest.raises(ValueError, match="1 words for 2 classes"):
        method_of(words=("good",))
    with pytest.raises(ValueError, match="no two the same tokens"):
        method_of(words=("good", " good"))
    with pytest.raises(ValueError, match="take text=reader"):
        LMSupCon({"text": StubText()}, Recipe(), target=TARGET)
