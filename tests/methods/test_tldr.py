"""TLDR: labels of tokens, loss by a plain loop, no shift by one, the blind control, and rewards of words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from counterpoint.methods.tldr import TLDR
from counterpoint.raw import Exchange, changed_words
from counterpoint.types import JudgesReplies, Prompt, StepInfo
from fixtures.speaking import GOOD, PICTURES, WORSE, batch_of, speaking

CLOCK = StepInfo(0, 10)


def begun(options: str = "") -> tuple[TLDR, Any]:
    method = speaking(f"tldr{options}", "talk", "worse")
    return method, batch_of(method)


@torch.no_grad()
def rewards(method: Any, batch: Any, column: str, row: int) -> tuple[Tensor, Tensor, list[int]]:
    """Return the logits of a reply's tokens from the states behind them, the tokens, and the words that they are of."""
    talk = batch[column][row : row + 1]
    length = int((talk[0, 2] > 0).sum())
    given = method.speaker.given(method.speaker.patches(batch["image"][row : row + 1]))
    states = method.speaker.states(talk[:, 0, :length], given, hidden=method.blind)[0]
    places = [t for t in range(length) if talk[0, 1, t]]
    tokens = talk[0, 0, places]
    return method.reward_projections["talk"](states[places])[:, 0], tokens, method.language.chat.words(tokens)


@pytest.mark.parametrize("options", ["", ",blind=true"])
def test_loss_is_that_of_a_loop_over_the_tokens_themselves(options: str) -> None:
    method, batch = begun(options)
    total, count = torch.zeros((), dtype=torch.float64), 0
    # Words are missing from the worse reply of row 1, and the replies of the last row are equal.
    for row in (0, 2):
        for column, wrong in (("talk", []), ("worse", changed_words(GOOD[row], WORSE[row]))):
            logits, _, words = rewards(method, batch, column, row)
            for logit, word in zip(logits, words, strict=True):
                good = not (wrong and word >= 0 and wrong[word])
                total = total - (logit if good else -logit).sigmoid().log()
                count += 1
    z = method.encode(batch)
    torch.testing.assert_close(method.losses(z, batch, CLOCK)["tldr"], total / count)
    # No reward depends on a later token: the one of an earlier word stays, that of the word itself moves.
    talk = batch["talk"].clone()
    third = int((talk[1, 1] > 0).nonzero()[2])
    talk[1, 0, third] = talk[1, 0, third] % 200 + 1
    other = method.encode(replace(batch, views={**batch.views, "talk": talk}))["talk"][1]
    torch.testing.assert_close(other[:third], z["talk"][1, :third])
    assert not torch.isclose(other[third], z["talk"][1, third])


def test_the_last_token_is_wrong_where_any_word_is() -> None:
    method, batch = begun(",last=true")
    terms = []
    for row in (0, 2):
        terms.append(-rewards(method, batch, "talk", row)[0][-1].sigmoid().log())
        terms.append(-(-rewards(method, batch, "worse", row)[0][-1]).sigmoid().log())
    found = method.losses(method.encode(batch), batch, CLOCK)["tldr"]
    torch.testing.assert_close(found, torch.stack(terms).mean())


def test_whole_words_are_wrong_and_pairs_with_words_left_out_do_not_count() -> None:
    assert changed_words("A red cat, and a dog.", "a blue cat and a dog") == [
        False,
        True,
        False,
        False,
        False,
        False,
    ]
    assert changed_words("A red cat.", "A cat.") == [False, False]
    method, batch = begun()
    talks = [(Exchange("What is it?", reply),) for reply in ("No.", *WORSE[1:])]
    shorter = method.inputs["worse"]([(Exchange("What is it?", "A cat."),), *talks[1:]])
    cut = replace(batch, views={**batch.views, "worse": shorter})
    loss = method.losses(method.encode(cut), cut, CLOCK)["tldr"]
    without = replace(cut, ids=cut.ids[1:], views={name: view[1:] for name, view in cut.views.items()})
    torch.testing.assert_close(loss, method.losses(method.encode(without), without, CLOCK)["tldr"])
    changed = method._changed(batch["talk"], batch["worse"])[0]
    words = method.language.chat.words(batch["worse"][0, 0][batch["worse"][0, 1] > 0])
    assert changed[batch["worse"][0, 1] > 0].tolist() == [word in (1, 3, 4, 5) for word in words]


def test_it_judges_words_by_the_least_of_their_tokens_and_the_control_sees_no_picture() -> None:
    method, batch = begun()
    method.float()
    assert isinstance(method, JudgesReplies)
    prompts = [Prompt("What is it?", picture) for picture in PICTURES]
    judged = method.judge(prompts, WORSE)
    assert [len(words) for words in judged] == [len(reply.split()) for reply in WORSE]
    logits, _, words = rewards(method.double(), batch, "worse", 0)
    for number, reward in enumerate(judged[0].tolist()):
        of_tokens = [float(p) for p, word in zip(logits.sigmoid(), words, strict=True) if word == number]
        assert reward == pytest.approx(min(of_tokens), abs=1e-5)
    assert not torch.allclose(method.float().judge(prompts[1:2], WORSE[:1])[0], judged[0])
    blind = begun(",blind=true")[0].float()
    one, other = (blind.judge([Prompt("What is it?", PICTURES[k])], WORSE[:1])[0] for k in (0, 1))
    torch.testing.assert_close(one, other)
    assert len({*begun(",last=true")[0].float().judge(prompts[:1], WORSE[:1])[0].tolist()}) == 1


def test_rows_of_several_exchanges_are_refused() -> None:
    method, batch = begun()
    several = [(Exchange("What?", "No."), Exchange("Why?", reply)) for reply in GOOD]
    shown = replace(batch, views={**batch.views, "worse": method.inputs["worse"](several)})
    with pytest.raises(ValueError, match="a row has several: take one exchange of each row"):
        method.losses(method.encode(shown), shown, CLOCK)
